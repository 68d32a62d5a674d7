//! Layer 2: the programs that ship, run packet by packet in the kernel (BPF_PROG_TEST_RUN), on a
//! clock that the tests move. Frames are built and checked by etherparse.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

mod attacks;
mod baseline;
mod buffers;
mod choices;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "every test of layer 2 uses a part of it")]
mod common;
mod cooldown;
mod expiry;
mod fields;
mod fragments;
mod hairpin;
mod hostile;
mod icmp;
mod limits;
mod mapping;
mod memory;
mod mss;
mod own;
mod pressure;
mod refusals;
mod resources;
mod rules;
mod stack;
mod suites;
mod tcp;
mod unclaimed;
mod verifier;
mod ways;

use common::{bench, frames, lifetime};
