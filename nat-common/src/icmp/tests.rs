use etherparse::{
    Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header, TcpHeader, UdpHeader,
    icmpv4::DestUnreachableHeader,
};
use proptest::prelude::*;

use super::*;
use crate::rewrite::deltas;

const INSIDE: ([u8; 4], u16) = ([10, 0, 0, 5], 5000);
const EXTERNAL: ([u8; 4], u16) = ([203, 0, 113, 7], 50_711);
const REMOTE: ([u8; 4], u16) = ([198, 51, 100, 9], 443);

/// An IPv4 packet with right checksums, by etherparse. The port of ICMP is its identifier.
fn packet(protocol: Protocol, from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let number = IpNumber(protocol as u8);
    let mut ip = Ipv4Header::new(0, 60, number, from.0, to.0).unwrap();
    let mut transport = Vec::new();
    match protocol {
        Protocol::Tcp => {
            let mut tcp = TcpHeader::new(from.1, to.1, 0x0102_0304, 1024);
            tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).unwrap();
            tcp.write(&mut transport).unwrap();
        }
        Protocol::Udp => {
            let udp = UdpHeader::with_ipv4_checksum(from.1, to.1, &ip, payload).unwrap();
            udp.write(&mut transport).unwrap();
        }
        Protocol::Icmp => {
            let echo = etherparse::IcmpEchoHeader { id: from.1, seq: 1 };
            let icmp = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), payload);
            icmp.write(&mut transport).unwrap();
        }
    }
    ip.total_len = (20 + transport.len() + payload.len()) as u16;
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = Vec::new();
    ip.write(&mut bytes).unwrap();
    bytes.extend(transport);
    bytes.extend_from_slice(payload);
    bytes
}

/// The checksum of a port unreachable that quotes these bytes.
fn message_check(quoted: &[u8]) -> u16 {
    let unreachable = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port);
    unreachable.calc_checksum(quoted).to_be()
}

fn word(bytes: &[u8], at: u16) -> u16 {
    let at = usize::from(at);
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn read(quoted: &[u8]) -> Option<Quote> {
    Quote::read(quoted[..20].try_into().unwrap(), 0, quoted.len() as u16)
}

fn transport(quoted: &[u8], quote: &Quote) -> [u8; 8] {
    let at = usize::from(quote.header_bytes);
    quoted[at..at + 8].try_into().unwrap()
}

fn endpoint((address, port): ([u8; 4], u16)) -> (Ipv4, Port) {
    (Ipv4::new(address), Port::new(port))
}

/// What the checksums of an error that quotes `before` become when the local endpoint, its source,
/// changes as in `after`.
fn translate(
    protocol: Protocol,
    before: &[u8],
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
) -> Checks {
    let quote = read(before).unwrap();
    let fields = Quote::fields(Direction::Inbound, protocol);
    let at = quote.header_bytes + fields.check;
    let transport = quote.has_transport_check(&fields).then(|| word(before, at));
    let checks = Checks { message: message_check(before), header: quote.check, transport };
    let (header_delta, transport_delta) = deltas(protocol, endpoint(from), endpoint(to));
    let ports = (Port::new(from.1), Port::new(to.1));
    checks.translated(header_delta, transport_delta, ports, fields.check_optional)
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Icmp)]
}

proptest! {
    /// The error about the translated packet becomes, checksum by checksum, the error about the
    /// packet as its sender sent it: however much of it is quoted.
    #[test]
    fn rfc5508_req4_the_quoted_packet_becomes_what_its_sender_sent(
        protocol in protocols(),
        inside: ([u8; 4], u16), external: ([u8; 4], u16), remote: ([u8; 4], u16),
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        // Not 17: half a TCP checksum cannot be mended, and nobody could use it.
        quoted in prop_oneof![8_usize..17, 18_usize..80],
    ) {
        let cut = |from| {
            let mut bytes = packet(protocol, from, remote, &payload);
            bytes.truncate(20 + quoted);
            bytes
        };
        let (seen_outside, sent) = (cut(external), cut(inside));
        let checks = translate(protocol, &seen_outside, external, inside);
        prop_assert_eq!(checks.header, word(&sent, 10));
        prop_assert_eq!(checks.message, message_check(&sent));
        let at = 20 + Quote::fields(Direction::Inbound, protocol).check;
        if usize::from(at) + 2 <= sent.len() {
            prop_assert_eq!(checks.transport, Some(word(&sent, at)));
        } else {
            prop_assert_eq!(checks.transport, None);
        }
    }
}

#[test]
fn an_inbound_error_belongs_to_the_session_of_the_quoted_sender() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let quoted = packet(protocol, EXTERNAL, REMOTE, b"");
        let quote = read(&quoted).unwrap();
        let expected = FlowKey::new(protocol, endpoint(EXTERNAL), endpoint(REMOTE));
        let found = quote.flow(Direction::Inbound, transport(&quoted, &quote));
        assert_eq!(found, Ok((protocol, expected)));
    }
    let quoted = packet(Protocol::Icmp, EXTERNAL, REMOTE, b"");
    let quote = read(&quoted).unwrap();
    let remote = (Ipv4::new(REMOTE.0), Port::NONE);
    let expected = FlowKey::new(Protocol::Icmp, endpoint(EXTERNAL), remote);
    let found = quote.flow(Direction::Inbound, transport(&quoted, &quote));
    assert_eq!(found, Ok((Protocol::Icmp, expected)));
    // About a request that came in, which no session is for.
    let found = quote.flow(Direction::Outbound, transport(&quoted, &quote));
    assert_eq!(found, Err(Verdict::IcmpErrorNoSession));
}

#[test]
fn an_outbound_error_belongs_to_the_session_of_the_quoted_receiver() {
    let quoted = packet(Protocol::Udp, REMOTE, INSIDE, b"");
    let quote = read(&quoted).unwrap();
    let expected = FlowKey::new(Protocol::Udp, endpoint(INSIDE), endpoint(REMOTE));
    let found = quote.flow(Direction::Outbound, transport(&quoted, &quote));
    assert_eq!(found, Ok((Protocol::Udp, expected)));
    assert_eq!(Quote::fields(Direction::Outbound, Protocol::Udp).address, 16);
    assert_eq!(Quote::fields(Direction::Inbound, Protocol::Udp).address, 12);
}

#[test]
fn rfc5508_req3b_ports_are_found_behind_options() {
    let mut quoted = packet(Protocol::Udp, EXTERNAL, REMOTE, b"");
    quoted[0] = 0x47;
    quoted[3] += 8;
    quoted.splice(20..20, [1; 8]);
    let quote = read(&quoted).unwrap();
    assert_eq!((quote.header_bytes, quote.available), (28, 8));
    let (_, key) = quote.flow(Direction::Inbound, transport(&quoted, &quote)).unwrap();
    assert_eq!(key.local_port, Port::new(EXTERNAL.1));
}

/// RFC 7915 section 4.3: one level of quoting.
#[test]
fn rfc7915_4_3_an_error_about_an_error_is_none() {
    let quoted = packet(Protocol::Icmp, EXTERNAL, REMOTE, b"");
    let quote = read(&quoted).unwrap();
    for kind in [3, 4, 5, 11, 12] {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let found = quote.flow(direction, [kind, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(found, Err(Verdict::IcmpErrorMalformed), "{kind}");
        }
    }
    let timestamp = quote.flow(Direction::Inbound, [13, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(timestamp, Err(Verdict::IcmpErrorNoSession));
}

#[test]
fn what_has_no_ports_belongs_to_nobody() {
    let quoted = packet(Protocol::Udp, EXTERNAL, REMOTE, b"12345678");
    let of = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut quoted = quoted.clone();
        change(&mut quoted);
        let quote = read(&quoted).unwrap();
        quote.flow(Direction::Inbound, [0; 8]).map(|_| ())
    };
    assert_eq!(of(&|_| {}), Ok(()));
    let nobody = Err(Verdict::IcmpErrorNoSession);
    assert_eq!(of(&|quoted| quoted[9] = 47), nobody, "GRE");
    assert_eq!(of(&|quoted| quoted[7] = 1), nobody, "a later fragment");
    assert_eq!(of(&|quoted| quoted[6] = 0x20), Ok(()), "the first fragment");
    assert_eq!(of(&|quoted| quoted.truncate(27)), nobody, "7 bytes");
    assert_eq!(of(&|quoted| quoted[3] = 27), nobody, "padding behind 7 bytes");
}

#[test]
fn nonsense_is_no_quote() {
    let good = packet(Protocol::Udp, EXTERNAL, REMOTE, b"");
    let with = |at: usize, value: u8| {
        let mut quoted = good.clone();
        quoted[at] = value;
        read(&quoted)
    };
    assert!(with(0, 0x45).is_some());
    assert_eq!(with(0, 0x65), None, "version 6");
    assert_eq!(with(0, 0x44), None, "a header of 4 words");
    assert_eq!(with(0, 0x4f), None, "more header than quote");
    assert_eq!(with(3, 19), None, "shorter than its header");
}

#[test]
fn rfc5508_req3d_extensions_are_not_part_of_the_quote() {
    let mut quoted = packet(Protocol::Tcp, EXTERNAL, REMOTE, &[7; 200]);
    quoted.truncate(128);
    quoted.extend_from_slice(&[0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3]);
    let of = |words| {
        Quote::read(quoted[..20].try_into().unwrap(), words, quoted.len() as u16)
            .map(|quote| quote.available)
    };
    assert_eq!(of(32), Some(128 - 20));
    assert_eq!(of(0), Some(140 - 20));
    // So few bytes that the checksum is not among them.
    assert_eq!(of(7), Some(8));
    assert_eq!(of(4), None, "not even the header");
    assert_eq!(of(36), None, "more than there is");
}

#[test]
fn kinds() {
    let kinds = |kind| (0..=255).filter(|number| Kind::of(*number) == kind).collect::<Vec<u8>>();
    assert_eq!(kinds(Kind::Query), [0, 8]);
    assert_eq!(kinds(Kind::Error), [3, 11, 12]);
    assert_eq!(kinds(Kind::Refused), [4, 5]);
}

#[test]
fn a_udp_packet_without_checksum_is_quoted_without() {
    let mut quoted = packet(Protocol::Udp, EXTERNAL, REMOTE, b"");
    quoted[26..28].fill(0);
    let mut sent = packet(Protocol::Udp, INSIDE, REMOTE, b"");
    sent[26..28].fill(0);
    let checks = translate(Protocol::Udp, &quoted, EXTERNAL, INSIDE);
    assert_eq!((checks.transport, checks.message), (Some(0), message_check(&sent)));
}

#[test]
fn the_sequence_number_stands_in_the_bytes_that_are_always_quoted() {
    let quoted = packet(Protocol::Tcp, EXTERNAL, REMOTE, b"");
    let quote = read(&quoted).unwrap();
    assert_eq!(tcp_sequence(transport(&quoted, &quote)), 0x0102_0304);
}
