//! This machine: its namespaces, privileges, network interfaces and routes. rtnetlink only here.
mod follow;
mod ipv6;
mod lookup;
mod namespace;
mod netlink;
mod network;
mod parse;
pub mod preflight;
pub mod routes;
mod snapshot;
pub mod static_routes;
mod tables;
mod view;
mod watch;
mod ways;

pub use follow::NetworkDelta;
pub use lookup::{RouteTo, look_up};
pub use namespace::Namespace;
pub use network::{Address, Link, Network};
pub use snapshot::{LinkState, Route, Snapshot, Sysctls};
pub use tables::Tables;
pub use view::AddressOrder;
pub use watch::{Change, Watch};
pub use ways::Ways;
