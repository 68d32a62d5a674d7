//! Source-address selection: which of a host's addresses a packet leaves with, and which rule
//! decided. Pure: everything is a function of a [`Host`], nothing here asks the kernel.
mod host;

pub use host::{Address, Flag, Flags, Host, Interface, Route};
