//! What a packet says: its transport, its place in a connection, and what is unusual about it.
use nat_common::flow::Direction;
use nat_tests::model::{
    Model,
    flow::Flow,
    packet::tcp_flags::{ACK, FIN, RST, SYN},
};

use super::super::{
    frames::{Place, Plan, Transport},
    generate::Generator,
};

impl Generator {
    pub(super) fn any_transport(&mut self) -> Transport {
        let (from, to) = (self.choice.of(&[53, 80, 5000]), self.choice.of(&[53, 80, 4000, 5001]));
        match self.choice.below(5) {
            0 => Transport::Tcp { from, to, flags: self.flags(), place: self.anywhere() },
            1 => Transport::Udp { from, to },
            2 => Transport::Icmp { kind: self.choice.of(&[0, 0, 8, 3, 11, 13]), identifier: to },
            3 => Transport::Other(self.choice.of(&[2, 4, 41, 47, 50, 132])),
            _ => Transport::Tcp { from, to, flags: SYN, place: self.anywhere() },
        }
    }

    /// Of a segment that belongs to no connection yet.
    pub(super) fn anywhere(&mut self) -> Place {
        let options: [&'static [u8]; 8] = [
            &[],
            &[],
            &[2, 4, 5, 0xb4, 1, 3, 3, 7],
            &[2, 4, 5, 0xb4, 4, 2, 8, 10, 3, 3, 9, 0, 0, 0, 0, 0, 1, 3, 3, 2],
            &[3, 3, 0],
            &[1, 1, 3, 3, 200],
            &[3, 0, 7],
            &[0, 3, 3, 7],
        ];
        Place {
            sequence: self.choice.bits() as u32,
            acknowledgement: self.choice.bits() as u32,
            window: self.choice.of(&[0, 1, 100, 1024, 65535]),
            options: self.choice.of(&options),
        }
    }

    /// Of a segment that belongs to a connection, or seems to.
    pub(super) fn place(
        &mut self,
        model: &Model,
        flow: &Flow,
        from: Direction,
        flags: u8,
    ) -> Place {
        let place = self.anywhere();
        let session = model.sessions.get(flow);
        let Some((own, peer)) = session.and_then(|session| session.streams(from)) else {
            return place;
        };
        let asked = session.and_then(|session| session.connection?.asked);
        let (own_next, heard) = (own.next.or(peer.heard), peer.heard.or(own.next));
        let sequence = self.near(&[own_next, own_next, own_next, heard], peer.window);
        let first = if flags & SYN != 0 && self.choice.one_in(2) { 1 } else { 0 };
        let acknowledged = [peer.next, peer.next, peer.next, own.heard, asked, asked];
        let acknowledgement = self.near(&acknowledged, own.window);
        Place { sequence: sequence.wrapping_sub(first), acknowledgement, ..place }
    }

    /// One of these numbers, or something in its neighbourhood, or just any.
    pub(super) fn near(&mut self, numbers: &[Option<u32>], window: Option<u16>) -> u32 {
        let bits = self.choice.bits() as u32;
        let Some(number) = self.choice.of(numbers) else { return bits };
        let window = u32::from(window.unwrap_or(0));
        match self.choice.below(16) {
            0..9 => number,
            9 => number.wrapping_add(1),
            10 => number.wrapping_sub(1),
            11 => number.wrapping_add(bits % 3000),
            12 => number.wrapping_sub(bits % 3000),
            13 => number.wrapping_add(window).wrapping_sub(bits % 2),
            14 => number.wrapping_add(window).wrapping_add(1),
            _ => bits,
        }
    }

    /// What a connection sends in its life, and now and then what none does.
    pub(super) fn flags(&mut self) -> u8 {
        if self.choice.one_in(12) {
            return self.choice.bits() as u8;
        }
        let plausible = [
            (6, SYN),
            (5, SYN | ACK),
            (8, ACK),
            (4, FIN | ACK),
            (1, FIN),
            (2, RST),
            (1, RST | ACK),
            (1, SYN | FIN),
        ];
        self.choice.weighted(&plausible)
    }

    /// Payload, and things that are unusual about headers.
    pub(super) fn dress(&mut self, plan: &mut Plan) {
        let bytes = match self.choice.below(50) {
            0 => 1340 + self.choice.below(200),
            1 => self.choice.below(600),
            _ => self.choice.below(24),
        };
        let filling = self.choice.bits() as u8;
        plan.payload = vec![filling; bytes as usize];
        for byte in plan.payload.iter_mut().take(4) {
            *byte = self.choice.bits() as u8;
        }
        if self.choice.below(8) != 0 {
            return;
        }
        match self.choice.below(10) {
            0 => plan.ttl = self.choice.of(&[0, 1, 2, 255]),
            1 => plan.options = 1 + self.choice.below(10) as usize,
            2 => plan.fragment = self.choice.of(&[0x2000, 0x20b9, 0x00b9, 0x0001, 0x3fff]),
            3 => plan.fragment = self.choice.of(&[0x0000, 0x8000, 0xc000]),
            4 => plan.damage.0 = self.choice.bits() as u16,
            5 => plan.damage.1 = self.choice.bits() as u16,
            6 => plan.no_checksum = true,
            7 => plan.cut = self.choice.below(24) as usize,
            8 => plan.padding = self.choice.below(30) as usize,
            _ => plan.foreign = true,
        }
    }

    /// Bytes that make no sense.
    pub(super) fn mangle(&mut self, frame: &mut Vec<u8>) {
        if self.choice.below(60) != 0 {
            return;
        }
        match self.choice.below(6) {
            0 => {
                let ether_type: u16 = self.choice.of(&[0x0806, 0x86dd, 0x8100, 0x88a8, 0x88cc]);
                frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
                // The kernel refuses test frames that are shorter than the header they announce.
                frame.resize(frame.len().max(64), 0);
            }
            1 => frame[14] = 0x60 | (frame[14] & 15),
            2 => frame[14] = 0x40 | self.choice.below(16) as u8,
            3 => {
                let length = self.choice.below(2 * frame.len() as u64) as u16;
                frame[16..18].copy_from_slice(&length.to_be_bytes());
            }
            4 => {
                // TCP's data offset, some byte elsewhere.
                let at = 46.min(frame.len() - 1);
                frame[at] = self.choice.bits() as u8;
            }
            _ => {
                let at = 14 + self.choice.below(frame.len() as u64 - 14) as usize;
                frame[at] ^= 1 << self.choice.below(8);
            }
        }
    }
}
