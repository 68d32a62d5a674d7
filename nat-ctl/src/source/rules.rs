//! The rules by which candidates are told apart, one at a time.
//!
//! A rule gives each candidate a merit, and says which merits lose against the best one that is
//! there. Those that do not lose are "the addresses for which no other is preferred".
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Serialize, Serializer};

use super::{
    Flag, PrivateScope,
    candidates::Candidate,
    models::policy::{self, Table},
    prefix::common_prefix,
    scope::Scope,
};

/// What decided, or what removed a candidate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// There was no other.
    OnlyCandidate,
    /// Rule 1: the destination's own address.
    SameAddress,
    /// Rule 2: the smallest scope that reaches the destination.
    Scope,
    /// Rule 3: not deprecated.
    Deprecated,
    /// Rule 4: Mobile IPv6 home addresses.
    Home,
    /// Rule 5: of the interface that the packet leaves by.
    Outgoing,
    /// Rule 5.5: of a prefix that the next hop advertised.
    Advertised,
    /// Rule 6: of the destination's label.
    Label,
    /// Rule 7: temporary, or public, addresses.
    Temporary,
    /// Linux IPv6: overlay identifiers (RFC 4843) for each other only.
    Orchid,
    /// Rule 8a: the longest match with the next hop. Windows only.
    NextHop,
    /// Rule 8: the longest match with the destination.
    Longest,
    /// No rule told them apart.
    Tie,
    /// Asked for by the packet's sender.
    Bound,
    /// First in configured order.
    FirstConfigured,
    /// Lowest number.
    Smallest,
    /// Named by the NAT rule.
    Specified,
    /// One of those that the NAT rule names.
    Pool,
    /// Linux: the interface's first primary address.
    LinuxFirstPrimary,
    /// Linux: the first primary address whose subnet has the next hop, where that is a later one.
    LinuxGatewaySubnet,
    /// Linux: the route's `src`.
    LinuxPrefsrc,
    /// Linux: of another interface.
    LinuxFallback,
}

impl Rule {
    /// The word in JSON and test vectors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnlyCandidate => "only-candidate",
            Self::SameAddress => "1",
            Self::Scope => "2",
            Self::Deprecated => "3",
            Self::Home => "4",
            Self::Outgoing => "5",
            Self::Advertised => "5.5",
            Self::Label => "6",
            Self::Temporary => "7",
            Self::Orchid => "orchid",
            Self::NextHop => "8a",
            Self::Longest => "8",
            Self::Tie => "tie",
            Self::Bound => "bound",
            Self::FirstConfigured => "first-configured",
            Self::Smallest => "smallest",
            Self::Specified => "specified",
            Self::Pool => "pool",
            Self::LinuxFirstPrimary => "linux-first-primary",
            Self::LinuxGatewaySubnet => "linux-gateway-subnet",
            Self::LinuxPrefsrc => "linux-prefsrc",
            Self::LinuxFallback => "linux-fallback",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What the rules look at beside the candidates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub destination: IpAddr,
    pub next_hop: IpAddr,
    pub private_scope: PrivateScope,
    /// Whether a match counts for no more bits than the candidate's subnet has.
    pub cap: bool,
    pub prefer_temporary: bool,
    pub labels: &'static Table,
}

impl Terms {
    /// The bits that a candidate shares with `other`, as rules 8a and 8 count them.
    pub fn match_length(&self, candidate: &Candidate, other: IpAddr) -> u8 {
        let bits = common_prefix(candidate.ip, other);
        if self.cap { bits.min(candidate.prefix_len) } else { bits }
    }

    /// What a rule thinks of a candidate. The numbers of different rules have nothing to do with
    /// each other; the greater is the better, with the exceptions of [`loses`].
    pub fn merit(&self, rule: Rule, candidate: &Candidate) -> u8 {
        let flag = |flag| candidate.flags.contains(flag);
        match rule {
            Rule::SameAddress => u8::from(candidate.ip == self.destination),
            Rule::Scope => self.scope_merit(Scope::of(candidate.ip, self.private_scope)),
            Rule::Deprecated => u8::from(!flag(Flag::Deprecated)),
            Rule::Home => match (flag(Flag::Home), flag(Flag::CareOf)) {
                (true, true) => HOME_AND_CARE_OF,
                (true, false) => HOME,
                (false, true) => CARE_OF,
                (false, false) => NEITHER,
            },
            Rule::Outgoing => u8::from(candidate.on_egress),
            Rule::Advertised => match candidate.advertised_by {
                Some(router) if router == self.next_hop => BY_NEXT_HOP,
                Some(_) => BY_OTHER,
                None => NEITHER,
            },
            Rule::Label => {
                let same = self.label(candidate.ip) == self.label(self.destination);
                u8::from(same)
            }
            Rule::Temporary => u8::from(flag(Flag::Temporary) == self.prefer_temporary),
            Rule::Orchid => u8::from(is_orchid(candidate.ip) == is_orchid(self.destination)),
            Rule::NextHop => self.match_length(candidate, self.next_hop),
            Rule::Longest => self.match_length(candidate, self.destination),
            _ => 0,
        }
    }

    /// "If Scope(SA) < Scope(SB): if Scope(SA) < Scope(D), then prefer SB and otherwise prefer SA"
    /// as one number: of the scopes that reach the destination the smallest is best, of the others
    /// the largest, and any of the former is better than any of the latter.
    fn scope_merit(&self, scope: Scope) -> u8 {
        let wanted = Scope::of(self.destination, self.private_scope);
        // Scopes are four bits.
        if scope >= wanted { 31 - scope.number() } else { scope.number() }
    }

    pub fn label(&self, ip: IpAddr) -> u8 {
        policy::label(self.labels, ip)
    }
}

const NEITHER: u8 = 0;
// Rule 4.
const CARE_OF: u8 = 1;
const HOME: u8 = 2;
const HOME_AND_CARE_OF: u8 = 3;
// Rule 5.5.
const BY_OTHER: u8 = 1;
const BY_NEXT_HOP: u8 = 2;

/// Whether a candidate of some merit goes when the best of those still there has `best`.
pub(super) fn loses(rule: Rule, merit: u8, best: u8) -> bool {
    match rule {
        // Both at once beats everything else; a mere home address beats a mere care-of address,
        // and an address that is neither is as good as each of these.
        Rule::Home => match best {
            HOME_AND_CARE_OF => merit < best,
            HOME => merit == CARE_OF,
            _ => false,
        },
        // Of an address whose router is not known the rule says nothing.
        Rule::Advertised => best == BY_NEXT_HOP && merit == BY_OTHER,
        _ => merit < best,
    }
}

/// RFC 4843: 2001:10::/28.
fn is_orchid(ip: IpAddr) -> bool {
    const ORCHID: Ipv6Addr = Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0);
    common_prefix(ip, IpAddr::V6(ORCHID)) >= 28
}
