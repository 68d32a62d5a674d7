//! Figures, none of which passes or fails: what they mean is said in docs/performance.md.

use anyhow::Result;

use crate::cmd;

/// Runs all benchmarks. They only print.
pub fn bench() -> Result<()> {
    eprintln!("\n== source selection: compiling routes to choices by destination");
    cmd::run(cmd::cargo().args(["bench", "-p", "nat-ctl", "--bench", "source_table"]))
}
