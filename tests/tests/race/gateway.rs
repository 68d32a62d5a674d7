//! The programs with two clients, and what they make of a frame.
use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use nat_common::{
    stats::{Hook, RuleCounters},
    verdict::Verdict,
};
use nat_ctl::datapath::State;
use nat_tests::lab::{
    Lab, NetNs,
    topology::{CLIENT, CLIENT2},
};

use super::{
    bench::{Bench, INTERNET, laboratory, neighbour_at},
    common::test_run::return_code,
    cpus::{self, Lockstep},
    frames::{self, GATEWAY, View},
};

/// The two clients, by the number of their thread.
pub const CLIENTS: [Ipv4Addr; 2] = [CLIENT, CLIENT2];

/// See the module.
pub struct Gateway {
    pub bench: Bench,
    lab: Arc<Lab>,
}

impl Gateway {
    /// One external address with the ports of this range.
    pub fn new(ports: &str, max_sessions: u32) -> Self {
        Self::with_rule(&format!("ports = \"{ports}\"\n"), max_sessions)
    }

    /// One external address, and these lines in its rule.
    pub fn with_rule(lines: &str, max_sessions: u32) -> Self {
        let lab = Arc::new(laboratory().build());
        neighbour_at(&lab, "lan0", &CLIENT.to_string());
        neighbour_at(&lab, "lan0", &CLIENT2.to_string());
        neighbour_at(&lab, "wan0", &frames::SERVER.to_string());
        let mut bench = Bench::in_lab(Arc::clone(&lab), max_sessions);
        bench.apply(&format!("{INTERNET}{lines}"));
        Self { bench, lab }
    }

    /// Where the programs have to be run.
    pub fn namespace(&self) -> &NetNs {
        &self.lab.gateway
    }

    /// The same for each of two threads.
    pub fn namespaces(&self) -> [&NetNs; 2] {
        [self.namespace(); 2]
    }

    /// Sends a frame out; what leaves translated, all checksums right.
    pub fn send_out(&self, hook: Hook, frame: &[u8]) -> Option<View> {
        let view = self.send(hook, frame, Verdict::TranslatedOut)?;
        (view.source.0 == GATEWAY).then_some(view)
    }

    /// Sends a frame in; what arrives translated, all checksums right.
    pub fn send_in(&self, hook: Hook, frame: &[u8]) -> Option<View> {
        let view = self.send(hook, frame, Verdict::TranslatedIn)?;
        (view.destination.0 != GATEWAY).then_some(view)
    }

    fn send(&self, hook: Hook, frame: &[u8], verdict: Verdict) -> Option<View> {
        let mut out = Vec::new();
        let code = self.bench.send_here(hook, 0, frame, &mut out);
        (code == return_code(hook, verdict)).then(|| frames::read(&out))
    }

    /// [`Gateway::send_out`] as a client does it that tries again. A nearly full range of ports
    /// refuses now and then, and so does a hash bucket that another CPU is busy with.
    pub fn open(&self, hook: Hook, frame: &[u8]) -> View {
        const TRIES: usize = 50;
        let view = (0..TRIES).find_map(|_| self.send_out(hook, frame));
        view.unwrap_or_else(|| panic!("refused {TRIES} times: {:?}", frames::read(frame)))
    }

    /// Sends the frames of both CPUs in step, which pairwise have to leave from one external port.
    /// Returns how many have not left, of which none may be without a name.
    pub fn send_pairs(&self, hook: Hook, frames: impl Fn(usize) -> Vec<Vec<u8>> + Sync) -> u64 {
        let lockstep = Lockstep::default();
        let seen = cpus::both(self.namespaces(), |which| {
            let send = |(number, frame): (usize, &Vec<u8>)| {
                lockstep.step(number);
                self.send_out(hook, frame).map(|view| view.source.1)
            };
            frames(which).iter().enumerate().map(send).collect::<Vec<_>>()
        });
        let mut lost = 0;
        for (one, other) in seen[0].iter().zip(&seen[1]) {
            match (one, other) {
                (Some(one), Some(other)) => assert_eq!(one, other, "two mappings"),
                (None, None) => panic!("neither packet passed"),
                _ => lost += 1,
            }
        }
        assert_eq!(self.packets(Verdict::Contended), lost, "packets lost without a name");
        lost
    }

    /// Packets that had this verdict, at all hooks.
    pub fn packets(&self, verdict: Verdict) -> u64 {
        let states = self.bench.state().verdicts().unwrap();
        let those = states.iter().filter(|state| state.verdict == verdict);
        those.map(|state| state.counter.packets).sum()
    }

    /// What the rule has counted.
    pub fn rule(&self) -> RuleCounters {
        self.bench.state().rules().unwrap()[0].counters
    }

    /// Checks that every entry of one map has its counterpart in the other; returns how many.
    pub fn check_pairs(&self) -> usize {
        let maps = self.bench.maps();
        let mut claims = HashMap::new();
        let mut count = |key: &_, entry: &nat_common::session::Session| {
            claims.insert(*key, (entry.address, entry.port));
        };
        maps.inbound.for_each(&mut count).unwrap();
        let mut entries = 0;
        maps.each_outbound(|key, entry| {
            let outside = key.translated(entry.address, entry.port);
            let back = claims.remove(&outside);
            assert_eq!(back, Some((key.local, key.local_port)), "{key:?} as {outside:?}");
            entries += 1;
        })
        .unwrap();
        assert!(claims.is_empty(), "claims without a session: {claims:?}");
        entries
    }
}
