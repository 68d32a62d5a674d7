use proptest::prelude::*;

use super::*;

const OLD: &str = r#"
[interfaces]
inside = ["lan0"]
outside = ["wan0"]
[[networks]]
name = "internal"
prefixes = ["10.0.0.0/8", "172.16.0.0/12"]
[[rules]]
name = "vpn"
from = ["internal"]
to = ["10.20.0.0/16"]
action = "route"
[[rules]]
name = "internet"
from = ["internal", "local-host"]
to = ["external"]
action = "snat"
source = { addresses = ["203.0.113.1"] }
[[rules]]
name = "rest"
from = ["0.0.0.0/0"]
to = ["0.0.0.0/0"]
action = "drop"
"#;

fn config(text: &str) -> Config {
    Config::parse(text, "nat.toml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The plan from [`OLD`] to a text that has one thing replaced.
fn replaced(pairs: &[(&str, &str)]) -> Plan {
    let new = pairs.iter().fold(OLD.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replacen(old, new, 1)
    });
    Plan::between(&config(OLD), &config(&new))
}

#[test]
fn every_change_has_its_line() {
    for (pairs, expected) in [
        (vec![], "no changes"),
        // What says the same in other words.
        (vec![("\"internal\", \"local-host\"", "\"local-host\", \"internal\"")], "no changes"),
        (
            vec![(
                "to = [\"external\"]",
                "to = [\"external\"]\nports = \"1024-65535\"\nprotocols = [\"icmp\", \"udp\", \"tcp\"]",
            )],
            "no changes",
        ),
        (
            vec![("action = \"drop\"\n", "action = \"drop\"\n[timeouts]\nudp = \"5m\"\n")],
            "no changes",
        ),
        (
            vec![("source =", "ports = \"2000-3000\"\nsource =")],
            "~ rule \"internet\": ports 1024-65535 → 2000-3000",
        ),
        (
            vec![
                ("\"203.0.113.1\"]", "\"203.0.113.2\", \"203.0.113.1\"], pooling = \"random\""),
                ("source =", "protocols = [\"tcp\"]\nsource ="),
            ],
            "~ rule \"internet\": protocols tcp udp icmp → tcp; source 203.0.113.1 → 203.0.113.2 203.0.113.1; pooling paired → random",
        ),
        (
            vec![
                ("to = [\"10.20.0.0/16\"]", "to = [\"10.20.0.0/16\", \"external\"]"),
                (
                    "action = \"route\"",
                    "action = \"snat\"\nsource = { addresses = [\"203.0.113.1\"] }",
                ),
            ],
            "~ rule \"vpn\": to 10.20.0.0/16 → 10.20.0.0/16 external; protocols none → tcp udp icmp; action route → snat; source none → 203.0.113.1; pooling none → paired; ports none → 1024-65535",
        ),
        (
            vec![("name = \"rest\"", "name = \"others\"")],
            "- rule \"rest\"\n+ rule \"others\" at 3: from 0.0.0.0/0 to 0.0.0.0/0: drop",
        ),
        (
            vec![(
                "[[rules]]",
                "[[rules]]\nname = \"web\"\nfrom = [\"internal\"]\nto = [\"external\"]\nprotocols = [\"tcp\"]\naction = \"snat\"\nsource = { addresses = [\"203.0.113.1\", \"203.0.113.2\"] }\nports = \"1-9\"\n[[rules]]",
            )],
            "+ rule \"web\" at 1: from internal to external: snat tcp 203.0.113.1 203.0.113.2 paired ports 1-9",
        ),
        (
            vec![("outside = [\"wan0\"]", "outside = [\"wan1\", \"wan0\"]\nhook = \"tc\"")],
            "~ interfaces.outside wan0 → wan1 wan0\n~ interfaces.hook auto → tc",
        ),
        (
            vec![(
                "\"172.16.0.0/12\"]",
                "\"172.16.0.0/16\"]\n[[networks]]\nname = \"dmz\"\nprefixes = [\"192.0.2.0/24\"]",
            )],
            "~ network \"internal\": +172.16.0.0/16 -172.16.0.0/12\n+ network \"dmz\": 192.0.2.0/24",
        ),
        (
            vec![
                ("name = \"internal\"", "name = \"lan\""),
                ("\"internal\"]", "\"lan\"]"),
                ("\"internal\", \"local", "\"lan\", \"local"),
            ],
            "- network \"internal\"\n+ network \"lan\": 10.0.0.0/8 172.16.0.0/12\n~ rule \"vpn\": from internal → lan\n~ rule \"internet\": from internal local-host → lan local-host",
        ),
        (
            vec![(
                "action = \"drop\"\n",
                "action = \"drop\"\n[timeouts]\nudp = \"2m\"\n[defaults]\nunmatched = \"drop\"\n[limits]\nmax_sessions = 1024\n",
            )],
            "~ defaults.unmatched route → drop\n~ timeouts.udp 5m → 2m\n~ limits.max_sessions 262144 → 1024 (not while the data path is in place)",
        ),
    ] {
        let plan = replaced(&pairs);
        assert_eq!(plan.to_string(), expected);
        assert_eq!(plan.is_empty(), expected == "no changes");
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "{json}");
    }
}

#[test]
fn json_names_what_changes() {
    let plan = replaced(&[("source =", "ports = \"2000-3000\"\nsource =")]);
    assert_eq!(
        serde_json::to_value(&plan).unwrap(),
        serde_json::json!({"changes": [{
            "change": "rule-changed",
            "rule": "internet",
            "fields": [{"key": "ports", "old": "1024-65535", "new": "2000-3000"}],
            "live": true,
        }]})
    );
    let plan =
        replaced(&[("action = \"drop\"\n", "action = \"drop\"\n[limits]\nmax_sessions = 16\n")]);
    assert_eq!(
        serde_json::to_value(&plan).unwrap(),
        serde_json::json!({"changes": [{
            "change": "setting",
            "key": "limits.max_sessions",
            "old": "262144",
            "new": "16",
            "live": false,
        }]})
    );
}

#[test]
fn what_needs_new_maps_is_refused_with_a_way_out() {
    let plan =
        replaced(&[("action = \"drop\"\n", "action = \"drop\"\n[limits]\nmax_sessions = 16\n")]);
    let message = plan.refuse_if_not_live().unwrap_err().to_string();
    assert!(message.contains("limits.max_sessions 262144 → 16"), "{message}");
    assert!(message.contains("nat-ctl detach"), "{message}");
    assert_eq!(replaced(&[("\"lan0\"", "\"lan1\"")]).refuse_if_not_live(), Ok(()));
}

/// A configuration with these rules in this order.
fn ordered(order: &[usize]) -> Config {
    let rule = |number: &usize| {
        format!(
            "[[rules]]\nname = \"r{number}\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"8.8.8.8\"]\naction = \"drop\"\n"
        )
    };
    let rules: String = order.iter().map(rule).collect();
    config(&format!("[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n{rules}"))
}

#[test]
fn one_moved_rule_is_one_line() {
    let order: Vec<usize> = (0..1000).collect();
    for (from, to) in [(0, 999), (999, 0), (1, 500), (500, 499)] {
        let mut moved = order.clone();
        let rule = moved.remove(from);
        moved.insert(to, rule);
        let plan = Plan::between(&ordered(&order), &ordered(&moved));
        let [Change { what: What::RuleMoved { from: was, to: is, .. }, live: true }] =
            plan.changes.as_slice()
        else {
            panic!("{plan}")
        };
        // Neighbours may be said to have moved the other way.
        assert!((*was, *is) == (from + 1, to + 1) || from.abs_diff(to) == 1, "{plan}");
    }
}

#[test]
fn the_rule_that_was_moved_is_the_one_that_moved() {
    let (old, new) = (ordered(&[0, 1, 2]), ordered(&[1, 0, 2]));
    assert_eq!(Plan::after_moving("r0", &old, &new).to_string(), "> rule \"r0\" from 1 to 2");
    assert_eq!(Plan::after_moving("r1", &old, &new).to_string(), "> rule \"r1\" from 2 to 1");
    assert_eq!(Plan::after_moving("r2", &old, &new).len(), 1);
    assert!(Plan::after_moving("r2", &old, &old).is_empty());
}

#[test]
fn what_only_shifts_has_not_moved() {
    let plan = Plan::between(&ordered(&[0, 1, 2, 3]), &ordered(&[9, 0, 2, 3, 8]));
    let lines: Vec<_> = plan.to_string().lines().map(|line| line[..11].to_owned()).collect();
    assert_eq!(lines, ["- rule \"r1\"", "+ rule \"r9\"", "+ rule \"r8\""]);
}

proptest! {
    /// Taking the moved rules out and putting each where it is said to go gives the new order.
    #[test]
    fn moves_are_enough(order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle()) {
        let mut now: Vec<usize> = (0..12).collect();
        let plan = Plan::between(&ordered(&now), &ordered(&order));
        let moves: Vec<(String, usize)> = plan.changes.iter().filter_map(|change| match &change.what {
            What::RuleMoved { rule, to, .. } => Some((rule.clone(), *to)),
            _ => None,
        }).collect();
        prop_assert_eq!(moves.len(), plan.len());
        now.retain(|number| !moves.iter().any(|(rule, _)| *rule == format!("r{number}")));
        for (rule, to) in &moves {
            now.insert(to - 1, rule[1..].parse().unwrap());
        }
        prop_assert_eq!(now, order);
    }
}
