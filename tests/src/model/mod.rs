//! The reference: a NAT in plain Rust, to be run beside the real one.
//!
//! It is written from the design and from what the data path's documentation promises, and shares
//! no decision with it: no checksum arithmetic but the full sum of RFC 1071, no tries but rules
//! read in order, no two maps but sessions with two halves. Of nat-common it knows the names of
//! hooks and verdicts and the documented limits. Where the program may choose (an external port, a
//! client's address in a pool), the model checks the choice and adopts it; everything else it
//! predicts: verdict, bytes, counters, deadlines.
//!
//! | file | is |
//! |---|---|
//! | `packet` | what a frame says |
//! | `flow` | what tells one flow from another |
//! | `rules` | the rule table and its reading in order |
//! | `host` | the gateway's addresses, routes, neighbours, MTUs |
//! | `session` | a session: its deadlines |
//! | `tcp` | a connection: its state, and which segments move it |
//! | `cooldown` | what rests after a session |
//! | `sessions` | all of them, and what they claim |
//! | `outbound`, `inbound` | a packet's way |
//! | `opening` | the choice of an external endpoint, judged |
//! | `error` | ICMP errors |
//! | `fragments` | packets in parts |
//! | `rewrite`, `checksum` | the frame that leaves |
//! | `counters` | what has been counted |

pub mod checksum;
pub mod cooldown;
pub mod counters;
mod error;
pub mod flow;
mod fragments;
pub mod host;
mod inbound;
mod opening;
mod outbound;
pub mod packet;
mod rewrite;
pub mod rules;
pub mod session;
mod sessions;
pub mod tcp;

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use nat_common::{
    stats::Hook,
    verdict::{Fate, Verdict},
};

pub use self::opening::Opening;
use self::{
    cooldown::{End, Resting},
    counters::{Counters, Weight},
    fragments::Fragments,
    host::Host,
    rules::Table,
    sessions::Sessions,
};

/// A frame as a hook sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    pub hook: Hook,
    pub frame: &'a [u8],
    /// Packets in a super-frame; 0 for an ordinary one.
    pub segments: u16,
}

/// The end of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub frame: Vec<u8>,
}

/// What the model says of a packet before it has seen what the program did.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This and nothing else.
    Certain(Outcome),
    /// A new session, or no room for one: see [`Model::settle`].
    Opens(Box<Opening>),
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    pub now_ns: u64,
    pub host: Host,
    /// None before the first configuration.
    pub table: Option<Table>,
    pub sessions: Sessions,
    pub resting: Resting,
    pub counters: Counters,
    fragments: Fragments,
    /// Under paired pooling, a client's address in a set of addresses: the same for ever.
    pairs: HashMap<(Ipv4Addr, BTreeSet<Ipv4Addr>), Ipv4Addr>,
}

/// Whether a hook sees packets before the stack and TC do.
fn early(hook: Hook) -> bool {
    matches!(hook, Hook::XdpInside | Hook::XdpOutside)
}

impl Model {
    #[must_use]
    pub fn new(host: Host, max_sessions: usize, now_ns: u64) -> Self {
        Self {
            now_ns,
            host,
            table: None,
            sessions: Sessions::new(max_sessions),
            resting: Resting::default(),
            counters: Counters::default(),
            fragments: Fragments::default(),
            pairs: HashMap::new(),
        }
    }

    /// A packet at a hook. Where the answer is [`Expected::Opens`], [`Model::settle`] has to follow.
    pub fn packet(&mut self, sent: Sent<'_>) -> Expected {
        match sent.hook {
            Hook::XdpInside | Hook::TcEgress => self.outbound(sent),
            Hook::XdpOutside | Hook::TcIngress => Expected::Certain(self.inbound(sent)),
            Hook::TcInside => Expected::Certain(self.arrival(sent)),
        }
    }

    /// A packet that only has to be looked at: no network of the model names its interfaces.
    fn arrival(&mut self, sent: Sent<'_>) -> Outcome {
        let verdict = match packet::read(sent.frame) {
            Err(verdict) if verdict.fate() == Fate::Dropped => verdict,
            _ => Verdict::LeftUntouched,
        };
        self.unchanged(sent, verdict)
    }

    /// Ends those sessions whose time is up; returns how many.
    pub fn sweep(&mut self, flows: &[flow::Flow]) -> u32 {
        let mut ended = 0;
        for flow in flows {
            if self.sessions.get(flow).is_some_and(|session| !session.live(self.now_ns)) {
                self.end(flow);
                ended += 1;
            }
        }
        ended
    }

    /// Ends sessions as somebody orders, live or not; returns how many there were.
    pub fn flush(&mut self, flows: &[flow::Flow]) -> u32 {
        let mut ended = 0;
        for flow in flows {
            ended += u32::from(self.sessions.get(flow).is_some());
            self.end_at(flow, self.now_ns);
        }
        ended
    }

    /// Removes a session that is over.
    fn end(&mut self, flow: &flow::Flow) {
        let deadline_ns = self.sessions.get(flow).map_or(0, session::Session::deadline_ns);
        self.end_at(flow, deadline_ns);
    }

    /// Removes a session that has ended then, unless its connection was closed before. What it has
    /// carried stays with its rule; its external tuple rests.
    fn end_at(&mut self, flow: &flow::Flow, ended_ns: u64) {
        let Some(session) = self.sessions.remove(flow) else { return };
        self.counters.ended(&session);
        if let Some(table) = &self.table {
            let end = End::of(&session, session.closed_ns().unwrap_or(ended_ns));
            self.resting.begin(session.outside(), end, &table.cooldown);
        }
    }

    /// Counts a verdict, in the words of its hook: what XDP passes on, TC judges.
    fn count(&mut self, sent: Sent<'_>, verdict: Verdict) -> Verdict {
        let verdict = if early(sent.hook) && verdict.fate() == Fate::Passed {
            Verdict::LeftUntouched
        } else {
            verdict
        };
        self.counters.verdict(sent.hook, verdict, Weight::of(sent));
        verdict
    }

    /// The end of a packet that is not changed.
    fn unchanged(&mut self, sent: Sent<'_>, verdict: Verdict) -> Outcome {
        let verdict = self.count(sent, verdict);
        Outcome { verdict, frame: sent.frame.to_vec() }
    }
}
