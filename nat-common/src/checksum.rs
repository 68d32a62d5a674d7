//! The Internet checksum, changed in place.
//!
//! The checksum is the complement of the one's complement sum of all 16-bit words (RFC 1071).
//! One's complement addition is associative and does not care about byte order as long as every
//! word is read the same way, so a translator need not read the payload: it adds to the sum what
//! the changed words gained, `new + ~old` (RFC 1624, equation 3). That difference is the same for
//! every packet of a flow, so it is computed once, when the session is made, and kept with it.
//!
//! Words here are loaded in the machine's own byte order, as they stand in memory.
use crate::addr::{Ipv4, Port};

/// What a sum of 16-bit words gains when some of them change: add it with [`update`].
pub type Delta = u16;

/// Brings a sum of up to 65535 words back to 16 bits, end-around carries added.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The delta of replacing one address.
#[inline(always)]
#[must_use]
pub const fn address_delta(old: Ipv4, new: Ipv4) -> Delta {
    let (old, new) = (!old.to_be32(), new.to_be32());
    fold((old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16))
}

/// The delta of replacing one port or identifier.
#[inline(always)]
#[must_use]
pub const fn port_delta(old: Port, new: Port) -> Delta {
    fold(!old.to_be16() as u32 + new.to_be16() as u32)
}

/// The delta of replacing one word.
#[inline(always)]
#[must_use]
pub const fn word_delta(old: u16, new: u16) -> Delta {
    fold(!old as u32 + new as u32)
}

/// The delta of both changes together.
#[inline(always)]
#[must_use]
pub const fn combine(a: Delta, b: Delta) -> Delta {
    fold(a as u32 + b as u32)
}

/// The delta of lowering the time to live by one. TTL is the first byte of its word.
pub const TTL_DECREMENT: Delta = !u16::from_ne_bytes([1, 0]);

/// The checksum field after a change (RFC 1624, equation 3).
#[inline(always)]
#[must_use]
pub const fn update(check: u16, delta: Delta) -> u16 {
    !fold(!check as u32 + delta as u32)
}

/// [`update`] for UDP over IPv4, where 0 says that the sender computed none: that stays 0, and a
/// computed 0 is sent as 0xffff, which is the same number in one's complement (RFC 768).
#[inline(always)]
#[must_use]
pub const fn update_udp(check: u16, delta: Delta) -> u16 {
    if check == 0 {
        return 0;
    }
    match update(check, delta) {
        0 => 0xffff,
        check => check,
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{IpNumber, Ipv4Header, TcpHeader, UdpHeader};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc1624_section_4_example() {
        // HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000 (not 0xffff, as RFC 1141 would).
        let delta = fold(u32::from(!0x5555_u16) + 0x3285);
        assert_eq!(update(0xdd2f, delta), 0x0000);
    }

    #[test]
    fn a_udp_checksum_of_zero_stays_and_a_computed_zero_is_sent_as_ffff() {
        assert_eq!(update_udp(0, 0x1234), 0);
        // The example above, whose result is zero.
        assert_eq!(update_udp(0xdd2f, fold(u32::from(!0x5555_u16) + 0x3285)), 0xffff);
    }

    /// Checksums of IPv4, TCP and UDP of the packet, by etherparse, as the words stand in memory.
    fn reference(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), payload: &[u8]) -> [u16; 3] {
        let mut ip = Ipv4Header::new(8, 64, IpNumber::UDP, src, dst).unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        let udp = UdpHeader::with_ipv4_checksum(ports.0, ports.1, &ip, payload).unwrap();
        let tcp = TcpHeader::new(ports.0, ports.1, 1, 1024);
        let tcp_check = tcp.calc_checksum_ipv4(&ip, payload).unwrap();
        [ip.header_checksum, tcp_check, udp.checksum].map(u16::to_be)
    }

    proptest! {
        #[test]
        fn incremental_equals_full_computation(
            old: [u8; 4], new: [u8; 4], dst: [u8; 4],
            old_port: u16, new_port: u16,
            payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let before = reference(old, dst, (old_port, 53), &payload);
            let after = reference(new, dst, (new_port, 53), &payload);
            let l3 = address_delta(Ipv4::new(old), Ipv4::new(new));
            let l4 = combine(l3, port_delta(Port::new(old_port), Port::new(new_port)));
            prop_assert_eq!(update(before[0], l3), after[0]);
            prop_assert_eq!(update(before[1], l4), after[1]);
            prop_assert_eq!(update_udp(before[2], l4), after[2]);
        }

        #[test]
        fn ttl_decrement_equals_full_computation(ttl in 1u8.., src: [u8; 4], dst: [u8; 4]) {
            let mut ip = Ipv4Header::new(8, ttl, IpNumber::TCP, src, dst).unwrap();
            let before = ip.calc_header_checksum().to_be();
            ip.time_to_live -= 1;
            prop_assert_eq!(update(before, TTL_DECREMENT), ip.calc_header_checksum().to_be());
        }
    }
}
