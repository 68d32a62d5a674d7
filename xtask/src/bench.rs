//! Figures, none of which passes or fails: what they mean is said in docs/performance.md.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cmd;
use crate::linker;
use crate::toolchain::Compiler;

#[derive(Args)]
pub struct Options {
    /// What to measure; everything by default
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Times that each system has its turn in forwarding
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// Only scenarios of forwarding with this in their name
    #[arg(long)]
    only: Option<String>,
    /// Only systems with this in their name
    #[arg(long)]
    system: Option<String>,
    /// Where to write all figures of forwarding, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where to draw what packets of established flows cost, as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Compiling routes to choices by destination
    Source,
    /// A new connection, by how full its server's ports are (root)
    Allocation,
    /// A packet, a flow, a connection: beside the kernel, nftables and a floor (root)
    Forwarding,
}

/// Runs the benchmarks. They only print.
pub fn bench(options: &Options) -> Result<()> {
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    if wanted(Part::Source) {
        eprintln!("\n== source selection: compiling routes to choices by destination");
        cmd::run(cmd::cargo().args(["bench", "-p", "nat-ctl", "--bench", "source_table"]))?;
    }
    if !cmd::is_root() {
        eprintln!(
            "\n!! port allocation and forwarding SKIPPED: they run eBPF programs, and so need root"
        );
        return Ok(());
    }
    if wanted(Part::Allocation) {
        eprintln!("\n== port allocation: a new connection, by how full its server's ports are");
        cmd::run(cmd::cargo().args(["bench", "-p", "nat-tests", "--bench", "allocation"]))?;
    }
    if wanted(Part::Forwarding) {
        eprintln!("\n== forwarding: CPU time without the generator's own");
        forwarding(options)?;
    }
    Ok(())
}

fn forwarding(options: &Options) -> Result<()> {
    let object = programs()?;
    cmd::run(cmd::cargo().args(["build", "--release", "-p", "nat-ctl"]))?;
    let mut bench = cmd::cargo();
    bench.args(["bench", "-p", "nat-tests", "--bench", "forwarding", "--"]);
    bench.arg("--rounds").arg(options.rounds.to_string());
    if let Some(only) = &options.only {
        bench.arg("--only").arg(only);
    }
    if let Some(system) = &options.system {
        bench.arg("--system").arg(system);
    }
    for (option, file) in [("--json", &options.json), ("--svg", &options.svg)] {
        if let Some(file) = file {
            // The benchmark runs in its package's folder.
            bench.arg(option).arg(env::current_dir()?.join(file));
        }
    }
    cmd::run(bench.env("NAT_BENCH_OBJECT", object).env("NAT_CTL", nat_ctl()?))
}

/// Cargo has put the release build's nat-ctl beside its folder for this xtask.
fn nat_ctl() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.parent().and_then(|folder| folder.parent());
    Ok(target.context("xtask is in no target folder")?.join("release/nat-ctl"))
}

/// Compiles tests/bench-ebpf as nat-ctl/build.rs compiles the data path, and says where the object is.
fn programs() -> Result<PathBuf> {
    let compiler = Compiler::from_env().or_else(Compiler::recorded);
    let compiler = compiler.context("no eBPF compiler is set up: run `cargo xtask setup`")?;
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    let flags = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3", &arch].join("\x1f");
    let target =
        if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
    let folder = cmd::root().join("target/ebpf-bench");
    cmd::run(
        compiler
            .program("cargo")
            .current_dir(cmd::root())
            .env("PATH", linker::search_path()?)
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .args(["build", "-p", "nat-bench-ebpf", "--bin", "bench", "--release", "--locked"])
            .args(["--target", target, "-Z", "build-std=core", "--target-dir"])
            .arg(&folder),
    )?;
    Ok(folder.join(target).join("release/bench"))
}
