//! External tuples rest after their session has ended, for a time that depends on how it did.
use std::collections::HashMap;

use super::{flow::Flow, session::Session, tcp::Connection};

/// How a session has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// TCP that was reset before both sides had closed it.
    Reset,
    /// TCP that the server has never answered.
    HalfOpen,
    /// Any other TCP.
    Closed,
    /// UDP and ICMP.
    Silent,
}

impl Reason {
    fn of(connection: Option<&Connection>) -> Self {
        match connection {
            None => Self::Silent,
            Some(connection) if connection.reset => Self::Reset,
            Some(connection) if !connection.answered => Self::HalfOpen,
            Some(_) => Self::Closed,
        }
    }
}

/// `[cooldown]`, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cooldown {
    pub enabled: bool,
    pub time_ms: u64,
    pub rst_ms: u64,
    pub half_open_ms: u64,
    pub udp_ms: u64,
}

impl Cooldown {
    fn wait_ns(&self, reason: Reason) -> u64 {
        let ms = match reason {
            _ if !self.enabled => 0,
            Reason::Reset => self.rst_ms,
            Reason::HalfOpen => self.half_open_ms,
            Reason::Closed => self.time_ms,
            Reason::Silent => self.udp_ms,
        };
        ms * 1_000_000
    }
}

/// The end of a session.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub closed_ns: u64,
    reason: Reason,
}

impl End {
    pub(super) fn of(session: &Session, closed_ns: u64) -> Self {
        Self { closed_ns, reason: Reason::of(session.connection.as_ref()) }
    }

    /// From when on the tuple may be used again.
    #[must_use]
    pub fn over_ns(&self, settings: &Cooldown) -> u64 {
        self.closed_ns + settings.wait_ns(self.reason)
    }
}

/// The ends of the last sessions of tuples, by flow as the outside sees it.
#[derive(Debug, Default)]
pub struct Resting(HashMap<Flow, End>);

impl Resting {
    /// What no setting asks for is not noted: later settings do not either.
    pub(super) fn begin(&mut self, outside: Flow, end: End, settings: &Cooldown) {
        if settings.wait_ns(end.reason) == 0 {
            self.0.remove(&outside);
        } else {
            self.0.insert(outside, end);
        }
    }

    /// The tuple has a session again.
    pub(super) fn used(&mut self, outside: &Flow) {
        self.0.remove(outside);
    }

    #[must_use]
    pub fn get(&self, outside: &Flow) -> Option<&End> {
        self.0.get(outside)
    }
}
