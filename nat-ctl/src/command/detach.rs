//! `nat-ctl detach`
use std::time::Duration;

use super::{enter_namespace, pins};
use crate::{
    api::{self, Request},
    cli::Global,
    datapath::kernel,
    exit::{Exit, Failure},
    host::preflight,
};

/// How long a controller that has been told to stop may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops the controller, if one runs, and removes the data path.
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
    kernel::detach(&pins, namespace, PATIENCE)?;
    Ok(Exit::Ok)
}
