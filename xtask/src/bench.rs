//! Figures, none of which passes or fails: what they mean is said in docs/performance.md.

use anyhow::Result;

use crate::cmd;

/// Runs all benchmarks. They only print.
pub fn bench() -> Result<()> {
    eprintln!("\n== source selection: compiling routes to choices by destination");
    cmd::run(cmd::cargo().args(["bench", "-p", "nat-ctl", "--bench", "source_table"]))?;
    if !cmd::is_root() {
        eprintln!("\n!! port allocation SKIPPED: it runs eBPF programs, and so needs root");
        return Ok(());
    }
    eprintln!("\n== port allocation: a new connection, by how full its server's ports are");
    cmd::run(cmd::cargo().args(["bench", "-p", "nat-tests", "--bench", "allocation"]))
}
