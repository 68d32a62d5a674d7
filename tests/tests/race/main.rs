//! Two CPUs at once: no external tuple is ever shared, every reply returns to its owner, and
//! nothing stays in the way after its time.
//!
//! Most of it runs the programs that ship by BPF_PROG_TEST_RUN from two threads, each on a CPU of
//! its own, against one instance: more collisions in a second than traffic makes in an hour.
//! `traffic` shows the same with real packets. `NAT_RACE_RUNS` repeats everything.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

mod boundary;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "every test of layer 2 uses a part of it")]
mod common;
mod cpus;
mod fin;
mod flows;
mod gateway;
mod mapping;
mod same_flow;
mod traffic;

use std::env;

use common::{bench, frames, lifetime};

/// How often to repeat each test.
fn runs() -> u32 {
    match env::var("NAT_RACE_RUNS") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("NAT_RACE_RUNS is no number: {text}")),
        Err(_) => 1,
    }
}
