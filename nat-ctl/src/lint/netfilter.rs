//! What nftables does to the same packets, read from the JSON of `nft -j list ruleset`
//! (libnftables-json(5)). iptables' rules are in there too where iptables is the nft variant.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Finding, listed};
use crate::config::{Config, Hook};
use crate::host::Snapshot;

/// Rules that translate sources on an outside interface as well: packets would be translated by
/// both, and the ports and addresses outside would not be those that nat-ctl tells.
pub(super) fn double_translation(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let Some(ruleset) = &host.nftables else { return Vec::new() };
    let outside = &config.interfaces.outside;
    let mut findings = Vec::new();
    for rule in objects(ruleset, "rule").filter(|rule| is_ipv4(rule)) {
        let Some(kind) = translates(rule) else { continue };
        let hit: Vec<&String> = outside.iter().filter(|name| can_leave_by(rule, name)).collect();
        if hit.is_empty() {
            continue;
        }
        let (family, table, chain) =
            (text(rule, "family"), text(rule, "table"), text(rule, "chain"));
        let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
        findings.push(Finding::warning(
            format!(
                "an nftables rule ({kind}) in {} translates on {} as well",
                listed([format!("{family} {table} {chain}")]),
                listed(hit)
            ),
            format!("remove it: `nft delete rule {family} {table} {chain} handle {handle}`"),
        ));
    }
    findings
}

/// Filters of forwarded packets, which XDP passes by.
pub(super) fn bypassed_forward_rules(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let Some(ruleset) = &host.nftables else { return Vec::new() };
    if config.interfaces.hook != Hook::Xdp {
        return Vec::new();
    }
    let names = forward_filters(ruleset);
    if names.is_empty() {
        return Vec::new();
    }
    vec![Finding::warning(
        format!(
            "`hook = \"xdp\"` takes packets before nftables sees them: {} filters forwarded \
             packets and would not see them",
            listed(names)
        ),
        "write `hook = \"tc\"`, or say in nat-ctl's rules what may pass (`action = \"drop\"`)",
    )]
}

/// Family, table and name of the chains that filter forwarded packets.
pub(crate) fn forward_filters(ruleset: &Value) -> Vec<String> {
    let with_rules: BTreeSet<_> = objects(ruleset, "rule").map(place).collect();
    let bypassed = objects(ruleset, "chain").filter(|chain| {
        let name = (text(chain, "family"), text(chain, "table"), text(chain, "name"));
        is_ipv4(chain)
            && text(chain, "hook") == "forward"
            && (text(chain, "policy") == "drop" || with_rules.contains(&name))
    });
    bypassed
        .map(|chain| {
            format!("{} {} {}", text(chain, "family"), text(chain, "table"), text(chain, "name"))
        })
        .collect()
}

/// The elements of a kind.
fn objects<'v>(ruleset: &'v Value, kind: &'static str) -> impl Iterator<Item = &'v Value> {
    let all = ruleset.get("nftables").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(move |object| object.get(kind))
}

fn text<'v>(object: &'v Value, key: &str) -> &'v str {
    object.get(key).and_then(Value::as_str).unwrap_or("")
}

fn place(rule: &Value) -> (&str, &str, &str) {
    (text(rule, "family"), text(rule, "table"), text(rule, "chain"))
}

fn is_ipv4(object: &Value) -> bool {
    matches!(text(object, "family"), "ip" | "inet")
}

fn statements(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("expr").and_then(Value::as_array).into_iter().flatten()
}

/// The statement of a rule that translates sources.
fn translates(rule: &Value) -> Option<&'static str> {
    statements(rule).find_map(|statement| {
        if statement.get("masquerade").is_some() {
            return Some("masquerade");
        }
        if statement.get("snat").is_some() {
            return Some("snat");
        }
        // A target of iptables that nft has no word for.
        match statement.get("xt").map(|xt| text(xt, "name")) {
            Some("MASQUERADE") => Some("MASQUERADE"),
            Some("SNAT") => Some("SNAT"),
            _ => None,
        }
    })
}

/// Whether no match of the rule excludes packets that leave by this interface.
fn can_leave_by(rule: &Value, interface: &str) -> bool {
    statements(rule).filter_map(|statement| statement.get("match")).all(|check| {
        let key = check.pointer("/left/meta/key").and_then(Value::as_str);
        let Some("oifname" | "oif") = key else { return true };
        let Some(right) = check.get("right") else { return true };
        let named = names(right, interface);
        match text(check, "op") {
            "!=" => !named,
            _ => named,
        }
    })
}

/// Whether a name, a pattern (`wan*`) or a set of them includes the interface. What is not
/// understood, such as a named set, might.
fn names(right: &Value, interface: &str) -> bool {
    match right {
        Value::String(name) if name.starts_with('@') => true,
        Value::String(name) => match name.strip_suffix('*') {
            Some(start) => interface.starts_with(start),
            None => name == interface,
        },
        Value::Array(several) => several.iter().any(|one| names(one, interface)),
        Value::Object(object) => object.get("set").is_none_or(|set| names(set, interface)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::{config, config_with, expect, host};
    use super::*;

    fn with(objects: Value) -> Snapshot {
        Snapshot { nftables: Some(json!({ "nftables": objects })), ..host() }
    }

    fn rule(expr: Value) -> Value {
        json!({"rule": {"family": "ip", "table": "nat", "chain": "post", "handle": 4, "expr": expr}})
    }

    fn leaves_by(op: &str, right: Value) -> Value {
        json!({"match": {"op": op, "left": {"meta": {"key": "oifname"}}, "right": right}})
    }

    #[test]
    fn rules_that_translate_outside() {
        let saddr = json!({"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "10.0.0.0", "len": 8}}}});
        let masquerade = json!({"masquerade": null});
        let snat = json!({"snat": {"addr": "203.0.113.9"}});
        let target = json!({"xt": {"type": "target", "name": "MASQUERADE"}});
        for (expr, hit) in [
            (json!([masquerade]), true),
            (json!([leaves_by("==", json!("wan0")), masquerade]), true),
            (
                json!([leaves_by("==", json!("wan0")), saddr, {"counter": {"packets": 0, "bytes": 0}}, snat]),
                true,
            ),
            (json!([leaves_by("==", json!("wan*")), masquerade]), true),
            (json!([leaves_by("==", json!({"set": ["x", "wan0"]})), masquerade]), true),
            (json!([leaves_by("==", json!("@uplinks")), masquerade]), true),
            (json!([leaves_by("!=", json!("lan0")), masquerade]), true),
            (json!([leaves_by("==", json!("wan0")), target]), true),
            (json!([leaves_by("==", json!("wan1")), masquerade]), false),
            (json!([leaves_by("==", json!({"set": ["x", "wan1"]})), masquerade]), false),
            (json!([leaves_by("!=", json!("wan0")), masquerade]), false),
            (json!([leaves_by("==", json!("wan0")), {"accept": null}]), false),
            (json!([]), false),
        ] {
            let found =
                double_translation(&config(), &with(json!([{"metainfo": {}}, rule(expr.clone())])));
            assert_eq!(found.len(), usize::from(hit), "{expr}");
            for finding in found {
                assert!(finding.what.contains("`ip nat post` translates on `wan0`"), "{finding:?}");
                assert!(
                    finding.fix.contains("nft delete rule ip nat post handle 4"),
                    "{finding:?}"
                );
            }
        }
    }

    #[test]
    fn other_families_are_not_ours() {
        let mut ip6 = rule(json!([{"masquerade": null}]));
        ip6["rule"]["family"] = json!("ip6");
        expect(&double_translation(&config(), &with(json!([ip6]))), &[]);
    }

    #[test]
    fn forward_chains_are_bypassed_by_xdp_only() {
        let chain = |policy: &str| json!({"chain": {"family": "inet", "table": "filter", "name": "fwd", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": policy}});
        let accept = json!({"rule": {"family": "inet", "table": "filter", "chain": "fwd", "handle": 2, "expr": [{"accept": null}]}});
        let xdp = config_with(&[("outside =", "hook = \"xdp\"\noutside =")]);
        for (objects, expected) in [
            (json!([chain("accept")]), &[][..]),
            (json!([chain("drop")]), &["`inet filter fwd` filters"][..]),
            (json!([chain("accept"), accept]), &["`inet filter fwd` filters"][..]),
        ] {
            expect(&bypassed_forward_rules(&xdp, &with(objects.clone())), expected);
            expect(&bypassed_forward_rules(&config(), &with(objects)), &[]);
        }
    }
}
