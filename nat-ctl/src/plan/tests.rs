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
    Config::parse_all(text, "nat.toml").unwrap_or_else(|error| panic!("{error}\n{text}"))
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
            "~ rule \"vpn\": to 10.20.0.0/16 → 10.20.0.0/16 external; protocols none → tcp udp icmp; action route → snat; source none → 203.0.113.1; pooling none → paired",
        ),
        (
            vec![
                ("{ addresses = [\"203.0.113.1\"] }", "\"lowest\"\nsticky = true"),
                ("source =", "on_address_removed = \"end\"\nsource ="),
            ],
            "~ rule \"internet\": source 203.0.113.1 → lowest; pooling paired → none; sticky false → true; on_address_removed drain → end",
        ),
        (
            vec![(
                "action = \"route\"",
                concat!(
                    "action = \"snat\"\nsource = \"lowest\"\nsticky = true\nports = \"1-9\"\nmss = 1400\n",
                    "exclude_ports = [5]\nfiltering = \"address-and-port-dependent\"",
                ),
            )],
            "~ rule \"vpn\": protocols none → tcp udp icmp; action route → snat; source none → lowest; sticky none → true; ports none → 1-9; exclude_ports none → 5; mss none → 1400",
        ),
        (
            vec![(
                "source =",
                concat!(
                    "exclude_ports = [8080, \"5000-5100\"]\nmapping = \"endpoint-independent\"\n",
                    "filtering = { udp = \"address-dependent\" }\nspill = true\nmss = \"auto\"\nsource =",
                ),
            )],
            "~ rule \"internet\": exclude_ports none → 5000-5100 8080; mapping tcp address-and-port-dependent udp endpoint-independent icmp endpoint-independent → endpoint-independent; filtering address-and-port-dependent → tcp address-and-port-dependent udp address-dependent icmp address-and-port-dependent; spill false → true; mss off → auto",
        ),
        // The same in other words.
        (
            vec![(
                "source =",
                concat!(
                    "exclude_ports = []\nmapping = { udp = \"endpoint-independent\" }\nspill = false\n",
                    "filtering = { tcp = \"address-and-port-dependent\" }\nmss = \"off\"\nsource =",
                ),
            )],
            "no changes",
        ),
        (
            vec![
                ("name = \"vpn\"", "name = \"web\""),
                (
                    "action = \"route\"",
                    concat!(
                        "action = \"snat\"\nports = \"1-9\"\nexclude_ports = [5]\n",
                        "mapping = \"endpoint-independent\"\n",
                        "filtering = \"address-dependent\"\nspill = true\nmss = 1400",
                    ),
                ),
            ],
            "- rule \"vpn\"\n+ rule \"web\" at 1: from internal to 10.20.0.0/16: snat tcp udp icmp strong-host ports 1-9 exclude_ports 5 mapping endpoint-independent filtering address-dependent spill mss 1400",
        ),
        (
            vec![(
                "action = \"drop\"\n",
                concat!(
                    "action = \"drop\"\n[cooldown]\nenabled = false\ntime_ms = 1\nrst_ms = 2\n",
                    "half_open_ms = 3\nudp_ms = 4\nscope = \"port\"\npressure_reuse = true\n",
                    "[limits]\nsessions_per_client = 5\nhalf_open_per_client = 0\n",
                    "new_per_second_per_client = 7\n",
                ),
            )],
            "~ cooldown.enabled true → false\n~ cooldown.time_ms 240000 → 1\n~ cooldown.rst_ms 240000 → 2\n~ cooldown.half_open_ms 30000 → 3\n~ cooldown.udp_ms 0 → 4\n~ cooldown.scope destination → port\n~ cooldown.pressure_reuse false → true\n~ limits.sessions_per_client 8192 → 5\n~ limits.half_open_per_client 512 → 0\n~ limits.new_per_second_per_client 2000 → 7",
        ),
        (
            vec![(
                "action = \"drop\"\n",
                "action = \"drop\"\n[cooldown]\nudp_ms = 1\nmax_cooling = 1024\n",
            )],
            "~ cooldown.udp_ms 0 → 1\n~ cooldown.max_cooling 1048576 → 1024 (not while the data path is in place)",
        ),
        (
            vec![
                ("name = \"vpn\"", "name = \"web\""),
                (
                    "action = \"route\"",
                    "action = \"snat\"\nsource = \"first\"\nsticky = true\non_address_removed = \"end\"",
                ),
            ],
            "- rule \"vpn\"\n+ rule \"web\" at 1: from internal to 10.20.0.0/16: snat tcp udp icmp first sticky on_address_removed end ports 1024-65535",
        ),
        (
            vec![(
                "action = \"drop\"\n",
                concat!(
                    "action = \"drop\"\n[source]\ntie_break = \"lowest\"\ncandidates = \"all\"\n",
                    "private_scope = \"site-local\"\nenforce_strong_send = true\n",
                    "honour_skip_as_source = false\n",
                ),
            )],
            "~ source.tie_break first → lowest\n~ source.candidates egress → all\n~ source.private_scope global → site-local\n~ source.enforce_strong_send false → true\n~ source.honour_skip_as_source true → false",
        ),
        (
            vec![(
                "[[networks]]",
                concat!(
                    "[addresses]\nwan0 = [\"203.0.113.2\", { address = \"203.0.113.1\", ",
                    "skip_as_source = true }]\n[[networks]]",
                ),
            )],
            "~ addresses.wan0 none → 203.0.113.2 203.0.113.1(skip_as_source)",
        ),
        (
            vec![("prefixes = [", "interfaces = [\"lan0\"]\nprefixes = [\"192.168.0.0/16\", ")],
            "~ network \"internal\": +192.168.0.0/16 interfaces none → lan0",
        ),
        (
            vec![(
                "[[rules]]",
                "[[networks]]\nname = \"dmz\"\nprefixes = [\"192.0.2.0/24\"]\ninterfaces = [\"lan0\"]\n[[rules]]",
            )],
            "+ network \"dmz\": 192.0.2.0/24 by lan0",
        ),
        (
            vec![(
                "action = \"drop\"\n",
                "action = \"drop\"\n[[static_routes]]\nto = \"10.128.0.0/9\"\nvia = \"10.0.0.1\"\ndev = \"lan0\"\n[[static_routes]]\nto = \"192.0.2.1\"\ndev = \"lan0\"\nmetric = 7\n",
            )],
            "+ static route 10.128.0.0/9 via 10.0.0.1 dev lan0\n+ static route 192.0.2.1/32 dev lan0 metric 7",
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
        let live = !expected.contains("not while the data path is in place");
        assert_eq!(plan.refuse_if_not_live().is_ok(), live, "{plan}");
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
    let route = "[[static_routes]]\nto = \"10.128.0.0/9\"\nvia = \"10.0.0.1\"\ndev = \"lan0\"\n";
    let plan = replaced(&[
        ("action = \"drop\"\n", &format!("action = \"drop\"\n{route}")),
        ("prefixes = [", "interfaces = [\"lan0\"]\nprefixes = ["),
    ]);
    assert_eq!(
        serde_json::to_value(&plan).unwrap(),
        serde_json::json!({"changes": [
            {
                "change": "network-changed",
                "network": "internal",
                "added": [],
                "removed": [],
                "interfaces": {"key": "interfaces", "old": null, "new": "lan0"},
                "live": true,
            },
            {
                "change": "static-route-added",
                "to": "10.128.0.0/9",
                "via": "10.0.0.1",
                "dev": "lan0",
                "metric": 0,
                "live": true,
            },
        ]})
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

/// What is there before and after, in another order or of another value.
#[test]
fn addresses_networks_and_routes_that_change() {
    let with =
        |text: &str| config(&format!("{OLD}{text}").replacen("\"wan0\"", "\"wan0\", \"wan1\"", 1));
    let plan = |old: &str, new: &str| Plan::between(&with(old), &with(new)).to_string();
    let (one, two) = ("\"192.0.2.1\"", "\"192.0.2.2\"");
    let list = |wan0: &str, wan1: &str| format!("[addresses]\nwan0 = [{wan0}]\nwan1 = [{wan1}]\n");
    assert_eq!(plan(&list(one, two), &list(one, two)), "no changes");
    assert_eq!(
        plan(&list(&format!("{one}, {two}"), ""), &list(&format!("{two}, {one}"), "")),
        "~ addresses.wan0 192.0.2.1 192.0.2.2 → 192.0.2.2 192.0.2.1"
    );
    assert_eq!(
        plan(
            &list(one, two),
            "[addresses]\nwan1 = [{ address = \"192.0.2.2\", skip_as_source = true }]"
        ),
        "~ addresses.wan0 192.0.2.1 → none\n~ addresses.wan1 192.0.2.2 → 192.0.2.2(skip_as_source)"
    );
    let network = |interfaces: &str| {
        format!("[[networks]]\nname = \"dmz\"\nprefixes = [\"192.0.2.0/24\"]\n{interfaces}")
    };
    assert_eq!(
        plan(&network("interfaces = [\"lan0\"]"), &network("")),
        "~ network \"dmz\": interfaces lan0 → none"
    );
    let route = |via: &str, metric: u32| {
        format!(
            "[[static_routes]]\nto = \"192.0.2.0/24\"\nvia = \"{via}\"\ndev = \"lan0\"\nmetric = {metric}\n"
        )
    };
    assert_eq!(
        plan(&route("10.0.0.1", 0), &route("10.0.0.2", 0)),
        "- static route 192.0.2.0/24 via 10.0.0.1 dev lan0\n+ static route 192.0.2.0/24 via 10.0.0.2 dev lan0"
    );
    let (best, standby) = (route("10.0.0.1", 0), route("10.0.0.2", 9));
    assert_eq!(plan(&format!("{best}{standby}"), &format!("{standby}{best}")), "no changes");
    assert_eq!(
        plan(&format!("{best}{standby}"), &best),
        "- static route 192.0.2.0/24 via 10.0.0.2 dev lan0 metric 9"
    );
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
