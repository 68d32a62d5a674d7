//! Source-address selection: which of a host's addresses a packet leaves with, and which rule
//! decided. Pure: everything is a function of a [`Host`], nothing here asks the kernel.
//!
//! ```text
//! select ── lookup ── entries ── decide ── one file a model ── contest ── rules
//!                       Egress ────┘
//! ```
//!
//! [`select`] answers one question and tells how; [`Egress`] answers many for one way out.
mod because;
mod candidates;
mod contest;
mod egress;
mod error;
mod explanation;
mod host;
mod key;
mod lookup;
mod model;
mod models;
mod options;
mod prefix;
mod reason;
mod rules;
mod scope;
mod select;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;
mod vector;
mod warning;

pub use candidates::KeptOut;
pub use egress::Egress;
pub use error::Error;
pub use explanation::{Eliminated, Explanation, Judged};
pub use host::{Address, Flag, Flags, Host, Interface, Route};
pub use key::{TableKey, options};
pub use lookup::{Found, broadcasts, is_not_unicast, lookup};
pub use model::Model;
pub use options::{CandidateSet, Options, PrivateScope, TieBreak};
pub use prefix::common_prefix;
pub use rules::Rule;
pub use scope::Scope;
pub use select::{Query, select};
pub use vector::{NatRule, Selection, Vector};
