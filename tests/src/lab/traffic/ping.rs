//! Echo requests with a chosen identifier.
//!
//! Done with the kernel's ping sockets and not with the `ping` program: a test can choose the
//! identifier, nothing has to be installed, and the kernel itself checks each answer's checksum and
//! identifier.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, connect, socket,
};

use crate::lab::{netns::NetNs, wait};

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const HEADER_BYTES: usize = 8;
const ANSWER_BYTES_MAX: usize = 65536;

/// A host that pings one other with one identifier.
pub struct Ping {
    socket: UdpSocket,
    next_sequence: u16,
}

/// What came of a number of echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReport {
    pub sent: u16,
    pub received: u16,
}

impl Ping {
    /// `identifier` 0: the kernel chooses.
    #[must_use]
    pub fn new(namespace: &NetNs, to: Ipv4Addr, identifier: u16) -> Self {
        // Which groups may open such a socket; the default is none.
        namespace.sysctl("net/ipv4/ping_group_range", "0 0");
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, identifier);
        let open = || -> nix::Result<_> {
            let socket = socket(
                AddressFamily::Inet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::Icmp,
            )?;
            bind(socket.as_raw_fd(), &SockaddrIn::from(from))?;
            connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to, 0)))?;
            Ok(socket)
        };
        let socket = namespace
            .enter(open)
            .unwrap_or_else(|error| panic!("ping socket {identifier} to {to}: {error}"));
        Self { socket: socket.into(), next_sequence: 1 }
    }

    /// The identifier of the echo requests.
    #[must_use]
    pub fn identifier(&self) -> u16 {
        self.socket.local_addr().as_ref().map_or(0, SocketAddr::port)
    }

    /// Sends one echo request with a payload of `bytes` and waits for its answer.
    #[must_use]
    pub fn once(&mut self, bytes: usize, limit: Duration) -> bool {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        // Identifier and checksum are the kernel's business.
        let mut request = vec![0; HEADER_BYTES];
        request[0] = ECHO_REQUEST;
        request[6..8].copy_from_slice(&sequence.to_be_bytes());
        request.extend((0..bytes).map(|at| at as u8));
        if self.socket.send(&request).is_err() {
            return false;
        }
        self.receive(sequence, &request[HEADER_BYTES..], limit).is_some()
    }

    /// Sends `count` echo requests one after the other.
    #[must_use]
    pub fn run(&mut self, count: u16, limit_each: Duration) -> PingReport {
        let received = (0..count).filter(|_| self.once(56, limit_each)).count();
        PingReport { sent: count, received: received as u16 }
    }

    fn receive(&self, sequence: u16, payload: &[u8], limit: Duration) -> Option<()> {
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let answer = buffer.get(..length)?;
                    if answer.first() == Some(&ECHO_REPLY)
                        && answer.get(6..8) == Some(&sequence.to_be_bytes()[..])
                        && answer.get(HEADER_BYTES..) == Some(payload)
                    {
                        return Some(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    let _ = wait::readable([self.socket.as_fd()], left);
                }
                // What an ICMP error brought.
                Err(_) => return None,
            }
        }
    }
}
