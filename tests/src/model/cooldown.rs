//! External tuples rest after their session has ended, for a time that depends on how it did.
use std::{collections::HashMap, net::Ipv4Addr};

use super::{
    flow::{Endpoint, Flow, Protocol},
    session::Session,
    tcp::Connection,
};

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
    /// Whether ports give way before their time where nothing else is free.
    pub pressure_reuse: bool,
    /// Whether a port rests toward everybody.
    pub as_port: bool,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub closed_ns: u64,
    pub reason: Reason,
    /// Of a connection that both sides have closed, what follows the client's last byte.
    pub next: Option<u32>,
}

impl End {
    pub(super) fn of(session: &Session, closed_ns: u64) -> Self {
        let connection = session.connection.as_ref();
        let next = connection.and_then(Connection::client_ended);
        Self { closed_ns, reason: Reason::of(connection), next }
    }

    /// From when on the tuple may be used again.
    #[must_use]
    pub fn over_ns(&self, settings: &Cooldown) -> u64 {
        self.closed_ns + settings.wait_ns(self.reason)
    }

    /// The same, if it is kept as closed at another time. What does not have to rest is free at once.
    #[must_use]
    pub fn kept_over_ns(&self, kept_ns: u64, settings: &Cooldown) -> u64 {
        match settings.wait_ns(self.reason) {
            0 => self.closed_ns,
            wait_ns => kept_ns + wait_ns,
        }
    }
}

/// What rests.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    pub end: End,
    /// [`End::closed_ns`] as it is kept: what of a connection was closed when is known to units of
    /// 2^22 ns, upwards.
    pub kept_ns: u64,
    /// Of a mapping's endpoint, the inside one, which may have it back.
    pub owner: Option<Endpoint>,
    /// Whether it was over under settings that are not in force any more: it may be forgotten.
    pub maybe: bool,
}

impl Rest {
    /// From when on it can be had by others.
    #[must_use]
    pub fn over_ns(&self, settings: &Cooldown) -> u64 {
        self.end.over_ns(settings)
    }

    /// The same, as it is kept.
    #[must_use]
    pub fn kept_over_ns(&self, settings: &Cooldown) -> u64 {
        self.end.kept_over_ns(self.kept_ns, settings)
    }

    /// Whether it cannot be had yet for sure.
    #[must_use]
    pub fn blocks(&self, settings: &Cooldown, now_ns: u64) -> bool {
        !self.maybe && now_ns < self.over_ns(settings)
    }
}

/// The remote endpoint of what rests toward everybody.
const EVERYBODY: Endpoint = (Ipv4Addr::UNSPECIFIED, 0);

/// A flow toward everybody.
#[must_use]
pub fn toward_everybody(outside: &Flow) -> Flow {
    Flow { remote: EVERYBODY, ..*outside }
}

/// The ends of the last sessions of tuples, by flow as the outside sees it; toward everybody those
/// of endpoints.
#[derive(Debug, Default)]
pub struct Resting {
    by_endpoint: HashMap<(Protocol, Endpoint), HashMap<Endpoint, Rest>>,
    /// What has begun to rest, to be compared.
    begun: Vec<Flow>,
}

impl Resting {
    /// What no setting asks for is not noted: later settings do not either.
    pub(super) fn begin(&mut self, outside: Flow, rest: Rest, settings: &Cooldown) {
        if settings.wait_ns(rest.end.reason) != 0 {
            let Flow { protocol, local, remote } = outside;
            self.by_endpoint.entry((protocol, local)).or_default().insert(remote, rest);
            self.begun.push(outside);
        }
    }

    /// An endpoint rests as the one of its sessions does that rests for longest.
    pub(super) fn begin_endpoint(
        &mut self,
        outside: &Flow,
        rest: Rest,
        settings: &Cooldown,
        now_ns: u64,
    ) {
        let endpoint = toward_everybody(outside);
        let over_ns = |rest: &Rest| match settings.wait_ns(rest.end.reason) {
            0 => 0,
            wait_ns => now_ns.max(rest.kept_ns + wait_ns),
        };
        let before_ns = self.get(&endpoint).map_or(now_ns, over_ns);
        if over_ns(&rest) > before_ns.max(now_ns) {
            self.begin(endpoint, rest, settings);
        }
    }

    /// The tuple has a session again.
    pub(super) fn used(&mut self, outside: &Flow) {
        if let Some(rests) = self.by_endpoint.get_mut(&(outside.protocol, outside.local)) {
            rests.remove(&outside.remote);
        }
    }

    /// There was no room for it: it rests no more.
    pub fn release(&mut self, outside: &Flow) {
        self.used(outside);
    }

    /// There was no room for it, and then for that of an earlier session: it rests since then only.
    pub fn shorten(&mut self, outside: &Flow, closed_ns: u64) {
        let rests = self.by_endpoint.get_mut(&(outside.protocol, outside.local));
        if let Some(rest) = rests.and_then(|rests| rests.get_mut(&outside.remote)) {
            rest.end.closed_ns = rest.end.closed_ns.min(closed_ns);
            rest.kept_ns = rest.kept_ns.min(closed_ns);
        }
    }

    /// What cannot be had yet for sure.
    pub fn blocking(&self, settings: &Cooldown, now_ns: u64) -> Vec<Flow> {
        let mut blocking = Vec::new();
        for ((protocol, local), rests) in &self.by_endpoint {
            let here = rests.iter().filter(|(_, rest)| rest.blocks(settings, now_ns));
            blocking.extend(here.map(|(remote, _)| Flow {
                protocol: *protocol,
                local: *local,
                remote: *remote,
            }));
        }
        blocking
    }

    #[must_use]
    pub fn get(&self, outside: &Flow) -> Option<&Rest> {
        self.by_endpoint.get(&(outside.protocol, outside.local))?.get(&outside.remote)
    }

    /// Whether any tuple of an endpoint rests, or has.
    pub(super) fn any(&self, protocol: Protocol, external: Endpoint) -> bool {
        let rests = self.by_endpoint.get(&(protocol, external));
        rests.is_some_and(|rests| rests.keys().any(|remote| *remote != EVERYBODY))
    }

    /// When all tuples of an endpoint are over.
    pub(super) fn longest_ns(
        &self,
        protocol: Protocol,
        external: Endpoint,
        settings: &Cooldown,
    ) -> u64 {
        let rests = self.by_endpoint.get(&(protocol, external));
        let all = rests.into_iter().flat_map(HashMap::values);
        all.map(|rest| rest.over_ns(settings)).max().unwrap_or(0)
    }

    /// Ports are to rest as such: each as the one of its tuples does that rests for longest. What a
    /// mapping's endpoint was it still is.
    pub(super) fn widen(&mut self, settings: &Cooldown, now_ns: u64) {
        if !settings.as_port {
            return;
        }
        for rests in self.by_endpoint.values_mut() {
            let toward_some = rests.iter().filter(|(remote, _)| **remote != EVERYBODY);
            let longest =
                toward_some.map(|(_, rest)| *rest).max_by_key(|rest| rest.kept_over_ns(settings));
            let Some(longest) = longest.filter(|rest| now_ns < rest.over_ns(settings)) else {
                continue;
            };
            let before = rests.get(&EVERYBODY).copied();
            let before_ns = before.map_or(0, |before| before.kept_over_ns(settings));
            if longest.kept_over_ns(settings) > before_ns {
                let owner = before.and_then(|before| before.owner);
                // Whose it was may have been forgotten.
                let unsure = before.is_some_and(|before| before.maybe && owner.is_some());
                let maybe = longest.maybe || unsure;
                rests.insert(EVERYBODY, Rest { owner, maybe, ..longest });
            }
        }
    }

    /// Other settings come into force: what is over now may have been forgotten.
    pub(super) fn settings_change(&mut self, before: &Cooldown, now_ns: u64) {
        for rest in self.by_endpoint.values_mut().flat_map(HashMap::values_mut) {
            rest.maybe |= rest.over_ns(before) <= now_ns;
        }
    }

    /// What has begun to rest since the last time.
    pub fn take_begun(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.begun)
    }
}
