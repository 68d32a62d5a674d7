//! One file a command.
mod address;
mod apply;
mod check;
mod detach;
mod edit_file;
pub mod explain;
mod flush;
mod host;
mod pools;
mod probe;
mod rules;
mod run;
mod sessions;
mod start;
mod stats;
mod status;

use std::path::Path;

use crate::{
    cli::{Cli, Command, Global},
    cooling::Store,
    datapath::kernel::{Pinned, pins::Pins},
    exit::{Exit, Failure},
    host::{Namespace, preflight},
    output::Out,
};

/// Runs a command line.
pub fn run(cli: &Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    let out = Out::new(global.json, global.color);
    match &cli.command {
        Command::Run(args) => run::run(global, args),
        Command::Host(command) => host::run(global, command, out),
        Command::Probe(args) => probe::run(global, args, out),
        Command::Sessions(command) => sessions::run(global, command, out),
        Command::Pools => pools::run(global, out),
        Command::Stats => stats::run(global, out),
        Command::Status(args) => status::run(global, args, out),
        Command::Detach => detach::run(global),
        Command::Attach(args) => run::attach(global, args),
        Command::Apply(args) => apply::run(global, args, out),
        Command::Check(args) => check::run(global, args, out),
        Command::Explain(args) => explain::run(global, args, out),
        Command::Rules(command) => rules::run(global, command, out),
        Command::Address(command) => address::run(global, command, out),
    }
}

/// Enters the network namespace that the user named, if any. To be called before any other thread
/// is started, since threads inherit it.
fn enter_namespace(global: &Global) -> Result<Option<Namespace>, Failure> {
    global.netns.as_ref().map(|netns| Namespace::enter(&netns.path())).transpose()
}

/// Opens the instance that the user named. Reading commands work from any network namespace; one
/// that is named has to be the instance's own.
fn open(global: &Global) -> Result<Pinned, Failure> {
    preflight::check_reading()?;
    let namespace = enter_namespace(global)?;
    Ok(Pinned::open(&pins(global)?, namespace)?)
}

/// Runs something that waits, on this thread, which is in the right network namespace.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start\n  caused by: {error}")))?
        .block_on(future)
}

fn pins(global: &Global) -> Result<Pins, Failure> {
    Ok(Pins::new(Path::new(&global.bpffs), global.instance.as_str())?)
}

/// Where the ports of the instance that cool outlive its data path.
fn store(global: &Global) -> Store {
    Store::new(&global.state_dir, global.instance.as_str())
}
