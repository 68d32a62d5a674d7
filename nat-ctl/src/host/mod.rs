//! This machine: its namespaces, privileges and network interfaces. rtnetlink only here.
mod namespace;
mod network;
pub mod preflight;

pub use namespace::Namespace;
pub use network::{Link, Network};
