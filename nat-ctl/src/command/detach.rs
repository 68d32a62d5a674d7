//! `nat-ctl detach`
use std::time::Duration;

use super::{block_on, enter_namespace, pins, start::static_routes, store};
use crate::{
    api::{self, Request},
    cli::Global,
    clock,
    config::StaticRoute,
    cooling::{Sessions, Snapshot, Store, encode, this_boot},
    datapath::{
        State,
        kernel::{self, Pinned, pins::Pins},
    },
    exit::{Exit, Failure},
    host::{
        Namespace, Network, preflight,
        static_routes::{PROTOCOL, put},
    },
};

/// How long a controller that has been told to stop may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops the controller, if one runs, and removes the data path. What rests is kept in a file.
pub fn run(global: &Global) -> Result<Exit, Failure> {
    preflight::check()?;
    let namespace = enter_namespace(global)?;
    let pins = pins(global)?;
    pins.expect()?;
    let socket = api::socket_path(global.instance.as_str());
    if let Some(answer) = api::client::ask(&socket, &Request::Stop)?
        && let Some(failure) = answer.failure()
    {
        return Err(failure);
    }
    let routes = routes_to_remove(&pins)?;
    let store = store(global);
    kernel::detach(&pins, namespace, PATIENCE, |state| {
        if let Err(failure) = state.map_or_else(|| Err(unreadable()), |state| keep(&store, state)) {
            tracing::warn!("{failure}");
        }
    })?;
    if !routes.is_empty() {
        let warnings = block_on(async { put(&Network::read().await?, &[], &routes).await })?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    }
    Ok(Exit::Ok)
}

/// Keeps what rests, and the tuples of sessions, which end with the data path: their servers do not
/// know of that.
fn keep(store: &Store, state: &Pinned) -> Result<(), Failure> {
    let snapshot = Snapshot::of(state, Sessions::EndNow, clock::both(), this_boot()?)?;
    store.write(&encode(&snapshot))
}

fn unreadable() -> Failure {
    Failure::failed("nobody can read which ports were in use or cooling")
        .with_help("they may be used again too early")
}

/// The static routes that the instance keeps. They can be removed from its own network namespace
/// only.
fn routes_to_remove(pins: &Pins) -> Result<Vec<StaticRoute>, Failure> {
    // Whatever state its maps are in, it can be removed; without its configuration nobody knows of
    // any routes.
    let Ok(pinned) = Pinned::open(pins, None) else { return Ok(Vec::new()) };
    let routes = static_routes(&pinned);
    let here = Namespace::current().map_err(|error| Failure::host(error.to_string()))?;
    if routes.is_empty() || Namespace::of(&pinned.instance()?) == here {
        return Ok(routes);
    }
    // That namespace may be gone, and its routes with it.
    tracing::warn!(
        "the instance's static routes are in another network namespace and stay there: `ip route \
         flush proto {PROTOCOL}` removes them"
    );
    Ok(Vec::new())
}
