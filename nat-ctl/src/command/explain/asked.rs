//! The host that is asked about, and the rule that the packet matches there.
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipnet::Ipv4Net;
use nat_common::source::Choice;

use super::{Action, Behaviour, Matched};
use crate::{
    cli::{ExplainArgs, Global},
    command::{block_on, enter_namespace, pins},
    compile::{self, Own, first_match},
    config::{self, Config, Filtering, Mapping, Pooling, Unmatched},
    datapath::{Error, State, kernel::Pinned},
    desired::order,
    exit::Failure,
    host::{Namespace, Network},
    output::{excerpt, sanitise},
    source::{Host, Interface, Model, Vector, lookup, options},
};

/// See the module.
#[derive(Default)]
pub struct Asked {
    pub host: Vector,
    /// None where no rules were looked at.
    pub rule: Option<Matched>,
    /// What the data path gives the packet now, if that is known and a source model's choice.
    pub in_force: Option<IpAddr>,
    pub warnings: Vec<String>,
}

/// By the flags: a host's file or this machine, a configuration file or what is in force.
pub fn asked(global: &Global, args: &ExplainArgs) -> Result<Asked, Failure> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    if let Some(file) = &args.host {
        let asked = Asked { host: read(file)?, ..Asked::default() };
        return Ok(match &config {
            Some(config) => by_rule(asked, args, config, None),
            None => asked,
        });
    }
    let named = enter_namespace(global)?;
    let pinned = pinned(global, named)?;
    let in_force = match &pinned {
        Some(pinned) if config.is_none() => pinned.config()?,
        _ => None,
    };
    let in_force = in_force.map(|text| Config::parse(&text.text, &text.name)).transpose()?;
    let config = config.or(in_force);
    let order = config.as_ref().map(order).unwrap_or_default();
    let (network, host) = block_on(async {
        let network = Network::read().await?;
        let mut host = network.to_host(&order);
        host.routes.extend(network.read_ipv6_routes().await?);
        Ok((network, host))
    })?;
    let Host { interfaces, routes } = host;
    let host = Vector { interfaces, routes, ..Vector::default() };
    let asked = Asked { host, ..Asked::default() };
    let Some(config) = &config else {
        let what = "no rules are in force here, and none were named: answered by the model alone";
        return Ok(Asked { warnings: vec![what.to_owned()], ..asked });
    };
    let live = pinned.as_ref().filter(|_| args.config.is_none()).map(|state| (state, &network));
    Ok(by_rule(asked, args, config, live))
}

/// The instance, if it is attached. It has to be that of the namespace that is looked at.
fn pinned(global: &Global, named: Option<Namespace>) -> Result<Option<Pinned>, Failure> {
    let pins = pins(global)?;
    let pinned = match Pinned::open(&pins, named) {
        Err(Error::NotAttached { .. }) => return Ok(None),
        pinned => pinned?,
    };
    let here = Namespace::current().map_err(|error| Failure::host(error.to_string()))?;
    if Namespace::of(&pinned.instance()?) != here {
        return Err(Failure::host("the instance belongs to another network namespace")
            .with_help("name it with --netns, or another instance with --instance"));
    }
    Ok(Some(pinned))
}

/// Reads the file of `--host`.
fn read(file: &Path) -> Result<Vector, Failure> {
    let name = excerpt(&file.display().to_string());
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {name}\n  caused by: {error}")))?;
    Vector::read(&text).map_err(|what| {
        Failure::usage(format!("{name} is not a host\n  caused by: {}", sanitise(&what)))
            .with_help("it has `interfaces` and `routes`, as `nat-ctl host snapshot` prints them")
    })
}

/// Adds what the rules say of the packet. `live` is the state of the data path, if the rules are
/// those in force.
fn by_rule(
    mut asked: Asked,
    args: &ExplainArgs,
    config: &Config,
    live: Option<(&Pinned, &Network)>,
) -> Asked {
    let destination = args.destination.map(|target| target.address).or(asked.host.destination);
    let Some(IpAddr::V4(to)) = destination else { return asked };
    let host = asked.host.host();
    let from = match args.from {
        Some(IpAddr::V4(from)) => Some(from),
        _ => None,
    };
    let packet = compile::Packet { from, to, protocol: args.proto };
    let outside = |interface: &Interface| config.interfaces.outside.contains(&interface.name);
    let (all, outside) = (local(&host, |_| true), local(&host, outside));
    let own = Own { all: &all, outside: &outside };
    let (name, action) = match first_match(config, own, packet) {
        compile::Matched::Rule(rule) => {
            (Some(rule.name.clone()), action(rule, args.proto, config, &host, to))
        }
        compile::Matched::OnlyProtocolDiffers(rule) => {
            let name = excerpt(&rule.name);
            asked.warnings.push(format!("rule {name} covers all but the protocol: dropped"));
            (None, Action::Drop)
        }
        compile::Matched::Nothing => match config.defaults.unmatched {
            Unmatched::Route => (None, Action::Route),
            Unmatched::Drop => (None, Action::Drop),
        },
    };
    let outside = |name: &str| config.interfaces.outside.iter().any(|outside| outside == name);
    if let Some(found) = lookup(&host, to.into(), |_| true)
        && !outside(&found.interface.name)
    {
        asked.warnings.push(format!(
            "the packet leaves by {}, which is no outside interface: rules are not asked there",
            excerpt(&found.interface.name)
        ));
    }
    let action = match (action, from) {
        (Action::Route, Some(from)) => own_packet(from, to, config, &host, &mut asked.warnings),
        (action, _) => action,
    };
    if let (Some(name), Some((state, network))) = (&name, live) {
        asked.in_force = in_force(state, network, &host, name, to);
    }
    asked.rule = Some(Matched { name, action });
    asked
}

/// What becomes of a packet that nobody translates, and that this machine may have sent: one with the
/// address of another interface than the one it leaves by looks forged upstream.
fn own_packet(
    from: Ipv4Addr,
    to: Ipv4Addr,
    config: &Config,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Action {
    let Some(found) = lookup(host, to.into(), |_| true) else { return Action::Route };
    let has = |interface: &Interface| interface.addresses.iter().any(|one| one.ip == from);
    if has(found.interface) || !host.interfaces.iter().any(has) {
        return Action::Route;
    }
    let interface = excerpt(&found.interface.name);
    if config.source.enforce_strong_send {
        let what = "dropped as strong_host_drop: enforce_strong_send is set";
        warnings.push(format!("{from} is no address of {interface}: {what}"));
        return Action::Drop;
    }
    warnings.push(format!(
        "{from} is no address of {interface}, by which the packet leaves: firewalls upstream will \
         take it for spoofed"
    ));
    Action::Route
}

fn local(host: &Host, of: impl Fn(&Interface) -> bool) -> Vec<Ipv4Addr> {
    let interfaces = host.interfaces.iter().filter(|interface| of(interface));
    let addresses = interfaces.flat_map(|interface| &interface.addresses);
    let ipv4 = addresses.filter_map(|address| match address.ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    ipv4.collect()
}

fn action(
    rule: &config::Rule,
    proto: Option<config::Protocol>,
    config: &Config,
    host: &Host,
    to: Ipv4Addr,
) -> Action {
    let snat = match &rule.action {
        config::Action::Route => return Action::Route,
        config::Action::Drop => return Action::Drop,
        config::Action::Snat(snat) => snat,
    };
    let options = options(config.source);
    let behaviour = behaviour(rule.protocols, proto, snat);
    match &snat.source {
        config::Source::Model(model) => Action::Snat {
            model: (*model).into(),
            options,
            addresses: Vec::new(),
            pooling: Pooling::Paired,
            behaviour,
        },
        config::Source::Addresses { addresses, pooling } => {
            let all: Vec<IpAddr> = addresses.iter().copied().map(IpAddr::from).collect();
            // Of a rule with several ways out, those of this way count.
            let found = lookup(host, to.into(), |_| true);
            let is_here = |ip: &&IpAddr| {
                let interface = found.as_ref().map(|found| found.interface);
                interface.is_some_and(|one| one.addresses.iter().any(|address| address.ip == **ip))
            };
            let here: Vec<IpAddr> = all.iter().filter(is_here).copied().collect();
            let addresses = if here.is_empty() { all } else { here };
            let model = if addresses.len() == 1 { Model::Specified } else { Model::Multiple };
            Action::Snat { model, options, addresses, pooling: *pooling, behaviour }
        }
    }
}

/// What new sessions get, of the protocol that is asked about or of all that the rule covers.
fn behaviour(
    protocols: config::ProtocolSet,
    proto: Option<config::Protocol>,
    snat: &config::Snat,
) -> Vec<Behaviour> {
    let all = [config::Protocol::Tcp, config::Protocol::Udp, config::Protocol::Icmp];
    let asked = all.into_iter().filter(|one| protocols.contains(*one));
    asked
        .filter(|one| proto.is_none_or(|proto| proto == *one))
        .map(|proto| {
            let mapping = snat.mapping.get(proto);
            // As in the data path: see docs/config.md.
            let lets_in =
                mapping == Mapping::EndpointIndependent && proto != config::Protocol::Icmp;
            let strictest = Filtering::AddressAndPortDependent;
            let filtering = if lets_in { snat.filtering.get(proto) } else { strictest };
            Behaviour { proto, mapping, filtering }
        })
        .collect()
}

/// The source that the data path gives a packet of a rule.
fn in_force(
    state: &impl State,
    network: &Network,
    host: &Host,
    rule: &str,
    to: Ipv4Addr,
) -> Option<IpAddr> {
    let found = lookup(host, to.into(), |_| true)?;
    let ifindex = network.link(&found.interface.name)?.index;
    let id = state.rules().ok()?.into_iter().find(|known| known.name == rule)?.id;
    let pools = state.pools().ok()?;
    let pool = pools.into_iter().find(|pool| (pool.rule, pool.ifindex) == (id, ifindex))?;
    let choices: Vec<(Ipv4Net, Choice)> = pool.choices?;
    let matching = choices.into_iter().filter(|(prefix, _)| prefix.contains(&to));
    let (_, choice) = matching.max_by_key(|(prefix, _)| prefix.prefix_len())?;
    choice.address().ok().map(|address| Ipv4Addr::from(address).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_gets_what_its_rule_and_the_data_path_say() {
        use config::Protocol::{Icmp, Tcp, Udp};
        let told = |lines: &str, proto| {
            let text = format!(
                "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n[[rules]]\nname = \"r\"\n\
                 from = [\"10.0.0.0/8\"]\nto = [\"external\"]\naction = \"snat\"\n{lines}\n"
            );
            let rule = Config::parse(&text, "nat.toml").unwrap().rules.remove(0);
            let config::Action::Snat(snat) = &rule.action else { panic!("{lines}") };
            let told = behaviour(rule.protocols, proto, snat);
            told.iter().map(|one| (one.proto, one.mapping, one.filtering)).collect::<Vec<_>>()
        };
        let (alone, port) = (Mapping::EndpointIndependent, Mapping::AddressAndPortDependent);
        let strictest = Filtering::AddressAndPortDependent;
        let default = [(Tcp, port, strictest), (Udp, alone, strictest), (Icmp, alone, strictest)];
        assert_eq!(told("", None), default);
        let open = Filtering::EndpointIndependent;
        // A port of several clients is open to nobody else, nor is an identifier.
        let lines = "filtering = \"endpoint-independent\"";
        let expected = [(Tcp, port, strictest), (Udp, alone, open), (Icmp, alone, strictest)];
        assert_eq!(told(lines, None), expected);
        assert_eq!(told(lines, Some(Udp)), [(Udp, alone, open)]);
        assert_eq!(told("protocols = [\"tcp\"]", None), [(Tcp, port, strictest)]);
    }
}
