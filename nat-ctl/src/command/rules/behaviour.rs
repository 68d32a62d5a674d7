//! Keys of rules that not every version of the data path can act on.
use serde::Serialize;

use crate::config::{self, Filtering, Mapping, PerProtocol, Snat};

/// How a rule translates, as far as this version can act on it.
#[derive(Serialize)]
pub(super) struct Behaviour {
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_ports: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<PerProtocol<Mapping>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filtering: Option<PerProtocol<Filtering>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spill: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mss: Option<String>,
}

impl Behaviour {
    /// That of a rule, of the keys that `is_there`.
    pub fn of(snat: &Snat, is_there: impl Fn(&str) -> bool) -> Self {
        let excluded = || snat.exclude_ports.iter().map(config::port_text).collect();
        Self {
            exclude_ports: is_there("exclude_ports").then(excluded),
            mapping: is_there("mapping").then_some(snat.mapping),
            filtering: is_there("filtering").then_some(snat.filtering),
            spill: is_there("spill").then_some(snat.spill),
            mss: is_there("mss").then(|| snat.mss.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, Config};

    fn snat(lines: &str) -> Snat {
        let text = format!(
            "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n[[rules]]\nname = \"web\"\n\
             from = [\"10.0.0.0/8\"]\nto = [\"external\"]\naction = \"snat\"\n{lines}"
        );
        match Config::parse_all(&text, "nat.toml").unwrap().rules.remove(0).action {
            Action::Snat(snat) => snat,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_protocol_is_spelt_out() {
        let shown = |lines: &str| serde_json::to_value(Behaviour::of(&snat(lines), |_| true));
        let (independent, dependent) = ("endpoint-independent", "address-and-port-dependent");
        assert_eq!(
            shown("").unwrap(),
            serde_json::json!({
                "exclude_ports": [],
                "mapping": {"tcp": dependent, "udp": independent, "icmp": independent},
                "filtering": {"tcp": dependent, "udp": dependent, "icmp": dependent},
                "spill": false,
                "mss": "off",
            })
        );
        let lines = "exclude_ports = [5000, \"4000-4999\", 6000]\nmapping = \"endpoint-independent\"\n\
                     filtering = { icmp = \"address-dependent\" }\nmss = 1400\nspill = true\n\
                     source = { addresses = [\"203.0.113.1\", \"203.0.113.2\"] }\n";
        assert_eq!(
            shown(lines).unwrap(),
            serde_json::json!({
                "exclude_ports": ["4000-5000", "6000"],
                "mapping": {"tcp": independent, "udp": independent, "icmp": independent},
                "filtering": {"tcp": dependent, "udp": dependent, "icmp": "address-dependent"},
                "spill": true,
                "mss": "1400",
            })
        );
    }

    /// What is shown must be in force.
    #[test]
    fn what_is_not_available_is_not_shown() {
        let shown = serde_json::to_value(Behaviour::of(&snat(""), |key| key == "mss"));
        assert_eq!(shown.unwrap(), serde_json::json!({"mss": "off"}));
    }
}
