//! `nat-ctl detach`
use super::enter_namespace;
use crate::{
    cli::Global,
    datapath::kernel,
    exit::{Exit, Failure},
    host::preflight,
};

/// Removes the data path.
pub fn run(global: &Global) -> Result<Exit, Failure> {
    preflight::check()?;
    let namespace = enter_namespace(global)?;
    kernel::detach(&global.bpffs, global.instance.as_str(), namespace)?;
    Ok(Exit::Ok)
}
