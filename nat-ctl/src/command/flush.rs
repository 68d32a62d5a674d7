//! `nat-ctl sessions flush`
use std::io::{self, IsTerminal, Write};

use nat_common::flow::FlowKey;
use serde::Serialize;

use super::pins;
use crate::{
    cli::{FlushArgs, Global, SessionState},
    clock,
    datapath::{State, kernel},
    exit::{Exit, Failure},
    output::Out,
    session,
};

/// `sessions flush -j`
#[derive(Serialize)]
struct Flushed {
    schema: &'static str,
    version: &'static str,
    flushed: u32,
}

/// Ends the sessions that match, after asking.
pub fn run(
    global: &Global,
    state: &impl State,
    args: &FlushArgs,
    out: Out,
) -> Result<Exit, Failure> {
    if args.filter.state == Some(SessionState::Cooling) {
        return Err(Failure::usage("cooling ports have no session that could be ended").with_help(
            "a shorter time under [cooldown] holds at once, also for ports that are cooling",
        ));
    }
    let find = || -> Result<Vec<FlowKey>, Failure> {
        let (pairs, rules) = (state.sessions()?, state.rules()?);
        let found = session::select(&pairs, &rules, &args.filter, clock::now_ns());
        Ok(found.into_iter().map(|(key, _)| key).collect())
    };
    let keys = find()?;
    if !keys.is_empty() && !args.yes && !confirmed(keys.len())? {
        return Ok(Exit::Failed);
    }
    let flushed = kernel::flush(&pins(global)?, &keys)?;
    let report =
        Flushed { schema: "nat-ctl/sessions-flush/1", version: env!("CARGO_PKG_VERSION"), flushed };
    out.answer(&report, |report, _| format!("{} sessions ended", report.flushed))?;
    Ok(Exit::Ok)
}

/// Asks whoever sits there.
fn confirmed(count: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("this ends {count} sessions")).with_help("say so with --yes")
        );
    }
    let failed = |error: io::Error| Failure::failed(format!("cannot ask: {error}"));
    eprint!("End {count} sessions? [y/N] ");
    io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
