//! What `nat_ctl::host` says of this machine, in namespaces where `ip` is the judge.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

mod changes;
mod commands;
mod lost;
mod machine;
mod picture;
mod silent;
mod static_routes;
