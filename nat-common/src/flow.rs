//! What tells one flow from another.
use crate::addr::{Ipv4, Port};

/// A packet's way through the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From inside to outside: the source is translated.
    Outbound,
    /// From outside to inside: the destination is translated.
    Inbound,
}

impl Direction {
    /// The other one.
    #[inline(always)]
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Outbound => Self::Inbound,
            Self::Inbound => Self::Outbound,
        }
    }
}

/// The protocols that are translated, with their IANA numbers.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// ICMP queries (echo); the identifier stands for the port (RFC 5508).
    Icmp = 1,
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
}

impl Protocol {
    /// The protocol of an IANA number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// The name used in configuration, output and `--proto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Key of both session maps, 16 bytes.
///
/// `local` is the inside endpoint in the outbound map and the external endpoint in the inbound map;
/// `remote` is the same in both. An ICMP query has its identifier as local port and no remote port.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    pub local: Ipv4,
    pub remote: Ipv4,
    pub local_port: Port,
    pub remote_port: Port,
    /// A [`Protocol`] number.
    pub protocol: u8,
    zero: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 16);

impl FlowKey {
    /// The key under which a local endpoint stands for itself, toward everybody.
    #[inline(always)]
    #[must_use]
    pub const fn toward_everybody(&self) -> Self {
        self.toward(Ipv4::UNSPECIFIED, Port::NONE)
    }

    /// The same local endpoint with another remote one.
    #[inline(always)]
    #[must_use]
    pub const fn toward(&self, remote: Ipv4, remote_port: Port) -> Self {
        Self { remote, remote_port, ..*self }
    }

    /// The flow between a local and a remote endpoint.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        protocol: Protocol,
        (local, local_port): (Ipv4, Port),
        (remote, remote_port): (Ipv4, Port),
    ) -> Self {
        Self { local, remote, local_port, remote_port, protocol: protocol as u8, zero: [0; 3] }
    }

    /// The key of the same session in the other map: the local endpoint replaced by what it is
    /// translated to.
    #[inline(always)]
    #[must_use]
    pub const fn translated(&self, local: Ipv4, local_port: Port) -> Self {
        Self { local, local_port, ..*self }
    }

    /// Whether both endpoints are the same.
    #[inline(always)]
    #[must_use]
    pub const fn is_to_itself(&self) -> bool {
        self.local.to_be32() == self.remote.to_be32()
            && self.local_port.to_be16() == self.remote_port.to_be16()
    }

    /// The bytes as they stand in memory.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        let fields = self.local.octets().into_iter().chain(self.remote.octets());
        let ports = [self.local_port, self.remote_port].map(|port| port.to_be16().to_ne_bytes());
        let fields = fields.chain(ports.into_iter().flatten()).chain([self.protocol]);
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    /// 32 well-mixed bits of all five fields, by which a reader of a map entry makes sure that the
    /// entry is still that of its key ([`crate::session::Session::check`]).
    #[inline(always)]
    #[must_use]
    pub const fn fingerprint(&self) -> u32 {
        let addresses = (self.local.to_be32() as u64) << 32 | self.remote.to_be32() as u64;
        let ports = (self.local_port.to_be16() as u64) << 32
            | (self.remote_port.to_be16() as u64) << 16
            | self.protocol as u64;
        // Odd constants from the fractional parts of the golden ratio and of √2.
        let mixed = addresses
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(ports)
            .wrapping_mul(0x6a09_e667_f3bc_c909);
        (mixed ^ (mixed >> 32)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> FlowKey {
        FlowKey::new(
            Protocol::Tcp,
            (Ipv4::new([10, 0, 0, 5]), Port::new(41822)),
            (Ipv4::new([198, 51, 100, 9]), Port::new(443)),
        )
    }

    #[test]
    fn translation_keeps_the_remote_and_comes_back() {
        let external = key().translated(Ipv4::new([203, 0, 113, 7]), Port::new(50711));
        assert_eq!((external.remote, external.remote_port), (key().remote, key().remote_port));
        assert_eq!(external.translated(key().local, key().local_port), key());
    }

    #[test]
    fn every_field_changes_the_fingerprint() {
        let k = key();
        for other in [
            FlowKey { local: Ipv4::new([10, 0, 0, 6]), ..k },
            FlowKey { remote: Ipv4::new([198, 51, 100, 10]), ..k },
            FlowKey { local_port: Port::new(41823), ..k },
            FlowKey { remote_port: Port::new(444), ..k },
            FlowKey { protocol: Protocol::Udp as u8, ..k },
        ] {
            assert_ne!(other.fingerprint(), k.fingerprint(), "{other:?}");
        }
    }
}
