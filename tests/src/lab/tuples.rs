//! Which connections a capture shows, and how soon a tuple of theirs was used again.
//!
//! The judgement is made outside, on what went over the wire: from the last packet of a connection, in
//! either direction, to the SYN of the next one between the same two addresses and ports.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use super::sniffer::Frame;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A connection's two ends as they are outside: who sent the SYN, and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    pub external: SocketAddrV4,
    pub server: SocketAddrV4,
}

/// A tuple that was used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    pub tuple: Tuple,
    /// From the last packet of the old connection to the SYN of the new one.
    pub after: Duration,
}

/// The connection that a tuple has now.
#[derive(Debug)]
struct Connection {
    /// Sequence number of its SYN: one that is sent again has the same.
    initial: u32,
    last: Duration,
    answered: bool,
}

/// What the frames so far show.
#[derive(Debug, Default)]
pub struct Tuples {
    now: HashMap<Tuple, Connection>,
    connections: usize,
    reuses: Vec<Reuse>,
    challenged: Vec<Tuple>,
}

impl Tuples {
    /// Of a whole capture.
    pub fn of<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Self {
        let mut tuples = Self::default();
        frames.into_iter().for_each(|frame| tuples.see(frame));
        tuples
    }

    /// The next frame, in the order in which they were captured.
    pub fn see(&mut self, frame: &Frame) {
        let Some(segment) = Segment::read(&frame.bytes) else { return };
        let there = Tuple { external: segment.from, server: segment.to };
        let back = Tuple { external: segment.to, server: segment.from };
        if segment.flags & (SYN | ACK | RST | FIN) == SYN {
            self.opens(there, segment.sequence, frame.time);
        } else if let Some(connection) = self.now.get_mut(&back) {
            let first = !std::mem::replace(&mut connection.answered, true);
            // RFC 5961 section 4: the server still has the old connection.
            if first && segment.flags & (SYN | RST) == 0 {
                self.challenged.push(back);
            }
            connection.last = frame.time;
        } else if let Some(connection) = self.now.get_mut(&there) {
            connection.last = frame.time;
        }
    }

    fn opens(&mut self, tuple: Tuple, initial: u32, time: Duration) {
        let new = Connection { initial, last: time, answered: false };
        match self.now.get_mut(&tuple) {
            Some(connection) if connection.initial == initial => connection.last = time,
            Some(connection) => {
                let after = time.saturating_sub(connection.last);
                self.reuses.push(Reuse { tuple, after });
                *connection = new;
                self.connections += 1;
            }
            None => {
                self.now.insert(tuple, new);
                self.connections += 1;
            }
        }
    }

    /// Connections that somebody has tried to open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Every reuse of a tuple, in order of time.
    #[must_use]
    pub fn reuses(&self) -> &[Reuse] {
        &self.reuses
    }

    /// The shortest time after which a tuple was used again.
    #[must_use]
    pub fn soonest(&self) -> Option<Reuse> {
        self.reuses.iter().copied().min_by_key(|reuse| reuse.after)
    }

    /// Connections whose SYN the server answered with neither SYN nor RST: it took it for a segment of
    /// another one.
    #[must_use]
    pub fn challenged(&self) -> &[Tuple] {
        &self.challenged
    }
}

/// What matters of a TCP segment.
struct Segment {
    from: SocketAddrV4,
    to: SocketAddrV4,
    sequence: u32,
    flags: u8,
}

impl Segment {
    /// `None` for anything but whole TCP over IPv4 without a VLAN tag.
    fn read(frame: &[u8]) -> Option<Self> {
        let packet = frame.strip_prefix(frame.get(..12)?)?.strip_prefix(&[8, 0])?;
        let header = packet.get(..20)?;
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        if header[9] != 6 || fragment != 0 {
            return None;
        }
        let tcp = packet.get(usize::from(header[0] & 15) * 4..)?.get(..20)?;
        let address = |at: usize| {
            Ipv4Addr::from([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        Some(Self {
            from: SocketAddrV4::new(address(12), port(0)),
            to: SocketAddrV4::new(address(16), port(2)),
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            flags: tcp[13],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Direction, traffic};

    const HERE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 1), 4000);
    const THERE: (Ipv4Addr, u16) = (Ipv4Addr::new(203, 0, 113, 10), 80);

    fn frame(ms: u64, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), number: u32, flags: u8) -> Frame {
        let mut tcp = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        tcp.extend(number.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0]);
        let packet = traffic::ipv4(from.0, to.0, 6, &tcp);
        Frame {
            time: Duration::from_millis(ms),
            direction: Direction::Incoming,
            bytes: traffic::ethernet([2; 6], [4; 6], 0x0800, &packet),
            checksum_pending: false,
        }
    }

    #[test]
    fn a_reuse_is_from_the_last_packet_of_either_side_to_the_next_syn() {
        let tuples = Tuples::of(&[
            frame(1000, HERE, THERE, 1, SYN),
            frame(1001, HERE, THERE, 1, SYN),
            frame(1002, THERE, HERE, 9, SYN | ACK),
            frame(1500, HERE, THERE, 2, FIN | ACK),
            frame(1700, THERE, HERE, 10, ACK),
            // Another tuple, and a connection in the other direction, are nobody's reuse.
            frame(1800, (HERE.0, 4001), THERE, 7, SYN),
            frame(1900, THERE, HERE, 5, SYN),
            frame(2500, HERE, THERE, 3, SYN),
            frame(2501, THERE, HERE, 11, ACK),
        ]);
        assert_eq!(tuples.connections(), 4);
        assert_eq!(tuples.reuses().len(), 1);
        let reuse = tuples.soonest().unwrap();
        assert_eq!(reuse.after, Duration::from_millis(800));
        assert_eq!(reuse.tuple.external, SocketAddrV4::new(HERE.0, HERE.1));
        assert_eq!(tuples.challenged(), [reuse.tuple], "an ACK without a SYN answers the last SYN");
    }

    #[test]
    fn a_refused_or_accepted_syn_is_not_challenged() {
        for answer in [SYN | ACK, RST | ACK] {
            let frames = [frame(1, HERE, THERE, 1, SYN), frame(2, THERE, HERE, 9, answer)];
            assert_eq!(Tuples::of(&frames).challenged(), []);
        }
    }

    #[test]
    fn what_is_no_tcp_is_not_seen() {
        let mut udp = frame(1, HERE, THERE, 1, SYN);
        udp.bytes[23] = 17;
        let mut fragment = frame(1, HERE, THERE, 1, SYN);
        fragment.bytes[21] = 8;
        let mut short = frame(1, HERE, THERE, 1, SYN);
        short.bytes.truncate(50);
        assert_eq!(Tuples::of(&[udp, fragment, short]).connections(), 0);
    }
}
