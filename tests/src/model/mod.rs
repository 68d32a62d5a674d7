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
//! | `mappings` | what sessions share whose external endpoint does not depend on the remote one |
//! | `outbound`, `inbound` | a packet's way |
//! | `own` | what the gateway itself sends |
//! | `opening`, `mapped` | the choice of an external endpoint, judged |
//! | `admission` | a packet from outside that opens a session |
//! | `hairpin` | from one client to another |
//! | `limits` | what one client may have |
//! | `pool` | which of a pool's addresses is whose |
//! | `spill` | another one, where that is full |
//! | `pressure` | ports that rest and give way |
//! | `error` | ICMP errors |
//! | `fragments` | packets in parts |
//! | `rewrite`, `checksum` | the frame that leaves |
//! | `counters` | what has been counted |

mod admission;
pub mod checksum;
pub mod cooldown;
pub mod counters;
mod error;
pub mod flow;
mod fragments;
mod hairpin;
pub mod host;
mod inbound;
pub mod limits;
mod mapped;
pub mod mappings;
mod opening;
mod outbound;
mod own;
pub mod packet;
mod pool;
mod pressure;
mod rewrite;
pub mod rules;
pub mod session;
mod sessions;
mod spill;
pub mod tcp;

use nat_common::{
    stats::Hook,
    verdict::{Fate, Verdict},
};

pub use self::{admission::Entering, opening::Opening};
use self::{
    cooldown::{End, Rest, Resting},
    counters::{Counters, Weight},
    flow::{Endpoint, Flow},
    fragments::Fragments,
    host::Host,
    limits::Buckets,
    mappings::Mappings,
    pool::Choices,
    rules::Table,
    sessions::Sessions,
};

/// Where a frame comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// From the link, or on its way between two.
    Link,
    /// The gateway itself.
    Own,
    /// From inside, turned back: it goes on to where it came from.
    Turned,
}

/// A frame as a hook sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    pub hook: Hook,
    pub frame: &'a [u8],
    /// Packets in a super-frame; 0 for an ordinary one.
    pub segments: u16,
    pub origin: Origin,
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
    /// Whether it comes in depends on an address that has not been seen yet: see [`Model::learn`].
    Enters(Box<Entering>),
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    pub now_ns: u64,
    pub host: Host,
    /// None before the first configuration.
    pub table: Option<Table>,
    pub sessions: Sessions,
    pub mappings: Mappings,
    pub resting: Resting,
    pub counters: Counters,
    fragments: Fragments,
    choices: Choices,
    buckets: Buckets,
    /// A session that somebody outside has opened last.
    entered: Option<(Flow, Endpoint)>,
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
            mappings: Mappings::default(),
            resting: Resting::default(),
            counters: Counters::default(),
            fragments: Fragments::default(),
            choices: Choices::default(),
            buckets: Buckets::default(),
            entered: None,
        }
    }

    /// A packet at a hook. Where the answer is [`Expected::Opens`], [`Model::settle`] has to follow.
    pub fn packet(&mut self, sent: Sent<'_>) -> Expected {
        match sent.hook {
            Hook::XdpInside | Hook::TcEgress => self.outbound(sent),
            Hook::XdpOutside | Hook::TcIngress => self.inbound(sent),
            Hook::TcInside => self.arrival(sent),
        }
    }

    /// The session that the last packet has opened from outside, if it has.
    pub fn take_entered(&mut self) -> Option<(Flow, Endpoint)> {
        self.entered.take()
    }

    /// Another rule table comes into force.
    pub fn apply(&mut self, table: Table) {
        if let Some(before) = self.table.replace(table) {
            self.resting.settings_change(&before.cooldown, self.now_ns);
        }
        if let Some(table) = &self.table {
            self.resting.widen(&table.cooldown, self.now_ns);
        }
    }

    /// Ends those sessions whose time is up; returns how many.
    pub fn sweep(&mut self, flows: &[Flow]) -> u32 {
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
    pub fn flush(&mut self, flows: &[Flow]) -> u32 {
        let mut ended = 0;
        for flow in flows {
            ended += u32::from(self.sessions.get(flow).is_some());
            self.end_at(flow, self.now_ns);
        }
        ended
    }

    /// Removes a session that is over.
    fn end(&mut self, flow: &Flow) {
        let deadline_ns = self.sessions.get(flow).map_or(0, session::Session::deadline_ns);
        self.end_at(flow, deadline_ns);
    }

    /// Removes a session that has ended then, unless its connection was closed before. What it has
    /// carried stays with its rule; its external tuple rests.
    fn end_at(&mut self, flow: &Flow, ended_ns: u64) {
        let Some(session) = self.sessions.remove(flow) else { return };
        self.counters.ended(&session);
        if let Some(table) = &self.table {
            let end = End::of(&session, session.closed_ns().unwrap_or(ended_ns));
            let kept_ns = session.kept_ns().unwrap_or(ended_ns);
            let rest = Rest { end, kept_ns, owner: None, maybe: false };
            let outside = session.outside();
            self.resting.begin(outside, rest, &table.cooldown);
            if session.uses.is_some() || table.cooldown.as_port {
                let owner = session.uses.map(|_| session.flow.local);
                let rest = Rest { owner, ..rest };
                self.resting.begin_endpoint(&outside, rest, &table.cooldown, self.now_ns);
            }
        }
        self.mappings.leave(&session);
    }

    /// Counts a verdict, in the words of its hook: what XDP passes on, TC judges.
    fn count(&mut self, sent: Sent<'_>, verdict: Verdict) -> Verdict {
        let verdict = if early(sent.hook) && verdict.fate() == Fate::Passed {
            Verdict::LeftUntouched
        } else if sent.hook == Hook::TcInside && verdict == Verdict::TranslatedOut {
            Verdict::Hairpin
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
