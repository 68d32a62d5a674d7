//! `nat-ctl pools`
use std::collections::BTreeMap;

use nat_common::verdict::Verdict;
use serde::Serialize;

use super::open;
use crate::{
    cli::Global,
    clock,
    datapath::State,
    exit::{Exit, Failure},
    output::{Out, Style, Table, units},
    pools::{self, PoolView},
    session::Endpoint,
};

/// `pools -j`
#[derive(Serialize)]
struct Pools {
    schema: &'static str,
    version: &'static str,
    pools: Vec<PoolView>,
    /// Packets of new flows that were dropped, by verdict, since the data path was attached.
    refusals: BTreeMap<&'static str, u64>,
    /// Ports that came to rest, those given up before their time, and those used again before.
    rested: u64,
    released_early: u64,
    reused_early: u64,
}

/// What a new flow is dropped as for want of a port or of room.
const REFUSALS: [Verdict; 2] = [Verdict::NoPort, Verdict::TableFull];

/// Prints how full external addresses are.
pub fn run(global: &Global, out: Out) -> Result<Exit, Failure> {
    let state = open(global)?;
    let pools = read(&state, clock::now_ns())?;
    out.answer(&pools, text)?;
    Ok(Exit::Ok)
}

fn read(state: &impl State, now_ns: u64) -> Result<Pools, Failure> {
    let mut refusals: BTreeMap<_, _> =
        REFUSALS.into_iter().map(|verdict| (verdict.name(), 0)).collect();
    for counted in state.verdicts()? {
        if let Some(packets) = refusals.get_mut(counted.verdict.name()) {
            *packets += counted.counter.packets;
        }
    }
    let counters = state.cooldown_counters()?;
    Ok(Pools {
        schema: "nat-ctl/pools/1",
        version: env!("CARGO_PKG_VERSION"),
        pools: pools::views(state, now_ns)?,
        refusals,
        rested: counters.rested,
        released_early: counters.released_early,
        reused_early: counters.reused_early,
    })
}

fn text(pools: &Pools, style: Style) -> String {
    let mut table = Table::new(&[
        "ADDRESS",
        "PROTO",
        "PORTS",
        "USED",
        "COOLING",
        "FREE",
        "SESSIONS",
        "MAPPINGS",
        "HOTTEST",
        "FREE THERE",
    ])
    .right(&[2, 3, 4, 5, 6, 7, 9]);
    for pool in &pools.pools {
        let hottest = pool.hottest.first();
        let endpoint = |Endpoint { addr, port }| format!("{addr}:{port}");
        table.row([
            pool.address.to_string(),
            pool.proto.to_owned(),
            pool.ports.to_string(),
            pool.in_use.to_string(),
            pool.cooling.to_string(),
            pool.free.to_string(),
            pool.sessions.to_string(),
            pool.mappings.to_string(),
            hottest.map_or_else(|| "-".to_owned(), |one| endpoint(one.remote)),
            hottest.map_or_else(|| "-".to_owned(), |one| one.free.to_string()),
        ]);
    }
    let refusals: Vec<_> = pools
        .refusals
        .iter()
        .map(|(verdict, packets)| format!("{verdict} {}", units::count(*packets)))
        .collect();
    format!(
        "{}\nrefused: {}\ncooldown: {} ports rested, {} released early, {} reused early\n",
        table.render(style),
        refusals.join(", "),
        units::count(pools.rested),
        units::count(pools.released_early),
        units::count(pools.reused_early),
    )
}

#[cfg(test)]
mod tests {
    use nat_common::{
        cooldown::CooldownCounters,
        stats::{Counter, Hook},
    };

    use super::*;
    use crate::datapath::{VerdictState, fake::Fake};

    fn fake() -> Fake {
        let count = |hook, verdict, packets| VerdictState {
            hook,
            verdict,
            counter: Counter { packets, bytes: 0 },
        };
        Fake {
            verdicts: vec![
                count(Hook::TcEgress, Verdict::NoPort, 3),
                count(Hook::XdpInside, Verdict::NoPort, 2),
                count(Hook::TcEgress, Verdict::TranslatedOut, 100),
            ],
            cooldown_counters: CooldownCounters { rested: 7, released_early: 1, reused_early: 2 },
            ..Fake::default()
        }
    }

    #[test]
    fn refusals_are_summed_over_the_hooks() {
        let pools = read(&fake(), 0).unwrap();
        let expected = serde_json::json!({
            "schema": "nat-ctl/pools/1", "version": env!("CARGO_PKG_VERSION"), "pools": [],
            "refusals": {"no_port": 5, "table_full": 0}, "rested": 7, "released_early": 1, "reused_early": 2,
        });
        assert_eq!(serde_json::to_value(&pools).unwrap(), expected);
        let text = text(&pools, Style::new(false));
        assert!(text.contains("refused: no_port 5, table_full 0\n"), "{text}");
        assert!(text.contains("7 ports rested, 1 released early, 2 reused early"), "{text}");
    }
}
