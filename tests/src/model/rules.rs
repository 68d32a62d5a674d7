//! The rule table: ordered, the first match wins.
use std::net::Ipv4Addr;

use super::{cooldown::Cooldown, flow::Protocol, host::Host, limits::Limits, mappings::Uses};

/// A rule table and what else a configuration sets.
#[derive(Clone, Debug)]
pub struct Table {
    pub rules: Vec<Rule>,
    /// Whether what no rule matches is dropped.
    pub unmatched_drop: bool,
    pub timeouts: Timeouts,
    pub cooldown: Cooldown,
    pub limits: Limits,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub from: Vec<Prefix>,
    pub to: Vec<Prefix>,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub enum Action {
    Route,
    Drop,
    Snat(Snat),
}

/// Whom a mapping lets in without having sent to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filtering {
    /// Nobody.
    AddressAndPortDependent,
    /// Every port of an address that has been sent to.
    AddressDependent,
    Everybody,
}

/// How a rule maps and filters a protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behaviour {
    /// Whether an inside endpoint has one external endpoint toward everybody.
    pub endpoint_independent: bool,
    pub filtering: Filtering,
}

/// How a rule translates.
#[derive(Clone, Debug)]
pub struct Snat {
    pub protocols: Vec<Protocol>,
    /// As configured; those that the egress interface does not have are not used.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether every session gets an address of its own choice, rather than every client.
    pub random: bool,
    /// Whether a client whose own address is full uses another one.
    pub spill: bool,
    /// First and last external port.
    pub ports: (u16, u16),
    /// Those of them that are not used: first and last, any number of times.
    pub excluded: Vec<(u16, u16)>,
    /// Of ICMP, TCP and UDP.
    pub behaviour: [Behaviour; 3],
}

impl Snat {
    /// How it maps and filters a protocol.
    #[must_use]
    pub fn of(&self, protocol: Protocol) -> Behaviour {
        let [icmp, tcp, udp] = self.behaviour;
        match protocol {
            Protocol::Icmp => icmp,
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
        }
    }

    /// What a session of a protocol shares with others.
    #[must_use]
    pub fn uses(&self, protocol: Protocol) -> Option<Uses> {
        let Behaviour { endpoint_independent, filtering } = self.of(protocol);
        let permission = filtering == Filtering::AddressDependent;
        endpoint_independent.then_some(Uses { range: self.ports.0, permission })
    }

    /// Whether an external port may be used.
    #[must_use]
    pub fn allows(&self, port: u16) -> bool {
        let holds = |&(first, last): &(u16, u16)| (first..=last).contains(&port);
        holds(&self.ports) && !self.excluded.iter().any(holds)
    }

    /// The external ports that may be used.
    pub(super) fn all(&self) -> impl Iterator<Item = u16> {
        let (first, last) = self.ports;
        (first..=last).filter(|port| self.allows(*port))
    }
}

/// Idle times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub tcp_opening: u64,
    pub tcp_established: u64,
    pub tcp_closing: u64,
    pub udp: u64,
    pub udp_dns: u64,
    pub icmp: u64,
}

/// A block of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    pub address: Ipv4Addr,
    pub length: u8,
}

impl Prefix {
    #[must_use]
    pub const fn new(address: [u8; 4], length: u8) -> Self {
        let [a, b, c, d] = address;
        Self { address: Ipv4Addr::new(a, b, c, d), length }
    }

    #[must_use]
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        let host_bits = 32 - u32::from(self.length);
        let network = |address: Ipv4Addr| u64::from(u32::from(address)) >> host_bits;
        network(self.address) == network(address)
    }
}

/// What a table says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// The rule at this position.
    Rule(usize),
    /// A `snat` rule covers the addresses, but neither it nor a later rule takes the protocol.
    OnlyProtocolDiffers,
    Nothing,
}

impl Rule {
    /// Whether `from` covers an address. A `snat` rule means the gateway's own only where it names
    /// one of them by itself: a rule for everybody must not translate its services' answers.
    fn is_from(&self, host: &Host, source: Ipv4Addr) -> bool {
        let spares_own = matches!(self.action, Action::Snat(_)) && host.has(source);
        self.from.iter().any(|from| from.holds(source) && (from.length == 32 || !spares_own))
    }
}

impl Table {
    /// Reads the rules in order.
    #[must_use]
    pub fn ruling(
        &self,
        host: &Host,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
    ) -> Ruling {
        let mut covered = false;
        for (position, rule) in self.rules.iter().enumerate() {
            if !rule.is_from(host, source) || !rule.to.iter().any(|to| to.holds(destination)) {
                continue;
            }
            match &rule.action {
                Action::Route | Action::Drop => return Ruling::Rule(position),
                Action::Snat(snat) => {
                    let protocol = Protocol::from_number(protocol);
                    if protocol.is_some_and(|protocol| snat.protocols.contains(&protocol)) {
                        return Ruling::Rule(position);
                    }
                    covered = true;
                }
            }
        }
        if covered { Ruling::OnlyProtocolDiffers } else { Ruling::Nothing }
    }
}
