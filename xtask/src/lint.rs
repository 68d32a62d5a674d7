//! Formatting and clippy, of the host's crates and of nat-ebpf.

use std::env;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cmd;
use crate::toolchain::Compiler;

pub fn format() -> Result<()> {
    cmd::run(cmd::cargo().args(["fmt", "--all", "--check"]))
}

pub fn clippy() -> Result<()> {
    cmd::run(
        cmd::cargo()
            .args([
                "clippy",
                "--workspace",
                "--exclude",
                "nat-ebpf",
                "--exclude",
                "nat-bench-ebpf",
                "--all-targets",
            ])
            .args(["--", "-D", "warnings"]),
    )
}

/// nat-ebpf does not compile for the host, so its clippy has to come from the eBPF compiler.
/// False if that has none: skipped.
pub fn clippy_ebpf() -> Result<bool> {
    let compiler = match Compiler::from_env() {
        Some(compiler) => Some(compiler),
        None => Compiler::recorded(),
    };
    let Some(compiler) = compiler.filter(Compiler::has_clippy) else {
        return Ok(false);
    };
    let flags = format!("-Ctarget-cpu=v3 --cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    cmd::run(
        compiler
            // Not `cargo clippy`: a distribution's cargo would call rustup's clippy.
            .program("cargo-clippy")
            .current_dir(cmd::root())
            .env("RUSTFLAGS", flags)
            .args([
                "clippy",
                "-p",
                "nat-ebpf",
                "-p",
                "nat-bench-ebpf",
                "--release",
                "-Z",
                "build-std=core",
            ])
            .args(["--target", "bpfel-unknown-none", "--target-dir", "target/ebpf-clippy"])
            .args(["--", "-D", "warnings"]),
    )?;
    Ok(true)
}

/// rustfmt and clippy are missing after `rustup toolchain install --profile minimal`.
pub fn ensure_components(no_install: bool) -> Result<()> {
    if have_components() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add", "rustfmt", "clippy"]);
    if !no_install && cmd::run(&mut add).is_ok() && have_components() {
        return Ok(());
    }
    bail!("cargo fmt or cargo clippy is missing; to get them: {}", cmd::show(&add))
}

fn have_components() -> bool {
    ["fmt", "clippy"]
        .iter()
        .all(|tool| cmd::probe(cmd::cargo().args([*tool, "--version"])).is_some())
}

/// The command `cargo xtask lint`.
pub fn lint(no_install: bool) -> Result<()> {
    ensure_components(no_install)?;
    format()?;
    clippy()?;
    if !clippy_ebpf()? {
        eprintln!("lint: nat-ebpf NOT looked at, {NO_EBPF_CLIPPY}");
    }
    Ok(())
}

pub const NO_EBPF_CLIPPY: &str =
    "the eBPF compiler has no clippy (package rust-web-clippy, or rustup's clippy)";
