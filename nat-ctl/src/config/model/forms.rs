//! Values with a form of their own: those that may be written in two ways, and text that says what
//! it should have been.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{AddressTable, SourceTable};
use crate::config::words::SourceModel;

/// The `source` key of a rule: a model by name, or a table.
#[derive(Debug)]
pub(in crate::config) enum Source {
    Model(SourceModel),
    Table(SourceTable),
}

/// An element of a list in `[addresses]`: an address alone, or a table with its flags.
#[derive(Debug)]
pub(in crate::config) enum Address {
    Alone(String),
    Table(AddressTable),
}

/// A value that is text or a table.
trait TextOrTable: Sized {
    type Table: for<'de> Deserialize<'de>;
    const EXPECTED: &'static str;

    fn from_text<E: Error>(text: &str) -> Result<Self, E>;
    fn from_table(table: Self::Table) -> Self;
}

impl TextOrTable for Source {
    type Table = SourceTable;
    const EXPECTED: &'static str =
        "a model such as \"strong-host\", or a table such as { addresses = [\"203.0.113.1\"] }";

    fn from_text<E: Error>(word: &str) -> Result<Self, E> {
        SourceModel::deserialize(StrDeserializer::new(word)).map(Self::Model)
    }

    fn from_table(table: SourceTable) -> Self {
        Self::Table(table)
    }
}

impl TextOrTable for Address {
    type Table = AddressTable;
    const EXPECTED: &'static str = "an address in quotes, or a table such as { address = \
                                    \"203.0.113.1\", skip_as_source = true }";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Alone(text.to_owned()))
    }

    fn from_table(table: AddressTable) -> Self {
        Self::Table(table)
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T: TextOrTable> Visitor<'de> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::Table::deserialize(MapAccessDeserializer::new(map)).map(T::from_table)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// Declares a string type that says what it should have been when it is not a string.
macro_rules! quoted {
    ($(#[$meta:meta])* $name:ident, $expected:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(in crate::config) struct $name(pub String);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        Ok($name(text.to_owned()))
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}

quoted!(
    /// A duration as it is written.
    DurationText,
    "a duration with its unit, in quotes, such as \"300s\""
);
quoted!(
    /// A port range as it is written.
    PortsText,
    "a port range in quotes, such as \"1024-65535\""
);
