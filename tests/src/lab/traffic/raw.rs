//! Frames byte by byte: protocols without sockets, malformed headers, forged sources.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use crate::lab::{
    netns::NetNs,
    packet_socket::{self, Receive},
    process::tool,
};

/// Sends arbitrary frames out of one device.
pub struct RawSender {
    socket: OwnedFd,
    mac: [u8; 6],
    neighbour: [u8; 6],
}

impl RawSender {
    /// Sends from `device` in `namespace`; `neighbour` is the other end of the link, whose hardware
    /// address [`Self::send_ipv4`] uses.
    #[must_use]
    pub fn new(namespace: &NetNs, device: &str, neighbour: (&NetNs, &str)) -> Self {
        let socket = packet_socket::open(namespace);
        packet_socket::bind(namespace, &socket, device, Receive::Nothing);
        let (neighbour_namespace, neighbour_device) = neighbour;
        Self {
            socket,
            mac: hardware_address(namespace, device),
            neighbour: hardware_address(neighbour_namespace, neighbour_device),
        }
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the pointer and the length describe `frame`.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let length = frame.len();
        assert!(
            usize::try_from(sent).is_ok_and(|sent| sent == length),
            "send a frame of {length} bytes: {}",
            io::Error::last_os_error()
        );
    }

    /// Sends an IPv4 packet to the neighbour.
    pub fn send_ipv4(&self, packet: &[u8]) {
        self.send(&ethernet(self.neighbour, self.mac, 0x0800, packet));
    }

    /// Sends what follows a first tag to the neighbour.
    pub fn send_tagged(&self, tag_and_packet: &[u8]) {
        self.send_typed(0x8100, tag_and_packet);
    }

    /// Sends what follows an ethertype to the neighbour.
    pub fn send_typed(&self, ethertype: u16, payload: &[u8]) {
        self.send(&ethernet(self.neighbour, self.mac, ethertype, payload));
    }
}

fn hardware_address(namespace: &NetNs, device: &str) -> [u8; 6] {
    let text = tool(namespace, "ip", &["-br", "link", "show", "dev", device]);
    let parse = || {
        let mut bytes = text.split_whitespace().nth(2)?.split(':');
        let mut address = [0; 6];
        for byte in &mut address {
            *byte = u8::from_str_radix(bytes.next()?, 16).ok()?;
        }
        Some(address)
    };
    parse().unwrap_or_else(|| panic!("no hardware address in {text:?}"))
}

/// A frame.
#[must_use]
pub fn ethernet(to: [u8; 6], from: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet without options, TTL 64, not to be fragmented, with a right header checksum.
#[must_use]
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("an IPv4 packet has 16 bits of length");
    let [high, low] = length.to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    let checksum = internet_checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// RFC 1071, the plain way.
#[must_use]
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
