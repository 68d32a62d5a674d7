//! One run of the demo, with one of the two hooks.

use std::{
    fmt, fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    time::{Duration, Instant},
};

use nat_tests::lab::{
    BpfFs, Capture, Direction, Frame, Lab, NatCtl, Offloads, Sniffer, checksums,
    leaks::ipv4_packet,
    topology::{CLIENT, EXTERNAL, SERVER, SERVER2},
    traffic::{HttpServer, Ping, UdpClient, UdpEcho, download, tcp_connect},
    wait,
};
use serde_json::Value;

use crate::{
    checks::Checks,
    cleanup::Cleanup,
    screen,
    sessions::{self, Flow},
};

const FILE_BYTES: usize = 4_000_000;
const PINGS: usize = 5;
const PING_BYTES: usize = 56;
const PING_IDENTIFIER: u16 = 4711;
const DATAGRAMS: u8 = 10;
/// For a TCP connection and each of its reads: what is lost on the way is sent again long before.
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// For the answer to one datagram.
const LIMIT: Duration = Duration::from_secs(1);
const RULE: &str = "internet";

const TOPOLOGY: &str = "  client              gateway                          server
  10.77.0.2 c0 ─── lan0 10.77.0.1   203.0.113.1 wan0 ─── s0 203.0.113.10
                                                            203.0.113.11
Three network namespaces. The server has no route to 10.77.0.0/24: what nat-ctl does not translate is
never answered. Offloads are off: every packet has its checksum and every receiver checks it.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Tc,
    Xdp,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        })
    }
}

fn config(hook: Hook) -> String {
    format!(
        r#"[interfaces]
inside = ["lan0"]
outside = ["wan0"]
hook = "{hook}"

[[rules]]
name = "{RULE}"
from = ["10.77.0.0/24"]
to = ["0.0.0.0/0"]
action = "snat"
source = {{ addresses = ["203.0.113.1"] }}
"#
    )
}

/// The observers on the wire.
struct Wires {
    /// At the far ends, where every packet shows in both modes.
    client: Sniffer,
    server: Sniffer,
    /// Where the gateway's own stack takes packets: those that XDP forwards never get there.
    stack: Sniffer,
}

pub fn play(hook: Hook, cleanup: &Cleanup) -> Checks {
    let mut checks = Checks::default();
    screen::heading(&format!("Three hosts (hook = {hook})"));
    println!("{TOPOLOGY}");
    let lab = Lab::new(Offloads::Off);
    let bpffs = BpfFs::new();
    let nat_ctl = NatCtl::new(&lab.gateway, &bpffs);

    screen::heading("The configuration");
    let folder = cleanup.folder();
    let file = folder.as_ref().join("nat.toml");
    fs::write(&file, config(hook)).expect("write the configuration");
    print!("{}", config(hook));

    screen::heading("nat-ctl starts");
    let begin = Instant::now();
    cleanup.started(&nat_ctl, nat_ctl.start(&file));
    screen::command("nat-ctl run --config nat.toml", &cleanup.log());
    println!("Ready after {} ms.", begin.elapsed().as_millis());

    let wires = Wires {
        client: Sniffer::start(&lab.client, "c0"),
        server: Sniffer::start(&lab.server, "s0"),
        stack: Sniffer::start(&lab.gateway, "lan0"),
    };
    traffic(&lab, &nat_ctl, &wires, &mut checks);
    let captures = [wires.client.stop(), wires.server.stop(), wires.stack.stop()];
    on_the_wire(hook, &captures, &mut checks);

    let detached = cleanup.undo();
    checks.note("nat-ctl detach removes the data path", detached.and_then(|()| no_pins(&bpffs)));
    checks.print();
    if checks.failed() > 0 {
        keep(&captures, hook);
    }
    checks
}

/// Moves traffic of all three kinds and looks at the sessions while they live.
fn traffic(lab: &Lab, nat_ctl: &NatCtl, wires: &Wires, checks: &mut Checks) {
    let http = HttpServer::start(&lab.server, SocketAddrV4::new(SERVER, 80), FILE_BYTES);
    let echo = UdpEcho::start(&lab.server, SocketAddrV4::new(SERVER2, 7));

    screen::heading("TCP: a file over HTTP");
    let begin = Instant::now();
    let file = download(&lab.client, None, http.address(), TCP_LIMIT);
    let milliseconds = begin.elapsed().as_millis();
    match &file {
        Ok(file) => {
            println!("{} fetched {} bytes in {milliseconds} ms.", file.local, file.bytes);
            println!(
                "sha256 {} at the server\nsha256 {} at the client",
                http.sha256(),
                file.sha256
            );
            let equal = file.sha256 == http.sha256();
            checks.holds("the file arrives complete", equal, format!("{} bytes", file.bytes));
        }
        Err(error) => checks.holds("the file arrives complete", false, error.to_string()),
    }
    // A second connection, which is still open when the sessions are listed.
    let open = tcp_connect(&lab.client, None, http.address(), TCP_LIMIT);
    if let Ok(mut stream) = open.as_ref() {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
    }

    screen::heading("UDP: an echo");
    let client = UdpClient::bind(&lab.client, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let came_back = |round: &u8| client.ask(echo.address(), &[*round; 1000], 3, LIMIT);
    let answers = (0..DATAGRAMS).take_while(came_back).count();
    println!("{answers} of {DATAGRAMS} datagrams came back.");
    checks.holds(
        "UDP is answered",
        answers == usize::from(DATAGRAMS),
        format!("{answers} of {DATAGRAMS}"),
    );

    screen::heading("ICMP: ping");
    let mut ping = Ping::new(&lab.client, SERVER, PING_IDENTIFIER);
    let answers = (0..PINGS).take_while(|_| ping.once(PING_BYTES, LIMIT)).count();
    println!("{answers} of {PINGS} echo requests were answered.");
    checks.holds("ping is answered", answers == PINGS, format!("{answers} of {PINGS}"));

    screen::heading("What the server saw");
    let peers: Vec<SocketAddr> = http.peers().into_iter().chain(echo.peers()).collect();
    let mut shown = peers.clone();
    shown.dedup();
    for peer in &shown {
        println!("  {peer}");
    }
    let strangers = peers.iter().filter(|peer| peer.ip() != IpAddr::V4(EXTERNAL)).count();
    checks.holds(
        "the server saw only the external address",
        strangers == 0 && peers.len() >= 12,
        format!("{} connections and datagrams, {strangers} from elsewhere", peers.len()),
    );

    let port_of = |local: Option<SocketAddr>| local.map_or(0, |address| address.port());
    let inside = |port| SocketAddrV4::new(CLIENT, port);
    let flows = [
        Flow {
            proto: "tcp",
            inside: inside(port_of(open.as_ref().ok().and_then(|it| it.local_addr().ok()))),
            outside: (EXTERNAL, http.peers().last().map(SocketAddr::port)),
            remote: http.address(),
        },
        Flow {
            proto: "udp",
            inside: inside(client.local().port()),
            outside: (EXTERNAL, echo.peers().last().map(SocketAddr::port)),
            remote: echo.address(),
        },
        Flow {
            proto: "icmp",
            inside: inside(ping.identifier()),
            outside: (EXTERNAL, None),
            remote: SocketAddrV4::new(SERVER, 0),
        },
    ];
    show_sessions(nat_ctl, &flows, checks);
    show_counters(nat_ctl, wires, checks);
}

/// The session table, as text for the audience and as JSON for the checks.
fn show_sessions(nat_ctl: &NatCtl, flows: &[Flow], checks: &mut Checks) {
    screen::heading("The session table");
    let list = nat_ctl.json(&["sessions", "list"]);
    screen::command("nat-ctl sessions list", &nat_ctl.text(&["sessions", "list"]));
    for flow in flows {
        let claim = format!("sessions list has the {} session", flow.proto.to_uppercase());
        checks.note(&claim, sessions::check(&list, flow, RULE));
    }
}

fn show_counters(nat_ctl: &NatCtl, wires: &Wires, checks: &mut Checks) {
    screen::heading("The counters");
    screen::command("nat-ctl stats", &nat_ctl.text(&["stats"]));

    // A packet is counted before it arrives, and a late acknowledgement may come in between.
    let arrived = |sniffer: &Sniffer| {
        sniffer.count(|frame| frame.direction == Direction::Incoming && is_ipv4(frame))
    };
    let ends = [("translated_out", &wires.server), ("translated_in", &wires.client)];
    let before = ends.map(|(_, sniffer)| arrived(sniffer));
    let stats = nat_ctl.json(&["stats"]);
    for ((verdict, sniffer), before) in ends.into_iter().zip(before) {
        let counted = count_of(&stats, verdict);
        let after = wait::until(LIMIT, || Some(arrived(sniffer)).filter(|count| *count >= counted));
        let after = after.unwrap_or_else(|| arrived(sniffer));
        checks.holds(
            &format!("stats count every packet once, {verdict}"),
            before > 0 && (before..=after).contains(&counted),
            format!("{counted} counted, {before} to {after} on the wire"),
        );
    }

    let status = nat_ctl.run(&["status", "--check"]);
    let code = status.status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
    checks.holds("status --check is content", status.status.success(), format!("exit code {code}"));
}

/// The packets with this verdict, at all hooks together.
fn count_of(stats: &Value, verdict: &str) -> usize {
    let verdicts = stats["verdicts"].as_array().map_or(&[][..], Vec::as_slice);
    let of_it = verdicts.iter().filter(|entry| entry["verdict"] == verdict);
    let packets: u64 = of_it.filter_map(|entry| entry["packets"].as_u64()).sum();
    packets as usize
}

fn on_the_wire(hook: Hook, [client, server, stack]: &[Capture; 3], checks: &mut Checks) {
    let leaks = server.private_sources();
    let packets = ipv4_packets(server.incoming());
    checks.note(
        "no private address on the outside wire",
        match leaks.first() {
            None if packets > 0 => Ok(format!("{packets} packets")),
            None => Err("there were no packets at all".to_owned()),
            Some(leak) => Err(format!("{} of {packets} packets, first: {leak}", leaks.len())),
        },
    );
    for (capture, side) in [(server, "outside"), (client, "inside")] {
        // Those that the gateway sent: the others are the hosts' own.
        let checksums = checksums::check(capture.incoming());
        checks.holds(
            &format!("tcpdump finds the checksums right, {side}"),
            checksums.wrong.is_empty() && checksums.correct > 0,
            checksums.to_string(),
        );
    }
    if hook == Hook::Xdp {
        let sent = ipv4_packets(client.outgoing());
        let by_stack = ipv4_packets(stack.incoming());
        checks.holds(
            "XDP forwards before the kernel's stack sees a packet",
            by_stack * 10 <= sent,
            format!("{} of the client's {sent} packets", sent.saturating_sub(by_stack)),
        );
    }
}

fn ipv4_packets<'a>(frames: impl Iterator<Item = &'a Frame>) -> usize {
    frames.filter(|frame| is_ipv4(frame)).count()
}

fn is_ipv4(frame: &Frame) -> bool {
    ipv4_packet(&frame.bytes).is_some()
}

/// What is left in the bpffs, besides the kernel's own two files.
fn no_pins(bpffs: &BpfFs) -> Result<String, String> {
    let mut left = Vec::new();
    collect_files(&bpffs.path(), &mut left);
    left.retain(|path| !path.ends_with("maps.debug") && !path.ends_with("progs.debug"));
    if left.is_empty() { Ok("no pins left".to_owned()) } else { Err(left.join(", ")) }
}

fn collect_files(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            files.push(path.display().to_string());
        }
    }
}

/// Keeps what was captured when a check has failed, for whoever has to find out why.
fn keep(captures: &[Capture], hook: Hook) {
    println!("\nThe captures, to find out why:");
    for capture in captures {
        let name = format!("nat-ctl-demo-{hook}-{}.pcap", capture.device);
        let path = std::env::temp_dir().join(name);
        capture.write_pcap(&path);
        println!("  {}", path.display());
    }
}
