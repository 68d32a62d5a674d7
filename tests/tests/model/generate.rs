//! What happens next.
use std::net::Ipv4Addr;

use nat_common::stats::Hook;
use nat_tests::{
    lab::topology::EXTERNAL,
    model::{
        Model, Origin,
        flow::{Endpoint, Flow, Protocol},
        rules::Table,
        session::Session,
    },
};

use super::{choice::Choice, common::bench::EXTERNAL2, configuration, frames::Plan};

/// Which hooks see the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Tc,
    Xdp,
    Mixed,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Step {
    Packet {
        hook: Hook,
        segments: u16,
        origin: Origin,
        frame: Vec<u8>,
    },
    /// Time passes, nanoseconds.
    Wait(u64),
    Sweep(Vec<Flow>),
    Flush(Vec<Flow>),
    /// What has rested long enough is forgotten.
    Clear,
    Apply(Table),
}

const SECOND: u64 = 1_000_000_000;
/// Sessions remembered, live or ended, to send more packets of.
const KNOWN: usize = 300;

/// See the module.
pub struct Generator {
    pub(super) kind: Kind,
    pub(super) choice: Choice,
    known: Vec<(Flow, Endpoint)>,
    /// A flow whose external tuple has just become free, or nearly: others want it.
    pub(super) wanted: Option<(Flow, Endpoint)>,
    /// A client that may open a session again, or nearly, and tries to.
    pub(super) eager: Option<Ipv4Addr>,
    /// A connection of which more follows: it is opened, lives, and is closed.
    pub(super) followed: Option<(Flow, Endpoint)>,
    /// A session toward an external endpoint, whose owner may answer.
    pub(super) turned: Option<(Flow, Endpoint)>,
    /// Packets of which a fragment has been sent, the first one or not.
    pub(super) in_parts: Vec<(bool, Plan)>,
    /// Packets that are sent before the first rule table.
    unconfigured: u32,
}

impl Generator {
    pub fn new(kind: Kind, choice: Choice) -> Self {
        Self {
            kind,
            choice,
            known: Vec::new(),
            wanted: None,
            eager: None,
            followed: None,
            turned: None,
            in_parts: Vec::new(),
            unconfigured: 30,
        }
    }

    /// Remembers a session that was made.
    pub fn opened(&mut self, flow: Flow, external: Endpoint) {
        if flow.protocol == Protocol::Tcp && self.choice.one_in(2) {
            self.followed = Some((flow, external));
        }
        if [EXTERNAL, EXTERNAL2].contains(&flow.remote.0) {
            self.turned = Some((flow, external));
        }
        if self.known.len() < KNOWN {
            self.known.push((flow, external));
        } else {
            let at = self.choice.below(KNOWN as u64) as usize;
            self.known[at] = (flow, external);
        }
    }

    pub fn next(&mut self, model: &Model) -> Step {
        #[derive(Clone, Copy)]
        enum What {
            Packet,
            Wait,
            Sweep,
            Flush,
            Clear,
            Apply,
        }
        if model.table.is_none() {
            if self.unconfigured == 0 {
                return Step::Apply(configuration::table(&mut self.choice));
            }
            self.unconfigured -= 1;
        }
        let weights = [
            (8000, What::Packet),
            (2000, What::Wait),
            (60, What::Sweep),
            (5, What::Flush),
            (30, What::Clear),
            (4, What::Apply),
        ];
        match self.choice.weighted(&weights) {
            What::Packet => self.packet(model),
            What::Wait => Step::Wait(self.wait(model)),
            What::Sweep => Step::Sweep(self.some_flows(model)),
            What::Flush => Step::Flush(self.some_flows(model)),
            What::Clear => Step::Clear,
            What::Apply => Step::Apply(configuration::table(&mut self.choice)),
        }
    }

    /// Mostly next to nothing; else around a second or a deadline, on the nanosecond.
    fn wait(&mut self, model: &Model) -> u64 {
        match self.choice.below(100) {
            0..35 => self.choice.below(1000),
            35..60 => self.choice.below(SECOND / 2),
            60..71 => SECOND - 1 + self.choice.below(3),
            71..75 => self.until_admitted(model),
            75..82 => self.until(model, |session| session.deadline_ns()),
            82..88 => self.until_free(model),
            88..92 => self.until(model, |session| session.out.refresh_ns),
            92..99 => self.choice.below(40) * SECOND,
            _ => self.choice.below(3) * 3600 * SECOND,
        }
    }

    /// To a point in the life of some session, or one nanosecond off.
    fn until(&mut self, model: &Model, at: fn(&Session) -> u64) -> u64 {
        let off = self.choice.below(3);
        let Some((flow, _)) = self.some_known() else { return 0 };
        let Some(session) = model.sessions.get(&flow) else { return 0 };
        (at(session) + off).saturating_sub(model.now_ns + 1)
    }

    /// To the moment at which some client may open a session again, or next to it.
    fn until_admitted(&mut self, model: &Model) -> u64 {
        let before = self.choice.of(&[0, 0, 1, 1_000_000]);
        let Some((flow, _)) = self.some_known() else { return 0 };
        let client = flow.local.0;
        if model.has_limited_rate() {
            self.eager = Some(client);
        }
        model.waits_until_ns(client).saturating_sub(model.now_ns + before)
    }

    /// To the end of some tuple's rest, or next to it.
    fn until_free(&mut self, model: &Model) -> u64 {
        let before = self.choice.of(&[0, 1, 1, 1 << 22, SECOND / 2, 5 * SECOND]);
        let after = self.choice.of(&[0, 0, 1, 1 << 20, 1 << 22, 10_000_001]);
        for _ in 0..20 {
            let Some((flow, external)) = self.some_known() else { return 0 };
            let free_ns = model.free_from(&flow.with_local(external)).unwrap_or(0);
            if free_ns > model.now_ns {
                self.wanted = Some((flow, external));
                return (free_ns + after).saturating_sub(model.now_ns + before);
            }
        }
        0
    }

    fn some_flows(&mut self, model: &Model) -> Vec<Flow> {
        let mut flows: Vec<Flow> = model.sessions.all().map(|session| session.flow).collect();
        flows.sort_unstable();
        let keep = 1 + self.choice.below(3);
        flows.retain(|_| self.choice.below(3) < keep);
        flows.extend(self.some_known().map(|(flow, _)| flow));
        flows
    }

    pub(super) fn some_known(&mut self) -> Option<(Flow, Endpoint)> {
        match self.known.len() {
            0 => None,
            count => Some(self.known[self.choice.below(count as u64) as usize]),
        }
    }
}
