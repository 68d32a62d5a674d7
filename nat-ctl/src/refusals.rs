//! Sessions that the data path has refused: what their clients are told (RFC 5508 REQ-8, RFC 6888
//! REQ-11), and what the log says of them.
use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use nat_common::{
    refusal::{QUOTE_BYTES_BEHIND_HEADER, QUOTE_BYTES_MAX},
    verdict::Verdict,
};

/// ICMP destination unreachable (RFC 792).
const UNREACHABLE: u8 = 3;
/// Its code host unreachable: RFC 6888 REQ-11 wants it for want of resources and for quotas alike. To a
/// sender it is a hint and no final answer (RFC 1122 section 4.2.3.9), unlike code 13, which RFC 5508
/// REQ-8 named before.
const HOST: u8 = 1;
/// Precedence of internetwork control (RFC 1812 section 4.3.2.5).
const PRECEDENCE: u8 = 0xc0;
const TTL: u8 = 64;
const ICMP: u8 = 1;

/// Bytes of a record before its quote: interface, length, verdict.
const RECORD_HEADER_BYTES: usize = 8;
/// Bytes of an IPv4 header without options.
const IPV4_BYTES: usize = 20;

/// A refused session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The interface by which its packet came.
    pub ifindex: u32,
    pub verdict: Verdict,
    client: Ipv4Addr,
    server: Ipv4Addr,
    /// The packet's IPv4 header and 8 bytes.
    quote: Vec<u8>,
}

impl Refused {
    /// Reads a [`nat_common::refusal::Refusal`]; nothing if it is none.
    pub fn read(record: &[u8]) -> Option<Self> {
        let (header, quote) = record.split_first_chunk::<RECORD_HEADER_BYTES>()?;
        let &[i0, i1, i2, i3, l0, l1, verdict, _] = header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let least = IPV4_BYTES + QUOTE_BYTES_BEHIND_HEADER;
        let quote = quote.get(..length).filter(|_| (least..=QUOTE_BYTES_MAX).contains(&length))?;
        let address = |at: usize| Some(Ipv4Addr::from(*quote.get(at..)?.first_chunk::<4>()?));
        Some(Self {
            ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
            verdict: Verdict::from_number(verdict),
            client: address(12)?,
            server: address(16)?,
            quote: quote.to_vec(),
        })
    }

    /// Who is told.
    pub fn client(&self) -> Ipv4Addr {
        self.client
    }

    /// The packet that tells it. The kernel fills in its source, number, length and header checksum.
    pub fn error(&self) -> Vec<u8> {
        let mut packet = vec![0; IPV4_BYTES];
        let [a, b, c, d] = self.client.octets();
        packet.splice(..2, [0x45, PRECEDENCE]);
        packet.splice(8..10, [TTL, ICMP]);
        packet.splice(16.., [a, b, c, d]);
        let mut message = vec![UNREACHABLE, HOST, 0, 0, 0, 0, 0, 0];
        message.extend(&self.quote);
        let [high, low] = checksum(&message).to_be_bytes();
        message.splice(2..4, [high, low]);
        packet.extend(message);
        packet
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    !nat_common::checksum::fold(words.sum())
}

/// How often the log says that sessions are refused with a verdict.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Says in the log what is refused: once in a while for each verdict, and in detail for those who debug.
#[derive(Debug, Default)]
pub struct Log {
    /// By verdict, when it was said last.
    said: HashMap<Verdict, Instant>,
}

impl Log {
    pub fn note(&mut self, refused: &Refused) {
        let Refused { client, server, verdict, .. } = refused;
        tracing::debug!(%client, %server, verdict = verdict.name(), "refused a session");
        if self.is_due(*verdict, Instant::now()) {
            tracing::warn!(
                %client,
                verdict = verdict.name(),
                "sessions are refused; `nat-ctl stats` counts them. {}",
                verdict.describe()
            );
        }
    }

    fn is_due(&mut self, verdict: Verdict, now: Instant) -> bool {
        let said = self.said.get(&verdict);
        let due = said.is_none_or(|said| now.duration_since(*said) >= LOG_INTERVAL);
        if due {
            self.said.insert(verdict, now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use nat_common::refusal::Refusal;

    use super::*;

    /// A SYN from 10.77.0.2 port 5000 to 203.0.113.10 port 80.
    const QUOTE: [u8; 28] = [
        0x45, 0, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 2, 203, 0, 113, 10, 0x13,
        0x88, 0, 80, 0, 0, 3, 0xe8,
    ];

    fn record(length: u16) -> Vec<u8> {
        let mut record = vec![9; size_of::<Refusal>()];
        record[offset_of!(Refusal, ifindex)..4].copy_from_slice(&3_u32.to_ne_bytes());
        record[offset_of!(Refusal, length)..6].copy_from_slice(&length.to_ne_bytes());
        record[offset_of!(Refusal, verdict)] = Verdict::NoPort as u8;
        assert_eq!(offset_of!(Refusal, quote), RECORD_HEADER_BYTES);
        record[RECORD_HEADER_BYTES..][..28].copy_from_slice(&QUOTE);
        record
    }

    #[test]
    fn a_record_is_read_as_the_data_path_writes_it() {
        let refused = Refused::read(&record(28)).unwrap();
        assert_eq!((refused.ifindex, refused.verdict), (3, Verdict::NoPort));
        assert_eq!(refused.client(), Ipv4Addr::new(10, 77, 0, 2));
        assert_eq!(refused.quote, QUOTE);
        for length in [0, 27, 69, u16::MAX] {
            assert_eq!(Refused::read(&record(length)), None);
        }
        assert_eq!(Refused::read(&record(28)[..30]), None);
    }

    #[test]
    fn rfc5508_req8_rfc6888_req11_the_error_quotes_header_and_8_bytes() {
        let packet = Refused::read(&record(28)).unwrap().error();
        assert_eq!(packet.len(), 20 + 8 + 28);
        assert_eq!((packet[0], packet[1], packet[9]), (0x45, 0xc0, 1));
        assert_eq!(packet[16..20], [10, 77, 0, 2]);
        assert_eq!(packet[20..22], [3, 1]);
        assert_eq!(packet[28..], QUOTE);
        // The sum over a message with its checksum is all ones.
        assert_eq!(checksum(&packet[20..]), 0);
    }

    #[test]
    fn the_log_says_each_verdict_once_in_a_while() {
        let (mut log, start) = (Log::default(), Instant::now());
        assert!(log.is_due(Verdict::NoPort, start) && log.is_due(Verdict::ClientRate, start));
        assert!(!log.is_due(Verdict::NoPort, start + LOG_INTERVAL / 2));
        assert!(log.is_due(Verdict::NoPort, start + LOG_INTERVAL));
    }
}
