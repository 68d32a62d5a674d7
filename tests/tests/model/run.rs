//! Both NATs side by side.
use std::{
    collections::HashMap,
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nat_common::{stats::Hook, verdict::Verdict};
use nat_ctl::datapath::{
    State,
    kernel::maps::{Maps, Sizes},
};
use nat_tests::model::{
    Entering, Expected, Model, Opening, Origin, Outcome, Sent, flow::Flow, packet, rules::Table,
};

use super::{
    choice::Choice,
    common::{
        bench::Bench,
        test_run::{mark_own, mark_turned, return_code, turned_code},
    },
    compare, configuration,
    generate::{Generator, Kind, Step},
    history::{History, show},
    world,
};

/// Packets between two looks at all counters, and at all sessions.
const COUNTERS_EVERY: u64 = 1000;
const SESSIONS_EVERY: u64 = 1000;

/// Tuples that can rest: more than a run makes sessions, so that none is released early, or so few that
/// many are.
const MAX_COOLING: [u32; 3] = [1 << 18, 1 << 18, 40];

/// How much to run.
pub struct Options {
    kind: Kind,
    /// Of the first run; the others follow from it.
    seed: u64,
    packets: u64,
    runs: u64,
}

impl Options {
    /// Without variables, what a test suite has time for.
    pub fn from_environment(kind: Kind) -> Self {
        let number = |name: &str, default: u64| match env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
            Err(_) => default,
        };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            kind,
            seed: number("NAT_MODEL_SEED", u64::from(clock.subsec_nanos())),
            packets: number("NAT_MODEL_PACKETS", 10_000),
            runs: number("NAT_MODEL_RUNS", 2),
        }
    }
}

/// All runs, each with rules and a table size of its own.
pub fn runs(options: &Options) {
    for run in 0..options.runs {
        let seed = options.seed.wrapping_add(run);
        let start = Instant::now();
        let (packets, kind) = (options.packets, options.kind);
        one(kind, seed, packets);
        let rate = packets as f64 / start.elapsed().as_secs_f64();
        println!("{kind:?}, NAT_MODEL_SEED={seed}: {packets} packets equal, {rate:.0} a second");
    }
}

fn again(kind: Kind, seed: u64, packets: u64) -> String {
    let test = match kind {
        Kind::Tc => "tc_equals",
        Kind::Xdp => "xdp_equals",
        Kind::Mixed => "tc_and_xdp",
    };
    format!(
        "NAT_MODEL_SEED={seed} NAT_MODEL_RUNS=1 NAT_MODEL_PACKETS={packets} cargo test -p nat-tests \
         --test model -- --nocapture {test}"
    )
}

fn one(kind: Kind, seed: u64, packets: u64) {
    let (lab, host) = world::build();
    let mut choice = Choice::new(seed);
    let max_sessions = choice.of(&[24, 100, 4096]);
    let gateway = std::sync::Arc::clone(&lab);
    gateway.gateway.enter(move || {
        let cooling = choice.of(&MAX_COOLING);
        let sizes = Sizes { sessions: max_sessions, cooling };
        let mut bench = Bench::sized(lab, sizes);
        bench.cooldown = None;
        let model = Model::new(host, max_sessions as usize, bench.now_ns());
        let maps = bench.maps();
        let mut run = Run {
            name: format!(
                "{kind:?}, {max_sessions} sessions and {cooling} resting tuples at most, \
                 NAT_MODEL_SEED={seed}"
            ),
            again: again(kind, seed, packets),
            maps,
            bench,
            model,
            generator: Generator::new(kind, choice),
            history: History::default(),
            ids: HashMap::new(),
            number: 0,
            released: (cooling == MAX_COOLING[2]).then_some(0),
            out: Vec::new(),
            turned: false,
        };
        while run.number < packets {
            run.step();
        }
        run.compare_counters();
        run.compare_sessions();
    });
}

struct Run {
    name: String,
    /// The command that repeats it.
    again: String,
    maps: Maps,
    bench: Bench,
    model: Model,
    generator: Generator,
    history: History,
    /// Identities of the rules.
    ids: HashMap<String, u32>,
    /// Packets so far.
    number: u64,
    /// Tuples that have been released before their time so far, where there is little room for them.
    released: Option<u64>,
    /// What came out last.
    out: Vec<u8>,
    /// Whether that has been turned back.
    turned: bool,
}

impl Run {
    fn step(&mut self) {
        match self.generator.next(&self.model) {
            Step::Packet { hook, segments, origin, frame } => {
                self.packet(Sent { hook, segments, origin, frame: &frame });
                self.number += 1;
                if self.number.is_multiple_of(COUNTERS_EVERY) {
                    self.compare_counters();
                }
                if self.number.is_multiple_of(SESSIONS_EVERY) {
                    self.compare_sessions();
                }
            }
            Step::Wait(ns) => {
                self.bench.advance(Duration::from_nanos(ns));
                self.model.now_ns += ns;
            }
            Step::Sweep(flows) => {
                let expected = self.model.sweep(&flows);
                self.with_flows("sweep", &flows, expected);
            }
            Step::Flush(flows) => {
                let expected = self.model.flush(&flows);
                self.with_flows("flush", &flows, expected);
            }
            Step::Clear => self.clear(),
            Step::Apply(table) => self.apply(table),
        }
    }

    fn with_flows(&mut self, program: &str, flows: &[Flow], expected: u32) {
        let keys: Vec<_> = flows.iter().map(compare::key).collect();
        let ended = self.bench.with_keys_here(program, &keys);
        self.note(format!("{program} of {} flows, {ended} ended", flows.len()));
        if ended != expected {
            self.fail(None, &format!("{program} should have ended {expected} sessions"));
        }
        self.follow_releases();
    }

    /// Takes over which tuples had to make room for others, when all that a step did is known.
    fn follow_releases(&mut self) {
        self.release();
        if self.released.is_some() {
            self.released = Some(compare::released(&self.maps));
        }
    }

    /// Which tuples had to make room for others is the program's choice: at most as many as it counts,
    /// and they rest no more.
    fn release(&mut self) {
        let Some(before) = self.released else { return };
        let released = compare::released(&self.maps);
        if released == before {
            return;
        }
        let Some(settings) = self.model.table.as_ref().map(|table| table.cooldown) else { return };
        let mut gone = self.model.resting.blocking(&settings, self.model.now_ns);
        gone.retain(|flow| match self.bench.rest_of(&compare::key(flow)) {
            None => true,
            Some(rest) => {
                self.model.resting.shorten(flow, rest.closed_ns);
                false
            }
        });
        if gone.len() as u64 > released - before {
            self.fail(None, &format!("{gone:?} do not rest, {} released", released - before));
        }
        self.released = Some(before + gone.len() as u64);
        self.note(format!("{} tuples released before their time", gone.len()));
        gone.iter().for_each(|flow| self.model.resting.release(flow));
    }

    /// The model has no part in this: no packet may see that it has happened.
    fn clear(&mut self) {
        let cleared = self.bench.clear();
        self.note(format!("clear, {cleared} tuples forgotten"));
    }

    fn apply(&mut self, mut table: Table) {
        // A port that makes room is found again by what asks for it toward everybody only: see
        // docs/limitations.md.
        table.cooldown.as_port &= self.released.is_none();
        self.compare_counters();
        self.compare_sessions();
        let text = configuration::toml(&table);
        self.bench.limits = compare::limits(&table.limits);
        self.bench.apply(&text);
        for rule in self.bench.state().rules().unwrap() {
            self.ids.insert(rule.name, rule.id);
        }
        self.note(format!("rules\n{text}{:?}", table.limits));
        self.model.apply(table);
    }

    fn packet(&mut self, sent: Sent<'_>) {
        let expected = self.model.packet(sent);
        let mut out = std::mem::take(&mut self.out);
        let change = match sent.origin {
            Origin::Link => |_: &mut [u8]| {},
            Origin::Own => mark_own,
            Origin::Turned => mark_turned,
        };
        let Sent { hook, segments, frame, .. } = sent;
        let code = self.bench.send_changed_here(hook, segments, change, frame, &mut out);
        self.out = out;
        match expected {
            Expected::Certain(outcome) => {
                let counted = self.counted(sent.hook, outcome.verdict);
                self.judge(sent, &outcome, code, counted);
            }
            Expected::Opens(opening) => self.opens(sent, &opening, code),
            Expected::Enters(entering) => {
                let came_in = self.ids.get(&entering.rule).is_some_and(|id| {
                    let sessions = compare::rule(&self.maps, *id).sessions;
                    sessions != self.model.counters.of_rule(&entering.rule).sessions
                });
                let let_in = |verdict| !self.counted(sent.hook, verdict);
                let came_in = came_in || Entering::REFUSALS.into_iter().any(let_in);
                if let Err(message) = self.model.learn(&entering, came_in) {
                    self.fail(Some(sent), &message);
                }
                match self.model.packet(sent) {
                    Expected::Certain(outcome) => {
                        let counted = self.counted(sent.hook, outcome.verdict);
                        self.judge(sent, &outcome, code, counted);
                    }
                    _ => self.fail(Some(sent), "the model does not know what it has learnt"),
                }
            }
        }
        if let Some((flow, external)) = self.model.take_entered() {
            self.generator.opened(flow, external);
        }
        self.follow_releases();
        if std::mem::take(&mut self.turned) {
            let frame = self.out.clone();
            let (hook, origin) = (Hook::TcIngress, Origin::Turned);
            self.packet(Sent { hook, segments: 0, origin, frame: &frame });
        }
    }

    fn opens(&mut self, sent: Sent<'_>, opening: &Opening, code: u32) {
        let verdict = Opening::VERDICTS.into_iter().find(|verdict| {
            // The model has not counted this packet yet.
            code == return_code(sent.hook, *verdict) && !self.counted(sent.hook, *verdict)
        });
        let Some(verdict) = verdict else {
            self.fail(Some(sent), "a session or a refusal was to be expected");
        };
        if matches!(verdict, Verdict::TranslatedOut | Verdict::Hairpin) {
            // The end of the session that was in the way may have released what is used now.
            self.release();
        }
        match self.model.settle(opening, verdict, &self.out) {
            Ok(outcome) => {
                let counted = self.counted(sent.hook, verdict);
                self.judge(sent, &outcome, code, counted);
            }
            Err(message) => self.fail(Some(sent), &message),
        }
        let rule = &opening.rule;
        let got = compare::rule(&self.maps, self.ids[rule]);
        if got != self.model.counters.of_rule(rule) {
            self.fail(Some(sent), &format!("rule {rule} should have counted this"));
        }
        if let Some(session) = self.model.sessions.get(&opening.flow) {
            self.generator.opened(session.flow, session.external);
        }
    }

    /// Whether the program's counter of a verdict stands where the model's does.
    fn counted(&self, hook: Hook, verdict: Verdict) -> bool {
        self.model.counters.of_verdict(hook, verdict) == compare::counter(&self.maps, hook, verdict)
    }

    fn judge(&mut self, sent: Sent<'_>, expected: &Outcome, code: u32, counted: bool) {
        let verdict = expected.verdict;
        let right = match sent.origin {
            Origin::Turned => turned_code(verdict),
            Origin::Link | Origin::Own => return_code(sent.hook, verdict),
        };
        if !counted || code != right {
            self.fail(Some(sent), &format!("the verdict should have been {}", verdict.name()));
        }
        if expected.frame != self.out {
            let (should, is) = (&expected.frame, &self.out);
            let place = should.iter().zip(is).position(|(a, b)| a != b);
            let message = format!(
                "{}: the frame differs at byte {place:?}\nshould be {should:02x?}\nis        {is:02x?}\nof        {:02x?}",
                verdict.name(),
                sent.frame,
            );
            self.fail(Some(sent), &message);
        }
        let now = (self.number, self.model.now_ns);
        self.history.packet(now, sent, verdict, &self.out);
        self.turned = verdict == Verdict::Hairpin;
    }

    fn compare_counters(&mut self) {
        let differences = compare::counters(&self.model, &self.maps, &self.ids);
        self.no_difference("counters", &differences);
    }

    fn compare_sessions(&mut self) {
        let mut differences = compare::sessions(&self.model, &self.maps, &self.ids);
        differences.extend(compare::clients(&self.model, &self.bench));
        differences.extend(compare::mappings(&self.model, &self.maps));
        let begun = self.model.resting.take_begun();
        differences.extend(compare::resting(&self.model, &self.bench, &begun));
        self.no_difference("sessions", &differences);
    }

    fn no_difference(&self, what: &str, differences: &[String]) {
        if !differences.is_empty() {
            let text = format!("{what} differ:\n  {}", differences.join("\n  "));
            self.fail(None, &text);
        }
    }

    fn note(&mut self, text: String) {
        self.history.other(self.number, self.model.now_ns, text);
    }

    /// Tells what is wrong, and what led to it.
    fn fail(&self, sent: Option<Sent<'_>>, message: &str) -> ! {
        let mut text = format!("{}, packet {}\n{}\n", self.name, self.number, self.again);
        if let Some(sent) = sent {
            let Sent { hook, frame, segments, origin } = sent;
            let shown = show(frame);
            text += &format!("{} {shown}, {segments} segments, {origin:?}\n", hook.name());
            text += &format!("came out as {}\n", show(&self.out));
            if let Ok(flow) = packet::read(frame).and_then(|packet| packet.outbound_flow()) {
                text += &format!("the model's session now: {:?}\n", self.model.sessions.get(&flow));
            }
        }
        text += message;
        text += "\n";
        let differences = compare::counters(&self.model, &self.maps, &self.ids);
        text += &format!("counters that differ now: {differences:#?}\n");
        text += &self.history.tell(sent.map(|sent| sent.frame));
        panic!("{text}");
    }
}
