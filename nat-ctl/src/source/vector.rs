//! The file of `explain --host`: a host, and what may be asked of it. One test vector is such a
//! file.
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::{Host, Interface, Model, Options, Route};
use crate::config::Pooling;

/// A file as it is written. What else is in it (`id`, `title`, `why` …) is for people.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Vector {
    pub interfaces: Vec<Interface>,
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub destination: Option<IpAddr>,
    /// None: by [`NatRule::selection`].
    #[serde(default)]
    pub model: Option<Model>,
    #[serde(default)]
    pub options: Option<Options>,
    /// The source that the sender asks for.
    #[serde(default)]
    pub bind: Option<IpAddr>,
    #[serde(default)]
    pub nat_rule: Option<NatRule>,
}

/// TMG's "NAT address selection" of a network rule.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct NatRule {
    pub selection: Selection,
    #[serde(default, deserialize_with = "list_or_null")]
    pub addresses: Vec<IpAddr>,
    #[serde(default = "paired")]
    pub pooling: Pooling,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    Default,
    Specified,
    Multiple,
}

impl From<Host> for Vector {
    /// A host of which nothing is asked yet.
    fn from(host: Host) -> Self {
        let Host { interfaces, routes } = host;
        Self { interfaces, routes, ..Self::default() }
    }
}

fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn paired() -> Pooling {
    Pooling::Paired
}

impl Vector {
    /// Reads a file's text; the error says what is wrong, with line and column where that is known.
    pub fn read(text: &str) -> Result<Self, String> {
        let vector: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        vector.check()?;
        Ok(vector)
    }

    /// The host alone.
    pub fn host(&self) -> Host {
        Host { interfaces: self.interfaces.clone(), routes: self.routes.clone() }
    }

    /// The model that the file names: itself, or by its NAT rule.
    pub fn model(&self) -> Option<Model> {
        self.model.or_else(|| {
            Some(match self.nat_rule.as_ref()?.selection {
                Selection::Default => Model::TmgDefault,
                Selection::Specified => Model::Specified,
                Selection::Multiple => Model::Multiple,
            })
        })
    }

    fn check(&self) -> Result<(), String> {
        for (index, interface) in self.interfaces.iter().enumerate() {
            let name = &interface.name;
            if self.interfaces.iter().take(index).any(|other| other.name == *name) {
                return Err(format!("there are two interfaces `{name}`"));
            }
            for address in &interface.addresses {
                IpNet::new(address.ip, address.prefix_len).map_err(|_| {
                    let (ip, len) = (address.ip, address.prefix_len);
                    format!("{ip} on `{name}` cannot have a prefix of {len} bits")
                })?;
            }
        }
        if let Some(Route { dst, dev, .. }) =
            self.routes.iter().find(|route| route.dst != route.dst.trunc())
        {
            let net = dst.trunc();
            return Err(format!("the route to {dst} by `{dev}` has host bits: write {net}"));
        }
        self.nat_rule.as_ref().map_or(Ok(()), NatRule::check)
    }
}

impl NatRule {
    fn check(&self) -> Result<(), String> {
        let addresses = &self.addresses;
        for (index, ip) in addresses.iter().enumerate() {
            if addresses.iter().take(index).any(|other| other == ip) {
                return Err(format!("nat_rule names {ip} twice"));
            }
        }
        if self.selection == Selection::Specified && addresses.len() > 1 {
            return Err(format!(
                "nat_rule specifies {} addresses: name one, or select \"multiple\"",
                addresses.len()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
