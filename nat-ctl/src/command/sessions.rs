//! `nat-ctl sessions list|count`
use serde::Serialize;

use super::{flush, open};
use crate::{
    cli::{Global, SessionFilter, SessionState, SessionsCommand},
    clock,
    cooling::{self, CoolingView},
    datapath::State,
    exit::{Exit, Failure},
    output::{Out, Style, Table, units},
    session::{self, Directions, Endpoint, SessionView},
};

#[derive(Serialize)]
struct List<T> {
    schema: &'static str,
    version: &'static str,
    sessions: Vec<T>,
}

impl<T> List<T> {
    fn of(sessions: Vec<T>) -> Self {
        Self { schema: "nat-ctl/sessions/1", version: env!("CARGO_PKG_VERSION"), sessions }
    }
}

#[derive(Serialize)]
struct Count {
    schema: &'static str,
    version: &'static str,
    count: usize,
}

/// Lists or counts live sessions, or ports that cool.
pub fn run(global: &Global, command: &SessionsCommand, out: Out) -> Result<Exit, Failure> {
    let state = open(global)?;
    match command {
        SessionsCommand::List(filter) if is_cooling(filter) => {
            let list = List::of(cooling::views(&state, filter, clock::now_ns())?);
            out.answer(&list, |list, style| cooling_table(&list.sessions, style))?;
        }
        SessionsCommand::List(filter) => {
            let list = List::of(find(&state, filter)?);
            out.answer(&list, |list, style| table(&list.sessions, style))?;
        }
        SessionsCommand::Count(filter) => {
            let count = if is_cooling(filter) {
                cooling::views(&state, filter, clock::now_ns())?.len()
            } else {
                find(&state, filter)?.len()
            };
            let count = Count {
                schema: "nat-ctl/sessions-count/1",
                version: env!("CARGO_PKG_VERSION"),
                count,
            };
            out.answer(&count, |count, _| count.count.to_string())?;
        }
        SessionsCommand::Flush(args) => return flush::run(global, &state, args, out),
    }
    Ok(Exit::Ok)
}

fn is_cooling(filter: &SessionFilter) -> bool {
    filter.state == Some(SessionState::Cooling)
}

fn find(state: &impl State, filter: &SessionFilter) -> Result<Vec<SessionView>, Failure> {
    let now_ns = clock::now_ns();
    Ok(session::views(&state.sessions()?, &state.rules()?, filter, now_ns))
}

fn table(sessions: &[SessionView], style: Style) -> String {
    let mut table = Table::new(&[
        "PROTO", "STATE", "INSIDE", "OUTSIDE", "REMOTE", "RULE", "EXPIRES", "PACKETS", "BYTES",
    ]);
    let both =
        |Directions { out, inbound }| format!("{}/{}", units::count(out), units::count(inbound));
    for session in sessions {
        table.row([
            session.proto.to_owned(),
            session.state.to_owned(),
            endpoint(session.inside),
            endpoint(session.outside),
            endpoint(session.remote),
            session.rule.clone(),
            units::duration(session.expires_s),
            both(session.packets),
            both(session.bytes),
        ]);
    }
    table.render(style)
}

fn endpoint(Endpoint { addr, port }: Endpoint) -> String {
    format!("{addr}:{port}")
}

fn cooling_table(tuples: &[CoolingView], style: Style) -> String {
    let mut table =
        Table::new(&["PROTO", "STATE", "OUTSIDE", "REMOTE", "OWNER", "REASON", "ENDED", "EXPIRES"]);
    for tuple in tuples {
        table.row([
            tuple.proto.to_owned(),
            tuple.state.to_owned(),
            endpoint(tuple.outside),
            tuple.remote.map_or_else(|| "everybody".to_owned(), endpoint),
            tuple.owner.map_or_else(|| "-".to_owned(), endpoint),
            tuple.reason.to_owned(),
            format!("{} ago", units::duration(tuple.age_s)),
            units::duration(tuple.expires_s),
        ]);
    }
    table.render(style)
}
