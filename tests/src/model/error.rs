//! ICMP errors: whose they are by what they quote, and how they leave.
use nat_common::{flow::Direction, verdict::Verdict};

use super::{
    Model, Outcome, Sent,
    checksum::{complement, sum},
    counters::Weight,
    flow::{Endpoint, Flow, Protocol},
    packet::{IPV4, Packet, address_at, u16_at},
    rewrite::{mend, put, right_ipv4},
    rules::{Action, Ruling},
    tcp::Connection,
};

/// What an error quotes. Places are in the frame.
#[derive(Clone, Copy, Debug)]
struct Quote {
    source: std::net::Ipv4Addr,
    destination: std::net::Ipv4Addr,
    protocol: u8,
    header: usize,
    transport: usize,
    /// Behind the last byte that belongs to the quoted packet.
    end: usize,
    first_fragment: bool,
}

/// Reads what stands behind an error's header; nothing if that is no IPv4 packet.
fn quote(frame: &[u8], packet: &Packet) -> Option<Quote> {
    let header = packet.transport + 8;
    // A packet that does not say how long it is holds nothing for sure.
    let quoted = if packet.total_length == 0 { 0 } else { packet.end - header };
    let quoted = match usize::from(*frame.get(packet.transport + 5)?) * 4 {
        0 => quoted,
        length if length > quoted => return None,
        length => length,
    };
    let first = *frame.get(header)?;
    let header_bytes = usize::from(first & 15) * 4;
    let total_length = usize::from(u16_at(frame, header + 2)?);
    let whole = quoted >= 20 && quoted >= header_bytes && total_length >= header_bytes;
    if first >> 4 != 4 || header_bytes < 20 || !whole {
        return None;
    }
    Some(Quote {
        source: address_at(frame, header + 12),
        destination: address_at(frame, header + 16),
        protocol: *frame.get(header + 9)?,
        header,
        transport: header + header_bytes,
        end: header + quoted.min(total_length),
        first_fragment: u16_at(frame, header + 6)? & 0x1fff == 0,
    })
}

/// The flow of the quoted packet, as the side from which the error comes sees it; `None` if it can
/// have none.
fn flow(frame: &[u8], quote: &Quote, direction: Direction) -> Result<Option<Flow>, Verdict> {
    let protocol = Protocol::from_number(quote.protocol);
    let Some(protocol) = protocol.filter(|_| quote.first_fragment) else { return Ok(None) };
    if quote.end < quote.transport + 8 {
        return Ok(None);
    }
    let at = |offset| u16_at(frame, quote.transport + offset).unwrap_or(0);
    let inbound = direction == Direction::Inbound;
    let (from, to) = match protocol {
        Protocol::Tcp | Protocol::Udp => (at(0), at(2)),
        Protocol::Icmp => match (at(0) >> 8, inbound) {
            (8, true) => (at(4), 0),
            (0, false) => (0, at(4)),
            (3 | 4 | 5 | 11 | 12, _) => return Err(Verdict::IcmpErrorMalformed),
            _ => return Ok(None),
        },
    };
    let (from, to) = ((quote.source, from), (quote.destination, to));
    let (local, remote) = if inbound { (from, to) } else { (to, from) };
    Ok(Some(Flow { protocol, local, remote }))
}

impl Model {
    /// An error's way; nothing if it is as good as any packet without a session.
    pub(super) fn error(
        &mut self,
        sent: Sent<'_>,
        packet: &Packet,
        direction: Direction,
    ) -> Result<Option<Outcome>, Verdict> {
        let frame = sent.frame;
        let quote = quote(frame, packet).ok_or(Verdict::IcmpErrorMalformed)?;
        let seen = flow(frame, &quote, direction)?;
        let owner = seen.and_then(|seen| self.quoted_session(&seen, direction));
        // The packet that went wrong has to be that of the error's receiver.
        let Some((flow, external)) = owner.filter(|_| packet.destination == quote.source) else {
            return self.about_nobody(sent, &quote, direction);
        };
        let right = |from: usize, to: usize| {
            let sum = sum(frame.get(from..to).unwrap_or_default());
            sum > 0 && complement(sum) == 0
        };
        if seen.is_some_and(|seen| seen.protocol == Protocol::Tcp) {
            let sequence = [4, 6].map(|at| u16_at(frame, quote.transport + at).unwrap_or(0));
            let sequence = u32::from(sequence[0]) << 16 | u32::from(sequence[1]);
            let connection = self.sessions.get(&flow).and_then(|session| session.connection);
            let possible = |one: Connection| one.can_be_on_its_way(direction.reverse(), sequence);
            if !connection.is_some_and(possible) {
                return Err(Verdict::IcmpErrorMalformed);
            }
        }
        if !right(quote.header, quote.transport) || !right(packet.transport, packet.end) {
            return Err(Verdict::IcmpErrorMalformed);
        }
        let (verdict, to) = match direction {
            Direction::Outbound => (Verdict::TranslatedOut, external),
            Direction::Inbound => (Verdict::TranslatedIn, flow.local),
        };
        let frame = rewritten(frame, packet, &quote, direction, to);
        let verdict = self.count(sent, verdict);
        Ok(Some(Outcome { verdict, frame }))
    }

    /// The live session of a quoted packet.
    fn quoted_session(&mut self, seen: &Flow, direction: Direction) -> Option<(Flow, Endpoint)> {
        let flow = match direction {
            Direction::Outbound => *seen,
            Direction::Inbound => self.sessions.claimant(seen)?,
        };
        self.look_up(&flow, direction);
        let session = self.sessions.get(&flow)?;
        session.live(self.now_ns).then_some((flow, session.external))
    }

    /// From inside, it must not tell the outside of an address that a rule hides.
    fn about_nobody(
        &mut self,
        sent: Sent<'_>,
        quote: &Quote,
        direction: Direction,
    ) -> Result<Option<Outcome>, Verdict> {
        let Some(table) = self.table.as_ref().filter(|_| direction == Direction::Outbound) else {
            return Ok(None);
        };
        let (from, to) = (quote.destination, quote.source);
        if self.host.has(from) {
            // What was sent to the gateway itself gives nothing away.
            return Ok(None);
        }
        match table.ruling(&self.host, from, to, quote.protocol) {
            Ruling::Rule(position) => {
                let rule = table.rules.get(position).cloned();
                match rule {
                    Some(rule) if matches!(rule.action, Action::Snat(_)) => {
                        let verdict = Verdict::IcmpErrorNoSession;
                        self.counters.refused(&rule.name, verdict, Weight::of(sent));
                        Err(verdict)
                    }
                    _ => Ok(None),
                }
            }
            Ruling::OnlyProtocolDiffers => Err(Verdict::IcmpErrorNoSession),
            Ruling::Nothing => Ok(None),
        }
    }
}

/// The error as its receiver can make sense of it.
fn rewritten(
    frame: &[u8],
    packet: &Packet,
    quote: &Quote,
    direction: Direction,
    to: Endpoint,
) -> Vec<u8> {
    let (outer, quoted_address, port) = match direction {
        Direction::Inbound => (IPV4 + 16, quote.header + 12, 0),
        Direction::Outbound => (IPV4 + 12, quote.header + 16, 2),
    };
    let icmp = quote.protocol == Protocol::Icmp.number();
    let port = if icmp { 4 } else { port };
    let mut new = frame.to_vec();
    put(&mut new, outer, &to.0.octets());
    put(&mut new, quoted_address, &to.0.octets());
    put(&mut new, quote.transport + port, &to.1.to_be_bytes());

    let checked = |frame: &[u8], from: usize, to: usize, field: usize| {
        let all = sum(frame.get(from..to).unwrap_or_default());
        all - u64::from(u16_at(frame, field).unwrap_or(0))
    };
    mend(frame, &mut new, IPV4 + 10, |frame| right_ipv4(frame, packet));
    let field = quote.header + 10;
    mend(frame, &mut new, field, |frame| {
        complement(checked(frame, quote.header, quote.transport, field))
    });
    let field = quote.transport
        + match Protocol::from_number(quote.protocol) {
            Some(Protocol::Tcp) => 16,
            Some(Protocol::Udp) => 6,
            _ => 2,
        };
    let udp = quote.protocol == Protocol::Udp.number();
    let none = udp && u16_at(frame, field) == Some(0);
    if field + 2 <= quote.end && !none {
        // Of as much as is quoted: what is missing is the same before and after.
        mend(frame, &mut new, field, |frame| {
            let addresses = if icmp {
                0
            } else {
                sum(frame.get(quote.header + 12..quote.header + 20).unwrap_or_default())
            };
            // One more word, so that the sum is never zero.
            complement(checked(frame, quote.transport, quote.end, field) + addresses + 1)
        });
        if udp && u16_at(&new, field) == Some(0) {
            put(&mut new, field, &[0xff, 0xff]);
        }
    }
    let field = packet.transport + 2;
    mend(frame, &mut new, field, |frame| {
        complement(checked(frame, packet.transport, packet.end, field))
    });
    new
}
