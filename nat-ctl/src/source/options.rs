//! What can be set about a model.
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Model;

/// See the fields. In a vector's `options` and with the same words in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub tie_break: TieBreak,
    pub candidates: CandidateSet,
    pub private_scope: PrivateScope,
    /// Whether a common prefix counts for no more bits than the source's subnet has (RFC 6724
    /// section 2.2). None: as the model does.
    pub cpl_cap_to_prefix: Option<bool>,
    /// Rule 7: temporary rather than public addresses (RFC 6724), or the reverse (RFC 3484).
    pub prefer_temporary: bool,
    /// Whether the models that know nothing of SkipAsSource pass over such addresses all the same.
    pub honour_skip_as_source: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tie_break: TieBreak::default(),
            candidates: CandidateSet::default(),
            private_scope: PrivateScope::default(),
            cpl_cap_to_prefix: None,
            prefer_temporary: true,
            honour_skip_as_source: false,
        }
    }
}

impl Options {
    /// Whether `model` caps common prefixes on the way to a destination. Windows does not, and
    /// could not: in one subnet all addresses would be equal.
    pub fn caps_common_prefix(&self, model: Model, destination: IpAddr) -> bool {
        // Linux: ipv6_get_saddr_eval() in net/ipv6/addrconf.c.
        let by_default = model == Model::Rfc6724 || model.is_linux() && destination.is_ipv6();
        self.cpl_cap_to_prefix.unwrap_or(by_default)
    }
}

/// Which of several addresses that no rule tells apart. The RFCs leave it open.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum TieBreak {
    /// In configured order.
    #[default]
    First,
    /// By number.
    Lowest,
}

/// Whose addresses are candidates.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateSet {
    /// The egress interface's.
    #[default]
    Egress,
    /// Every interface's that is up; for link-local and multicast destinations the egress
    /// interface's all the same (RFC 6724 section 4).
    All,
}

/// The scope of RFC 1918 addresses.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum PrivateScope {
    /// RFC 6724 section 3.2.
    #[default]
    Global,
    /// RFC 3484 section 3.2.
    SiteLocal,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn options_are_read_with_their_defaults() {
        let read = |text: &str| serde_json::from_str::<Options>(text).unwrap();
        assert_eq!(read("{}"), Options::default());
        let all = r#"{"tie_break":"lowest","candidates":"all","private_scope":"site-local",
                      "cpl_cap_to_prefix":false,"prefer_temporary":false,
                      "honour_skip_as_source":true}"#;
        let expected = Options {
            tie_break: TieBreak::Lowest,
            candidates: CandidateSet::All,
            private_scope: PrivateScope::SiteLocal,
            cpl_cap_to_prefix: Some(false),
            prefer_temporary: false,
            honour_skip_as_source: true,
        };
        assert_eq!(read(all), expected);
    }

    #[test]
    fn an_unknown_option_is_refused_with_those_that_are_known() {
        let error = serde_json::from_str::<Options>(r#"{"tie_brake":"first"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `tie_brake`"), "{error}");
        assert!(error.to_string().contains("`tie_break`, `candidates`"), "{error}");
    }

    #[test]
    fn only_the_rfc_caps_and_linux_ipv6() {
        let capping = |destination: &str| {
            let destination = destination.parse().unwrap();
            let caps = |model: &Model| Options::default().caps_common_prefix(*model, destination);
            Model::ALL.into_iter().filter(caps).collect::<Vec<_>>()
        };
        assert_eq!(capping("8.8.8.8"), [Model::Rfc6724]);
        assert_eq!(capping("::1"), [Model::Linux, Model::LinuxMasquerade, Model::Rfc6724]);
        let forced = Options { cpl_cap_to_prefix: Some(true), ..Options::default() };
        assert!(forced.caps_common_prefix(Model::Strong, Ipv4Addr::LOCALHOST.into()));
    }
}
