//! nat-ctl: source-NAT gateway for Linux. The command line and the controller; the data path is in
//! nat-ebpf, and what both agree on in nat-common.
//!
//! This is a library so that the tests can use its parts; it promises nothing to others.

mod api;
mod atomic_file;
pub mod cli;
mod clock;
pub mod command;
pub mod compile;
pub mod config;
mod controller;
mod cooling;
pub mod datapath;
mod desired;
pub mod exit;
mod fragments;
mod hook;
pub mod host;
pub mod lint;
mod logging;
pub mod output;
pub mod plan;
mod pools;
mod port_sets;
mod refusals;
mod rule_ids;
pub mod session;
pub mod source;
pub mod sources;

pub use logging::start as start_logging;
