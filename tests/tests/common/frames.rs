//! Frames and what is in them, by etherparse.
use std::net::Ipv4Addr;

use etherparse::{
    IpNumber, Ipv4Header, NetSlice, PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice,
};
use nat_tests::lab::traffic::internet_checksum;

/// An inside client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The gateway's external address.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// A server outside.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The link-layer address of both of the gateway's interfaces, to which all frames go.
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// A time to live that leaves room.
pub const TTL: u8 = 64;

pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;
pub const FIN: u8 = 0x01;
pub const RST: u8 = 0x04;

fn builder(
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], GATEWAY_MAC).ipv4(
        source.octets(),
        destination.octets(),
        TTL,
    )
}

/// A UDP frame.
pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    builder(from.0, to.0).udp(from.1, to.1).write(&mut frame, payload).unwrap();
    frame
}

/// A TCP segment's place in its connection.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub sequence: u32,
    pub acknowledgement: u32,
    pub window: u16,
    /// Of a SYN that offers one.
    pub scale: Option<u8>,
}

impl Place {
    /// With a window of 1024 bytes that is not to be scaled.
    pub fn at(sequence: u32, acknowledgement: u32) -> Self {
        Self { sequence, acknowledgement, window: 1024, scale: None }
    }
}

/// The first segment of either side: number 1000, flags [`SYN`] and so on.
pub fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    tcp_at(from, to, flags, Place::at(1000, 1001), payload)
}

/// A TCP frame.
pub fn tcp_at(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    flags: u8,
    place: Place,
    payload: &[u8],
) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(from.1, to.1, place.sequence, place.window);
    header.acknowledgment_number = place.acknowledgement;
    header.syn = flags & SYN != 0;
    header.ack = flags & ACK != 0;
    header.fin = flags & FIN != 0;
    header.rst = flags & RST != 0;
    if let Some(scale) = place.scale {
        let options = [TcpOptionElement::Noop, TcpOptionElement::WindowScale(scale)];
        header.set_options(&options).unwrap();
    }
    let mut frame = Vec::new();
    builder(from.0, to.0).tcp_header(header).write(&mut frame, payload).unwrap();
    frame
}

/// An echo request or reply.
pub fn echo(request: bool, source: Ipv4Addr, destination: Ipv4Addr, id: u16) -> Vec<u8> {
    let builder = builder(source, destination);
    let builder =
        if request { builder.icmpv4_echo_request(id, 1) } else { builder.icmpv4_echo_reply(id, 1) };
    let mut frame = Vec::new();
    builder.write(&mut frame, b"ping").unwrap();
    frame
}

/// A frame of any IP protocol.
pub fn other(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    builder(source, destination).write(&mut frame, IpNumber(protocol), payload).unwrap();
    frame
}

/// The same frame with another IPv4 header; its checksum is made right.
pub fn with_ipv4(frame: &[u8], change: impl FnOnce(&mut Ipv4Header)) -> Vec<u8> {
    let (mut header, payload) = Ipv4Header::from_slice(&frame[14..]).unwrap();
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    let mut changed = frame[..14].to_vec();
    header.write(&mut changed).unwrap();
    changed.extend_from_slice(payload);
    changed
}

/// What a frame says, after all its checksums have been found right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub source: (Ipv4Addr, u16),
    pub destination: (Ipv4Addr, u16),
    pub ttl: u8,
    /// Everything that a translation must leave alone: the rest of the transport header but for
    /// its checksum, and the payload.
    pub rest: Vec<u8>,
    /// UDP: whether there is a checksum.
    pub checksum: u16,
}

/// Reads a frame and checks its checksums, independently of the code under test. The port of an
/// ICMP query is its identifier, on both sides.
pub fn read(frame: &[u8]) -> View {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4: {sliced:?}") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
    let (source, destination, rest, checksum) = match sliced.transport.as_ref().unwrap() {
        TransportSlice::Tcp(tcp) => {
            let expected = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
            assert_eq!(tcp.checksum(), expected, "TCP checksum");
            let mut rest = tcp.slice()[4..].to_vec();
            rest[12..14].fill(0);
            (tcp.source_port(), tcp.destination_port(), rest, tcp.checksum())
        }
        TransportSlice::Udp(udp) => {
            if udp.checksum() != 0 {
                let mut header_without = udp.to_header();
                header_without.checksum = 0;
                let expected = header_without.calc_checksum_ipv4(&header, udp.payload()).unwrap();
                let expected = if expected == 0 { 0xffff } else { expected };
                assert_eq!(udp.checksum(), expected, "UDP checksum");
            }
            let mut rest = udp.slice()[4..].to_vec();
            rest[2..4].fill(0);
            (udp.source_port(), udp.destination_port(), rest, udp.checksum())
        }
        TransportSlice::Icmpv4(icmp) => {
            let bytes = icmp.slice();
            // The plain sum: etherparse forgets header fields that it does not know.
            assert_eq!(internet_checksum(bytes), 0, "ICMP checksum");
            let id = u16::from_be_bytes([bytes[4], bytes[5]]);
            let mut rest = bytes.to_vec();
            rest[2..6].fill(0);
            (id, id, rest, 1)
        }
        other => panic!("unexpected transport: {other:?}"),
    };
    View {
        source: (header.source.into(), source),
        destination: (header.destination.into(), destination),
        ttl: header.time_to_live,
        rest,
        checksum,
    }
}
