//! This machine: its namespaces, privileges and network interfaces. rtnetlink only here.
mod namespace;
mod network;
pub mod preflight;
mod snapshot;
mod watch;

pub use namespace::Namespace;
pub use network::{Link, Network, routed_to};
pub use snapshot::{LinkState, Route, Snapshot, Sysctls};
pub use watch::Watch;
