//! What rules that translate have of their own.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::config::words::{
    Filtering, Mapping, MssWord, OnAddressRemoved, Pooling, Protocol, SourceModel,
};

/// How a rule translates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snat {
    pub source: Source,
    /// Whether the chosen address stays while it is valid, although the model now prefers another.
    /// Means nothing with listed addresses.
    pub sticky: bool,
    pub on_address_removed: OnAddressRemoved,
    /// External ports (for ICMP: identifiers); never empty and never with port 0.
    pub ports: RangeInclusive<u16>,
    /// Those of [`ports`](Self::ports) that are not used: in rising order, not touching each
    /// other, at most [`EXCLUDED_MAX`](crate::config::EXCLUDED_MAX). At least one port is left.
    pub exclude_ports: Vec<RangeInclusive<u16>>,
    pub mapping: PerProtocol<Mapping>,
    /// Has its meaning where the mapping is endpoint-independent only.
    pub filtering: PerProtocol<Filtering>,
    /// Whether a client whose own address is full may use another one of the list. Means nothing
    /// but with several addresses and paired pooling.
    pub spill: bool,
    pub mss: Mss,
}

/// Ports, as in `exclude_ports` of the file: one alone, or the first and the last.
pub fn port_text(ports: &RangeInclusive<u16>) -> String {
    if ports.start() == ports.end() {
        ports.start().to_string()
    } else {
        format!("{}-{}", ports.start(), ports.end())
    }
}

/// A value for each protocol that can be translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PerProtocol<T> {
    pub tcp: T,
    pub udp: T,
    pub icmp: T,
}

impl<T: Copy> PerProtocol<T> {
    /// The same value for all.
    pub const fn all(value: T) -> Self {
        Self { tcp: value, udp: value, icmp: value }
    }

    pub const fn get(self, protocol: Protocol) -> T {
        match protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.udp,
            Protocol::Icmp => self.icmp,
        }
    }
}

impl<T: Copy + PartialEq + fmt::Display> fmt::Display for PerProtocol<T> {
    /// One value where all are equal, else each with its protocol.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tcp, udp, icmp } = self;
        if *self == Self::all(*tcp) {
            return write!(f, "{tcp}");
        }
        write!(f, "tcp {tcp} udp {udp} icmp {icmp}")
    }
}

/// What happens to the maximum segment size that a TCP SYN offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mss {
    /// It stays as it is.
    Off,
    /// It is lowered to what the MTU of the way out leaves room for.
    Auto,
    /// It is lowered to this: from [`MSS_MIN`](crate::config::MSS_MIN) to [`MSS_MAX`](crate::config::MSS_MAX).
    Clamp(u16),
}

impl fmt::Display for Mss {
    /// As in the configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(MssWord::Off.as_str()),
            Self::Auto => f.write_str(MssWord::Auto.as_str()),
            Self::Clamp(size) => write!(f, "{size}"),
        }
    }
}

/// Where the external address of a `snat` rule comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It follows from the host's routes and addresses.
    Model(SourceModel),
    /// It is one of these.
    Addresses {
        /// In the configured order: unicast, none twice, at least one and at most
        /// [`ADDRESSES_MAX`](crate::config::ADDRESSES_MAX).
        addresses: Vec<Ipv4Addr>,
        pooling: Pooling,
    },
}

impl Source {
    /// The listed addresses; none with a model.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        match self {
            Self::Model(_) => &[],
            Self::Addresses { addresses, .. } => addresses,
        }
    }
}

impl Snat {
    pub const SOURCE_DEFAULT: Source = Source::Model(SourceModel::StrongHost);
    pub const POOLING_DEFAULT: Pooling = Pooling::Paired;
    pub const ON_ADDRESS_REMOVED_DEFAULT: OnAddressRemoved = OnAddressRemoved::Drain;
    /// Without the ports below 1024: they would look like a server's to old peers, and services
    /// of the gateway itself live there.
    pub const PORTS_DEFAULT: RangeInclusive<u16> = 1024..=65535;
    /// RFC 4787 REQ-1 and RFC 5508 REQ-1; of TCP, whose connections are many and say when they
    /// end, a port serves several destinations (RFC 7857 section 3).
    pub const MAPPING_DEFAULT: PerProtocol<Mapping> = PerProtocol {
        tcp: Mapping::AddressAndPortDependent,
        udp: Mapping::EndpointIndependent,
        icmp: Mapping::EndpointIndependent,
    };
    /// The strictest.
    pub const FILTERING_DEFAULT: PerProtocol<Filtering> =
        PerProtocol::all(Filtering::AddressAndPortDependent);
    pub const MSS_DEFAULT: Mss = Mss::Off;
}
