//! What a program takes for a packet of a session that is there, without everything around it: by the
//! kernel's own timing of `BPF_PROG_TEST_RUN`, on the programs that ship.
//!
//! Each packet is shown once at a time: the kernel does not restore a packet that it shows again, and
//! what has been translated is another packet.
use nat_common::{stats::Hook, verdict::Verdict};
use serde_json::{Value, json};

use crate::{
    common::{
        bench::{BOTH, Bench, Hooks, INTERNET},
        frames::{self, ACK, CLIENT, GATEWAY, Place, SERVER, SYN},
        test_run::return_code,
    },
    cpu,
    measure::spread,
    rig::first_cpu,
};

pub const NAME: &str = "programs alone";

/// Times that each packet is shown in a round.
const SHOWN: usize = 2000;

const PAYLOAD: &[u8] = b"eighteen bytes ...";

/// A packet that is shown to a hook.
struct Case {
    hook: Hook,
    packet: &'static str,
    frame: Vec<u8>,
    code: u32,
}

/// Nanoseconds of a packet, the median of each round.
#[derive(Debug)]
pub struct Figures {
    hook: Hook,
    packet: &'static str,
    ns: Vec<f64>,
}

/// Which of a hook's packets is looked at only to find that it is nobody's: what is left is timing.
const LEAST: &str = "not IPv4";

pub fn measure(rounds: usize) -> Vec<Figures> {
    let benches: Vec<(Bench, Vec<Case>)> = BOTH
        .into_iter()
        .map(|hooks| {
            let bench = Bench::new(INTERNET);
            let cases = cases(&bench, hooks);
            (bench, cases)
        })
        .collect();
    let new = |case: &Case| Figures { hook: case.hook, packet: case.packet, ns: Vec::new() };
    let mut all: Vec<Figures> =
        benches.iter().flat_map(|(_, cases)| cases.iter().map(new)).collect();
    for _ in 0..rounds {
        let cases =
            benches.iter().flat_map(|(bench, cases)| cases.iter().map(move |case| (bench, case)));
        for (figures, (bench, case)) in all.iter_mut().zip(cases) {
            figures.ns.push(show(bench, case));
        }
    }
    all
}

/// Shows a packet again and again; the median of what it took.
fn show(bench: &Bench, case: &Case) -> f64 {
    let lab = bench.lab();
    let took: Vec<f64> = lab.gateway.enter(|| {
        cpu::pin(first_cpu());
        let once = |_| {
            let (code, took) = bench.time_here(case.hook, &case.frame);
            assert_eq!(code, case.code, "{} {}", case.hook.name(), case.packet);
            took.as_nanos() as f64
        };
        (0..SHOWN).map(once).collect()
    });
    spread(&took)[1]
}

/// Opens a UDP flow and a TCP connection by the programs of these hooks; their next packets.
fn cases(bench: &Bench, hooks: Hooks) -> Vec<Case> {
    let (udp, tcp) = ((CLIENT, 5000), (CLIENT, 5001));
    let open = |frame: &[u8]| frames::read(&bench.send(hooks.out, frame).frame).source;
    let (dns, web) = ((SERVER, 53), (SERVER, 80));
    let question = frames::udp(udp, dns, PAYLOAD);
    let answer = frames::udp(dns, open(&question), PAYLOAD);
    let segment =
        |from, to, flags, place, payload: &[u8]| frames::tcp_at(from, to, flags, place, payload);
    let outside = open(&segment(tcp, web, SYN, Place::at(1000, 0), b""));
    assert_eq!(outside.0, GATEWAY);
    bench.send(hooks.inbound, &segment(web, outside, SYN | ACK, Place::at(5000, 1001), b""));
    bench.send(hooks.out, &segment(tcp, web, ACK, Place::at(1001, 5001), b""));
    let upward = segment(tcp, web, ACK, Place::at(1001, 5001), PAYLOAD);
    let downward = segment(web, outside, ACK, Place::at(5001, 1001), PAYLOAD);
    let case = |hook, packet, frame: &[u8], verdict: Option<Verdict>| {
        let seen = bench.send(hook, frame).verdict;
        assert!(verdict.is_none_or(|verdict| verdict == seen), "{packet}: {seen:?}");
        Case { hook, packet, frame: frame.to_vec(), code: return_code(hook, seen) }
    };
    let mut arp = frames::udp(udp, dns, PAYLOAD);
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let (out, inbound) = (Some(Verdict::TranslatedOut), Some(Verdict::TranslatedIn));
    let mut cases = vec![
        case(hooks.out, LEAST, &arp, None),
        case(hooks.out, "UDP out", &question, out),
        case(hooks.out, "TCP out", &upward, out),
        case(hooks.inbound, LEAST, &arp, None),
        case(hooks.inbound, "UDP in", &answer, inbound),
        case(hooks.inbound, "TCP in", &downward, inbound),
    ];
    if hooks.out == Hook::TcEgress {
        // What goes out by TC comes in here.
        cases.push(case(Hook::TcInside, LEAST, &arp, None));
        cases.push(case(Hook::TcInside, "UDP out", &question, None));
        cases.push(case(Hook::TcInside, "TCP out", &upward, None));
    }
    cases
}

pub fn print(all: &[Figures]) {
    println!("\n{NAME}: ns for each packet of a session");
    println!("{:22} {:>9} {:>19} {:>9}", "", "median", "least to greatest", "net");
    for figures in all {
        let least = all.iter().find(|it| it.hook == figures.hook && it.packet == LEAST);
        let [from, median, to] = spread(&figures.ns);
        let net = least.map_or(f64::NAN, |least| median - spread(&least.ns)[1]);
        println!(
            "{:22} {median:>9.0} {:>19} {net:>9.0}",
            format!("{}, {}", figures.hook.name(), figures.packet),
            format!("{from:.0} to {to:.0}"),
        );
    }
}

pub fn json(all: &[Figures]) -> Value {
    let packet = |figures: &Figures| json!({ "hook": figures.hook.name(), "packet": figures.packet, "ns": figures.ns });
    json!({ "scenario": NAME, "packets": all.iter().map(packet).collect::<Vec<_>>() })
}
