//! Rule tables: made at random, and written as nat-ctl reads them.
use std::{collections::BTreeSet, fmt::Write as _, iter, net::Ipv4Addr};

use nat_common::limits::EXTERNAL_RANGES_MAX;
use nat_tests::{
    lab::topology::{CLIENT, EXTERNAL, INSIDE, SERVER, SERVER2},
    model::{
        cooldown::Cooldown,
        flow::Protocol,
        limits::Limits,
        rules::{Action, Behaviour, Filtering, Prefix, Rule, Snat, Table, Timeouts},
    },
};

use super::{choice::Choice, common::bench::EXTERNAL2};

const INSIDE_NET: Prefix = Prefix::new([10, 77, 0, 0], 24);
const ALL: Prefix = Prefix::new([0, 0, 0, 0], 0);
const ALL_PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];

/// The gateway's own addresses.
const LOCAL_HOST: [Prefix; 3] = [
    Prefix::new(INSIDE.octets(), 32),
    Prefix::new(EXTERNAL.octets(), 32),
    Prefix::new(EXTERNAL2.octets(), 32),
];

/// An address that the gateway does not have.
const NOT_HERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);

/// Some rules of a small stock, with the general one most of the time.
pub fn table(choice: &mut Choice) -> Table {
    let host = |address: Ipv4Addr| Prefix::new(address.octets(), 32);
    let net = |address: Ipv4Addr, length| Prefix::new(address.octets(), length);
    let server_net = Prefix::new([203, 0, 113, 0], 24);
    let mut rules = Vec::new();
    let mut add = |choice: &mut Choice, one_in: u64, name: &str, from, to, action| {
        if choice.one_in(one_in) {
            rules.push(Rule { name: name.to_owned(), from: vec![from], to: vec![to], action });
        }
    };
    add(choice, 4, "partner", INSIDE_NET, host(SERVER2), Action::Route);
    add(choice, 6, "blocked", net(CLIENT, 31), host(SERVER), Action::Drop);
    let web = snat(choice, &[Protocol::Tcp]);
    add(choice, 3, "web", INSIDE_NET, server_net, web);
    let far = snat(choice, &ALL_PROTOCOLS);
    add(choice, 3, "far", INSIDE_NET, Prefix::new([198, 51, 100, 0], 24), far);
    add(choice, 8, "everybody's", ALL, host(SERVER2), Action::Drop);
    let internet = snat(choice, &ALL_PROTOCOLS);
    let own = snat(choice, &ALL_PROTOCOLS);
    let own = if choice.one_in(4) { Action::Route } else { own };
    let to = choice.of(&[ALL, ALL, server_net]);
    add(choice, 3, "own", host(EXTERNAL), to, own);
    let from = if choice.one_in(8) { ALL } else { INSIDE_NET };
    add(choice, 1, "internet", from, ALL, internet);
    add(choice, 4, "tunnels", INSIDE_NET, ALL, Action::Route);
    if let Some(own) = rules.iter_mut().find(|rule| rule.name == "own" && choice.one_in(2)) {
        own.from = LOCAL_HOST.to_vec();
    }
    if choice.one_in(3) {
        let (a, b) = (choice.below(rules.len() as u64), choice.below(rules.len() as u64));
        rules.swap(a as usize, b as usize);
    }
    if !keep_apart(choice, &mut rules) || too_many_ranges(&rules) {
        return table(choice);
    }
    Table {
        rules,
        unmatched_drop: choice.one_in(3),
        timeouts: timeouts(choice),
        cooldown: cooldown(choice),
        limits: limits(choice),
    }
}

fn snat(choice: &mut Choice, protocols: &[Protocol]) -> Action {
    let addresses: &[Ipv4Addr] = choice.weighted(&[
        (6, &[EXTERNAL][..]),
        (4, &[EXTERNAL, EXTERNAL2]),
        (2, &[EXTERNAL2, EXTERNAL, NOT_HERE]),
        (1, &[NOT_HERE]),
    ]);
    let random = choice.one_in(3);
    let spill = !random && addresses.len() > 1 && choice.one_in(2);
    let ports = choice.weighted(&[
        (6, (1024, 65535)),
        (2, (4000, 4031)),
        (2, (4000, 4007)),
        (1, (4000, 4008)),
        (1, (1, 3)),
        (1, (4000, 4000)),
        (2, (6000, 6005)),
    ]);
    let excluded = if choice.one_in(3) { excluded(choice, ports) } else { Vec::new() };
    let protocols =
        if protocols.len() > 1 && choice.one_in(5) { &protocols[..2] } else { protocols };
    Action::Snat(Snat {
        protocols: protocols.to_vec(),
        addresses: addresses.to_vec(),
        random,
        spill,
        ports,
        excluded,
        behaviour: behaviour(choice),
    })
}

/// Of ICMP, TCP and UDP; the default one now and then.
fn behaviour(choice: &mut Choice) -> [Behaviour; 3] {
    let mut one = |usual| Behaviour {
        endpoint_independent: if choice.one_in(2) { usual } else { choice.one_in(2) },
        filtering: choice.of(&[
            Filtering::AddressAndPortDependent,
            Filtering::AddressDependent,
            Filtering::Everybody,
        ]),
    };
    [one(true), one(false), one(true)]
}

/// Lets rules that may share a port of an address map it in the same way, as the configuration has to.
/// Returns whether they do.
fn keep_apart(choice: &mut Choice, rules: &mut [Rule]) -> bool {
    for at in 0..rules.len() {
        let (before, rest) = rules.split_at_mut(at);
        let (Some(rule), mut others) = (rest.first_mut(), before.iter()) else { continue };
        let Action::Snat(snat) = &mut rule.action else { continue };
        for _ in 0..10 {
            if !others.clone().any(|other| excludes(other, snat)) {
                break;
            }
            snat.behaviour = behaviour(choice);
            if choice.one_in(2) {
                snat.ports = choice.of(&[(6000, 6005), (4000, 4007), (1, 3), (1024, 65535)]);
                snat.excluded.clear();
            }
        }
        if others.any(|other| excludes(other, snat)) {
            return false;
        }
    }
    true
}

/// Whether two rules may use the same port in ways that exclude each other.
fn excludes(one: &Rule, b: &Snat) -> bool {
    let Action::Snat(a) = &one.action else { return false };
    let shared = a.addresses.iter().any(|address| b.addresses.contains(address));
    let overlap = a.ports.0 <= b.ports.1 && b.ports.0 <= a.ports.1;
    let differ = (a.ports, &a.excluded) != (b.ports, &b.excluded);
    let at_odds = |protocol: &Protocol| {
        let (a_alone, b_alone) =
            (a.of(*protocol).endpoint_independent, b.of(*protocol).endpoint_independent);
        b.protocols.contains(protocol) && (a_alone != b_alone || a_alone && differ)
    };
    shared && overlap && a.protocols.iter().any(at_odds)
}

/// Whether the ports that rules may use on an address are in more ranges than the data path tells apart:
/// it then takes ports between them for theirs.
fn too_many_ranges(rules: &[Rule]) -> bool {
    let of = |rule: &Rule, address, protocol: Protocol| match &rule.action {
        Action::Snat(snat) if snat.addresses.contains(&address) => {
            Some(snat.clone()).filter(|snat| snat.protocols.contains(&protocol))
        }
        _ => None,
    };
    let too_many = |address, protocol| {
        let snats: Vec<_> = rules.iter().map(|rule| of(rule, address, protocol)).collect();
        let mut starts = BTreeSet::new();
        for snat in snats.iter().flatten() {
            for (first, last) in snat.excluded.iter().chain([&snat.ports]) {
                starts.extend([*first, last.saturating_add(1)]);
            }
        }
        let rule_of = |port| {
            snats.iter().position(|snat| snat.as_ref().is_some_and(|snat| snat.allows(port)))
        };
        let mut owners: Vec<_> = starts.into_iter().map(rule_of).collect();
        owners.dedup();
        owners.iter().flatten().count() > EXTERNAL_RANGES_MAX as usize
    };
    [EXTERNAL, EXTERNAL2]
        .iter()
        .any(|address| ALL_PROTOCOLS.iter().any(|protocol| too_many(*address, *protocol)))
}

/// Some of the ports, but not all.
fn excluded(choice: &mut Choice, (first, last): (u16, u16)) -> Vec<(u16, u16)> {
    let left = first + choice.below(u64::from(last - first) + 1) as u16;
    let mut some = || {
        let port = first + choice.below(u64::from(last - first) + 1) as u16;
        let length = choice.below(3) as u16;
        (port, port.saturating_add(length).min(last))
    };
    let ranges: Vec<_> = (0..5).map(|_| some()).collect();
    ranges.into_iter().filter(|(low, high)| !(*low..=*high).contains(&left)).collect()
}

fn timeouts(choice: &mut Choice) -> Timeouts {
    if choice.one_in(2) {
        return Timeouts {
            tcp_opening: 240,
            tcp_established: 7440,
            tcp_closing: 240,
            udp: 300,
            udp_dns: 20,
            icmp: 60,
        };
    }
    let mut some = || 1 + choice.below(12);
    Timeouts {
        tcp_opening: some(),
        tcp_established: 3 * some(),
        tcp_closing: some(),
        udp: some(),
        udp_dns: some(),
        icmp: some(),
    }
}

fn cooldown(choice: &mut Choice) -> Cooldown {
    let mut some = || choice.of(&[0, 1000, 1000, 5000, 60_000, 240_000]);
    let (time_ms, rst_ms, half_open_ms, udp_ms) = (some(), some(), some(), some());
    let enabled = !choice.one_in(5);
    let (pressure_reuse, as_port) = (choice.one_in(2), choice.one_in(3));
    Cooldown { enabled, time_ms, rst_ms, half_open_ms, udp_ms, pressure_reuse, as_port }
}

/// None, or such as a few packets reach.
fn limits(choice: &mut Choice) -> Limits {
    if !choice.one_in(3) {
        return Limits { sessions: 0, half_open: 0, new_per_second: 0 };
    }
    Limits {
        sessions: choice.of(&[0, 0, 1, 3, 10, 40]),
        half_open: choice.of(&[0, 0, 1, 2, 8]),
        new_per_second: choice.of(&[0, 1, 3, 7, 30, 1000, 1_000_000]),
    }
}

/// The part of the configuration file behind the interfaces.
pub fn toml(table: &Table) -> String {
    let Timeouts { tcp_opening, tcp_established, tcp_closing, udp, udp_dns, icmp } = table.timeouts;
    let unmatched = if table.unmatched_drop { "drop" } else { "route" };
    let mut text = format!(
        "[defaults]\nunmatched = \"{unmatched}\"\n\
         [timeouts]\ntcp_opening = \"{tcp_opening}s\"\ntcp_established = \"{tcp_established}s\"\n\
         tcp_closing = \"{tcp_closing}s\"\nudp = \"{udp}s\"\nudp_dns = \"{udp_dns}s\"\n\
         icmp = \"{icmp}s\"\n"
    );
    let Cooldown { enabled, time_ms, rst_ms, half_open_ms, udp_ms, pressure_reuse, as_port } =
        table.cooldown;
    let scope = if as_port { "port" } else { "destination" };
    write!(
        text,
        "[cooldown]\nenabled = {enabled}\ntime_ms = {time_ms}\nrst_ms = {rst_ms}\n\
         half_open_ms = {half_open_ms}\nudp_ms = {udp_ms}\nscope = \"{scope}\"\n\
         pressure_reuse = {pressure_reuse}\n"
    )
    .unwrap();
    for rule in &table.rules {
        let list = |prefixes: &[Prefix]| match prefixes {
            prefixes if prefixes == LOCAL_HOST => quoted(iter::once("local-host".to_owned())),
            prefixes => quoted(prefixes.iter().map(prefix_text)),
        };
        let (from, to) = (list(&rule.from), list(&rule.to));
        write!(text, "[[rules]]\nname = \"{}\"\nfrom = {from}\nto = {to}\n", rule.name).unwrap();
        text += &match &rule.action {
            Action::Route => "action = \"route\"\n".to_owned(),
            Action::Drop => "action = \"drop\"\n".to_owned(),
            Action::Snat(snat) => snat_text(snat),
        };
    }
    text
}

fn snat_text(snat: &Snat) -> String {
    let pooling = if snat.random { "random" } else { "paired" };
    let addresses = quoted(snat.addresses.iter().map(Ipv4Addr::to_string));
    let protocols = quoted(snat.protocols.iter().map(|protocol| {
        let name = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        };
        name.to_owned()
    }));
    let each = |word: fn(Behaviour) -> &'static str| {
        let [icmp, tcp, udp] = snat.behaviour.map(word);
        format!("{{ icmp = \"{icmp}\", tcp = \"{tcp}\", udp = \"{udp}\" }}")
    };
    let mapping = each(|one| match one.endpoint_independent {
        true => "endpoint-independent",
        false => "address-and-port-dependent",
    });
    let filtering = each(|one| match one.filtering {
        Filtering::Everybody => "endpoint-independent",
        Filtering::AddressDependent => "address-dependent",
        Filtering::AddressAndPortDependent => "address-and-port-dependent",
    });
    let spill = snat.spill;
    let range = |(first, last): (u16, u16)| format!("{first}-{last}");
    let (ports, excluded) = (range(snat.ports), quoted(snat.excluded.iter().copied().map(range)));
    format!(
        "action = \"snat\"\nmapping = {mapping}\nfiltering = {filtering}\nprotocols = {protocols}\n\
         ports = \"{ports}\"\n\
         exclude_ports = {excluded}\nspill = {spill}\n\
         source = {{ addresses = {addresses}, pooling = \"{pooling}\" }}\n"
    )
}

fn prefix_text(prefix: &Prefix) -> String {
    format!("{}/{}", prefix.address, prefix.length)
}

fn quoted(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", items.join(", "))
}
