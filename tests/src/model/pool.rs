//! Which address of a pool is whose: the program's choice, but always the same one.
use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use super::{
    flow::{Endpoint, Flow, Protocol},
    rules::Snat,
};

/// What an address depends on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Chooser {
    /// Paired pooling: the client, and which addresses there are.
    Client(Ipv4Addr, BTreeSet<Ipv4Addr>),
    /// Random pooling of mappings that do not depend on the remote endpoint: the inside one. It would
    /// have two mappings otherwise.
    Endpoint(Protocol, Endpoint, Vec<Ipv4Addr>),
    /// Chance.
    Nothing,
}

impl Chooser {
    /// For a flow, among these addresses.
    #[must_use]
    pub fn of(snat: &Snat, flow: &Flow, addresses: &[Ipv4Addr]) -> Self {
        let alone = snat.of(flow.protocol).endpoint_independent;
        match snat.random {
            false => Self::Client(flow.local.0, addresses.iter().copied().collect()),
            true if alone => Self::Endpoint(flow.protocol, flow.local, addresses.to_vec()),
            true => Self::Nothing,
        }
    }
}

/// What has been seen of choices.
#[derive(Debug, Default)]
pub struct Choices(HashMap<Chooser, Ipv4Addr>);

impl Choices {
    /// The address that a chooser has, if that is known.
    #[must_use]
    pub fn known(&self, chooser: &Chooser, addresses: &[Ipv4Addr]) -> Option<Ipv4Addr> {
        match addresses {
            [only] => Some(*only),
            _ => self.0.get(chooser).copied(),
        }
    }

    /// Goes along with a choice, unless there was another one before.
    pub(super) fn learn(&mut self, chooser: Chooser, address: Ipv4Addr) -> Result<(), String> {
        if chooser == Chooser::Nothing {
            return Ok(());
        }
        let known = *self.0.entry(chooser.clone()).or_insert(address);
        if known == address {
            Ok(())
        } else {
            Err(format!("{known} by {chooser:?}, now {address}"))
        }
    }
}
