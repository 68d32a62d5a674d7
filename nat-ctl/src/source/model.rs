//! The source models by name.
use std::{fmt, net::IpAddr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::config::nearest;

/// How a source is chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, clap::ValueEnum)]
pub enum Model {
    /// Windows Server 2008 and later: by rules, also the longest match with the next hop
    #[default]
    #[value(name = "strong-host", alias = "strong")]
    Strong,
    /// Windows up to Server 2003: the egress interface's primary address
    #[value(name = "weak-host", alias = "weak")]
    Weak,
    /// ISA Server: the first configured address of the egress interface
    #[value(name = "first", alias = "isa_first")]
    IsaFirst,
    /// TMG's default IP address: the lowest of the egress interface
    #[value(name = "lowest", alias = "tmg_default")]
    TmgDefault,
    /// TMG's Web Proxy filter: the first configured address, whatever NAT rules say
    #[value(name = "web-proxy", alias = "web_proxy")]
    WebProxy,
    /// TMG: the specified address
    #[value(name = "specified")]
    Specified,
    /// TMG: one of several addresses, for each client the same
    #[value(name = "multiple")]
    Multiple,
    /// Linux for its own packets
    #[value(name = "linux")]
    Linux,
    /// Linux for masquerade of nftables and iptables
    #[value(name = "linux-masquerade", alias = "linux_masquerade")]
    LinuxMasquerade,
    /// RFC 6724 to the letter
    #[value(name = "rfc6724")]
    Rfc6724,
}

impl Model {
    pub const ALL: [Self; 10] = [
        Self::Strong,
        Self::Weak,
        Self::IsaFirst,
        Self::TmgDefault,
        Self::WebProxy,
        Self::Specified,
        Self::Multiple,
        Self::Linux,
        Self::LinuxMasquerade,
        Self::Rfc6724,
    ];

    /// The name on the command line and, for those that it knows, in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong-host",
            Self::Weak => "weak-host",
            Self::IsaFirst => "first",
            Self::TmgDefault => "lowest",
            Self::WebProxy => "web-proxy",
            Self::Specified => "specified",
            Self::Multiple => "multiple",
            Self::Linux => "linux",
            Self::LinuxMasquerade => "linux-masquerade",
            Self::Rfc6724 => "rfc6724",
        }
    }

    /// The name in test vectors.
    pub const fn vector_name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
            Self::IsaFirst => "isa_first",
            Self::TmgDefault => "tmg_default",
            Self::WebProxy => "web_proxy",
            Self::LinuxMasquerade => "linux_masquerade",
            other => other.as_str(),
        }
    }

    /// The model of either name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.as_str() == name || model.vector_name() == name)
    }

    /// Whether an address that is asked for by name has to be of the interface that the packet
    /// leaves by, so that only that interface's routes count (RFC 1122 section 3.3.4.2, strong end
    /// system). The other models route by destination alone.
    pub const fn routes_by_source(self) -> bool {
        matches!(self, Self::Strong | Self::Rfc6724)
    }

    pub const fn is_linux(self) -> bool {
        matches!(self, Self::Linux | Self::LinuxMasquerade)
    }

    /// Whether the model goes by primary addresses, as the kernel does for IPv4, and not by a
    /// contest of rules.
    pub(super) const fn by_primary(self, destination: IpAddr) -> bool {
        self.is_linux() && destination.is_ipv4()
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| {
            let names =
                Self::ALL.into_iter().flat_map(|model| [model.as_str(), model.vector_name()]);
            let help = match nearest(&name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", Self::ALL.map(Self::as_str).join(", ")),
            };
            de::Error::custom(format_args!("unknown model {name:?}: {help}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn both_names_are_known_everywhere() {
        for model in Model::ALL {
            for name in [model.as_str(), model.vector_name()] {
                assert_eq!(Model::from_name(name), Some(model));
                assert_eq!(Model::from_str(name, false), Ok(model));
                assert_eq!(serde_json::from_str::<Model>(&format!("{name:?}")).unwrap(), model);
            }
        }
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let wrong = |name: &str| serde_json::from_str::<Model>(name).unwrap_err().to_string();
        assert!(wrong("\"tmg_defualt\"").contains("did you mean `tmg_default`?"));
        assert!(wrong("\"best\"").contains("there are strong-host, weak-host, first"));
    }
}
