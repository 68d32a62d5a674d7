//! All sessions, and the external tuples that they claim.
use std::collections::HashMap;

use super::{
    flow::{Endpoint, Flow, Protocol},
    session::Session,
};

/// All sessions, those included whose time is up and that nobody has removed yet.
#[derive(Debug)]
pub struct Sessions {
    max: usize,
    /// By flow as the inside sees it.
    by_flow: HashMap<Flow, Session>,
    /// Flows as the outside sees them: the claimed external tuples, and whose they are.
    claims: HashMap<Flow, Flow>,
    /// How many of them an external endpoint has.
    by_endpoint: HashMap<(Protocol, Endpoint), usize>,
}

impl Sessions {
    pub(super) fn new(max: usize) -> Self {
        Self { max, by_flow: HashMap::new(), claims: HashMap::new(), by_endpoint: HashMap::new() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_flow.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_flow.is_empty()
    }

    /// Whether there is no room for another one.
    #[must_use]
    pub fn full(&self) -> bool {
        self.by_flow.len() >= self.max
    }

    /// The session of a flow as the inside sees it.
    #[must_use]
    pub fn get(&self, flow: &Flow) -> Option<&Session> {
        self.by_flow.get(flow)
    }

    /// Who holds an external tuple: a flow as the inside sees it.
    #[must_use]
    pub fn claimant(&self, outside: &Flow) -> Option<Flow> {
        self.claims.get(outside).copied()
    }

    /// Whether any session has an external endpoint.
    #[must_use]
    pub fn any(&self, protocol: Protocol, external: Endpoint) -> bool {
        self.by_endpoint.get(&(protocol, external)).is_some_and(|count| *count > 0)
    }

    pub fn all(&self) -> impl Iterator<Item = &Session> {
        self.by_flow.values()
    }

    pub(super) fn get_mut(&mut self, flow: &Flow) -> Option<&mut Session> {
        self.by_flow.get_mut(flow)
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.claims.insert(session.outside(), session.flow);
        *self.by_endpoint.entry((session.flow.protocol, session.external)).or_default() += 1;
        self.by_flow.insert(session.flow, session);
    }

    pub(super) fn remove(&mut self, flow: &Flow) -> Option<Session> {
        let session = self.by_flow.remove(flow)?;
        self.claims.remove(&session.outside());
        let endpoint = (session.flow.protocol, session.external);
        if let Some(count) = self.by_endpoint.get_mut(&endpoint) {
            *count -= 1;
        }
        Some(session)
    }
}
