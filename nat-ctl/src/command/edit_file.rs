//! What commands that edit the configuration file have in common: which file it is, writing it, and
//! having a controller read it again.
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::enter_namespace;
use crate::{
    api::{self, Answer, Request},
    atomic_file,
    cli::{CONFIG_DEFAULT, EditedFile, Global},
    config::Config,
    datapath::{
        Error, State,
        kernel::{Pinned, pins::Pins},
    },
    exit::Failure,
    output::{Out, sanitise},
    plan::Plan,
};

/// `rules add|remove|move -j`, `address set -j`
#[derive(Serialize)]
struct Edited {
    schema: &'static str,
    version: &'static str,
    config: String,
    /// Whether a controller has put it in force.
    applied: bool,
    #[serde(flatten)]
    plan: Plan,
}

/// Edits the configuration file, has a running controller read it again, and shows what changed.
/// `change` makes the new text from the old one and the file's name, `plan` says what that changes.
pub fn edit_file(
    global: &Global,
    file: &EditedFile,
    out: Out,
    change: impl FnOnce(&str, &str) -> Result<String, Failure>,
    plan: impl FnOnce(&Config, &Config) -> Plan,
) -> Result<(), Failure> {
    let in_force = file_in_force(global)?;
    let path = match (&file.config, &in_force) {
        (Some(path), _) | (None, Some(path)) => path.clone(),
        (None, None) => PathBuf::from(CONFIG_DEFAULT),
    };
    let name = path.display().to_string();
    let (plan, changed) = atomic_file::edit(&path, |old| {
        let new = change(old, &name)?;
        let changed = new != old;
        // A file that was not valid before has no difference to what it is now.
        let plan = match (Config::parse(old, &name), Config::parse(&new, &name)) {
            (Ok(old), Ok(new)) => plan(&old, &new),
            _ => Plan::default(),
        };
        Ok((new, (plan, changed)))
    })?;
    let applied = reload(global, &path, in_force.as_deref())?;
    if changed && !applied {
        eprintln!("note: {name} is changed, not applied: `nat-ctl apply {name}` does that");
    }
    let edited = Edited {
        schema: "nat-ctl/plan/1",
        version: env!("CARGO_PKG_VERSION"),
        config: name,
        applied,
        plan,
    };
    out.answer(&edited, |edited, _| edited.plan.to_string())
}

/// The instance, if it is attached. Who may not look is told so only if the answer hangs on it: a
/// file can be listed and edited by anybody who may read or write it.
pub fn attached(global: &Global, needed: bool) -> Result<Option<Pinned>, Failure> {
    let namespace = enter_namespace(global)?;
    let pins = Pins::new(&global.bpffs, global.instance.as_str());
    match pins.and_then(|pins| Pinned::open(&pins, namespace)) {
        Ok(state) => Ok(Some(state)),
        Err(Error::NotAttached { .. } | Error::NotBpffs { .. }) => Ok(None),
        Err(_) if !needed => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The file that the configuration in force was read from, if it was one.
fn file_in_force(global: &Global) -> Result<Option<PathBuf>, Failure> {
    let Some(state) = attached(global, false)? else { return Ok(None) };
    let path = state.config()?.map(|written| PathBuf::from(written.name));
    Ok(path.filter(|path| path.is_absolute()))
}

/// Has the controller read its file again, if one runs and this is its file. Says whether it did.
fn reload(global: &Global, edited: &Path, in_force: Option<&Path>) -> Result<bool, Failure> {
    let is_same = |other: &Path| match (edited.canonicalize(), other.canonicalize()) {
        (Ok(edited), Ok(other)) => edited == other,
        _ => false,
    };
    if !in_force.is_some_and(is_same) {
        return Ok(false);
    }
    let socket = api::socket_path(global.instance.as_str());
    let Some(answer) = api::client::ask(&socket, &Request::Reload)? else { return Ok(false) };
    match answer.failure() {
        None => {
            warn(&answer);
            Ok(true)
        }
        Some(failure) => Err(Failure {
            what: format!(
                "{} is changed, but the controller goes on with the rules that it has: {}",
                edited.display(),
                failure.what
            ),
            ..failure
        }),
    }
}

/// Says what does not work with what is in force now.
fn warn(answer: &Answer) {
    for warning in &answer.warnings {
        eprintln!("warning: {}", sanitise(warning));
    }
}
