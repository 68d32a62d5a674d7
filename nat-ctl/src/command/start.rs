//! What `run`, `attach` and `apply` have in common: a configuration in force.
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::pins;
use crate::{
    cli::{Global, RunArgs},
    config::{Config, Interfaces},
    controller::{Controller, Source},
    datapath::{
        ConfigText,
        kernel::{self, Attached, Plan, attach::TcKind, load::LogLevel},
    },
    desired::desired,
    exit::Failure,
    host::{Namespace, Network, preflight::Kernel, routed_to},
};

/// A configuration that has been read and checked.
pub struct Loaded {
    pub source: Source,
    pub config: Config,
    pub text: ConfigText,
}

impl Loaded {
    /// Reads a file.
    pub fn file(path: &std::path::Path) -> Result<Self, Failure> {
        let text = ConfigText::read(path)?;
        let config = Config::parse(&text.text, &path.display().to_string())?;
        Ok(Self { source: Source::File(path.to_owned()), config, text })
    }

    /// The configuration of `--inside IF --outside IF`: everything routed to the inside
    /// interfaces, to everywhere.
    pub async fn quick(args: &RunArgs, network: &Network) -> Result<Self, Failure> {
        let interfaces = Interfaces {
            inside: args.inside.clone(),
            outside: args.outside.clone(),
            hook: args.hook.unwrap_or(Interfaces::HOOK_DEFAULT),
        };
        let mut from: Vec<Ipv4Net> = Vec::new();
        for name in &args.inside {
            from.extend(routed_to(network.expect(name)?.index).await?);
        }
        if from.is_empty() {
            let inside = args.inside.join(", ");
            return Err(Failure::host(format!("no network is routed to {inside}"))
                .with_help("give it an address first: `ip addr add ADDRESS/LENGTH dev NAME`"));
        }
        let addresses = match &args.source {
            named if !named.is_empty() => named.clone(),
            _ => only_addresses(&args.outside, network)?,
        };
        let from = Ipv4Net::aggregate(&from);
        let text = quick_text(&interfaces, &from, &addresses);
        // The checks of the flags' own form name the flags; the text is for those who read what is
        // in force.
        let config = Config::quick(interfaces, from, addresses)?;
        let text = ConfigText { name: "command line".to_owned(), text };
        Ok(Self { source: Source::CommandLine, config, text })
    }
}

/// The address of each interface. Which of several it should be is for the user to say: the
/// kernel's order is nobody's decision.
fn only_addresses(outside: &[String], network: &Network) -> Result<Vec<Ipv4Addr>, Failure> {
    let mut addresses = Vec::new();
    for name in outside {
        match network.expect(name)?.addresses.as_slice() {
            [address] => addresses.push(*address),
            [] => {
                return Err(Failure::host(format!("`{name}` has no IPv4 address"))
                    .with_help(format!("`ip addr add ADDRESS/LENGTH dev {name}`")));
            }
            several => {
                let list = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(Failure::usage(format!("`{name}` has several addresses: {list}"))
                    .with_help("say which to use with --source ADDRESS"));
            }
        }
    }
    Ok(addresses)
}

/// The file that says the same.
fn quick_text(interfaces: &Interfaces, from: &[Ipv4Net], addresses: &[Ipv4Addr]) -> String {
    fn list<T: ToString>(values: &[T]) -> String {
        let quoted: Vec<_> =
            values.iter().map(|value| format!("\"{}\"", value.to_string())).collect();
        format!("[{}]", quoted.join(", "))
    }
    format!(
        "[interfaces]\ninside = {}\noutside = {}\nhook = \"{}\"\n\n[[rules]]\nname = \"{}\"\n\
         from = {}\nto = [\"0.0.0.0/0\"]\naction = \"snat\"\nsource = {{ addresses = {} }}\n",
        list(&interfaces.inside),
        list(&interfaces.outside),
        interfaces.hook,
        crate::config::QUICK_RULE,
        list(from),
        list(addresses),
    )
}

/// Puts a configuration in force: on the instance that is there, or on a new one.
pub fn start(
    global: &Global,
    kernel: Kernel,
    namespace: Namespace,
    loaded: Loaded,
    network: Network,
) -> Result<Controller<Attached>, Failure> {
    let Loaded { source, config, text } = loaded;
    for name in config.interfaces.outside.iter().chain(&config.interfaces.inside) {
        network.expect(name)?;
    }
    let desired = desired(&config, &network)?;
    let log = if global.verbose > 1 { LogLevel::Trace } else { LogLevel::Off };
    let mut attached = kernel::take(Plan {
        pins: pins(global)?,
        namespace,
        tc: if kernel.has_tcx() { TcKind::Tcx } else { TcKind::Clsact },
        max_sessions: config.limits.max_sessions,
        log,
    })?;
    let adopted = attached.adopted();
    let done = attached.start(&desired.table, &text, &desired.interfaces)?;
    if adopted {
        tracing::info!("adopted the data path that was attached");
        done.iter().for_each(|done| tracing::warn!("repaired: {done}"));
        let size = attached.max_sessions()?;
        if size != config.limits.max_sessions {
            tracing::warn!(
                "the attached data path has room for {size} sessions, max_sessions is {}: it \
                 takes effect after `nat-ctl detach`",
                config.limits.max_sessions
            );
        }
    }
    if log != LogLevel::Off {
        attached.forward_log()?;
    }
    for warning in &desired.warnings {
        tracing::warn!("{warning}");
    }
    Ok(Controller::new(attached, source, config, text, network, desired))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hook;

    #[test]
    fn the_text_of_the_quick_form_says_what_its_flags_say() {
        let interfaces = Interfaces {
            inside: vec!["lan0".to_owned(), "lan1".to_owned()],
            outside: vec!["wan0".to_owned()],
            hook: Hook::Tc,
        };
        let from: Vec<Ipv4Net> =
            vec!["10.0.0.0/24".parse().unwrap(), "10.1.0.0/16".parse().unwrap()];
        let addresses = vec![Ipv4Addr::new(203, 0, 113, 1)];
        let text = quick_text(&interfaces, &from, &addresses);
        let parsed = Config::parse(&text, "quick").unwrap();
        assert_eq!(parsed, Config::quick(interfaces, from, addresses).unwrap());
    }
}
