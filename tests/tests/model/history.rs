//! What has happened lately, to be told when something goes wrong.
use std::{collections::VecDeque, fmt::Write as _, net::Ipv4Addr};

use nat_common::{stats::Hook, verdict::Verdict};
use nat_tests::model::{
    Origin, Sent,
    packet::{self, Content, Packet, Segment},
};

/// Events kept: enough for the life of any session.
const EVENTS: usize = 20_000;
/// Events told of one kind.
const TOLD: usize = 25;

enum What {
    Packet { hook: Hook, origin: Origin, frame: Vec<u8>, out: Vec<u8>, verdict: Verdict },
    Other(String),
}

/// See the module.
#[derive(Default)]
pub struct History(VecDeque<(u64, u64, What)>);

impl History {
    pub fn packet(
        &mut self,
        (number, now_ns): (u64, u64),
        sent: Sent<'_>,
        verdict: Verdict,
        out: &[u8],
    ) {
        let Sent { hook, origin, .. } = sent;
        let (frame, out) = (sent.frame.to_vec(), out.to_vec());
        self.add(number, now_ns, What::Packet { hook, origin, frame, out, verdict });
    }

    pub fn other(&mut self, number: u64, now_ns: u64, text: String) {
        self.add(number, now_ns, What::Other(text));
    }

    fn add(&mut self, number: u64, now_ns: u64, what: What) {
        if self.0.len() == EVENTS {
            self.0.pop_front();
        }
        self.0.push_back((number, now_ns, what));
    }

    /// The latest events, and those that may be enough to see a difference at `frame` again: the
    /// packets between the same hosts on the same inside or outside port, and changes of rules.
    pub fn tell(&self, frame: Option<&[u8]>) -> String {
        let mut text = "the last events:\n".to_owned();
        for event in self.0.iter().rev().take(12).rev() {
            text += &line(event);
        }
        let Some(flow) = frame.and_then(|frame| packet::read(frame).ok()) else { return text };
        text += "what had to do with this flow, enough to start a small test from:\n";
        let related = self.0.iter().rev().filter(|event| match &event.2 {
            What::Packet { frame, out, .. } => {
                [frame, out].iter().any(|frame| packet::read(frame).is_ok_and(|p| meets(&p, &flow)))
            }
            What::Other(text) => text.starts_with("rules"),
        });
        let related: Vec<_> = related.take(TOLD).collect();
        for event in related.iter().rev() {
            text += &line(event);
        }
        text
    }
}

/// Whether two packets share a remote host, and an endpoint on the near side.
fn meets(a: &Packet, b: &Packet) -> bool {
    let ends = |packet: &Packet| {
        let (from, to) = ports(packet.content);
        [(packet.source, from), (packet.destination, to)]
    };
    a.protocol == b.protocol
        && ends(a).iter().all(|end| ends(b).iter().any(|other| other.0 == end.0))
        && ends(a).iter().any(|end| ends(b).contains(end))
}

fn ports(content: Content) -> (u16, u16) {
    match content {
        Content::Tcp { source, destination, .. } | Content::Udp { source, destination } => {
            (source, destination)
        }
        Content::EchoRequest { identifier } => (identifier, 0),
        Content::EchoReply { identifier } => (0, identifier),
        Content::Error | Content::Other(_) => (0, 0),
    }
}

fn line((number, now_ns, what): &(u64, u64, What)) -> String {
    let seconds = *now_ns as f64 / 1e9;
    let mut line = format!("  #{number} at {seconds:.9} s: ");
    match what {
        What::Other(text) => line += text,
        What::Packet { hook, origin, frame, out, verdict } => {
            let frame_text = show(frame);
            write!(line, "{} {origin:?} {frame_text} {}", hook.name(), verdict.name()).unwrap();
            if frame != out {
                write!(line, " as {}", show(out)).unwrap();
            }
        }
    }
    line + "\n"
}

/// A frame in a line.
pub fn show(frame: &[u8]) -> String {
    let Ok(packet) = packet::read(frame) else {
        return format!("[{} bytes, no IPv4 packet]", frame.len());
    };
    let what = match packet.content {
        Content::Tcp { segment, .. } => {
            let flags = segment.flags;
            let names = [(2, 'S'), (16, 'A'), (1, 'F'), (4, 'R')];
            let names: String =
                names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| name).collect();
            let Segment { sequence, acknowledgement, window, payload, scale, .. } = segment;
            format!("tcp {names} {sequence}+{payload} ack {acknowledgement} win {window} {scale:?}")
        }
        Content::Udp { .. } => "udp".to_owned(),
        Content::EchoRequest { .. } => "echo".to_owned(),
        Content::EchoReply { .. } => "echo reply".to_owned(),
        Content::Error => "icmp error".to_owned(),
        Content::Other(verdict) => format!("protocol {} ({})", packet.protocol, verdict.name()),
    };
    let end = |address: Ipv4Addr, port: u16| format!("{address}:{port}");
    let (from, to) = ports(packet.content);
    format!(
        "[{what} {} > {} ttl {} {} bytes]",
        end(packet.source, from),
        end(packet.destination, to),
        packet.ttl,
        frame.len()
    )
}
