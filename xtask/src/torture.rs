//! Tests that take minutes: the same as `cargo xtask test` runs in a short form.

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
    let Torture::Connections { count, ports, hook } = which;
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
