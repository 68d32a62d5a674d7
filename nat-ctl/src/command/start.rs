//! What `run`, `attach` and `apply` have in common: a configuration in force.
use ipnet::Ipv4Net;

use super::{pins, store};
use crate::{
    cli::{Global, RunArgs},
    clock,
    config::{self, Config, Interfaces, Snat},
    controller::{Controller, Source, StaticRoutes},
    cooling::{Store, this_boot},
    datapath::{
        ConfigText, State,
        kernel::{
            self, Attached, Pinned, Plan, attach::TcKind, cooling::Lacking, load::LogLevel,
            maps::Sizes,
        },
    },
    desired::desired,
    exit::Failure,
    hook,
    host::{Namespace, Network, forward_filters, preflight::Kernel},
    source::TableKey,
    sources::{Remembered, Sources, choice},
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
    pub fn quick(args: &RunArgs, network: &Network) -> Result<Self, Failure> {
        let interfaces = Interfaces {
            inside: args.inside.clone(),
            outside: args.outside.clone(),
            hook: args.hook.unwrap_or(Interfaces::HOOK_DEFAULT),
        };
        let mut from: Vec<Ipv4Net> = Vec::new();
        for name in &args.outside {
            network.expect(name)?;
        }
        for name in &args.inside {
            from.extend(network.routed_to(network.expect(name)?.index));
        }
        if from.is_empty() {
            let inside = args.inside.join(", ");
            return Err(Failure::host(format!("no network is routed to {inside}"))
                .with_help("give it an address first: `ip addr add ADDRESS/LENGTH dev NAME`"));
        }
        let source = if args.source.is_empty() {
            Snat::SOURCE_DEFAULT
        } else {
            let addresses = args.source.clone();
            config::Source::Addresses { addresses, pooling: Snat::POOLING_DEFAULT }
        };
        let from = Ipv4Net::aggregate(&from);
        let text = quick_text(&interfaces, &from, &source);
        // The checks of the flags' own form name the flags; the text is for those who read what is
        // in force.
        let config = Config::quick(interfaces, from, source)?;
        let text = ConfigText { name: "command line".to_owned(), text };
        Ok(Self { source: Source::CommandLine, config, text })
    }
}

/// The file that says the same.
fn quick_text(interfaces: &Interfaces, from: &[Ipv4Net], source: &config::Source) -> String {
    fn list<T: ToString>(values: &[T]) -> String {
        let quoted: Vec<_> =
            values.iter().map(|value| format!("\"{}\"", value.to_string())).collect();
        format!("[{}]", quoted.join(", "))
    }
    let source = match source {
        config::Source::Model(model) => format!("\"{model}\""),
        config::Source::Addresses { addresses, pooling } => {
            format!("{{ addresses = {}, pooling = \"{pooling}\" }}", list(addresses))
        }
    };
    format!(
        "[interfaces]\ninside = {}\noutside = {}\nhook = \"{}\"\n\n[[rules]]\nname = \"{}\"\n\
         from = {}\nto = [\"0.0.0.0/0\"]\naction = \"snat\"\nsource = {source}\n",
        list(&interfaces.inside),
        list(&interfaces.outside),
        interfaces.hook,
        config::QUICK_RULE,
        list(from),
    )
}

/// Puts a configuration in force: on the instance that is there, or on a new one.
pub fn start(
    global: &Global,
    kernel: Kernel,
    namespace: Namespace,
    loaded: Loaded,
    network: Network,
) -> Result<(Controller<Attached>, StaticRoutes), Failure> {
    let Loaded { source, config, text } = loaded;
    // One that is not there now is attached when it appears; one of another kind never is.
    let named = config.interfaces.outside.iter().chain(&config.interfaces.inside);
    for name in named.filter(|name| network.link(name).is_some()) {
        network.expect(name)?;
    }
    let pins = pins(global)?;
    let mut sources = Sources::default();
    // What is not there or cannot be read is nothing to go by; taking it says why.
    let pinned = Pinned::open(&pins, None).ok();
    let remembered = pinned.as_ref().map(|pinned| remembered(pinned, &config, &network));
    let before = pinned.as_ref().map(static_routes).unwrap_or_default();
    let ours = pinned.and_then(|pinned| pinned.interfaces().ok()).unwrap_or_default();
    let situation = hook::Situation::of(&config, &network, &ours, forward_filters);
    let remembered = remembered.unwrap_or_default();
    let desired = desired(&config, &network, &mut sources, &remembered, &situation)?;
    let log = if global.verbose > 1 { LogLevel::Trace } else { LogLevel::Off };
    let mut attached = kernel::take(Plan {
        pins,
        namespace,
        tc: if kernel.has_tcx() { TcKind::Tcx } else { TcKind::Clsact },
        sizes: Sizes { sessions: config.limits.max_sessions, cooling: config.cooldown.max_cooling },
        log,
    })?;
    let adopted = attached.adopted();
    if !adopted {
        restore(&mut attached, &store(global))?;
    }
    let done = attached.start(&desired.table, &sources, &text, &desired.interfaces)?;
    if adopted {
        tracing::info!("adopted the data path that was attached");
        done.iter().for_each(|done| tracing::warn!("repaired: {done}"));
        let Sizes { sessions, cooling } = attached.sizes()?;
        for (what, key, is, wanted) in [
            ("sessions", "max_sessions", sessions, config.limits.max_sessions),
            ("resting tuples", "max_cooling", cooling, config.cooldown.max_cooling),
        ] {
            if is != wanted {
                tracing::warn!(
                    "the attached data path has room for {is} {what}, {key} is {wanted}: it takes \
                     effect after `nat-ctl detach`"
                );
            }
        }
    }
    if log != LogLevel::Off {
        attached.forward_log()?;
    }
    attached.hold_fragments()?;
    attached.answer_refusals()?;
    let controller = Controller::new(attached, source, config, text, network, sources, desired);
    controller.say_hooks(&[]);
    controller.warnings().for_each(|warning| tracing::warn!("{warning}"));
    Ok((controller, StaticRoutes::new(before)))
}

/// Lets rest in a new data path what rested in the one before. A file that cannot be used is no
/// reason to be without a gateway: it is the connections to some servers that may fail, for as long
/// as the cooldown is; that is logged, and `status` warns of it.
fn restore(attached: &mut Attached, store: &Store) -> Result<(), Failure> {
    let read = this_boot().and_then(|boot| Ok((boot, store.read()?)));
    let (boot, snapshot) = match read {
        Ok((_, None)) => return Ok(()),
        Ok((boot, Some(snapshot))) => (boot, snapshot),
        Err(failure) => {
            tracing::error!("{failure}");
            return Ok(attached.record_loss()?);
        }
    };
    let tuples = snapshot.resting(clock::both(), boot);
    let Lacking(lacking) = attached.restore(&tuples)?;
    tracing::info!(ports = tuples.len() - lacking, "ports cool that did so before");
    if lacking > 0 {
        tracing::warn!(
            "{lacking} more had to be left out: raise `max_cooling` in [cooldown], which takes effect \
             after `nat-ctl detach`"
        );
    }
    Ok(())
}

/// Those of the configuration in force.
pub fn static_routes(state: &impl State) -> Vec<config::StaticRoute> {
    let text = state.config().ok().flatten();
    let config = text.and_then(|text| Config::parse(&text.text, &text.name).ok());
    config.map(|config| config.static_routes).unwrap_or_default()
}

/// What sticky rules have chosen so far.
fn remembered(state: &impl State, config: &Config, network: &Network) -> Remembered {
    let (Ok(rules), Ok(pools)) = (state.rules(), state.pools()) else {
        return Remembered::new();
    };
    let outside = config.interfaces.outside.iter().filter_map(|name| network.link(name));
    let outside: Vec<u32> = outside.map(|link| link.index).collect();
    let mut remembered = Remembered::new();
    for rule in &config.rules {
        let config::Action::Snat(snat) = &rule.action else { continue };
        let config::Source::Model(model) = snat.source else { continue };
        let Some(known) = rules.iter().find(|known| known.name == rule.name) else { continue };
        for &ifindex in outside.iter().filter(|_| snat.sticky) {
            let pool = pools.iter().find(|pool| (pool.rule, pool.ifindex) == (known.id, ifindex));
            if let Some(choices) = pool.and_then(|pool| pool.choices.as_ref()) {
                let key = TableKey::new(ifindex, model, true, config);
                let choices = choices.iter().map(|(prefix, entry)| (*prefix, choice(*entry)));
                remembered.insert(key, choices.collect());
            }
        }
    }
    remembered
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
        let addresses = config::Source::Addresses {
            addresses: vec![[203, 0, 113, 1].into(), [203, 0, 113, 2].into()],
            pooling: config::Pooling::Random,
        };
        for source in [addresses, config::Source::Model(config::SourceModel::StrongHost)] {
            let text = quick_text(&interfaces, &from, &source);
            let parsed = Config::parse(&text, "quick").unwrap();
            let quick = Config::quick(interfaces.clone(), from.clone(), source).unwrap();
            assert_eq!(parsed, quick);
        }
    }
}
