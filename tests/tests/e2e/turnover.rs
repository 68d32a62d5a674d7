//! Connections to one server through one external address, as many as its ports allow: none comes
//! within the cooldown of the one before it, none is refused while a port is free. Judged outside.
//!
//! Clients and server are this test, frame by frame: six for each connection, from the SYN to the last
//! ACK. A new connection is tried as soon as a port should be free, and every millisecond when none is.
//!
//! `NAT_TORTURE_CONNECTIONS`, `NAT_TORTURE_PORTS` and `NAT_TORTURE_HOOK` scale it:
//! `cargo xtask torture connections`.
use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddrV4},
    ops::RangeInclusive,
    os::fd::AsFd as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nat_tests::lab::{
    Direction, Frame, Lab, Offloads, Wire, process, traffic,
    turnover::{self, Attempt, Judgement, Law, Opened},
    wait,
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::gateway::{Gateway, INTERNET};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Nobody's, so that no kernel answers for it.
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 77), 443);
/// Clients: likewise, with so many ports each.
const CLIENT: u32 = u32::from_be_bytes([10, 77, 0, 100]);
const CLIENTS: u32 = 100;
const CLIENT_PORTS: usize = 60_000;
/// Sequence number of the server's SYN; a client's is the number of its attempt.
const SERVER_ISN: u32 = 0x1000_0000;

/// By which times outside and those of the programs may differ.
const TOLERANCE: Duration = Duration::from_millis(10);
/// Connections between SYN and last ACK at a time: fewer frames than fit into a veth's ring.
const LIVE_MAX: usize = 100;
/// A SYN that is not seen outside by then is not waited for.
const PASSES: Duration = Duration::from_millis(3);
const PROBE_INTERVAL: Duration = Duration::from_millis(1);
/// After the last SYN nothing is on its way for longer.
const SETTLES: Duration = Duration::from_secs(1);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The client of an attempt: each has another one.
fn client(attempt: usize) -> SocketAddrV4 {
    let (host, port) = (attempt / CLIENT_PORTS, attempt % CLIENT_PORTS);
    let host = u32::try_from(host).unwrap();
    assert!(host < CLIENTS, "so many attempts: {attempt}");
    SocketAddrV4::new(Ipv4Addr::from(CLIENT + host), u16::try_from(1024 + port).unwrap())
}

fn attempt_of(client: SocketAddrV4) -> usize {
    let host = (u32::from(*client.ip()) - CLIENT) as usize;
    host * CLIENT_PORTS + usize::from(client.port()) - 1024
}

/// A TCP segment, with its checksum left out: nobody here looks at it.
fn segment(from: SocketAddrV4, to: SocketAddrV4, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut tcp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    tcp.extend(seq.to_be_bytes());
    tcp.extend(ack.to_be_bytes());
    tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    traffic::ipv4(*from.ip(), *to.ip(), 6, &tcp)
}

/// What arrives at one end.
struct Arrived {
    time: Duration,
    from: SocketAddrV4,
    to: SocketAddrV4,
    seq: u32,
    flags: u8,
}

impl Arrived {
    fn read(frame: &Frame) -> Option<Self> {
        let bytes = &frame.bytes;
        let tcp = frame.direction == Direction::Incoming
            && bytes.len() >= 54
            && bytes[12..15] == [8, 0, 0x45]
            && bytes[23] == 6;
        let four = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let endpoint = |address: usize, port: usize| {
            let port = u16::from_be_bytes([bytes[port], bytes[port + 1]]);
            SocketAddrV4::new(Ipv4Addr::from(four(address)), port)
        };
        tcp.then(|| Self {
            time: frame.time,
            from: endpoint(26, 34),
            to: endpoint(30, 36),
            seq: u32::from_be_bytes(four(38)),
            flags: bytes[47],
        })
    }
}

/// A port as the generator believes it to be.
#[derive(Clone, Copy, PartialEq)]
enum Port {
    Free,
    /// With the connection of this attempt.
    Live(usize),
    /// After that one.
    Rests(usize),
}

struct Generator {
    inside: Wire,
    outside: Wire,
    /// Ethernet headers of the frames on both links.
    headers: [Vec<u8>; 2],
    first: u16,
    cooldown: Duration,
    attempts: Vec<Attempt>,
    ports: Vec<Port>,
    free: usize,
    live: usize,
    resting: VecDeque<(Duration, u16)>,
    /// SYNs that have not been seen outside yet.
    pending: VecDeque<usize>,
    completed: usize,
    completed_when_full: usize,
}

impl Generator {
    fn new(lab: &Lab, ports: &RangeInclusive<u16>, cooldown: Duration) -> Self {
        let neighbour = |address: Ipv4Addr, device, mac| {
            format!("neigh replace {address} dev {device} lladdr {mac} nud permanent\n")
        };
        let hosts = (CLIENT..CLIENT + CLIENTS).map(Ipv4Addr::from);
        let mut batch: String =
            hosts.map(|host| neighbour(host, "lan0", "02:00:0a:4d:00:02")).collect();
        batch += &neighbour(*SERVER.ip(), "wan0", "02:00:cb:00:71:0a");
        process::ip(&lab.gateway, &batch);
        let header = |to, from| traffic::ethernet(to, from, 0x0800, &[]);
        Self {
            inside: Wire::open(&lab.client, "c0"),
            outside: Wire::open(&lab.server, "s0"),
            headers: [
                header([2, 0, 10, 77, 0, 1], [2, 0, 10, 77, 0, 2]),
                header([2, 0, 203, 0, 113, 1], [2, 0, 203, 0, 113, 10]),
            ],
            first: *ports.start(),
            cooldown,
            attempts: Vec::new(),
            ports: vec![Port::Free; ports.len()],
            free: ports.len(),
            live: 0,
            resting: VecDeque::new(),
            pending: VecDeque::new(),
            completed: 0,
            completed_when_full: 0,
        }
    }

    fn send_inside(&self, packet: &[u8]) {
        self.inside.send(&[&self.headers[0], packet].concat());
    }

    fn send_outside(&self, packet: &[u8]) {
        self.outside.send(&[&self.headers[1], packet].concat());
    }

    /// A client opens a connection.
    fn open(&mut self) {
        let number = self.attempts.len();
        let packet = segment(client(number), SERVER, SYN, number as u32, 0);
        self.attempts.push(Attempt { sent: now(), opened: None });
        self.pending.push_back(number);
        self.send_inside(&packet);
    }

    /// Clients and server answer what has arrived. Returns whether there was anything.
    fn answer(&mut self) -> bool {
        let before = (self.completed, self.live);
        while let Some(frame) = self.outside.receive() {
            if let Some(arrived) = Arrived::read(&frame).filter(|arrived| arrived.to == SERVER) {
                self.server(&arrived);
            }
        }
        while let Some(frame) = self.inside.receive() {
            if let Some(arrived) = Arrived::read(&frame).filter(|arrived| arrived.from == SERVER) {
                self.client(&arrived);
            }
        }
        before != (self.completed, self.live)
    }

    fn server(&mut self, arrived: &Arrived) {
        let port = usize::from(arrived.from.port() - self.first);
        if arrived.flags & SYN != 0 {
            let number = arrived.seq as usize;
            let Attempt { opened, .. } = &mut self.attempts[number];
            let (syn, last) = (arrived.time, arrived.time);
            *opened = Some(Opened { port: arrived.from.port(), syn, last });
            self.free -= usize::from(self.ports[port] == Port::Free);
            self.completed_when_full += usize::from(self.free * 20 <= self.ports.len());
            self.ports[port] = Port::Live(number);
            self.live += 1;
            let ack = arrived.seq + 1;
            self.send_outside(&segment(SERVER, arrived.from, SYN | ACK, SERVER_ISN, ack));
            return;
        }
        let Port::Live(number) = self.ports[port] else { panic!("a segment without a connection") };
        self.attempts[number].opened.as_mut().unwrap().last = arrived.time;
        // The ACK of the server's SYN, the FIN, the ACK of the server's FIN.
        match (arrived.flags & FIN != 0, arrived.seq.wrapping_sub(number as u32)) {
            (false, 1) => {}
            (true, 1) => {
                let ack = arrived.seq + 1;
                let packet = segment(SERVER, arrived.from, FIN | ACK, SERVER_ISN + 1, ack);
                self.send_outside(&packet);
            }
            _ => {
                self.ports[port] = Port::Rests(number);
                self.live -= 1;
                self.completed += 1;
                self.resting.push_back((arrived.time, arrived.from.port()));
            }
        }
    }

    fn client(&self, arrived: &Arrived) {
        let isn = attempt_of(arrived.to) as u32;
        let send = |flags, seq, ack| {
            self.send_inside(&segment(arrived.to, SERVER, flags, isn + seq, SERVER_ISN + ack));
        };
        if arrived.flags & SYN != 0 {
            send(ACK, 1, 1);
            send(FIN | ACK, 1, 1);
        } else {
            send(ACK, 2, 2);
        }
    }

    /// Ports whose time is over are taken to be free, SYNs that have not come out to be refused.
    fn advance(&mut self) {
        let now = now();
        while let Some(&(last, port)) = self.resting.front()
            && last + self.cooldown <= now
        {
            self.resting.pop_front();
            let state = &mut self.ports[usize::from(port - self.first)];
            if let Port::Rests(number) = *state
                && self.attempts[number].opened.is_some_and(|opened| opened.last == last)
            {
                *state = Port::Free;
                self.free += 1;
            }
        }
        while let Some(&number) = self.pending.front()
            && (self.attempts[number].opened.is_some()
                || self.attempts[number].sent + PASSES <= now)
        {
            self.pending.pop_front();
        }
    }

    /// Opens connections until so many have come about with nearly all ports in use or resting.
    fn run(&mut self, connections: usize) {
        let begun = Instant::now();
        let (mut probed, mut told) = (begun, begun);
        while self.completed_when_full < connections {
            let busy = self.answer();
            self.advance();
            let due = self.free.saturating_sub(self.pending.len());
            // At first evenly: what is opened at once is free again at once.
            let share = begun.elapsed().div_duration_f64(self.cooldown).min(1.0);
            let first = (share * self.ports.len() as f64) as usize;
            let due = due.min(match first < self.ports.len() {
                true => first.saturating_sub(self.attempts.len()),
                false => usize::MAX,
            });
            let due = due.min(LIVE_MAX.saturating_sub(self.live + self.pending.len()));
            (0..due).for_each(|_| self.open());
            if due == 0 && probed.elapsed() >= PROBE_INTERVAL && self.pending.len() < LIVE_MAX {
                probed = Instant::now();
                self.open();
            } else if due == 0 && !busy {
                let fds = [self.outside.as_fd(), self.inside.as_fd()];
                let _ = wait::readable(fds, PROBE_INTERVAL);
            }
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                println!("{} connections, {} ports free", self.completed, self.free);
            }
        }
        let end = Instant::now() + SETTLES;
        while Instant::now() < end {
            self.answer();
            let fds = [self.outside.as_fd(), self.inside.as_fd()];
            let _ = wait::readable(fds, PROBE_INTERVAL);
        }
        self.inside.check_nothing_lost();
        self.outside.check_nothing_lost();
    }
}

/// A run of the generator.
struct Torture {
    hook: &'static str,
    connections: usize,
    ports: RangeInclusive<u16>,
    /// What is configured, and what is judged by.
    configured: Duration,
    cooldown: Duration,
}

impl Torture {
    fn run(&self) -> Judgement {
        let gateway = Gateway::in_lab(Lab::new(Offloads::Off), "\"lan0\"");
        let mut generator = Generator::new(&gateway.lab, &self.ports, self.cooldown);
        let _controller = gateway.start(self.hook, self.rules());
        // One CPU, one order: the gateway sees SYNs as they are sent.
        let mut cpus = CpuSet::new();
        cpus.set(0).unwrap();
        sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
        let begun = Instant::now();
        // The judge counts from when the SYN is sent, which may be a little less.
        generator.run(self.connections + self.connections / 50);
        let took = begun.elapsed();
        assert_eq!(generator.live, 0, "connections got stuck: {:?}", gateway.verdicts());
        let law = Law { ports: self.ports.clone(), cooldown: self.cooldown, tolerance: TOLERANCE };
        let judgement = turnover::judge(&generator.attempts, &law);
        println!("{}, {} ports, {took:.1?}: {judgement:#?}", self.hook, self.ports.len());
        assert_eq!(generator.completed, judgement.opened);
        let no_port = gateway.verdicts().get("no_port").copied();
        assert_eq!(no_port.unwrap_or(0), judgement.refused as u64, "{:?}", gateway.verdicts());
        judgement
    }

    fn rules(&self) -> String {
        let (first, last, ms) = (self.ports.start(), self.ports.end(), self.configured.as_millis());
        format!(
            "{INTERNET}ports = \"{first}-{last}\"\n\
             [cooldown]\ntime_ms = {ms}\nrst_ms = {ms}\nhalf_open_ms = {ms}\n\
             [limits]\nsessions_per_client = 0\nhalf_open_per_client = 0\n\
             new_per_second_per_client = 0\n"
        )
    }
}

/// A number from the environment, or another one.
fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
}

#[test]
fn rfc6888_req8_full_ports_come_again_after_the_cooldown_and_none_is_refused_before() {
    let only = std::env::var("NAT_TORTURE_HOOK").ok();
    let ports = u16::try_from(setting("NAT_TORTURE_PORTS", 4096)).unwrap();
    let cooldown = Duration::from_secs(2);
    for hook in ["tc", "xdp"] {
        if only.as_ref().is_some_and(|only| only != hook) {
            continue;
        }
        let connections = setting("NAT_TORTURE_CONNECTIONS", 10_000);
        let judgement = Torture {
            hook,
            connections,
            ports: 20_001..=20_000 + ports,
            configured: cooldown,
            cooldown,
        }
        .run();
        assert_eq!((judgement.too_soon, judgement.wrongly_refused), (0, 0), "{hook}");
        assert!(judgement.opened_when_full >= connections, "{hook}");
        assert!(judgement.reuses > 0 && judgement.refused > 0, "{hook}: nothing has been shown");
    }
}

/// The judge sees both kinds of errors.
#[test]
fn a_cooldown_that_is_not_the_configured_one_is_noticed() {
    let run = |configured| {
        Torture {
            hook: "tc",
            connections: 2000,
            ports: 20_001..=20_512,
            configured: Duration::from_millis(configured),
            cooldown: Duration::from_millis(600),
        }
        .run()
    };
    let shorter = run(550);
    assert!(shorter.too_soon > 0 && shorter.wrongly_refused == 0, "{shorter:?}");
    let longer = run(650);
    assert!(longer.too_soon == 0 && longer.wrongly_refused > 0, "{longer:?}");
}
