//! The control socket: how commands speak to the controller that runs.
//!
//! One request a connection, one line of JSON each way. Both ends are of one build; nobody else is
//! meant to speak it.
pub mod client;
pub mod server;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{
    controller::Applied,
    datapath::ConfigText,
    exit::{Exit, Failure},
};

/// The socket of an instance.
pub fn socket_path(instance: &str) -> PathBuf {
    PathBuf::from(format!("/run/nat-ctl/{instance}.sock"))
}

/// What a command asks of the controller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Whether it is there.
    Ping,
    /// Read the configuration file again.
    Reload,
    /// Put this configuration in force, or only say what that would change.
    Apply { config: ConfigText, dry_run: bool },
    /// End, and leave the data path in place.
    Stop,
}

impl Request {
    /// Whether it may change anything.
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::Ping)
    }
}

/// What the controller answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// [`Exit`] of a command that asked only this.
    pub exit: u8,
    /// What went wrong, as [`Failure`] has it.
    pub what: Option<String>,
    pub help: Option<String>,
    /// What was changed, or would be.
    pub plan: Option<crate::plan::Plan>,
    pub warnings: Vec<String>,
}

impl Answer {
    /// Nothing to report.
    pub const fn done() -> Self {
        Self { exit: Exit::Ok as u8, what: None, help: None, plan: None, warnings: Vec::new() }
    }

    /// The failure that the answer reports, if it does.
    pub fn failure(&self) -> Option<Failure> {
        let what = self.what.clone()?;
        let exit = Exit::from_code(self.exit).unwrap_or(Exit::Failed);
        Some(Failure { exit, what, help: self.help.clone() })
    }
}

impl From<Result<Applied, Failure>> for Answer {
    fn from(applied: Result<Applied, Failure>) -> Self {
        match applied {
            Ok(Applied { plan, warnings }) => Self { plan: Some(plan), warnings, ..Self::done() },
            Err(failure) => failure.into(),
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self {
            exit: failure.exit.code(),
            what: Some(failure.what),
            help: failure.help,
            ..Self::done()
        }
    }
}

/// A request on its way through the controller.
pub struct Call {
    pub request: Request,
    pub answer: oneshot::Sender<Answer>,
    /// Comes when the answer is on its way to whoever asked.
    pub delivered: oneshot::Receiver<()>,
}
