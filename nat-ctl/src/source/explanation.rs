//! An answer, with everything that led to it.
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{Error, Flags, Model, Options, Route, Rule, candidates::KeptOut};

/// What [`select`](super::select) found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    pub model: Model,
    pub options: Options,
    pub destination: IpAddr,
    /// The source that was asked for.
    pub bind: Option<IpAddr>,
    /// None if the question was answered, or refused, before.
    pub route: Option<Route>,
    /// The gateway, or the destination itself.
    pub next_hop: Option<IpAddr>,
    /// The egress interface's addresses in configured order, then those of others that were
    /// considered.
    pub candidates: Vec<Judged>,
    pub outcome: Result<(IpAddr, Rule), Error>,
    /// For people, a sentence each.
    pub warnings: Vec<String>,
}

impl Explanation {
    /// The interface that the packet leaves by.
    pub fn dev(&self) -> Option<&str> {
        self.route.as_ref().map(|route| route.dev.as_str())
    }

    /// The source, if there is one.
    pub fn source(&self) -> Option<IpAddr> {
        self.outcome.ok().map(|(source, _)| source)
    }

    /// The rule that decided, if one did.
    pub fn rule(&self) -> Option<Rule> {
        self.outcome.ok().map(|(_, rule)| rule)
    }

    /// Why there is no source, if there is none.
    pub fn error(&self) -> Option<Error> {
        self.outcome.err()
    }
}

/// A candidate and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    pub address: IpAddr,
    /// Its interface.
    pub dev: String,
    pub flags: Flags,
    /// None for the winner, and for all where there is none.
    pub eliminated_by: Option<Eliminated>,
    /// Why, for people: what can follow the address. Empty for the winner.
    pub reason: String,
    /// Leading bits shared with the next hop, as rule 8a counts them.
    pub common_prefix_next_hop: u8,
    /// Leading bits shared with the destination, as rule 8 counts them.
    pub common_prefix_destination: u8,
}

/// What a candidate fell by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Eliminated {
    /// Before the contest.
    KeptOut(KeptOut),
    Rule(Rule),
}

impl Eliminated {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeptOut(why) => why.as_str(),
            Self::Rule(rule) => rule.as_str(),
        }
    }
}

impl Serialize for Eliminated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
