//! Layer 3: the `nat-ctl` program in a gateway between namespaces, real traffic through it, and
//! observers outside that it did not write.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

mod address;
mod adoption;
mod connections;
mod cooldown;
mod discovery;
mod exhaustion;
mod fragments;
mod gateway;
mod hairpin;
mod hook;
mod host_changes;
mod icmp;
mod lifecycle;
mod links;
mod mapping;
mod mss;
mod neighbours;
mod own;
mod own_errors;
mod refusals;
mod reload;
mod source;
mod spoofing;
mod suites;
mod time_wait;
mod traffic;
mod turnover;
mod untranslatable;
mod uplink;
