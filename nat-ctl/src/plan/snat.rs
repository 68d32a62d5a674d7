//! What only rules that translate have.
use super::rules::Value;
use crate::config::{Snat, Source, port_text};

/// The values of the keys, in the order of the documentation.
pub(super) fn values(snat: &Snat) -> Vec<Value> {
    let value =
        |key, shown: String, by_default| Value { key, compared: shown.clone(), shown, by_default };
    let mut values = match &snat.source {
        Source::Model(model) => vec![value("source", model.to_string(), false)],
        Source::Addresses { addresses, pooling } => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let pooling = pooling.to_string();
            vec![value("source", addresses.join(" "), false), value("pooling", pooling, false)]
        }
    };
    let by_default = snat.on_address_removed == Snat::ON_ADDRESS_REMOVED_DEFAULT;
    let ports = format!("{}-{}", snat.ports.start(), snat.ports.end());
    values.extend([
        value("sticky", snat.sticky.to_string(), !snat.sticky),
        value("on_address_removed", snat.on_address_removed.to_string(), by_default),
        value("ports", ports, snat.ports == Snat::PORTS_DEFAULT),
    ]);
    if !snat.exclude_ports.is_empty() {
        let excluded: Vec<String> = snat.exclude_ports.iter().map(port_text).collect();
        values.push(value("exclude_ports", excluded.join(" "), false));
    }
    values.extend([
        value("mapping", snat.mapping.to_string(), snat.mapping == Snat::MAPPING_DEFAULT),
        value("filtering", snat.filtering.to_string(), snat.filtering == Snat::FILTERING_DEFAULT),
        value("spill", snat.spill.to_string(), !snat.spill),
        value("mss", snat.mss.to_string(), snat.mss == Snat::MSS_DEFAULT),
    ]);
    values
}

/// The end of a rule's line, from a space on; of the rarer keys those that are not at their default.
pub(super) fn describe(snat: &Snat) -> String {
    let mut words = match &snat.source {
        Source::Model(model) => vec![model.to_string()],
        Source::Addresses { addresses, pooling } => {
            let mut words: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            words.extend((addresses.len() > 1).then(|| pooling.to_string()));
            words
        }
    };
    for Value { key, shown, by_default, .. } in values(snat) {
        match key {
            "source" | "pooling" => {}
            "ports" => words.push(format!("ports {shown}")),
            _ if by_default => {}
            "sticky" | "spill" => words.push(key.to_owned()),
            _ => words.push(format!("{key} {shown}")),
        }
    }
    words.iter().map(|word| format!(" {word}")).collect()
}
