//! `nat-ctl address list|set`
mod list;
mod set;

use super::{block_on, edit_file, open};
use crate::{
    cli::{AddressCommand, Global},
    clock,
    datapath::State,
    exit::{Exit, Failure},
    host::{Namespace, Network},
    output::Out,
};

/// Lists external addresses, or sets a flag of one.
pub fn run(global: &Global, command: &AddressCommand, out: Out) -> Result<Exit, Failure> {
    match command {
        AddressCommand::List => {
            let state = open(global)?;
            let network = if is_here(&state)? { Some(network()?) } else { None };
            let list = list::list(&state, network.as_ref(), clock::now_ns())?;
            list::print(&list, out)?;
        }
        AddressCommand::Set(args) => set::run(global, args, out)?,
    }
    Ok(Exit::Ok)
}

/// Whether this process is in the network namespace of an instance: elsewhere, other interfaces
/// may have the same names.
fn is_here(state: &impl State) -> Result<bool, Failure> {
    let current = Namespace::current().map_err(|error| {
        Failure::host(format!("cannot tell the network namespace\n  caused by: {error}"))
    })?;
    Ok(Namespace::of(&state.instance()?) == current)
}

/// Interfaces and addresses of this network namespace.
fn network() -> Result<Network, Failure> {
    block_on(Network::read_without_routes())
}
