//! Which addresses enter the contest.
use std::net::IpAddr;

use super::{
    Address, CandidateSet, Flag, Flags, Host, Interface, Model, Options, PrivateScope,
    lookup::is_assignable, models::linux::is_primary, scope::Scope,
};

/// An address that may become a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub ip: IpAddr,
    /// Length of the subnet's prefix in bits.
    pub prefix_len: u8,
    pub flags: Flags,
    /// Whether it is on the interface that the packet leaves by.
    pub on_egress: bool,
    pub advertised_by: Option<IpAddr>,
}

/// Why an address never entered the contest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeptOut {
    SkipAsSource,
    Tentative,
    Duplicate,
    /// Out of lifetime, or not the address of a single host.
    Invalid,
}

impl KeptOut {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SkipAsSource => "skip-as-source",
            Self::Tentative => "tentative",
            Self::Duplicate => "duplicate",
            Self::Invalid => "invalid",
        }
    }

    /// What can follow the address in a sentence.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::SkipAsSource => "is marked SkipAsSource: it has to be asked for by name",
            Self::Tentative => "is tentative: somebody else may have it",
            Self::Duplicate => "is a duplicate: somebody else has it",
            Self::Invalid => "is not valid: it is out of lifetime, or not the address of one host",
        }
    }
}

/// An address of an interface, and whether it takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry<'h> {
    pub interface: &'h Interface,
    pub candidate: Candidate,
    pub kept_out: Option<KeptOut>,
}

/// Every address of the destination's family that a model considers for packets that leave by
/// `egress`, in order of preference where rules do not decide: the egress interface's own first.
pub(super) fn entries<'h>(
    host: &'h Host,
    egress: &'h Interface,
    model: Model,
    options: &Options,
    destination: IpAddr,
) -> Vec<Entry<'h>> {
    let mut all = Vec::new();
    for interface in interfaces(host, egress, model, options, destination) {
        let before = all.len();
        let of_family = |address: &&Address| address.ip.is_ipv4() == destination.is_ipv4();
        for address in interface.addresses.iter().filter(of_family) {
            all.push(entry(interface, address, egress, model, options));
        }
        if model.is_linux() && destination.is_ipv6() {
            // ipv6_link_dev_addr() puts the newest first.
            all[before..].reverse();
        }
    }
    all
}

/// An address as a model sees it for packets that leave by `egress`.
pub(super) fn entry<'h>(
    interface: &'h Interface,
    address: &Address,
    egress: &Interface,
    model: Model,
    options: &Options,
) -> Entry<'h> {
    let Address { ip, prefix_len, flags, advertised_by } = *address;
    let secondary = model.by_primary(ip) && !is_primary(interface, address);
    let flags = if secondary { flags.with(Flag::Secondary) } else { flags };
    let on_egress = std::ptr::eq(interface, egress);
    Entry {
        interface,
        candidate: Candidate { ip, prefix_len, flags, on_egress, advertised_by },
        kept_out: kept_out(model, options, address),
    }
}

/// The interfaces whose addresses a model considers.
fn interfaces<'h>(
    host: &'h Host,
    egress: &'h Interface,
    model: Model,
    options: &Options,
    destination: IpAddr,
) -> Vec<&'h Interface> {
    let others = host.interfaces.iter().filter(|other| !std::ptr::eq(*other, egress));
    let mut considered = vec![egress];
    if model.by_primary(destination) {
        // inet_select_addr() does not ask whether the others are up.
        let (loopback, rest): (Vec<_>, Vec<_>) = others.partition(|other| other.name == "lo");
        considered.extend(loopback.into_iter().chain(rest));
    } else if takes_all(model, options) && !is_of_the_link(destination) {
        considered.extend(others.filter(|other| other.up));
    }
    considered
}

fn takes_all(model: Model, options: &Options) -> bool {
    match model {
        Model::Strong | Model::Rfc6724 => options.candidates == CandidateSet::All,
        _ => model.is_linux(),
    }
}

/// Whether a destination may only be sent to from an address of the egress link, whatever the set
/// of candidates (RFC 6724 section 4).
pub(super) fn is_of_the_link(destination: IpAddr) -> bool {
    destination.is_multicast() || Scope::of(destination, PrivateScope::Global) == Scope::LINK_LOCAL
}

/// Why an address is no candidate of a model, if it is none.
fn kept_out(model: Model, options: &Options, address: &Address) -> Option<KeptOut> {
    let skips = match model {
        Model::Strong | Model::Rfc6724 => true,
        Model::Weak | Model::IsaFirst | Model::TmgDefault | Model::WebProxy => {
            options.honour_skip_as_source
        }
        // Named addresses are meant; Linux has no such flag.
        Model::Specified | Model::Multiple | Model::Linux | Model::LinuxMasquerade => false,
    };
    let skipped = skips && address.flags.contains(Flag::SkipAsSource);
    unusable(address).or(skipped.then_some(KeptOut::SkipAsSource))
}

/// Why an address cannot be a source of anything, not even when asked for by name, if it cannot. A
/// tentative one is "not considered assigned" (RFC 4862 section 2), and the others are no more.
pub(super) fn unusable(address: &Address) -> Option<KeptOut> {
    let is = |flag| address.flags.contains(flag);
    if is(Flag::Tentative) {
        Some(KeptOut::Tentative)
    } else if is(Flag::Duplicate) {
        Some(KeptOut::Duplicate)
    } else if is(Flag::Invalid) || !is_assignable(address.ip, address.prefix_len) {
        Some(KeptOut::Invalid)
    } else {
        None
    }
}
