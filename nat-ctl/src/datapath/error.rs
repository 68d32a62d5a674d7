//! What can go wrong between the program and the data path, by what a person can do about it.
use std::path::PathBuf;

use crate::exit::{Exit, Failure};

/// See the messages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this nat-ctl was built without its data path")]
    NoObject,
    #[error("{path} is not on a BPF file system")]
    NotBpffs { path: PathBuf },
    #[error("instance `{instance}` is not attached: there is nothing in {folder}")]
    NotAttached { instance: String, folder: PathBuf },
    #[error("instance `{instance}` is in use: another nat-ctl controls or changes it")]
    Busy { instance: String },
    #[error("the map {map} of instance `{instance}` is not one that this nat-ctl makes: {why}")]
    Damaged { instance: String, map: String, why: String },
    #[error("the configuration is {bytes} bytes long; there is room for {max}")]
    ConfigTooLong { bytes: usize, max: usize },
    #[error(
        "{folder} holds a data path of another nat-ctl: layout {found}, this one knows {known}"
    )]
    UnknownLayout { instance: String, folder: PathBuf, found: String, known: String },
    #[error("instance `{instance}` belongs to another network namespace")]
    OtherNamespace { instance: String },
    #[error("the kernel refused the program `{program}`\n  caused by: {cause}")]
    Load { program: String, cause: String },
    #[error("cannot attach to {interface} ({hook})\n  caused by: {cause}")]
    Attach { interface: String, hook: &'static str, cause: String, help: Option<String> },
    #[error("{what}\n  caused by: {cause}")]
    Kernel { what: String, cause: String },
    #[error("there is no room for another rule: {0} names are in use by rules and sessions")]
    NoRuleId(usize),
}

impl Error {
    /// An error of a system call or of aya, with what was being done.
    pub fn kernel(what: impl Into<String>) -> impl FnOnce(AnyError) -> Self {
        let what = what.into();
        move |cause| Self::Kernel { what, cause: cause.0 }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Kernel { .. } | Self::NoRuleId(_) => Exit::Failed,
            Self::ConfigTooLong { .. } => Exit::Usage,
            _ => Exit::Host,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoObject => Some("build it with `cargo xtask build`".to_owned()),
            Self::NotBpffs { path } => Some(format!(
                "`mount -t bpf bpf {}`, or name another one with --bpffs; a process started by \
                 `ip netns exec` does not see the host's: start it outside with --netns NAME",
                path.display()
            )),
            Self::NotAttached { .. } => {
                Some("`nat-ctl run` attaches it; --instance and --bpffs say which one".to_owned())
            }
            Self::Busy { .. } => Some(
                "`nat-ctl status` shows the controller; stop it first, or use `apply` and `rules`"
                    .to_owned(),
            ),
            Self::Damaged { instance, .. } => Some(format!(
                "it was attached by another version, or somebody has changed it: `nat-ctl \
                 --instance {instance} detach` removes it, sessions included"
            )),
            Self::UnknownLayout { instance, folder, .. } => Some(format!(
                "detach it with the nat-ctl that attached it: `nat-ctl --instance {instance} \
                 detach`; or, if that is gone, `rm -r {}`, which ends its sessions",
                folder.display()
            )),
            Self::OtherNamespace { .. } => {
                Some("name the namespace where it was attached with --netns".to_owned())
            }
            Self::Attach { help, .. } => help.clone(),
            Self::Load { .. }
            | Self::Kernel { .. }
            | Self::NoRuleId(_)
            | Self::ConfigTooLong { .. } => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self::new(error.exit(), error.to_string());
        match error.help() {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}

/// Any error, as the chain of its causes in one line.
pub struct AnyError(String);

impl<E: std::error::Error> From<E> for AnyError {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

/// An error and its sources, each said once, joined by colons.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
