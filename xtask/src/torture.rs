//! Tests that take minutes: the same as `cargo xtask test` runs in a short form.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};

use crate::cmd;

#[derive(Subcommand)]
pub enum Torture {
    /// Connections to one server through one external address whose ports are nearly all in use or
    /// cooling: none is used again too soon, none withheld (root)
    Connections {
        /// Connections that come about while at least 95 % of the ports are not free
        #[arg(long, default_value_t = 1_000_000)]
        count: u32,
        /// Ports of the rule. Half as many connections a second are needed to keep them full
        #[arg(long, default_value_t = 8192)]
        ports: u16,
        #[arg(long, value_enum, default_value = "tc")]
        hook: Hook,
    },
    /// Generated packets through the programs of both hooks and through the reference NAT, which have
    /// to agree to the last byte (root)
    Model {
        /// Packets in all: a third at TC, a third at XDP, a third at either
        #[arg(long, default_value_t = 10_000_000)]
        packets: u64,
        /// Of the first run of each kind; the others follow. A new one each time by default
        #[arg(long)]
        seed: Option<u64>,
        /// How many kinds run at a time
        #[arg(long, default_value_t = 2)]
        jobs: u32,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Hook {
    Tc,
    Xdp,
}

pub fn torture(which: &Torture) -> Result<()> {
    if !cmd::is_root() {
        bail!("this makes network namespaces and loads eBPF programs: run it as root");
    }
    match *which {
        Torture::Connections { count, ports, hook } => connections(count, ports, hook),
        Torture::Model { packets, seed, jobs } => model(packets, seed, jobs),
    }
}

/// Packets of a run: few enough for its clock to stay below 26 days, behind which what is remembered of
/// free ports may be from the time before.
const RUN_PACKETS: u64 = 200_000;

/// TC, XDP, and both.
const KINDS: u64 = 3;

fn model(packets: u64, seed: Option<u64>, jobs: u32) -> Result<()> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = seed.unwrap_or(clock.as_secs() << 10);
    let runs = packets.div_ceil(KINDS * RUN_PACKETS).max(1);
    let packets = packets.div_ceil(KINDS * runs);
    let start = Instant::now();
    cmd::run(
        cmd::cargo()
            .args(["test", "-p", "nat-tests", "--test", "model", "--", "--nocapture"])
            .arg(format!("--test-threads={jobs}"))
            .env("NAT_MODEL_SEED", seed.to_string())
            .env("NAT_MODEL_RUNS", runs.to_string())
            .env("NAT_MODEL_PACKETS", packets.to_string()),
    )?;
    let total = KINDS * runs * packets;
    let rate = total as f64 / start.elapsed().as_secs_f64();
    let last = seed + (runs - 1);
    println!(
        "{total} packets equal, {rate:.0} a second: TC, XDP and both, each with the seeds {seed} to {last}, \
         {packets} packets a seed"
    );
    Ok(())
}

fn connections(count: u32, ports: u16, hook: Hook) -> Result<()> {
    cmd::run(cmd::cargo().args(["build", "-p", "nat-ctl"]))?;
    let hook = match hook {
        Hook::Tc => "tc",
        Hook::Xdp => "xdp",
    };
    cmd::run(
        cmd::cargo()
            .args(["test", "-p", "nat-tests", "--test", "e2e", "--"])
            .args(["turnover::rfc6888", "--nocapture"])
            .env("NAT_TORTURE_CONNECTIONS", count.to_string())
            .env("NAT_TORTURE_PORTS", ports.to_string())
            .env("NAT_TORTURE_HOOK", hook),
    )
}
