//! The `nat-ctl` program: parse, log, dispatch, exit code.
use std::process::ExitCode;

use clap::Parser;
use nat_ctl::{cli::Cli, command, start_logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(cli.global.verbose, cli.global.color);
    match command::run(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}
