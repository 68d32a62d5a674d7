//! Real packets through TC: two clients send from 10,000 ports each, one server answers.
use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use etherparse::PacketBuilder;
use nat_tests::lab::{
    BpfFs, Lab, NatCtl, NetNs, Offloads,
    topology::{CLIENT, CLIENT2, SERVER},
    wait,
    worker::Worker,
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket, sockopt,
};

use super::{bench::INTERNET, cpus, runs};

/// Two clients open as many sessions as they can.
const LIMITS: &str =
    "[limits]\nsessions_per_client = 0\nhalf_open_per_client = 0\nnew_per_second_per_client = 0\n";

const FLOWS: u16 = 10_000;
const FIRST_PORT: u16 = 20_000;
const ECHO: SocketAddrV4 = SocketAddrV4::new(SERVER, 3478);
/// Packets under way for each client: more would only overflow the sockets' buffers.
const WINDOW: usize = 64;
/// After that an answer is taken for lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// For everything.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn real_packets_of_two_clients_share_no_tuple() {
    for _ in 0..runs() {
        let lab = Lab::builder(Offloads::Off).second_client().build();
        let (bpffs, files) = (BpfFs::new(), tempfile::tempdir().unwrap());
        let config = files.path().join("nat.toml");
        let interfaces = "[interfaces]\ninside = [\"lan0\", \"lan1\"]\noutside = [\"wan0\"]\n\
                          hook = \"tc\"\n";
        std::fs::write(&config, format!("{interfaces}{LIMITS}{INTERNET}ports = \"10000-34999\"\n"))
            .unwrap();
        let nat = NatCtl::new(&lab.gateway, &bpffs);
        let _running = nat.start(&config);
        let _echo = echo(&lab.server);

        let resent = cpus::both([&lab.client, lab.client2()], |which| {
            Client::new([CLIENT, CLIENT2][which]).ask_from_every_port()
        });
        println!("packets sent again: {resent:?}");

        let list = nat.json(&["sessions", "list", "--proto", "udp"]);
        let sessions = list["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 2 * usize::from(FLOWS));
        let outside = |session: &serde_json::Value| session["outside"]["port"].as_u64().unwrap();
        let ports: HashSet<u64> = sessions.iter().map(outside).collect();
        assert_eq!(ports.len(), sessions.len(), "each session has a port of its own");
    }
}

/// Sends everything back to where it came from.
fn echo(namespace: &NetNs) -> Worker<()> {
    let socket = namespace.enter(|| UdpSocket::bind(ECHO).unwrap());
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).unwrap();
    socket.set_nonblocking(true).unwrap();
    Worker::start("echo", move |stop| {
        let mut buffer = [0; 2048];
        loop {
            while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
                // What a full buffer loses is asked for again.
                let _ = socket.send_to(&buffer[..bytes], from);
            }
            let [_, stopped] = wait::readable([socket.as_fd(), stop.as_fd()], LIMIT);
            if stopped {
                return;
            }
        }
    })
}

/// A client that uses all its ports, without a socket for each.
struct Client {
    address: Ipv4Addr,
    sender: OwnedFd,
    receiver: OwnedFd,
}

impl Client {
    /// For a thread in the client's namespace.
    fn new(address: Ipv4Addr) -> Self {
        let raw = |protocol| {
            let (family, flags) = (AddressFamily::Inet, SockFlag::SOCK_CLOEXEC);
            socket(family, SockType::Raw, flags, protocol).unwrap()
        };
        let (sender, receiver) = (raw(SockProtocol::Raw), raw(SockProtocol::Udp));
        setsockopt(&receiver, sockopt::RcvBufForce, &(8 << 20)).unwrap();
        let patience = nix::sys::time::TimeVal::new(0, PATIENCE.as_micros() as i64);
        setsockopt(&receiver, sockopt::ReceiveTimeout, &patience).unwrap();
        Self { address, sender, receiver }
    }

    /// Asks from all ports until each has been answered; returns how many had to ask again.
    fn ask_from_every_port(&self) -> usize {
        let start = Instant::now();
        let mut again = 0;
        let ports: Vec<u16> = (FIRST_PORT..FIRST_PORT + FLOWS).collect();
        for window in ports.chunks(WINDOW) {
            let mut waiting: HashSet<u16> = window.iter().copied().collect();
            while !waiting.is_empty() {
                assert!(start.elapsed() < LIMIT, "no answer to {waiting:?}");
                waiting.iter().for_each(|port| self.ask(*port));
                while let Some(port) = self.answer() {
                    waiting.remove(&port);
                    if waiting.is_empty() {
                        break;
                    }
                }
                again += waiting.len();
            }
        }
        again
    }

    /// The question says who asks, and so will the answer.
    fn ask(&self, port: u16) {
        let question = self.question(port);
        let mut packet = Vec::new();
        PacketBuilder::ipv4(self.address.octets(), SERVER.octets(), 64)
            .udp(port, ECHO.port())
            .write(&mut packet, &question)
            .unwrap();
        let to = SockaddrIn::from(ECHO);
        sendto(self.sender.as_raw_fd(), &packet, &to, MsgFlags::empty()).unwrap();
    }

    fn question(&self, port: u16) -> [u8; 6] {
        let [a, b, c, d] = self.address.octets();
        let [high, low] = port.to_be_bytes();
        [a, b, c, d, high, low]
    }

    /// The port to which the next answer has come, and to which it belongs; none after a while.
    fn answer(&self) -> Option<u16> {
        let mut packet = [0; 2048];
        let bytes = recv(self.receiver.as_raw_fd(), &mut packet, MsgFlags::empty()).ok()?;
        let (udp, question) = packet[20..bytes].split_at(8);
        let port = u16::from_be_bytes([udp[2], udp[3]]);
        assert_eq!(question, self.question(port), "an answer for somebody else");
        Some(port)
    }
}
