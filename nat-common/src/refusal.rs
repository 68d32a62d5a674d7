//! What a client is told whose session is refused (RFC 5508 REQ-8, RFC 6888 REQ-11).
//!
//! The data path cannot send packets of its own: it hands the controller what an ICMP error needs, so
//! rarely that a flood costs no more than what is answered.
use crate::{
    addr::Ipv4,
    limit::{Bucket, ClientLimits},
    limits::{REFUSALS_PER_CLIENT_AND_SECOND_MAX, REFUSALS_PER_SECOND_MAX},
    verdict::Verdict,
};

/// Bytes of a packet that the error quotes: an IPv4 header with all its options, and 8 bytes behind it
/// (RFC 792).
pub const QUOTE_BYTES_MAX: usize = 60 + QUOTE_BYTES_BEHIND_HEADER;

/// Bytes that are quoted behind the IPv4 header.
pub const QUOTE_BYTES_BEHIND_HEADER: usize = 8;

/// Record of the ring by which refusals reach the controller.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The interface by which the packet came.
    pub ifindex: u32,
    /// Bytes of the quote.
    pub length: u16,
    /// Number of the [`Verdict`].
    pub verdict: u8,
    pub zero: u8,
    pub quote: [u8; QUOTE_BYTES_MAX],
}

const _: () = assert!(size_of::<Refusal>() == 8 + QUOTE_BYTES_MAX);

/// Whether a packet of this verdict is refused a session for want of something: of ports, of memory, or
/// of what its client may have.
#[inline(always)]
#[must_use]
pub const fn is_refusal(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::NoPort
            | Verdict::TableFull
            | Verdict::ClientSessions
            | Verdict::ClientHalfOpen
            | Verdict::ClientRate
    )
}

/// Whether there may be an error about a packet between these (RFC 1812 section 4.3.2.7). What is a
/// fragment, or an error itself, is not refused a session.
#[inline(always)]
#[must_use]
pub const fn may_have_error(source: Ipv4, destination: Ipv4) -> bool {
    source.is_unicast() && destination.is_unicast()
}

/// Clients that are told apart. Those of one place share what it may have.
pub const PLACES: u32 = 256;

/// A client's place.
#[inline(always)]
#[must_use]
pub const fn place(client: Ipv4) -> u32 {
    client.to_be32().wrapping_mul(0x9e37_79b1) >> (u32::BITS - PLACES.ilog2())
}

const fn limit(new_per_second: u32) -> ClientLimits {
    ClientLimits { new_per_second, ..ClientLimits::NONE }
}

/// Takes one error from the bucket of a client's place and from that of all; nothing if there is none
/// left. Whoever has spent its own takes nothing from the others.
#[inline(always)]
#[must_use]
pub const fn take(client: Bucket, all: Bucket, now_ns: u64) -> Option<(Bucket, Bucket)> {
    let Ok(client) = client.take(&limit(REFUSALS_PER_CLIENT_AND_SECOND_MAX), now_ns) else {
        return None;
    };
    match all.take(&limit(REFUSALS_PER_SECOND_MAX), now_ns) {
        Ok(all) => Some((client, all)),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of a second in which somebody tries so often, from full buckets.
    fn granted(tries: u32, mut client: Bucket, mut all: Bucket) -> (u32, Bucket) {
        let mut granted = 0;
        for n in 0..tries {
            let now_ns = 5_000_000_000 + u64::from(n) * 1_000_000_000 / u64::from(tries);
            if let Some(left) = take(client, all, now_ns) {
                (client, all) = left;
                granted += 1;
            }
        }
        (granted, all)
    }

    #[test]
    fn rfc5508_req10f_a_flood_of_one_client_is_bounded_and_leaves_errors_for_others() {
        let (first, all) = granted(100_000, Bucket(0), Bucket(0));
        let per_client = REFUSALS_PER_CLIENT_AND_SECOND_MAX;
        assert!((per_client..=2 * per_client).contains(&first), "{first}");
        let left = all.left(&limit(REFUSALS_PER_SECOND_MAX), 6_000_000_000);
        assert!(left >= REFUSALS_PER_SECOND_MAX - 2 * per_client, "{left}");
    }

    #[test]
    fn rfc5508_req10f_clients_together_are_bounded() {
        let (mut all, mut sum) = (Bucket(0), 0);
        for _ in 0..PLACES {
            let (client, left) = granted(1000, Bucket(0), all);
            (all, sum) = (left, sum + client);
        }
        // The first in the whole second, and what they leave of it: no more than two seconds' worth.
        assert!((REFUSALS_PER_SECOND_MAX..=2 * REFUSALS_PER_SECOND_MAX).contains(&sum), "{sum}");
    }

    #[test]
    fn neighbours_have_places_of_their_own() {
        let places: std::collections::HashSet<_> =
            (0..=255).map(|host| place(Ipv4::new([10, 77, 0, host]))).collect();
        assert!(places.len() > 128 && places.iter().all(|place| *place < PLACES));
    }

    #[test]
    fn rfc1812_4_3_2_7_no_error_about_what_is_for_many_or_from_nobody() {
        let (host, other) = (Ipv4::new([10, 0, 0, 2]), Ipv4::new([192, 0, 2, 1]));
        assert!(may_have_error(host, other));
        for none in [[224, 0, 0, 1], [255; 4], [0; 4], [127, 0, 0, 1]].map(Ipv4::new) {
            assert!(!may_have_error(host, none) && !may_have_error(none, other));
        }
    }
}
