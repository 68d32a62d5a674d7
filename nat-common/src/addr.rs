//! IPv4 addresses and ports in network byte order.
//!
//! Both keep the bytes exactly as a packet carries them, in an integer of the packet field's size,
//! so that the data path moves and compares them without swapping. Arithmetic goes through the
//! accessors, which say which order they give.

/// An IPv4 address, 4 bytes in network order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ipv4(u32);

impl Ipv4 {
    /// 0.0.0.0
    pub const UNSPECIFIED: Self = Self(0);

    /// From the four bytes in the order in which they are written and sent.
    #[inline(always)]
    #[must_use]
    pub const fn new(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// The four bytes in the order in which they are written and sent.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// Whether this can be the address of one host: not 0/8, loopback, multicast, reserved or
    /// limited broadcast (RFC 1122 section 3.2.1.3).
    #[inline(always)]
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        let [first, ..] = self.octets();
        first != 0 && first != 127 && first < 224
    }

    /// The bytes as an integer of this machine, as BPF helpers take a `__be32`.
    #[inline(always)]
    #[must_use]
    pub const fn to_be32(self) -> u32 {
        self.0
    }

    /// The inverse of [`Ipv4::to_be32`].
    #[inline(always)]
    #[must_use]
    pub const fn from_be32(bits: u32) -> Self {
        Self(bits)
    }
}

impl core::fmt::Debug for Ipv4 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&core::net::Ipv4Addr::from(*self), f)
    }
}

impl From<core::net::Ipv4Addr> for Ipv4 {
    fn from(address: core::net::Ipv4Addr) -> Self {
        Self::new(address.octets())
    }
}

impl From<Ipv4> for core::net::Ipv4Addr {
    fn from(address: Ipv4) -> Self {
        address.octets().into()
    }
}

/// A TCP or UDP port or an ICMP query identifier, 2 bytes in network order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Port(u16);

impl Port {
    /// Stands where a protocol has no port, as on the remote side of an ICMP query.
    pub const NONE: Self = Self(0);

    /// From a number.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// The number that people write.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From the two bytes as sent.
    #[inline(always)]
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes))
    }

    /// The bytes as an integer of this machine, as BPF helpers take a `__be16`.
    #[inline(always)]
    #[must_use]
    pub const fn to_be16(self) -> u16 {
        self.0
    }
}

impl core::fmt::Debug for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.number(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multicast_broadcast_and_the_like_are_no_hosts() {
        let unicast = |octets| Ipv4::new(octets).is_unicast();
        assert!(unicast([10, 0, 0, 1]) && unicast([223, 255, 255, 254]) && unicast([1, 0, 0, 0]));
        for octets in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 251], [240, 0, 0, 1], [255; 4]] {
            assert!(!unicast(octets), "{octets:?}");
        }
    }

    #[test]
    fn memory_holds_the_bytes_as_sent() {
        assert_eq!(Ipv4::new([192, 0, 2, 1]).to_be32().to_ne_bytes(), [192, 0, 2, 1]);
        assert_eq!(Port::new(0x1234).to_be16().to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(Port::from_bytes([0x12, 0x34]).number(), 0x1234);
    }
}
