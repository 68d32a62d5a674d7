//! What tells one flow from another.
use std::net::Ipv4Addr;

/// An address and a port; for an ICMP query its identifier, and on its far side 0.
pub type Endpoint = (Ipv4Addr, u16);

/// The protocols that are translated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    Icmp,
    Tcp,
    Udp,
}

impl Protocol {
    /// By IANA number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// The IANA number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// A flow as one side of the gateway sees it: `local` is the client's endpoint on the inside and
/// the external endpoint on the outside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    pub protocol: Protocol,
    pub local: Endpoint,
    pub remote: Endpoint,
}

impl Flow {
    /// The same flow on the other side of the gateway.
    #[must_use]
    pub fn with_local(self, local: Endpoint) -> Self {
        Self { local, ..self }
    }
}
