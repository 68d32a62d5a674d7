//! `nat-ctl run`
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nat_common::instance::{HookMode, Role};
use sd_notify::NotifyState;

use super::{enter_namespace, pins};
use crate::{
    cli::{Global, RunArgs},
    compile::{OutsideInterface, compile},
    config::{Config, Hook, Interfaces},
    controller::{self, Signals},
    datapath::{
        Interface,
        kernel::{self, Plan, attach::TcKind, load::LogLevel},
    },
    exit::{Exit, Failure},
    host::{Namespace, Network, preflight},
};

/// Attaches the data path and controls it until a signal says stop.
pub fn run(global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    // What needs no host comes first: a bad file is exit 2 on every machine.
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let kernel = preflight::check()?;
    let namespace = enter_namespace(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start\n  caused by: {error}")))?;
    runtime.block_on(async {
        let mut signals = Signals::take()?;
        let network = Network::read().await?;
        let config = match config {
            Some(config) => config,
            None => quick(args, &network)?,
        };
        for warning in &config.warnings {
            eprintln!("{warning}");
        }
        let interfaces = interfaces(&config, &network)?;
        let (table, mut warnings) = compile(&config, &outside(&config, &network))?;
        warnings.extend(preflight::warnings());
        let namespace = match namespace {
            Some(namespace) => namespace,
            None => Namespace::current().map_err(|error| Failure::host(error.to_string()))?,
        };
        let log = if global.verbose > 1 { LogLevel::Trace } else { LogLevel::Off };
        let mut attached = kernel::attach(&Plan {
            pins: pins(global)?,
            namespace,
            interfaces,
            tc: if kernel.has_tcx() { TcKind::Tcx } else { TcKind::Clsact },
            max_sessions: config.limits.max_sessions,
            log,
            table: &table,
        })?;
        if log != LogLevel::Off {
            attached.forward_log()?;
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        controller::control(&mut attached, &mut signals, || {
            // Without a service manager there is nobody to tell.
            let _ = sd_notify::notify(&[NotifyState::Ready]);
            tracing::info!(instance = global.instance.as_str(), rules = table.rules.len(), "ready");
        })
        .await?;
        Ok(Exit::Ok)
    })
}

/// The configuration of `run --inside IF --outside IF`: everything routed to the inside
/// interfaces, to everywhere.
fn quick(args: &RunArgs, network: &Network) -> Result<Config, Failure> {
    let interfaces = Interfaces {
        inside: args.inside.clone(),
        outside: args.outside.clone(),
        hook: args.hook.unwrap_or(Interfaces::HOOK_DEFAULT),
    };
    let mut from: Vec<Ipv4Net> = Vec::new();
    for name in &args.inside {
        from.extend(&network.expect(name)?.routed);
    }
    if from.is_empty() {
        return Err(Failure::host(format!("no network is routed to {}", args.inside.join(", ")))
            .with_help("give it an address first: `ip addr add ADDRESS/LENGTH dev NAME`"));
    }
    let addresses = match &args.source {
        named if !named.is_empty() => named.clone(),
        _ => only_addresses(&args.outside, network)?,
    };
    Ok(Config::quick(interfaces, Ipv4Net::aggregate(&from), addresses)?)
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
                let list: Vec<_> = several.iter().map(ToString::to_string).collect();
                return Err(Failure::usage(format!(
                    "`{name}` has several addresses: {}",
                    list.join(", ")
                ))
                .with_help("say which to use with --source ADDRESS"));
            }
        }
    }
    Ok(addresses)
}

fn interfaces(config: &Config, network: &Network) -> Result<Vec<Interface>, Failure> {
    let hook = match config.interfaces.hook {
        Hook::Xdp => HookMode::Xdp,
        // XDP is chosen only by name so far: TC does everything, on every driver.
        Hook::Auto | Hook::Tc => HookMode::Tc,
    };
    let sides =
        [(&config.interfaces.outside, Role::Outside), (&config.interfaces.inside, Role::Inside)];
    let mut interfaces = Vec::new();
    for (names, role) in sides {
        for name in names {
            let link = network.expect(name)?;
            interfaces.push(Interface { index: link.index, name: name.clone(), role, hook });
        }
    }
    Ok(interfaces)
}

fn outside(config: &Config, network: &Network) -> Vec<OutsideInterface> {
    let links = config.interfaces.outside.iter().filter_map(|name| network.link(name));
    let outside = links.map(|link| OutsideInterface {
        index: link.index,
        name: link.name.clone(),
        addresses: link.addresses.clone(),
    });
    outside.collect()
}
