//! Mappings that do not depend on the remote endpoint (RFC 4787 section 4.1), and who may answer
//! them (section 5).
//!
//! A mapping ties an inside endpoint to an external one. Sessions of that inside endpoint share it,
//! whatever their remote endpoints, and each is one of its users: it is there from the first one's
//! birth until the last one has been removed. The external endpoint is its own alone: [`Owner`] is
//! the claim on it, as a session's inbound entry is the claim on a tuple.
//!
//! The number of users and the [`FlowKey::fingerprint`] of the entry's key are one word, changed by
//! compare-and-exchange. An element of a map can be filled again for another key while somebody
//! holds a pointer to it, and then has another fingerprint; and without users an entry is being
//! removed, and nobody comes in any more.
use crate::{
    addr::{Ipv4, Port},
    flow::{FlowKey, Protocol},
};

/// What an external endpoint depends on.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// On the inside endpoint and the remote one, address and port.
    AddressAndPortDependent = 0,
    /// On the inside endpoint alone.
    EndpointIndependent = 1,
}

impl Kind {
    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::EndpointIndependent => "endpoint-independent",
        }
    }
}

/// Whose packets come in by a mapping, without an answer to them having been sent.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filtering {
    /// Those of remote endpoints to which the inside endpoint has sent.
    AddressAndPortDependent = 0,
    /// Those of remote addresses to which it has sent.
    AddressDependent = 1,
    /// Everybody's.
    EndpointIndependent = 2,
}

impl Filtering {
    /// The kind of a stored number; unknown numbers give the strictest.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::AddressDependent,
            2 => Self::EndpointIndependent,
            _ => Self::AddressAndPortDependent,
        }
    }

    /// The name in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressAndPortDependent => "address-and-port-dependent",
            Self::AddressDependent => "address-dependent",
            Self::EndpointIndependent => "endpoint-independent",
        }
    }
}

/// How a rule maps and filters, by protocol: two bits of each byte for each.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Behaviour {
    mapping: u8,
    filtering: u8,
}

impl Behaviour {
    const MASK: u8 = 3;

    const fn shift(protocol: Protocol) -> u8 {
        match protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => 2,
            Protocol::Icmp => 4,
        }
    }

    /// The same with what one protocol has.
    #[must_use]
    pub const fn with(self, protocol: Protocol, kind: Kind, filtering: Filtering) -> Self {
        let shift = Self::shift(protocol);
        Self {
            mapping: self.mapping & !(Self::MASK << shift) | (kind as u8) << shift,
            filtering: self.filtering & !(Self::MASK << shift) | (filtering as u8) << shift,
        }
    }

    /// Whether a protocol's external endpoints depend on the inside endpoint alone.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint_independent(self, protocol: Protocol) -> bool {
        self.mapping >> Self::shift(protocol) & Self::MASK == Kind::EndpointIndependent as u8
    }

    #[inline(always)]
    #[must_use]
    pub const fn filtering(self, protocol: Protocol) -> Filtering {
        Filtering::from_number(self.filtering >> Self::shift(protocol) & Self::MASK)
    }
}

/// What users share.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shared {
    /// [`Users`].
    pub users: u64,
    /// Until when it lets new packets in: the latest deadline that one of its users has been given by
    /// a packet from inside, or by a connection that both sides have opened. Whoever is outside
    /// cannot keep it open (RFC 4787 REQ-6).
    pub deadline_ns: u64,
}

impl Shared {
    /// With one user.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: &FlowKey, deadline_ns: u64) -> Self {
        Self { users: Users::one(key).0, deadline_ns }
    }
}

/// The word of [`Shared::users`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Users(pub u64);

impl Users {
    const FINGERPRINT_SHIFT: u32 = 32;

    /// The first one.
    #[inline(always)]
    #[must_use]
    pub const fn one(key: &FlowKey) -> Self {
        Self((key.fingerprint() as u64) << Self::FINGERPRINT_SHIFT | 1)
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0 as u32
    }

    /// With one more; nothing if the entry is another one's by now, or is being removed.
    #[inline(always)]
    #[must_use]
    pub const fn joined(self, key: &FlowKey) -> Option<Self> {
        let ours = self.0 >> Self::FINGERPRINT_SHIFT == key.fingerprint() as u64;
        if !ours || self.count() == 0 || self.count() == u32::MAX {
            return None;
        }
        Some(Self(self.0 + 1))
    }
}

/// An entry of the map of mappings, whose key is [`key`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    pub shared: Shared,
    /// The external port.
    pub port: Port,
    pub zero: u16,
    /// Seconds.
    pub created_s: u32,
}

/// The claim on an external endpoint, by [`FlowKey::toward_everybody`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// [`FlowKey::fingerprint`] of this entry's key: as [`crate::session::Session::check`].
    pub check: u32,
    /// The inside endpoint.
    pub address: Ipv4,
    pub port: Port,
    /// The first port of its rule's range: with it the mapping is found.
    pub range: Port,
}

impl Owner {
    #[inline(always)]
    #[must_use]
    pub const fn new(claim: &FlowKey, inside: (Ipv4, Port), range: Port) -> Self {
        Self { check: claim.fingerprint(), address: inside.0, port: inside.1, range }
    }
}

/// The key of a mapping: its inside endpoint, the external address, and in the remote port's place
/// the first port of the range from which its own comes.
///
/// The address is chosen before the mapping is looked for: rules may send an inside endpoint's
/// packets out with different addresses, by their destination, and toward each it has one mapping.
/// Rules that share an address either share their range or have nothing of it in common, which the
/// configuration is checked for.
#[inline(always)]
#[must_use]
pub const fn key(outbound: &FlowKey, external: Ipv4, range: Port) -> FlowKey {
    outbound.toward(external, range)
}

/// The key of the permission that users of an external endpoint give a remote address.
#[inline(always)]
#[must_use]
pub const fn permission_key(inbound: &FlowKey) -> FlowKey {
    inbound.toward(inbound.remote, Port::NONE)
}

/// What a session uses: [`crate::session::Session::uses`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uses;

impl Uses {
    /// Nothing that others use.
    pub const NOTHING: u8 = 0;
    /// A mapping.
    pub const MAPPING: u8 = 1;
    /// A mapping, and a permission.
    pub const PERMISSION: u8 = 2;
}

#[cfg(test)]
mod tests;
