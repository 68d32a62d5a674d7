//! The log on standard error.
//!
//! ERROR: something will not work until somebody acts. WARN: something does not work as
//! configured. INFO: what an administrator wants to know about every start and stop. DEBUG: what
//! the controller did. TRACE: anything per packet.
use tracing_subscriber::{EnvFilter, fmt};

use crate::output::ColorChoice;

/// Starts logging at the level of `-v`, or as RUST_LOG says.
pub fn start(verbose: u8, color: ColorChoice) {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        // `nat` is the data path; of libraries only what they warn of.
        EnvFilter::new(format!("warn,nat_ctl={level},nat={level}"))
    });
    let log = fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(color.resolve(&std::io::stderr()))
        .with_writer(std::io::stderr);
    // Journald stamps what it receives itself.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}
