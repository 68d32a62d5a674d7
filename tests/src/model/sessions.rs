//! All sessions, and the external tuples that they claim.
use std::collections::HashMap;

use super::{flow::Flow, session::Session};

/// All sessions, those included whose time is up and that nobody has removed yet.
#[derive(Debug)]
pub struct Sessions {
    max: usize,
    /// By flow as the inside sees it.
    by_flow: HashMap<Flow, Session>,
    /// Flows as the outside sees them: the claimed external tuples, and whose they are.
    claims: HashMap<Flow, Flow>,
}

impl Sessions {
    pub(super) fn new(max: usize) -> Self {
        Self { max, by_flow: HashMap::new(), claims: HashMap::new() }
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

    pub fn all(&self) -> impl Iterator<Item = &Session> {
        self.by_flow.values()
    }

    pub(super) fn get_mut(&mut self, flow: &Flow) -> Option<&mut Session> {
        self.by_flow.get_mut(flow)
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.claims.insert(session.outside(), session.flow);
        self.by_flow.insert(session.flow, session);
    }

    pub(super) fn remove(&mut self, flow: &Flow) -> Option<Session> {
        let session = self.by_flow.remove(flow)?;
        self.claims.remove(&session.outside());
        Some(session)
    }
}
