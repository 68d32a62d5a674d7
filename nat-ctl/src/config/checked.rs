//! A configuration that holds together. Values of these types come from
//! [`Config::parse`](super::Config::parse) and [`Config::quick`](super::Config::quick); what they
//! promise is written at each field and need not be checked again.

mod snat;

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use serde::{Deserialize, Serialize};

pub use snat::{Mss, PerProtocol, Snat, Source, port_text};

pub use super::words::{
    Candidates, CooldownScope, Filtering, Hook, Mapping, OnAddressRemoved, Pooling, PrivateScope,
    Protocol, SourceModel, TieBreak, Unmatched,
};

/// Which interfaces take part, and where packets are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interfaces {
    /// Where clients live. Valid names, at least one, none twice, none that is also outside.
    pub inside: Vec<String>,
    /// Where translated packets leave. Valid names, at least one, none twice.
    pub outside: Vec<String>,
    pub hook: Hook,
}

impl Interfaces {
    pub const HOOK_DEFAULT: Hook = Hook::Auto;
}

/// Order and flags of an interface's addresses. Addresses of the host that are not listed follow
/// in the kernel's order, without flags; listed ones that the host does not have mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterfaceAddresses {
    /// A valid name; none twice.
    pub interface: String,
    /// In the configured order; no address is listed twice, nor for two interfaces.
    pub addresses: Vec<ConfiguredAddress>,
}

/// An address of `[addresses]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfiguredAddress {
    /// Unicast.
    pub address: Ipv4Addr,
    /// Windows `SkipAsSource`: not a source unless it is named.
    pub skip_as_source: bool,
}

/// A named set of prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Unique, printable, at most [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX) bytes, never one of
    /// the built-in names.
    pub name: String,
    /// At least one; no address of them lies in another network.
    pub prefixes: Vec<Ipv4Net>,
    /// The inside interfaces by which packets from the prefixes must arrive, none twice; empty
    /// where the file names none: then by any.
    pub interfaces: Vec<String>,
}

/// An element of `from` or `to`.
///
/// Networks do not share addresses, and `local-host` is one of them: an address of this machine is
/// in `local-host` and in no other, also where it lies in a prefix of another one, as the
/// gateway's own 10.0.0.1 does in an `internal` of 10.0.0.0/8. So the longest prefix decides: the
/// machine's is a /32. A rule whose `from` is `internal` is therefore for the clients; what the
/// gateway itself sends from 10.0.0.1 is for rules that name `local-host`, as it is in Microsoft
/// TMG. A prefix means every address in it, the machine's too, except in `from` of a `snat` rule:
/// there only an address alone (a /32) means one of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector {
    /// A prefix without host bits.
    Prefix(Ipv4Net),
    /// `Config::networks[index]`, without the addresses of this machine.
    Network(usize),
    /// Everything in no network, the built-in `local-host` included. Kept symbolic: what it covers
    /// changes with the networks.
    External,
    /// Every address of this machine. Kept symbolic: the host has the list.
    LocalHost,
}

/// One rule. They are tried in order, the first match wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Unique, printable, at most [`NAME_BYTES_MAX`](super::NAME_BYTES_MAX) bytes.
    pub name: String,
    /// At least one.
    pub from: Vec<Selector>,
    /// At least one.
    pub to: Vec<Selector>,
    /// Not empty. For `route` and `drop` always [`ProtocolSet::EVERY`].
    pub protocols: ProtocolSet,
    pub action: Action,
}

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Leave it as it is.
    Route,
    Drop,
    /// Translate its source.
    Snat(Snat),
}

impl Action {
    /// The word, as in the configuration file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Drop => "drop",
            Self::Snat(_) => "snat",
        }
    }
}

/// A set of IP protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolSet(u8);

impl ProtocolSet {
    /// All that can be translated; the default of a `snat` rule.
    pub const TRANSLATABLE: Self = Self(0b0111);
    /// Every IP protocol, also those that cannot be translated.
    pub const EVERY: Self = Self(0b1111);

    pub fn contains(self, protocol: Protocol) -> bool {
        self.0 & Self::bit(protocol) != 0
    }

    /// Whether protocols other than TCP, UDP and ICMP are in the set.
    pub fn contains_others(self) -> bool {
        self.0 & 0b1000 != 0
    }

    pub fn is_superset(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn bit(protocol: Protocol) -> u8 {
        match protocol {
            Protocol::Tcp => 0b0001,
            Protocol::Udp => 0b0010,
            Protocol::Icmp => 0b0100,
        }
    }
}

impl FromIterator<Protocol> for ProtocolSet {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().fold(0, |set, protocol| set | Self::bit(protocol)))
    }
}

/// What happens where no rule says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    pub unmatched: Unmatched,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { unmatched: Unmatched::Route }
    }
}

/// Options of the source models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceOptions {
    /// For `strong-host`.
    pub tie_break: TieBreak,
    /// For `strong-host`.
    pub candidates: Candidates,
    /// For `strong-host`.
    pub private_scope: PrivateScope,
    /// Whether the gateway's own packets that leave with another interface's address are
    /// translated or dropped, not only reported.
    pub enforce_strong_send: bool,
    /// Whether `first`, `lowest` and `weak-host` leave out addresses with `skip_as_source`;
    /// `strong-host` always does.
    pub honour_skip_as_source: bool,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            tie_break: TieBreak::First,
            candidates: Candidates::Egress,
            private_scope: PrivateScope::Global,
            enforce_strong_send: false,
            honour_skip_as_source: true,
        }
    }
}

/// A route that is kept in the kernel while the controller runs. None has destination and metric
/// of another: the kernel tells routes of a table apart by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticRoute {
    /// Without host bits.
    pub to: Ipv4Net,
    /// Unicast; None on-link.
    pub via: Option<Ipv4Addr>,
    /// A valid interface name.
    pub dev: String,
    /// The lower one of two is taken.
    pub metric: u32,
}

impl StaticRoute {
    /// That of `ip route add` without one.
    pub const METRIC_DEFAULT: u32 = 0;
}

impl fmt::Display for StaticRoute {
    /// As for `ip route`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.dev)?;
        match self.metric {
            Self::METRIC_DEFAULT => Ok(()),
            metric => write!(f, " metric {metric}"),
        }
    }
}

/// How long an idle session lives, by protocol and state. Between
/// [`TIMEOUT_MIN`](super::TIMEOUT_MIN) and [`TIMEOUT_MAX`](super::TIMEOUT_MAX).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub tcp_established: Duration,
    pub tcp_opening: Duration,
    pub tcp_closing: Duration,
    pub udp: Duration,
    pub udp_dns: Duration,
    pub icmp: Duration,
}

impl Default for Timeouts {
    /// The minima of RFC 5382 REQ-5 and RFC 5508 REQ-2, and what RFC 4787 REQ-5 recommends.
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_secs(7440),
            tcp_opening: Duration::from_secs(240),
            tcp_closing: Duration::from_secs(240),
            udp: Duration::from_secs(300),
            udp_dns: Duration::from_secs(20),
            icmp: Duration::from_secs(60),
        }
    }
}

/// How long an external port rests after a session. Times are milliseconds, at most
/// [`COOLDOWN_MS_MAX`](super::COOLDOWN_MS_MAX); 0 is not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    pub enabled: bool,
    /// After a TCP connection, however it ended if not as below.
    pub time_ms: u32,
    /// After a TCP connection that was reset.
    pub rst_ms: u32,
    /// After a TCP opening that nobody answered.
    pub half_open_ms: u32,
    /// After UDP and ICMP.
    pub udp_ms: u32,
    pub scope: CooldownScope,
    /// Resting tuples at a time: from [`COOLING_MIN`](super::COOLING_MIN) to
    /// [`COOLING_MAX`](super::COOLING_MAX). When there are more, the oldest is released early.
    pub max_cooling: u32,
    /// Whether the oldest resting port may be taken when no other is free and the new SYN cannot
    /// be mistaken for the old connection (RFC 6191).
    pub pressure_reuse: bool,
}

impl Default for Cooldown {
    /// Twice the MSL of RFC 9293, as Microsoft TMG has it; TMG's flag itself is off by default.
    fn default() -> Self {
        Self {
            enabled: true,
            time_ms: 240_000,
            rst_ms: 240_000,
            half_open_ms: 30_000,
            udp_ms: 0,
            scope: CooldownScope::Destination,
            max_cooling: 1_048_576,
            pressure_reuse: false,
        }
    }
}

/// Capacities. Those of a client, which is an inside address, are 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Between [`SESSIONS_MIN`](super::SESSIONS_MIN) and [`SESSIONS_MAX`](super::SESSIONS_MAX).
    pub max_sessions: u32,
    /// At most [`SESSIONS_MAX`](super::SESSIONS_MAX).
    pub sessions_per_client: u32,
    /// TCP connections that are being opened; at most [`SESSIONS_MAX`](super::SESSIONS_MAX).
    pub half_open_per_client: u32,
    /// At most [`NEW_PER_SECOND_MAX`](super::NEW_PER_SECOND_MAX).
    pub new_per_second_per_client: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 262_144,
            sessions_per_client: 8192,
            half_open_per_client: 512,
            new_per_second_per_client: 2000,
        }
    }
}
