//! `nat-ctl stats`
use std::collections::HashMap;

use serde::Serialize;

use super::open;
use crate::{
    cli::Global,
    clock,
    datapath::{SessionPair, State},
    exit::{Exit, Failure},
    output::{Out, Style, Table, Tone, units},
    session::Directions,
};

/// `stats -j`
#[derive(Serialize)]
struct Stats {
    schema: &'static str,
    version: &'static str,
    verdicts: Vec<VerdictCount>,
    rules: Vec<RuleCount>,
}

/// Packets of one verdict at one hook; those that are zero are left out.
#[derive(Serialize)]
struct VerdictCount {
    hook: &'static str,
    verdict: &'static str,
    fate: &'static str,
    packets: u64,
    bytes: u64,
    #[serde(skip)]
    description: &'static str,
}

/// What a rule has done since the data path was attached.
#[derive(Serialize)]
struct RuleCount {
    rule: String,
    /// Sessions made so far.
    sessions: u64,
    /// Sessions there are now.
    live_sessions: u64,
    packets: Directions,
    bytes: Directions,
    routed_packets: u64,
    dropped_packets: u64,
}

/// Prints the counters.
pub fn run(global: &Global, out: Out) -> Result<Exit, Failure> {
    let state = open(global)?;
    let stats = Stats {
        schema: "nat-ctl/stats/1",
        version: env!("CARGO_PKG_VERSION"),
        verdicts: verdicts(&state)?,
        rules: rules(&state)?,
    };
    out.answer(&stats, tables)?;
    Ok(Exit::Ok)
}

fn verdicts(state: &impl State) -> Result<Vec<VerdictCount>, Failure> {
    let counts = state.verdicts()?.into_iter().map(|state| VerdictCount {
        hook: state.hook.name(),
        verdict: state.verdict.name(),
        fate: state.verdict.fate().name(),
        packets: state.counter.packets,
        bytes: state.counter.bytes,
        description: state.verdict.describe(),
    });
    Ok(counts.collect())
}

/// The counters of a rule are kept where they cost a packet nothing: in its sessions while they
/// live, and with the rule when they have ended.
fn rules(state: &impl State) -> Result<Vec<RuleCount>, Failure> {
    let now_ns = clock::now_ns();
    let mut by_rule: HashMap<u32, Vec<SessionPair>> = HashMap::new();
    for pair in state.sessions()? {
        by_rule.entry(pair.outbound.rule_id()).or_default().push(pair);
    }
    let counts = state.rules()?.into_iter().map(|rule| {
        let pairs = by_rule.remove(&rule.id).unwrap_or_default();
        let live = |of: &dyn Fn(&SessionPair) -> u64| pairs.iter().map(of).sum::<u64>();
        let counters = rule.counters;
        RuleCount {
            rule: rule.name,
            sessions: counters.sessions,
            live_sessions: live(&|pair: &SessionPair| u64::from(pair.deadline_ns() > now_ns)),
            packets: Directions {
                out: counters.ended_packets_out + live(&|pair: &SessionPair| pair.outbound.packets),
                inbound: counters.ended_packets_in
                    + live(&|pair: &SessionPair| pair.inbound.map_or(0, |inbound| inbound.packets)),
            },
            bytes: Directions {
                out: counters.ended_bytes_out + live(&|pair: &SessionPair| pair.outbound.bytes),
                inbound: counters.ended_bytes_in
                    + live(&|pair: &SessionPair| pair.inbound.map_or(0, |inbound| inbound.bytes)),
            },
            routed_packets: counters.routed_packets,
            dropped_packets: counters.dropped_packets,
        }
    });
    Ok(counts.collect())
}

fn tables(stats: &Stats, style: Style) -> String {
    let mut verdicts =
        Table::new(&["VERDICT", "HOOK", "PACKETS", "BYTES", "MEANING"]).right(&[2, 3]);
    for count in &stats.verdicts {
        let cells = [
            count.verdict.to_owned(),
            count.hook.to_owned(),
            count.packets.to_string(),
            units::count(count.bytes),
            count.description.to_owned(),
        ];
        if count.fate == "dropped" {
            verdicts.row_in(Tone::Warning, cells);
        } else {
            verdicts.row(cells);
        }
    }
    let headings = [
        "RULE",
        "SESSIONS",
        "LIVE",
        "PACKETS OUT",
        "PACKETS IN",
        "BYTES OUT",
        "BYTES IN",
        "ROUTED",
        "DROPPED",
    ];
    let mut rules = Table::new(&headings).right(&[1, 2, 3, 4, 5, 6, 7, 8]);
    for rule in &stats.rules {
        rules.row([
            rule.rule.clone(),
            rule.sessions.to_string(),
            rule.live_sessions.to_string(),
            rule.packets.out.to_string(),
            rule.packets.inbound.to_string(),
            units::count(rule.bytes.out),
            units::count(rule.bytes.inbound),
            rule.routed_packets.to_string(),
            rule.dropped_packets.to_string(),
        ]);
    }
    format!("{}\n{}", verdicts.render(style), rules.render(style))
}
