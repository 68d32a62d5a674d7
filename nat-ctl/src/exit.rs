//! How the program ends: exit codes and the message that goes with them.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Exit codes. They are part of the interface: scripts and service managers act on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// It did not work.
    Failed = 1,
    /// The command line or the configuration is wrong. (clap exits with 2 as well.)
    Usage = 2,
    /// It works, and the answer is no: unhealthy, or different.
    Unhealthy = 3,
    /// This host cannot: kernel, privileges, mounts.
    Host = 4,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit of a code.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Ok, Self::Failed, Self::Usage, Self::Unhealthy, Self::Host]
            .into_iter()
            .find(|exit| exit.code() == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why the program ends early: what happened, where, and what to do next.
///
/// ```text
/// error: cannot attach to `wan0`
///   caused by: No such device (os error 19)
///   help: `ip -brief link` lists the interfaces
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// Without the leading "error: ".
    pub what: String,
    pub help: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), help: None }
    }

    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub fn unhealthy(what: impl Into<String>) -> Self {
        Self::new(Exit::Unhealthy, what)
    }

    pub fn host(what: impl Into<String>) -> Self {
        Self::new(Exit::Host, what)
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(config_text(&error))
    }
}

impl From<anyhow::Error> for Failure {
    /// Keeps the exit code and the help text of a [`Failure`] or [`ConfigError`] that has been
    /// given context on its way.
    fn from(error: anyhow::Error) -> Self {
        let mut failure = Self::failed("");
        for (depth, cause) in error.chain().enumerate() {
            if depth > 0 {
                failure.what.push_str("\n  caused by: ");
            }
            if let Some(inner) = cause.downcast_ref::<Self>() {
                failure.what.push_str(&inner.what);
                failure.exit = inner.exit;
                failure.help = inner.help.clone().or(failure.help);
            } else if let Some(config) = cause.downcast_ref::<ConfigError>() {
                failure.what.push_str(&config_text(config));
                failure.exit = Exit::Usage;
            } else {
                failure.what.push_str(&cause.to_string());
            }
        }
        failure
    }
}

/// Its first diagnostic already says "error: ", which a failure adds itself.
fn config_text(error: &ConfigError) -> String {
    let text = error.to_string();
    match text.strip_prefix("error: ") {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::config::Config;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [Exit::Ok, Exit::Failed, Exit::Usage, Exit::Unhealthy, Exit::Host];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn causes_are_listed() {
        let error = anyhow::anyhow!("No such device").context("cannot attach to `wan0`");
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(
            failure.to_string(),
            "error: cannot attach to `wan0`\n  caused by: No such device"
        );
    }

    #[test]
    fn context_does_not_hide_the_exit_code() {
        let host = Failure::host("no bpffs").with_help("mount it");
        let failure = Failure::from(anyhow::Error::from(host).context("cannot start"));
        assert_eq!(failure.exit, Exit::Host);
        assert_eq!(
            failure.to_string(),
            "error: cannot start\n  caused by: no bpffs\n  help: mount it"
        );
    }

    #[test]
    fn a_bad_configuration_is_a_usage_error() {
        let text = "[interfaces]\nhok = \"tc\"\n";
        let expected = "error: unknown key `hok` in [interfaces]\n  --> nat.toml:2:1\n  help: did \
                        you mean `hook`?";
        let direct = Failure::from(Config::parse(text, "nat.toml").unwrap_err());
        assert_eq!((direct.exit, direct.to_string().as_str()), (Exit::Usage, expected));
        let error: anyhow::Result<Config> =
            Config::parse(text, "nat.toml").context("cannot reload");
        let failure = Failure::from(error.unwrap_err());
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().starts_with("error: cannot reload\n  caused by: unknown key"));
    }
}
