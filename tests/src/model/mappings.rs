//! Mappings that do not depend on the remote endpoint: an inside endpoint's external one, shared by
//! its sessions, and the remote addresses that it lets in.
use std::{collections::HashMap, net::Ipv4Addr};

use super::{
    flow::{Endpoint, Flow, Protocol},
    session::Session,
};

/// What a mapping is for. An inside endpoint has one on each external address that rules choose for
/// it, and one in each range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    pub protocol: Protocol,
    pub inside: Endpoint,
    pub address: Ipv4Addr,
    /// The first port of the rule's range.
    pub range: u16,
}

/// A thing that sessions share: there as long as one of them is, removed or not being what counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shared {
    pub users: u32,
    /// Until when it lets somebody in.
    pub deadline_ns: u64,
}

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    pub shared: Shared,
    /// The external port.
    pub port: u16,
}

/// What a session shares with others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uses {
    pub range: u16,
    /// Whether its remote address may send from every port.
    pub permission: bool,
}

/// An external endpoint that lets a remote address in.
pub type Permission = (Protocol, Endpoint, Ipv4Addr);

/// See the module.
#[derive(Debug, Default)]
pub struct Mappings {
    mappings: HashMap<Key, Mapping>,
    /// Whose an external endpoint is.
    owners: HashMap<(Protocol, Endpoint), Key>,
    permissions: HashMap<Permission, Shared>,
}

impl Shared {
    fn join(&mut self, deadline_ns: u64) {
        self.users += 1;
        self.extend(deadline_ns);
    }

    fn extend(&mut self, deadline_ns: u64) {
        self.deadline_ns = self.deadline_ns.max(deadline_ns);
    }
}

impl Mappings {
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Mapping> {
        self.mappings.get(key)
    }

    #[must_use]
    pub fn owner(&self, protocol: Protocol, external: Endpoint) -> Option<Key> {
        self.owners.get(&(protocol, external)).copied()
    }

    pub fn all(&self) -> impl Iterator<Item = (&Key, &Mapping)> {
        self.mappings.iter()
    }

    pub fn permissions(&self) -> impl Iterator<Item = (&Permission, &Shared)> {
        self.permissions.iter()
    }

    /// Whether somebody outside may come in by a mapping that uses this.
    #[must_use]
    pub fn open(&self, key: &Key, permission: Option<Permission>, now_ns: u64) -> bool {
        let open = |shared: &Shared| now_ns < shared.deadline_ns;
        self.mappings.get(key).is_some_and(|mapping| open(&mapping.shared))
            && permission
                .is_none_or(|permission| self.permissions.get(&permission).is_some_and(open))
    }

    /// A session becomes a user of what it uses. What is new is open until the deadline, what was
    /// there at least as long; somebody from outside has none to give.
    pub(super) fn join(&mut self, session: &Session, deadline_ns: u64) {
        let Some(key) = key(session) else { return };
        let shared = Shared { users: 0, deadline_ns };
        let mapping = Mapping { shared, port: session.external.1 };
        self.mappings.entry(key).or_insert(mapping).shared.join(deadline_ns);
        self.owners.insert((key.protocol, session.external), key);
        if let Some(permission) = permission(session) {
            self.permissions.entry(permission).or_insert(shared).join(deadline_ns);
        }
    }

    /// A session has been removed.
    pub(super) fn leave(&mut self, session: &Session) {
        let Some(key) = key(session) else { return };
        if let Some(mapping) = self.mappings.get_mut(&key) {
            mapping.shared.users -= 1;
            if mapping.shared.users == 0 {
                self.mappings.remove(&key);
                self.owners.remove(&(key.protocol, session.external));
            }
        }
        let Some(permission) = permission(session) else { return };
        if let Some(shared) = self.permissions.get_mut(&permission) {
            shared.users -= 1;
            if shared.users == 0 {
                self.permissions.remove(&permission);
            }
        }
    }

    /// What a session uses stays open as long as the session does.
    pub(super) fn extend(&mut self, session: &Session, deadline_ns: u64) {
        let Some(key) = key(session) else { return };
        if let Some(mapping) = self.mappings.get_mut(&key) {
            mapping.shared.extend(deadline_ns);
        }
        let permission = permission(session).and_then(|one| self.permissions.get_mut(&one));
        if let Some(shared) = permission {
            shared.extend(deadline_ns);
        }
    }

    /// The same of a permission for which no session came to be.
    pub(super) fn extend_permission(&mut self, permission: &Permission, deadline_ns: u64) {
        if let Some(shared) = self.permissions.get_mut(permission) {
            shared.extend(deadline_ns);
        }
    }

    /// The same of a mapping.
    pub(super) fn extend_mapping(&mut self, key: &Key, deadline_ns: u64) {
        if let Some(mapping) = self.mappings.get_mut(key) {
            mapping.shared.extend(deadline_ns);
        }
    }
}

/// The mapping of a session.
#[must_use]
pub fn key(session: &Session) -> Option<Key> {
    let Uses { range, .. } = session.uses?;
    let Flow { protocol, local: inside, .. } = session.flow;
    Some(Key { protocol, inside, address: session.external.0, range })
}

fn permission(session: &Session) -> Option<Permission> {
    let Flow { protocol, remote, .. } = session.flow;
    session.uses?.permission.then_some((protocol, session.external, remote.0))
}
