//! Linux, for comparison. IPv4: inet_select_addr() in net/ipv4/devinet.c, by primary addresses and
//! never by bits. IPv6: RFC 6724 as in net/ipv6/addrconf.c.
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::{Address, Error, Flag, Interface, Rule, candidates::Candidate};

/// The rules for IPv6, in order.
pub const IPV6_RULES: [Rule; 9] = [
    Rule::SameAddress,
    Rule::Scope,
    Rule::Deprecated,
    Rule::Home,
    Rule::Outgoing,
    Rule::Label,
    Rule::Temporary,
    Rule::Orchid,
    Rule::Longest,
];

/// The source of an IPv4 packet from the egress interface's addresses and then all others.
///
/// `route_source` is the route's `src`, which masquerade does not look at.
pub fn choose(
    candidates: &[Candidate],
    route_source: Option<IpAddr>,
    destination: IpAddr,
    next_hop: IpAddr,
) -> Result<(usize, Rule), Error> {
    let position = |wanted: &dyn Fn(&Candidate) -> bool| candidates.iter().position(wanted);
    if let Some(source) = route_source
        && let Some(index) = position(&|candidate| candidate.ip == source)
    {
        return Ok((index, Rule::LinuxPrefsrc));
    }
    let primary = |one: &Candidate| !one.flags.contains(Flag::Secondary);
    // 127/8 has host scope.
    let reaches =
        |one: &Candidate| primary(one) && (!one.ip.is_loopback() || destination.is_loopback());
    let first = position(&|one| one.on_egress && reaches(one));
    let beside = position(&|one| one.on_egress && reaches(one) && has_in_subnet(one, next_hop));
    match (first, beside) {
        (Some(first), None) => Ok((first, Rule::LinuxFirstPrimary)),
        (Some(first), Some(beside)) if first == beside => Ok((first, Rule::LinuxFirstPrimary)),
        (_, Some(beside)) => Ok((beside, Rule::LinuxGatewaySubnet)),
        (None, None) => {
            let other = position(&reaches).ok_or(Error::NoSource)?;
            Ok((other, Rule::LinuxFallback))
        }
    }
}

fn has_in_subnet(candidate: &Candidate, ip: IpAddr) -> bool {
    IpNet::new(candidate.ip, candidate.prefix_len).is_ok_and(|subnet| subnet.contains(&ip))
}

/// Whether an IPv4 address is the primary one of its subnet: by the kernel's flag where the
/// interface has it on any address, else the first of the same prefix and length
/// (__inet_insert_ifa()).
pub fn is_primary(interface: &Interface, address: &Address) -> bool {
    let addresses = &interface.addresses;
    if addresses.iter().any(|one| one.flags.contains(Flag::Secondary)) {
        return !address.flags.contains(Flag::Secondary);
    }
    let subnet = |one: &Address| IpNet::new(one.ip, one.prefix_len).map(|net| net.trunc());
    let first = addresses.iter().find(|one| subnet(one) == subnet(address));
    first.is_some_and(|first| std::ptr::eq(first, address))
}
