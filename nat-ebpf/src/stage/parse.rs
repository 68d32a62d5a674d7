//! Frame → [`Packet`].
use nat_common::{
    addr::{Ipv4, Port},
    flow::Protocol,
    icmp::Kind,
    packet::{Packet, Transport},
    tcp,
    verdict::Verdict,
};
use network_types::{
    eth::{EthHdr, EtherType},
    ip::Ipv4Hdr,
    tcp::TcpHdr,
    udp::UdpHdr,
};

use crate::packet::Frame;

/// Bytes of an Ethernet header.
pub const ETHERNET_BYTES: usize = EthHdr::LEN;
/// Where the IPv4 header starts.
pub const IPV4_OFFSET: usize = ETHERNET_BYTES;

/// Bytes of an ICMP query's header (RFC 792).
const ICMP_BYTES: usize = 8;
/// Where the flags stand in a TCP header (RFC 9293 section 3.1).
const TCP_FLAGS: usize = 13;

/// Reads the headers of an IPv4 packet. What cannot be translated is still a packet: whether that
/// matters is for the rules to say.
#[inline(always)]
pub fn ipv4<F: Frame>(frame: &F) -> Result<Packet, Verdict> {
    if frame.tagged() {
        return Err(Verdict::VlanTagged);
    }
    let eth: EthHdr = frame.load(0).ok_or(Verdict::NotIpv4)?;
    match eth.ether_type() {
        Ok(EtherType::Ipv4) => {}
        // The stack would take off a tag beneath that of a priority without asking again.
        Ok(EtherType::Ieee8021q | EtherType::Ieee8021ad) if frame.prioritised() => {
            return Err(Verdict::Malformed);
        }
        Ok(EtherType::Ieee8021q | EtherType::Ieee8021ad) => return Err(Verdict::VlanTagged),
        _ => return Err(Verdict::NotIpv4),
    }
    let ip: Ipv4Hdr = frame.load(IPV4_OFFSET).ok_or(Verdict::Malformed)?;
    let header_bytes = usize::from(ip.vihl & 0x0f) * 4;
    let total_length = ip.tot_len();
    let too_long = IPV4_OFFSET + usize::from(total_length) > frame.length();
    if ip.vihl >> 4 != 4 || header_bytes < Ipv4Hdr::LEN || too_long {
        return Err(Verdict::Malformed);
    }
    // A super-frame longer than the field can say has 0 there (BIG TCP).
    let payload_bytes = match total_length {
        0 => usize::from(u16::MAX),
        length if usize::from(length) < header_bytes => return Err(Verdict::Malformed),
        length => usize::from(length) - header_bytes,
    };
    let transport_offset = IPV4_OFFSET + header_bytes;
    let fragment = u16::from_be_bytes(ip.frags) & !IPV4_DONT_FRAGMENT != 0;
    let transport = if fragment {
        Transport::Untranslatable(Verdict::Fragment)
    } else {
        transport(frame, ip.proto, transport_offset, payload_bytes)
    };
    Ok(Packet {
        source: Ipv4::new(ip.src_addr),
        destination: Ipv4::new(ip.dst_addr),
        protocol: ip.proto,
        tos: ip.tos,
        ttl: ip.ttl,
        total_length,
        transport_offset: transport_offset as u16,
        options: header_bytes != Ipv4Hdr::LEN,
        transport,
    })
}

/// Flags of the fragment field other than the more-fragments flag and the offset (RFC 791).
const IPV4_DONT_FRAGMENT: u16 = 0xc000;

/// Reads the transport header at `offset`; the packet says that `available` bytes are there.
#[inline(always)]
fn transport<F: Frame>(frame: &F, protocol: u8, offset: usize, available: usize) -> Transport {
    let Some(protocol) = Protocol::from_number(protocol) else {
        return Transport::Untranslatable(Verdict::ProtocolNotCovered);
    };
    let header_bytes = match protocol {
        Protocol::Tcp => TcpHdr::LEN,
        Protocol::Udp => UdpHdr::LEN,
        Protocol::Icmp => ICMP_BYTES,
    };
    if available < header_bytes {
        return Transport::Untranslatable(Verdict::Truncated);
    }
    let read = match protocol {
        Protocol::Tcp => tcp(frame, offset),
        Protocol::Udp => udp(frame, offset),
        Protocol::Icmp => icmp(frame, offset),
    };
    read.unwrap_or(Transport::Untranslatable(Verdict::Truncated))
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let header: TcpHdr = frame.load(offset)?;
    if usize::from(header.doff()) * 4 < TcpHdr::LEN {
        return None;
    }
    let flags: u8 = frame.load(offset + TCP_FLAGS)?;
    Some(Transport::Tcp {
        source: Port::from_bytes(header.source),
        destination: Port::from_bytes(header.dest),
        flags: tcp::Flags(flags),
    })
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let header: UdpHdr = frame.load(offset)?;
    Some(Transport::Udp {
        source: Port::from_bytes(header.src),
        destination: Port::from_bytes(header.dst),
    })
}

#[inline(always)]
fn icmp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let [kind, _, _, _, high, low, _, _]: [u8; ICMP_BYTES] = frame.load(offset)?;
    Some(match Kind::of(kind) {
        Kind::Query => Transport::IcmpQuery { kind, identifier: Port::from_bytes([high, low]) },
        Kind::Error => Transport::IcmpError,
        Kind::Refused => Transport::Untranslatable(Verdict::IcmpRefused),
        Kind::Other => Transport::Untranslatable(Verdict::IcmpUnsupported),
    })
}
