//! The configuration file as it is written. One struct per table; the fields are the only list of
//! known keys, and every key says here what it does.
//!
//! Everything is optional at this level and most values carry their place in the file: what is
//! missing or does not fit together is found by [`validate`](super::validate), which can then say
//! so for all keys at once. Defaults are those of the types in [`checked`](super::checked).

mod forms;

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;

use super::QUICK_RULE;
use super::checked::{self, Interfaces};
use super::words::{
    ActionWord, Candidates, CooldownScope, Filtering, Hook, Mapping, OnAddressRemoved, Pooling,
    PrivateScope, Protocol, TieBreak, Unmatched,
};

pub(super) use forms::{Address, AllOrEach, DurationText, Mss, PortText, PortsText, Source};

/// A table of the documented format of which this version knows no more than the name. It is
/// refused ([`unavailable`](super::unavailable)), as other keys are that nothing acts on yet.
pub(super) type NotYet = Option<Spanned<IgnoredAny>>;

/// A list whose place and whose elements' places are known.
pub(super) type List<T> = Option<Spanned<Vec<Spanned<T>>>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct File {
    /// Which interfaces lead inside and outside. The only table without which nothing works.
    pub interfaces: Option<Spanned<InterfacesTable>>,
    /// Names for sets of prefixes.
    pub networks: Vec<Spanned<NetworkTable>>,
    /// What to do with which packets; the first rule that matches decides.
    pub rules: Vec<Spanned<RuleTable>>,
    /// What happens to packets that no rule covers.
    pub defaults: DefaultsTable,
    /// How long an idle session lives.
    pub timeouts: TimeoutsTable,
    /// Capacities.
    pub limits: LimitsTable,
    /// Order and flags of an interface's addresses, by its name.
    pub addresses: BTreeMap<Spanned<String>, Spanned<Vec<Spanned<Address>>>>,
    /// Options of the source models.
    pub source: SourceOptionsTable,
    /// How long an external port rests after use.
    pub cooldown: CooldownTable,
    /// Metrics and health endpoint.
    pub listen: NotYet,
    /// Log of translations.
    pub log: NotYet,
    /// Routes to keep in the kernel.
    pub static_routes: Vec<Spanned<StaticRouteTable>>,
}

impl File {
    /// The file that says the same as `run --inside IF --outside IF`. Going through the file's
    /// form means that one set of checks holds for both.
    pub fn quick(interfaces: Interfaces, from: &[Ipv4Net], source: &checked::Source) -> Self {
        let source = match source {
            checked::Source::Model(model) => Source::Model(*model),
            checked::Source::Addresses { addresses, pooling } => {
                Source::Table(SourceTable { addresses: list(addresses), pooling: Some(*pooling) })
            }
        };
        let rule = RuleTable {
            name: Some(nowhere(QUICK_RULE.to_owned())),
            from: list(from),
            to: list(&["0.0.0.0/0"]),
            action: Some(nowhere(ActionWord::Snat)),
            source: Some(nowhere(source)),
            ..RuleTable::default()
        };
        let interfaces = InterfacesTable {
            inside: list(&interfaces.inside),
            outside: list(&interfaces.outside),
            hook: Some(interfaces.hook),
        };
        Self {
            interfaces: Some(nowhere(interfaces)),
            rules: vec![nowhere(rule)],
            ..Self::default()
        }
    }
}

fn nowhere<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn list(elements: &[impl ToString]) -> List<String> {
    Some(nowhere(elements.iter().map(|element| nowhere(element.to_string())).collect()))
}

/// `[interfaces]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct InterfacesTable {
    /// Interfaces where clients live.
    pub inside: List<String>,
    /// Interfaces that translated packets leave by.
    pub outside: List<String>,
    /// Where packets are taken: `auto`, `xdp` or `tc`.
    pub hook: Option<Hook>,
}

/// `[[networks]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct NetworkTable {
    /// The name that rules use.
    pub name: Option<Spanned<String>>,
    /// The prefixes that belong to it. No prefix may lie in two networks.
    pub prefixes: List<String>,
    /// Interfaces by which packets from these prefixes must arrive.
    pub interfaces: List<String>,
}

/// `[[rules]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RuleTable {
    /// Shown in sessions, counters and messages.
    pub name: Option<Spanned<String>>,
    /// Sources: names of networks, `external`, or prefixes.
    pub from: List<String>,
    /// Destinations, in the same words.
    pub to: List<String>,
    /// Protocols that a `snat` rule translates; the others are dropped.
    pub protocols: List<Protocol>,
    /// `snat`, `route` (leave as it is) or `drop`.
    pub action: Option<Spanned<ActionWord>>,
    /// Where the external address of a `snat` rule comes from.
    pub source: Option<Spanned<Source>>,
    /// External ports (for ICMP: identifiers) that the rule may use.
    pub ports: Option<Spanned<PortsText>>,
    /// External ports that the rule must not use.
    pub exclude_ports: List<PortText>,
    /// Endpoint-independent or destination-dependent mapping.
    pub mapping: Option<Spanned<AllOrEach<Mapping>>>,
    /// Who may send to a mapped port.
    pub filtering: Option<Spanned<AllOrEach<Filtering>>>,
    /// Whether paired pooling may use another address when the client's own is full.
    pub spill: Option<Spanned<bool>>,
    /// Whether the chosen address stays although the model now prefers another.
    pub sticky: Option<Spanned<bool>>,
    /// What happens to sessions whose external address goes away: `drain` or `end`.
    pub on_address_removed: Option<Spanned<OnAddressRemoved>>,
    /// TCP maximum segment size.
    pub mss: Option<Spanned<Mss>>,
}

/// `mapping = { … }` or `filtering = { … }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct ProtocolsTable<T> {
    /// For TCP.
    pub tcp: Option<Spanned<T>>,
    /// For UDP.
    pub udp: Option<Spanned<T>>,
    /// For ICMP.
    pub icmp: Option<Spanned<T>>,
}

/// `source = { … }`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct SourceTable {
    /// The external addresses.
    pub addresses: List<String>,
    /// How one of several is picked: `paired` or `random`.
    pub pooling: Option<Pooling>,
}

/// An element of a list in `[addresses]` that is written as a table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct AddressTable {
    /// The address.
    pub address: Option<Spanned<String>>,
    /// Whether it is a source only where it is named (Windows `SkipAsSource`).
    pub skip_as_source: bool,
}

/// `[defaults]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct DefaultsTable {
    /// Packets that no rule covers: `route` or `drop`.
    pub unmatched: Option<Unmatched>,
}

/// `[source]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct SourceOptionsTable {
    /// Which of equal addresses wins: the `first` configured or the `lowest`.
    pub tie_break: Option<Spanned<TieBreak>>,
    /// Addresses of the `egress` interface, or of `all`.
    pub candidates: Option<Spanned<Candidates>>,
    /// The scope of private addresses: `global` or `site-local`.
    pub private_scope: Option<Spanned<PrivateScope>>,
    /// Whether the gateway's own packets may not leave with another interface's address.
    pub enforce_strong_send: Option<bool>,
    /// Whether the models of old leave out addresses with `skip_as_source`.
    pub honour_skip_as_source: Option<Spanned<bool>>,
}

/// `[[static_routes]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct StaticRouteTable {
    /// The destinations.
    pub to: Option<Spanned<String>>,
    /// The router; without it they are neighbours.
    pub via: Option<Spanned<String>>,
    /// The interface.
    pub dev: Option<Spanned<String>>,
    /// Of two routes to the same destinations the one with the lower number is taken.
    pub metric: Option<Spanned<i64>>,
}

/// `[timeouts]`: durations such as `"300s"` or `"2h 4m"`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct TimeoutsTable {
    /// Established TCP connections (RFC 5382 REQ-5: at least 2 h 4 min).
    pub tcp_established: Option<Spanned<DurationText>>,
    /// TCP connections that are being opened (RFC 5382 REQ-5: at least 4 min).
    pub tcp_opening: Option<Spanned<DurationText>>,
    /// TCP connections that are being closed (RFC 5382 REQ-5: at least 4 min).
    pub tcp_closing: Option<Spanned<DurationText>>,
    /// UDP (RFC 4787 REQ-5: at least 2 min, recommended 5 min).
    pub udp: Option<Spanned<DurationText>>,
    /// UDP to remote port 53 (RFC 4787 REQ-5 allows less for well-known ports).
    pub udp_dns: Option<Spanned<DurationText>>,
    /// ICMP queries (RFC 5508 REQ-2: at least 60 s).
    pub icmp: Option<Spanned<DurationText>>,
}

/// `[cooldown]`: times in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct CooldownTable {
    /// Whether ports rest at all (Microsoft TMG: ApplyCooldownForLocalSourcePortReuse).
    pub enabled: Option<Spanned<bool>>,
    /// After a TCP connection (Microsoft TMG: CooldownForLocalSourcePortReuseTime).
    pub time_ms: Option<Spanned<i64>>,
    /// After a TCP connection that was reset.
    pub rst_ms: Option<Spanned<i64>>,
    /// After a TCP opening that nobody answered.
    pub half_open_ms: Option<Spanned<i64>>,
    /// After UDP and ICMP.
    pub udp_ms: Option<Spanned<i64>>,
    /// Toward whom a port rests: the same `destination`, or everybody (`port`).
    pub scope: Option<Spanned<CooldownScope>>,
    /// Ports that can rest at a time; their memory is taken at the start.
    pub max_cooling: Option<Spanned<i64>>,
    /// Whether a resting port may be taken when no other is free and it is safe.
    pub pressure_reuse: Option<Spanned<bool>>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct LimitsTable {
    /// Sessions that can exist at a time; their memory is taken at the start.
    pub max_sessions: Option<Spanned<i64>>,
    /// Sessions of one client.
    pub sessions_per_client: Option<Spanned<i64>>,
    /// Half-open sessions of one client.
    pub half_open_per_client: Option<Spanned<i64>>,
    /// New sessions of one client in a second.
    pub new_per_second_per_client: Option<Spanned<i64>>,
}
