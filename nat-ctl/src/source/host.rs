//! A host as source selection sees it: interfaces with their addresses in configured order, and
//! routes. The same form is printed by `host snapshot` and read by `explain --host`.
use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    pub interfaces: Vec<Interface>,
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// Routes over an interface that is down do not exist.
    #[serde(default = "yes")]
    pub up: bool,
    /// In configured order.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// An address of an interface, IPv4 or IPv6.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    pub ip: IpAddr,
    /// Length of the subnet's prefix in bits.
    #[serde(rename = "prefix")]
    pub prefix_len: u8,
    #[serde(default)]
    pub flags: Flags,
    /// The router that advertised the address's prefix (RFC 6724 rule 5.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_by: Option<IpAddr>,
}

/// A unicast route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Without host bits.
    pub dst: IpNet,
    /// The next hop; None on-link: the destination itself.
    #[serde(default)]
    pub via: Option<IpAddr>,
    /// Name of the interface. Empty where there is none: what goes to `dst` is refused or thrown
    /// away (Linux `unreachable`, `prohibit`, `blackhole`), whatever less specific routes say.
    pub dev: String,
    #[serde(default)]
    pub metric: u32,
    /// The source that the route asks for (Linux `src`, RTA_PREFSRC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Position of the route's table in the order in which tables are asked. The first table with a
    /// route to a destination decides, however short its prefix is: so Linux's policy rules work.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub table: u32,
}

/// What is special about an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Flag {
    /// Windows `SkipAsSource`: never a source unless it is asked for by name.
    SkipAsSource = 1 << 0,
    /// Preferred lifetime is over, valid lifetime is not.
    Deprecated = 1 << 1,
    /// Duplicate address detection goes on.
    Tentative = 1 << 2,
    /// Duplicate address detection failed.
    Duplicate = 1 << 3,
    /// Valid lifetime is over.
    Invalid = 1 << 4,
    /// IPv6 privacy address (RFC 8981).
    Temporary = 1 << 5,
    /// Mobile IPv6 home address.
    Home = 1 << 6,
    /// Mobile IPv6 care-of address.
    CareOf = 1 << 7,
    /// Linux: another address of the same subnet is the primary one.
    Secondary = 1 << 8,
}

impl Flag {
    pub const ALL: [Self; 9] = [
        Self::SkipAsSource,
        Self::Deprecated,
        Self::Tentative,
        Self::Duplicate,
        Self::Invalid,
        Self::Temporary,
        Self::Home,
        Self::CareOf,
        Self::Secondary,
    ];

    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SkipAsSource => "skip_as_source",
            Self::Deprecated => "deprecated",
            Self::Tentative => "tentative",
            Self::Duplicate => "duplicate",
            Self::Invalid => "invalid",
            Self::Temporary => "temporary",
            Self::Home => "home",
            Self::CareOf => "care_of",
            Self::Secondary => "secondary",
        }
    }
}

/// A set of flags; in files a list of words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Flags(u16);

impl Flags {
    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & flag as u16 != 0
    }

    pub const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag as u16)
    }

    pub const fn without(self, flag: Flag) -> Self {
        Self(self.0 & !(flag as u16))
    }

    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        self.iter().try_for_each(|flag| list.serialize_element(flag.as_str()))?;
        SerializeSeq::end(list)
    }
}

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        let flag = |word: &String| {
            let word = if word == "dadfailed" { Flag::Duplicate.as_str() } else { word };
            let known = Flag::ALL.into_iter().find(|flag| flag.as_str() == word);
            known.ok_or_else(|| de::Error::unknown_variant(word, &WORDS))
        };
        let telling = words.iter().filter(|word| !WITHOUT_EFFECT.contains(&word.as_str()));
        telling.map(flag).collect()
    }
}

/// Words of `ip address` that say nothing about being a source.
const WITHOUT_EFFECT: [&str; 7] =
    ["permanent", "dynamic", "noprefixroute", "mngtmpaddr", "nodad", "autojoin", "stable-privacy"];

const WORDS: [&str; Flag::ALL.len()] = {
    let mut words = [""; Flag::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        words[index] = Flag::ALL[index].as_str();
        index += 1;
    }
    words
};

impl Host {
    /// The interface of a name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The interface that has an address.
    pub fn owner(&self, ip: IpAddr) -> Option<&Interface> {
        let has = |interface: &&Interface| interface.addresses.iter().any(|one| one.ip == ip);
        self.interfaces.iter().find(has)
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_comes_back_as_it_was() {
        let text = r#"{"interfaces":[{"name":"wan0","up":true,"addresses":[{"ip":"192.168.1.14","prefix":24,"flags":["skip_as_source","deprecated"]}]}],"routes":[{"dst":"0.0.0.0/0","via":"192.168.1.127","dev":"wan0","metric":5,"table":1}]}"#;
        let host: Host = serde_json::from_str(text).unwrap();
        assert!(host.interfaces[0].addresses[0].flags.contains(Flag::Deprecated));
        assert_eq!(serde_json::to_string(&host).unwrap(), text);
        assert_eq!(host.owner("192.168.1.14".parse().unwrap()).unwrap().name, "wan0");
        assert!(host.owner("192.168.1.15".parse().unwrap()).is_none());
    }

    #[test]
    fn a_flag_that_nobody_knows_is_refused_with_those_that_are_known() {
        let error = serde_json::from_str::<Flags>(r#"["skip-as-source"]"#).unwrap_err();
        assert!(error.to_string().contains("`skip_as_source`"), "{error}");
        let kernels = serde_json::from_str::<Flags>(r#"["permanent", "dadfailed"]"#).unwrap();
        assert_eq!(kernels, Flags::default().with(Flag::Duplicate));
    }
}
