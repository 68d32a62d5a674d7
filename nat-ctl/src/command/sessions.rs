//! `nat-ctl sessions list|count`
use serde::Serialize;

use super::{flush, open};
use crate::{
    cli::{Global, SessionFilter, SessionsCommand},
    clock,
    datapath::State,
    exit::{Exit, Failure},
    output::{Out, Style, Table, units},
    session::{self, Directions, Endpoint, SessionView},
};

#[derive(Serialize)]
struct List {
    schema: &'static str,
    version: &'static str,
    sessions: Vec<SessionView>,
}

#[derive(Serialize)]
struct Count {
    schema: &'static str,
    version: &'static str,
    count: usize,
}

/// Lists or counts live sessions.
pub fn run(global: &Global, command: &SessionsCommand, out: Out) -> Result<Exit, Failure> {
    let state = open(global)?;
    match command {
        SessionsCommand::List(filter) => {
            let list = List {
                schema: "nat-ctl/sessions/1",
                version: env!("CARGO_PKG_VERSION"),
                sessions: find(&state, filter)?,
            };
            out.answer(&list, |list, style| table(&list.sessions, style))?;
        }
        SessionsCommand::Count(filter) => {
            let count = Count {
                schema: "nat-ctl/sessions-count/1",
                version: env!("CARGO_PKG_VERSION"),
                count: find(&state, filter)?.len(),
            };
            out.answer(&count, |count, _| count.count.to_string())?;
        }
        SessionsCommand::Flush(args) => return flush::run(global, &state, args, out),
    }
    Ok(Exit::Ok)
}

fn find(state: &impl State, filter: &SessionFilter) -> Result<Vec<SessionView>, Failure> {
    let now_ns = clock::now_ns();
    Ok(session::views(&state.sessions()?, &state.rules()?, filter, now_ns))
}

fn table(sessions: &[SessionView], style: Style) -> String {
    let mut table = Table::new(&[
        "PROTO", "STATE", "INSIDE", "OUTSIDE", "REMOTE", "RULE", "EXPIRES", "PACKETS", "BYTES",
    ]);
    let endpoint = |Endpoint { addr, port }| format!("{addr}:{port}");
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
