//! Building nat-ctl with its data path, and starting the demo.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cmd, setup};

pub fn build(no_install: bool, release: bool) -> Result<()> {
    setup::setup(no_install)?;
    let mut cargo = cmd::cargo();
    cargo.args(["build", "-p", "nat-ctl"]);
    if release {
        cargo.arg("--release");
    }
    cmd::run(&mut cargo)
}

pub fn demo(no_install: bool, args: &[String]) -> Result<()> {
    if !cmd::is_root() {
        bail!(
            "the demo makes network namespaces and loads eBPF programs: run it as root \
             (sudo env \"PATH=$PATH\" cargo xtask demo)"
        );
    }
    setup::setup(no_install)?;
    cmd::run(cmd::cargo().args(["build", "-p", "nat-ctl", "-p", "nat-tests", "--bins"]))?;
    // Cargo puts the demo beside xtask, wherever its target folder is.
    let demo = env::current_exe()?.with_file_name("demo");
    // Takes this process's place, so that Ctrl-C and the exit code are the demo's own.
    let error = Command::new(&demo).args(args).exec();
    Err(error).with_context(|| format!("cannot start {}", demo.display()))
}
