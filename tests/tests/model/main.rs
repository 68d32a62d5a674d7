//! Layer 2: generated packet sequences through the programs that ship and through the reference
//! NAT of `nat_tests::model` at once: every verdict, every byte, every counter and every session
//! compared.
//!
//! `NAT_MODEL_SEED` repeats a run (the ports are the program's own choice, so not to the last
//! byte), `NAT_MODEL_PACKETS` and `NAT_MODEL_RUNS` make it longer.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

mod choice;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "every test of layer 2 uses a part of it")]
mod common;
mod compare;
mod configuration;
mod frames;
mod generate;
mod history;
mod packets;
mod run;
mod world;

use self::{generate::Kind, run::Options};

#[test]
fn tc_equals_the_model() {
    run::runs(&Options::from_environment(Kind::Tc));
}

#[test]
fn xdp_equals_the_model() {
    run::runs(&Options::from_environment(Kind::Xdp));
}

#[test]
fn tc_and_xdp_together_equal_the_model() {
    run::runs(&Options::from_environment(Kind::Mixed));
}
