//! The demo: real traffic through nat-ctl between three network namespaces, with every claim checked.
//!
//! Exit codes: 0 all checks held, 1 one did not, 2 wrong arguments, 4 this machine cannot,
//! 130 interrupted.
#![expect(clippy::expect_used, reason = "a broken laboratory must stop the demo loudly")]

mod checks;
mod cleanup;
mod scenario;
mod screen;
mod sessions;

use std::{
    env,
    path::Path,
    process::{self, ExitCode},
};

use nat_tests::lab::nat_ctl::find_binary;

use cleanup::Cleanup;
use scenario::Hook;

const USAGE: &str = "\
Moves real traffic through nat-ctl between three network namespaces and checks what comes out.

Usage: demo [--hook tc|xdp]      (default: one after the other)

Needs root and the programs ip, ethtool and tcpdump. Leaves nothing behind.";

/// What the laboratory calls.
const TOOLS: [&str; 3] = ["ip", "ethtool", "tcpdump"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let hooks = match arguments[..] {
        [] => vec![Hook::Tc, Hook::Xdp],
        ["--hook", "tc"] | ["--hook=tc"] => vec![Hook::Tc],
        ["--hook", "xdp"] | ["--hook=xdp"] => vec![Hook::Xdp],
        ["-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(reason) = can_run() {
        eprintln!("The demo cannot run here: {reason}");
        return ExitCode::from(4);
    }

    let held = cleanup::guard(move |cleanup| run(&hooks, cleanup));
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn can_run() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("it needs root, for network namespaces and BPF programs".to_owned());
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    for tool in TOOLS {
        if !env::split_paths(&folders).any(|folder| Path::new(&folder).join(tool).is_file()) {
            return Err(format!("the program {tool} is not installed"));
        }
    }
    find_binary().map(drop)
}

fn run(hooks: &[Hook], cleanup: &Cleanup) -> bool {
    let mut failed = 0;
    let mut all = 0;
    for hook in hooks {
        let checks = scenario::play(*hook, cleanup);
        failed += checks.failed();
        all += checks.all();
    }
    screen::heading("Result");
    if failed == 0 {
        println!("All {all} checks held.");
    } else {
        println!("{failed} of {all} checks FAILED.");
    }
    failed == 0
}

/// Ends at once, from whatever thread.
fn exit(code: i32) -> ! {
    process::exit(code)
}
