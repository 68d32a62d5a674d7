//! New addresses and ports, in frames that can be written directly.
use nat_common::{
    checksum::{self, Delta},
    flow::{Direction, Protocol},
    packet::Packet,
    rewrite::{Fields, IPV4_CHECK},
};

use super::parse::IPV4_OFFSET;
use crate::{entry::Translation, packet::Frame};

/// Replaces the local endpoint of a packet, and makes up for it in both checksums. `gained` is what the
/// IPv4 header's gains by whatever else changes there. Nothing, once a field is found missing: that
/// cannot happen after parsing, and the frame is then dropped.
#[inline(always)]
pub fn whole<F: Frame>(
    frame: &F,
    packet: &Packet,
    (direction, protocol): (Direction, Protocol),
    to: &Translation,
    gained: Delta,
) -> Option<()> {
    let fields = Fields::of(direction, protocol);
    transport_check(frame, packet, &fields, to)?;
    all_but_transport_check(frame, packet, &fields, to, gained)
}

/// Makes up for all of it in the transport checksum.
#[inline(always)]
pub fn transport_check<F: Frame>(
    frame: &F,
    packet: &Packet,
    fields: &Fields,
    to: &Translation,
) -> Option<()> {
    let check = packet.transport_offset as usize + fields.check as usize;
    let old: u16 = frame.load(check)?;
    let new = if fields.check_optional {
        checksum::update_udp(old, to.transport_delta)
    } else {
        checksum::update(old, to.transport_delta)
    };
    put(frame, check, new)
}

/// All of it but the transport checksum.
#[inline(always)]
pub fn all_but_transport_check<F: Frame>(
    frame: &F,
    packet: &Packet,
    fields: &Fields,
    to: &Translation,
    gained: Delta,
) -> Option<()> {
    put(frame, packet.transport_offset as usize + fields.port as usize, to.port)?;
    let check = IPV4_OFFSET + IPV4_CHECK as usize;
    let gained = checksum::combine(to.header_delta, gained);
    put(frame, check, checksum::update(frame.load(check)?, gained))?;
    put(frame, IPV4_OFFSET + fields.address as usize, to.address)
}

#[inline(always)]
fn put<F: Frame, T: Copy>(frame: &F, offset: usize, value: T) -> Option<()> {
    frame.store(offset, value).then_some(())
}
