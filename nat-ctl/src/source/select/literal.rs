//! The rules once more, as the RFCs word them: on strings of bits, two addresses at a time. Slow,
//! and shares nothing with what it is compared with.
use std::net::IpAddr;

use crate::source::{Address, Flag, Interface, Options, PrivateScope, TieBreak};

pub struct Asked<'a> {
    pub destination: IpAddr,
    pub next_hop: IpAddr,
    pub egress: &'a str,
    pub options: Options,
    pub rfc6724: bool,
}

/// An address and its interface's name.
pub type Source<'a> = (&'a str, &'a Address);

const STRONG: &[&str] = &["1", "2", "3", "5", "8a", "8"];
const RFC6724: &[&str] = &["1", "2", "3", "4", "5", "5.5", "6", "7", "8"];

/// Winner and deciding rule.
pub fn select(host: &[Interface], asked: &Asked<'_>) -> Option<(IpAddr, String)> {
    let mut left: Vec<Source<'_>> = Vec::new();
    let egress_first = host
        .iter()
        .filter(|interface| interface.name == asked.egress)
        .chain(host.iter().filter(|interface| interface.name != asked.egress));
    for interface in egress_first {
        for address in &interface.addresses {
            if is_candidate(interface, address, asked) {
                left.push((&interface.name, address));
            }
        }
    }
    if left.len() < 2 {
        return Some((left.first()?.1.ip, "only-candidate".to_owned()));
    }
    for rule in if asked.rfc6724 { RFC6724 } else { STRONG } {
        let beaten = |sa: &Source<'_>| left.iter().any(|sb| prefers(rule, sb, sa, asked));
        let best: Vec<_> = left.iter().filter(|sa| !beaten(sa)).copied().collect();
        assert!(!best.is_empty(), "rule {rule} goes in circles");
        if let [(_, only)] = best[..] {
            return Some((only.ip, (*rule).to_owned()));
        }
        left = best;
    }
    let winner = match asked.options.tie_break {
        TieBreak::First => left[0].1.ip,
        TieBreak::Lowest => left.iter().map(|(_, one)| one.ip).min()?,
    };
    Some((winner, "tie".to_owned()))
}

/// The addresses that an address beats, taken two at a time by all rules in order.
pub fn beats(sa: &Source<'_>, sb: &Source<'_>, asked: &Asked<'_>) -> bool {
    for rule in if asked.rfc6724 { RFC6724 } else { STRONG } {
        let (better, worse) = (prefers(rule, sa, sb, asked), prefers(rule, sb, sa, asked));
        assert!(!(better && worse), "rule {rule} prefers both");
        if better || worse {
            return better;
        }
    }
    false
}

fn is_candidate(interface: &Interface, address: &Address, asked: &Asked<'_>) -> bool {
    let never = [Flag::SkipAsSource, Flag::Tentative, Flag::Duplicate, Flag::Invalid];
    let (own, destination) = (bits(address.ip), bits(asked.destination));
    let host_part = &own[usize::from(address.prefix_len)..];
    let is_v4 = own.len() == 32;
    let broadcast = is_v4 && address.prefix_len < 31 && !host_part.contains('0');
    let multicast = own.starts_with(if is_v4 { "1110" } else { "11111111" });
    let link_only = scope(asked.destination, PrivateScope::Global) == 2
        || destination.len() == 128 && destination.starts_with("11111111");
    own.len() == destination.len()
        && interface.up
        && !never.into_iter().any(|flag| address.flags.contains(flag))
        && own.contains('1')
        && (!is_v4 || own.contains('0'))
        && !broadcast
        && !multicast
        && (interface.name == asked.egress
            || asked.options.candidates == crate::source::CandidateSet::All && !link_only)
}

/// "Then prefer SA", by one rule.
fn prefers(rule: &str, sa: &Source<'_>, sb: &Source<'_>, asked: &Asked<'_>) -> bool {
    let ((a_dev, a), (b_dev, b)) = (sa, sb);
    let d = asked.destination;
    let scope = |ip| scope(ip, asked.options.private_scope);
    let has = |address: &Address, flag| address.flags.contains(flag);
    let home = |one: &Address| (has(one, Flag::Home), has(one, Flag::CareOf));
    match rule {
        "1" => a.ip == d && b.ip != d,
        "2" if scope(a.ip) < scope(b.ip) => scope(a.ip) >= scope(d),
        "2" if scope(b.ip) < scope(a.ip) => scope(b.ip) < scope(d),
        "3" => !has(a, Flag::Deprecated) && has(b, Flag::Deprecated),
        "4" => {
            home(a) == (true, true) && home(b) != (true, true)
                || home(a) == (true, false) && home(b) == (false, true)
        }
        "5" => *a_dev == asked.egress && *b_dev != asked.egress,
        "5.5" => {
            a.advertised_by == Some(asked.next_hop)
                && b.advertised_by.is_some_and(|router| router != asked.next_hop)
        }
        "6" => label(a.ip) == label(d) && label(b.ip) != label(d),
        "7" => {
            has(a, Flag::Temporary) == asked.options.prefer_temporary
                && has(b, Flag::Temporary) != asked.options.prefer_temporary
        }
        "8a" => shared(a, asked.next_hop, asked) > shared(b, asked.next_hop, asked),
        "8" => shared(a, d, asked) > shared(b, d, asked),
        _ => false,
    }
}

fn bits(ip: IpAddr) -> String {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.iter().map(|octet| format!("{octet:08b}")).collect()
}

fn shared(source: &Address, other: IpAddr, asked: &Asked<'_>) -> usize {
    let (own, other) = (bits(source.ip), bits(other));
    let equal = own.chars().zip(other.chars()).take_while(|(one, two)| one == two).count();
    let capped = asked.options.cpl_cap_to_prefix.unwrap_or(asked.rfc6724);
    if capped { equal.min(source.prefix_len.into()) } else { equal }
}

fn scope(ip: IpAddr, private: PrivateScope) -> u8 {
    let text = ip.to_string();
    let is = |prefix: &str| text.starts_with(prefix);
    let second = || text.split('.').nth(1).and_then(|octet| octet.parse::<u8>().ok());
    let private_v4 =
        is("10.") || is("192.168.") || is("172.") && (16..32).contains(&second().unwrap());
    match ip {
        IpAddr::V4(_) if is("169.254.") || is("127.") => 2,
        IpAddr::V4(_) if private == PrivateScope::SiteLocal && private_v4 => 5,
        IpAddr::V4(_) => 14,
        IpAddr::V6(_) if is("ff") => u8::from_str_radix(&text[3..4], 16).unwrap(),
        IpAddr::V6(_) if text == "::1" => 2,
        IpAddr::V6(_) if ["fe8", "fe9", "fea", "feb"].into_iter().any(is) => 2,
        IpAddr::V6(_) if ["fec", "fed", "fee", "fef"].into_iter().any(is) => 5,
        IpAddr::V6(_) => 14,
    }
}

/// RFC 6724 section 2.1, longest prefixes first.
fn label(ip: IpAddr) -> u8 {
    let IpAddr::V6(ip) = ip else { return 4 };
    let own = bits(IpAddr::V6(ip));
    let table = [
        ("::1", 128, 0),
        ("::ffff:0:0", 96, 4),
        ("::", 96, 3),
        ("2001::", 32, 5),
        ("2002::", 16, 2),
        ("3ffe::", 16, 12),
        ("fec0::", 10, 11),
        ("fc00::", 7, 13),
        ("::", 0, 1),
    ];
    let matching = |(prefix, len, _): &(&str, usize, u8)| {
        own.starts_with(&bits(prefix.parse::<IpAddr>().unwrap())[..*len])
    };
    table.into_iter().find(matching).unwrap().2
}
