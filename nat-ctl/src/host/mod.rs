//! This machine: its namespaces, privileges and network interfaces. rtnetlink only here.
mod namespace;
mod network;
pub mod preflight;
mod watch;

pub use namespace::Namespace;
pub use network::{Link, Network, routed_to};
pub use watch::Watch;
