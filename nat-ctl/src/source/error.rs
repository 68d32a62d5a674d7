//! Why there is no source.
use std::fmt;

use serde::{Serialize, Serializer};

/// See the variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum Error {
    /// No route to the destination over an interface that is up.
    NoRoute,
    /// No usable address.
    NoSource,
    /// The address that was asked for is on no interface.
    NotLocal,
    /// The destination is multicast or broadcast.
    NotUnicast,
    /// A named address is not on the interface that the route leaves by.
    AddressNotOnEgress,
    /// A pool without addresses.
    EmptyPool,
}

impl Error {
    pub const ALL: [Self; 6] = [
        Self::NoRoute,
        Self::NoSource,
        Self::NotLocal,
        Self::NotUnicast,
        Self::AddressNotOnEgress,
        Self::EmptyPool,
    ];

    /// The name, in JSON and test vectors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no-route",
            Self::NoSource => "no-source",
            Self::NotLocal => "not-local",
            Self::NotUnicast => "not-unicast",
            Self::AddressNotOnEgress => "address-not-on-egress",
            Self::EmptyPool => "empty-pool",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
