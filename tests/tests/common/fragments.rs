//! Packets in parts.
use super::frames;

/// Parts a frame after these bytes of its IPv4 payload, which have to be multiples of 8. In order.
pub fn split(frame: &[u8], at: &[usize], id: u16) -> Vec<Vec<u8>> {
    let payload = &frame[34..];
    let ends = at.iter().copied().chain([payload.len()]);
    let mut from = 0;
    let parts = ends.map(|to| {
        let part = part(frame, id, from, to, to != payload.len());
        from = to;
        part
    });
    parts.collect()
}

/// One part of a frame, from and to these bytes of its IPv4 payload.
pub fn part(frame: &[u8], id: u16, from: usize, to: usize, more: bool) -> Vec<u8> {
    let cut = [&frame[..34], &frame[34..][from..to]].concat();
    frames::with_ipv4(&cut, |header| {
        header.identification = id;
        header.dont_fragment = false;
        header.more_fragments = more;
        header.fragment_offset = u16::try_from(from / 8).unwrap().try_into().unwrap();
        header.total_len = u16::try_from(20 + to - from).unwrap();
    })
}

/// Puts parts together again, as whoever receives them does: the header is the first one's.
pub fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let offset = |part: &[u8]| usize::from(u16::from_be_bytes([part[20], part[21]]) & 0x1fff) * 8;
    let length = parts.iter().map(|part| offset(part) + part.len() - 34).max().unwrap();
    let mut payload = vec![0; length];
    for part in parts {
        let from = offset(part);
        payload[from..from + part.len() - 34].copy_from_slice(&part[34..]);
    }
    let first = parts.iter().find(|part| offset(part) == 0).unwrap();
    let whole = [&first[..34], &payload].concat();
    frames::with_ipv4(&whole, |header| {
        header.more_fragments = false;
        header.total_len = u16::try_from(20 + payload.len()).unwrap();
    })
}
