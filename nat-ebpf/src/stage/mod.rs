//! The stages, in the packet's order.
pub mod classify;
pub mod client;
pub mod cooldown;
pub mod fragment;
pub mod guard;
pub mod icmp;
pub mod locals;
pub mod mss;
pub mod open;
pub mod own;
pub mod parse;
pub mod port;
pub mod redirect;
pub mod session;
pub mod socket;
pub mod stats;
