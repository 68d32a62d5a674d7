//! Everything around cargo. `cargo xtask help` lists the tasks.

mod bench;
mod binaries;
mod cmd;
mod linker;
mod lint;
mod packages;
mod setup;
mod test;
mod toolchain;
mod torture;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything around cargo: set-up, demo, tests, lints")]
struct Cli {
    /// Install nothing; name what is missing and fail
    #[arg(long, global = true)]
    no_install: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check for and, as root, install what the eBPF build, the demo and the tests need
    Setup,
    /// Set up, then build nat-ctl with its data path
    Build {
        /// Optimised
        #[arg(long)]
        release: bool,
    },
    /// Set up, build and start the demo (root)
    Demo {
        /// Handed to the demo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Set up, then run all lints and tests (root)
    Test {
        /// Only what needs neither root nor an eBPF compiler
        #[arg(long)]
        unprivileged: bool,
        /// Handed to the runner of the end-to-end tests
        #[arg(last = true)]
        filter: Vec<String>,
    },
    /// Check formatting and run clippy
    Lint,
    /// Run the benchmarks
    Bench(bench::Options),
    /// Run a test at full length
    Torture {
        #[command(subcommand)]
        which: torture::Torture,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // One line at the very end; returned from main, it would come with a backtrace.
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Cli { no_install, task }: Cli) -> Result<()> {
    match task {
        Task::Setup => setup::setup(no_install),
        Task::Build { release } => binaries::build(no_install, release),
        Task::Demo { args } => binaries::demo(no_install, &args),
        Task::Test { unprivileged, filter } => {
            test::test(&test::Options { no_install, unprivileged, filter })
        }
        Task::Lint => lint::lint(no_install),
        Task::Bench(options) => bench::bench(&options),
        Task::Torture { which } => torture::torture(&which),
    }
}
