//! Values with a form of their own: those that may be written in two ways, and text that says what
//! it should have been.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::{AddressTable, ProtocolsTable, SourceTable};
use crate::config::words::{MssWord, SourceModel};

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

/// The `mapping` or `filtering` key of a rule: a word for every protocol, or a table with one for
/// each.
#[derive(Debug)]
pub(in crate::config) enum AllOrEach<T> {
    All(T),
    Each(ProtocolsTable<T>),
}

/// An element of `exclude_ports`: a port, or a range as it is written.
#[derive(Debug)]
pub(in crate::config) enum PortText {
    Port(i64),
    Range(String),
}

/// The `mss` key of a rule: a word, or a number of bytes.
#[derive(Debug)]
pub(in crate::config) enum Mss {
    Word(MssWord),
    Bytes(i64),
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

impl<T: for<'de> Deserialize<'de>> TextOrTable for AllOrEach<T> {
    type Table = ProtocolsTable<T>;
    const EXPECTED: &'static str = "a word such as \"endpoint-independent\", or a table such as { \
                                    udp = \"endpoint-independent\" }";

    fn from_text<E: Error>(word: &str) -> Result<Self, E> {
        T::deserialize(StrDeserializer::new(word)).map(Self::All)
    }

    fn from_table(table: ProtocolsTable<T>) -> Self {
        Self::Each(table)
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

impl<'de, T: for<'any> Deserialize<'any>> Deserialize<'de> for AllOrEach<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A value that is text or a whole number.
trait TextOrNumber: Sized {
    const EXPECTED: &'static str;

    fn from_text<E: Error>(text: &str) -> Result<Self, E>;
    fn from_number(number: i64) -> Self;
}

impl TextOrNumber for PortText {
    const EXPECTED: &'static str = "a port, or a range in quotes such as \"5000-5100\"";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Range(text.to_owned()))
    }

    fn from_number(number: i64) -> Self {
        Self::Port(number)
    }
}

impl TextOrNumber for Mss {
    const EXPECTED: &'static str = "\"off\", \"auto\" or a number of bytes without quotes";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(E::invalid_type(Unexpected::Str(text), &Self::EXPECTED));
        }
        MssWord::deserialize(StrDeserializer::new(text)).map(Self::Word)
    }

    fn from_number(number: i64) -> Self {
        Self::Bytes(number)
    }
}

struct Numeric<T>(PhantomData<T>);

impl<T: TextOrNumber> Visitor<'_> for Numeric<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Ok(T::from_number(number))
    }
}

impl<'de> Deserialize<'de> for PortText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Numeric(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Mss {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Numeric(PhantomData))
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
