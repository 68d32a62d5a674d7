//! Text in, text out.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::{
    Action, ActionWord, Filtering, Mapping, Mss, OnAddressRemoved, Pooling, Protocol, SourceModel,
};

/// Comments wherever TOML allows one.
const TABLES: &str = r#"# Gateway of the branch office.

[interfaces] # both
inside = ["lan0"] # clients
outside = ["wan0"]

# ---- rules, first match wins ----

# The tunnel.
# Ask Ann before touching it.
[[rules]] # vpn
name = "vpn" # its name
# inside the rule

from = ["10.0.0.0/8"]
to = ["10.20.0.0/16"] # head office
action = "route"
# below the rule

# ---- the rest ----

[[rules]]
name = "internet"
from = ["10.0.0.0/8"]
to = [
  "external", # everything
]
action = "snat"
[rules.source] # of internet
addresses = ["203.0.113.1"]

# last
[[rules]]
name = "drop"
from = ["10.0.0.0/8"]
to = ["external"]
action = "drop"

# ---- other ----
[limits] # small
max_sessions = 16
# the end
"#;

const INLINE: &str = r#"# top
rules = [ # in order
  # the tunnel
  { name = "vpn", from = ["10.0.0.0/8"], to = ["10.20.0.0/16"], action = "route" }, # vpn

  # about drop
  { name = "drop", from = ["10.0.0.0/8"], to = ["external"], action = "drop" } # last
  # behind
]

[interfaces]
inside = ["lan0"]
outside = ["wan0"]
"#;

const ONE_LINE: &str = r#"rules = [ {name="a",from=["10.0.0.0/8"],to=["external"],action="drop"}, {name="b",from=["10.0.0.0/8"],to=["1.1.1.1"],action="route"} ] # both
interfaces = { inside = ["lan0"], outside = ["wan0"] }
"#;

const NONE: &str = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]";

fn new_rule(name: &str) -> NewRule {
    NewRule {
        name: name.to_owned(),
        from: vec!["10.1.0.0/16".to_owned()],
        to: vec!["external".to_owned()],
        protocols: Vec::new(),
        action: ActionWord::Drop,
        source: None,
        sticky: false,
        on_address_removed: None,
        ports: None,
        exclude_ports: Vec::new(),
        mapping: None,
        filtering: None,
        spill: false,
        mss: None,
    }
}

fn names(text: &str) -> Vec<String> {
    let config = Config::parse(text, "nat.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    config.rules.into_iter().map(|rule| rule.name).collect()
}

fn position(position: usize) -> At {
    At::Position(NonZeroUsize::new(position).unwrap())
}

fn before(name: &str) -> At {
    At::Before(name.to_owned())
}

fn after(name: &str) -> At {
    At::After(name.to_owned())
}

#[test]
fn a_rule_is_written_in_full() {
    let rule = NewRule {
        to: vec!["external".to_owned(), "8.8.8.8".to_owned()],
        protocols: vec![Protocol::Tcp, Protocol::Udp],
        action: ActionWord::Snat,
        source: Some(NewSource::Addresses {
            addresses: vec![[203, 0, 113, 1].into(), [203, 0, 113, 2].into()],
            pooling: Some(Pooling::Random),
        }),
        ports: Some("2000-3000".to_owned()),
        ..new_rule("web \"1\"")
    };
    let text = add(NONE, "nat.toml", &rule, &At::Last).unwrap();
    let expected = r#"

[[rules]]
name = 'web "1"'
from = ["10.1.0.0/16"]
to = ["external", "8.8.8.8"]
protocols = ["tcp", "udp"]
action = "snat"
source = { addresses = ["203.0.113.1", "203.0.113.2"], pooling = "random" }
ports = "2000-3000""#;
    assert_eq!(text, format!("{NONE}{expected}"));
    let text =
        add("rules = []\n[interfaces]\ninside = [\"a\"]\noutside = [\"b\"]", "f", &rule, &At::Last);
    let expected = r#"rules = [{ name = 'web "1"', from = ["10.1.0.0/16"], to = ["external", "8.8.8.8"], protocols = ["tcp", "udp"], action = "snat", source = { addresses = ["203.0.113.1", "203.0.113.2"], pooling = "random" }, ports = "2000-3000" }]"#;
    assert_eq!(text.unwrap().lines().next(), Some(expected));
    let rule = NewRule {
        source: Some(NewSource::Model(SourceModel::Lowest)),
        sticky: true,
        on_address_removed: Some(OnAddressRemoved::End),
        ..rule
    };
    let text = add(NONE, "nat.toml", &rule, &At::Last).unwrap();
    let expected = "source = \"lowest\"\nsticky = true\non_address_removed = \"end\"\nports =";
    assert!(text.contains(expected), "{text}");
}

/// Whether this version acts on them is not for the text to say.
#[test]
fn how_a_rule_translates_is_written() {
    let rule = NewRule {
        action: ActionWord::Snat,
        exclude_ports: vec!["8080".to_owned(), "5000-5100".to_owned()],
        mapping: Some(NewBehaviour::Each(vec![
            (Protocol::Udp, Mapping::AddressAndPortDependent),
            (Protocol::Tcp, Mapping::EndpointIndependent),
        ])),
        filtering: Some(NewBehaviour::All(Filtering::AddressDependent)),
        spill: true,
        mss: Some("1400".to_owned()),
        ..new_rule("web")
    };
    let lines = r#"exclude_ports = [8080, "5000-5100"]
mapping = { udp = "address-and-port-dependent", tcp = "endpoint-independent" }
filtering = "address-dependent"
spill = true
mss = 1400
"#;
    let text = rule.as_table("\n");
    assert!(text.ends_with(lines), "{text}");
    let inline = format!("rules = [{}]\n", rule.as_inline());
    let parsed = [format!("{NONE}\n{text}"), format!("{inline}{NONE}")]
        .map(|text| Config::parse_all(&text, "nat.toml").unwrap().rules);
    assert_eq!(parsed[0], parsed[1]);
    let Action::Snat(snat) = &parsed[0][0].action else { panic!() };
    assert_eq!(snat.exclude_ports, [5000..=5100, 8080..=8080]);
    assert_eq!(snat.mapping.tcp, Mapping::EndpointIndependent);
    assert_eq!((snat.spill, snat.mss), (true, Mss::Clamp(1400)));
    let rule = NewRule { mss: Some("auto".to_owned()), ..rule };
    assert!(rule.as_table("\n").ends_with("mss = \"auto\"\n"));
}

#[test]
fn a_rule_goes_where_it_is_told() {
    for (text, old) in [
        (TABLES, vec!["vpn", "internet", "drop"]),
        (INLINE, vec!["vpn", "drop"]),
        (ONE_LINE, vec!["a", "b"]),
        (NONE, vec![]),
    ] {
        let mut places = vec![(At::First, 0), (At::Last, old.len())];
        for (index, name) in old.iter().enumerate() {
            places.extend([(before(name), index), (after(name), index + 1)]);
        }
        places.extend((0..=old.len()).map(|index| (position(index + 1), index)));
        for (at, index) in places {
            let edited = add(text, "nat.toml", &new_rule("new"), &at).unwrap();
            let mut expected = old.clone();
            expected.insert(index, "new");
            assert_eq!(names(&edited), expected, "{at:?}\n{edited}");
            let lines = |text: &str| text.lines().count();
            let comments = |text: &str| text.matches('#').count();
            assert_eq!(comments(&edited), comments(text), "{edited}");
            assert!(lines(&edited) >= lines(text));
            assert_eq!(remove(&edited, "nat.toml", "new").unwrap(), text, "{at:?}\n{edited}");
        }
    }
}

#[test]
fn comments_go_with_the_rule_they_touch() {
    let without = remove(TABLES, "nat.toml", "vpn").unwrap();
    for gone in [
        "The tunnel.",
        "Ask Ann",
        "# vpn",
        "its name",
        "inside the rule",
        "head office",
        "below the rule",
    ] {
        assert!(TABLES.contains(gone) && !without.contains(gone), "{gone}\n{without}");
    }
    assert!(
        without.contains("wins ----\n\n# ---- the rest ----\n\n[[rules]]\nname = \"internet\""),
        "{without}"
    );

    let without = remove(TABLES, "nat.toml", "internet").unwrap();
    assert!(
        without.contains("# ---- the rest ----\n\n# last\n[[rules]]\nname = \"drop\""),
        "{without}"
    );
    assert!(!without.contains("of internet"), "{without}");

    let without = remove(INLINE, "nat.toml", "drop").unwrap();
    assert!(without.contains("\"route\" } # vpn\n\n  # behind\n]\n"), "{without}");
    let without = remove(INLINE, "nat.toml", "vpn").unwrap();
    assert!(
        without.contains("rules = [ # in order\n\n  # about drop\n  { name = \"drop\""),
        "{without}"
    );
    let without = remove(ONE_LINE, "nat.toml", "a").unwrap();
    assert!(without.starts_with("rules = [ {name=\"b\""), "{without}");
    let without = remove(ONE_LINE, "nat.toml", "b").unwrap();
    assert!(without.contains("action=\"drop\"} ] # both\n"), "{without}");
}

#[test]
fn a_rule_moves_with_its_comments() {
    let moved = move_rule(TABLES, "nat.toml", "vpn", &At::Last).unwrap();
    assert_eq!(names(&moved), ["internet", "drop", "vpn"]);
    assert!(
        moved.contains(
            "action = \"drop\"\n\n# The tunnel.\n# Ask Ann before touching it.\n[[rules]] # vpn\n"
        ),
        "{moved}"
    );
    assert!(moved.contains("# below the rule\n\n# ---- other ----\n[limits]"), "{moved}");
    assert!(moved.contains("wins ----\n\n# ---- the rest ----\n\n[[rules]]"), "{moved}");

    let moved = move_rule(INLINE, "nat.toml", "drop", &At::First).unwrap();
    let expected = "rules = [ # in order\n  # about drop\n  { name = \"drop\", from = [\"10.0.0.0/8\"], to = [\"external\"], action = \"drop\" }, # last\n  # the tunnel\n";
    assert!(moved.contains(expected), "{moved}");
    assert!(moved.contains("\"route\" } # vpn\n\n  # behind\n]"), "{moved}");
}

#[test]
fn every_move_of_every_rule() {
    for text in [TABLES, INLINE, ONE_LINE, &TABLES.replace('\n', "\r\n"), &compact()] {
        let old = names(text);
        for from in 0..old.len() {
            let name = &old[from];
            for to in 0..old.len() {
                let mut expected = old.clone();
                let moved = expected.remove(from);
                expected.insert(to, moved);
                let mut places = vec![position(to + 1)];
                places.extend(expected.get(to + 1).map(|next| before(next)));
                places.extend(to.checked_sub(1).map(|previous| after(&expected[previous])));
                for at in places {
                    let edited = move_rule(text, "nat.toml", name, &at).unwrap();
                    assert_eq!(names(&edited), expected, "{name} {at:?}\n{edited}");
                    let sorted = |text: &str| {
                        let mut marks: Vec<char> = text
                            .chars()
                            .filter(|c| !matches!(c, ',' | ' ' | '\n' | '\r'))
                            .collect();
                        marks.sort_unstable();
                        marks
                    };
                    assert_eq!(sorted(&edited), sorted(text), "{name} {at:?}\n{edited}");
                    if from == to {
                        assert_eq!(edited, text);
                    }
                }
            }
            for itself in [before(name), after(name)] {
                assert_eq!(move_rule(text, "nat.toml", name, &itself).unwrap(), text);
            }
        }
    }
}

/// Rules without blank lines, the tables of one among others.
fn compact() -> String {
    let rule = |name: &str, more: &str| {
        format!(
            "[[rules]]\nname = \"{name}\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"external\"]\n{more}"
        )
    };
    format!(
        "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n{}# two\n{}[limits]\nmax_sessions = 16\n\
         [rules.source]\naddresses = [\n  \"203.0.113.1\" # one\n]\n[[networks]]\nname = '''\n\n# not a comment'''\nprefixes = [\"172.16.0.0/12\"]\n{}",
        rule("one", "action = \"drop\"\n"),
        rule("two", "action = \"snat\"\n"),
        rule("three", "action = \"drop\""),
    )
    .replace("\n\n# not a comment", "\n# not a comment")
}

#[test]
fn what_is_refused_changes_nothing() {
    for (result, expected) in [
        (add(TABLES, "nat.toml", &new_rule("vpn"), &At::Last), "two rules are called `vpn`"),
        (
            add(
                TABLES,
                "nat.toml",
                &NewRule { to: vec!["extern".to_owned()], ..new_rule("x") },
                &At::Last,
            ),
            "did you mean `external`",
        ),
        (
            add(
                TABLES,
                "nat.toml",
                &NewRule { protocols: vec![Protocol::Tcp], ..new_rule("x") },
                &At::Last,
            ),
            "`protocols` in rule `x`, whose action is \"drop\"",
        ),
        (
            add(TABLES, "nat.toml", &new_rule("x"), &before("vpm")),
            "no rule is called `vpm`\n  help: did you mean `vpn`?",
        ),
        (add(TABLES, "nat.toml", &new_rule("x"), &position(5)), "no position 5: the last one is 4"),
        (
            remove(TABLES, "nat.toml", "nothing"),
            "no rule is called `nothing`\n  help: `nat-ctl rules list`",
        ),
        (move_rule(TABLES, "nat.toml", "vpn", &position(4)), "no position 4: the last one is 3"),
        (remove("rules = 7\n[interfaces]", "nat.toml", "a"), "wrong type for `rules`"),
        (remove("rules = [", "nat.toml", "a"), "not valid TOML"),
    ] {
        let message = Failure::from(result.unwrap_err()).to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn removing_can_mend_a_file() {
    let text = TABLES.replace("to = [\"10.20.0.0/16\"]", "to = [\"nowhere\"]");
    assert!(Config::parse(&text, "nat.toml").is_err());
    assert_eq!(names(&remove(&text, "nat.toml", "vpn").unwrap()), ["internet", "drop"]);
}

/// What may stand between and around rules.
fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("  \n".to_owned()),
        Just("# touching\n".to_owned()),
        Just("\n# floating\n\n".to_owned()),
        Just("# above\n\n# below\n".to_owned()),
        Just("[limits] # here\nmax_sessions = 16\n".to_owned()),
        Just("[addresses] # here\nwan0 = [ # order\n  { address = \"192.0.2.1\", skip_as_source = true }\n]\n".to_owned()),
        Just("[source] # here\nenforce_strong_send = true\n".to_owned()),
        Just("[[static_routes]] # here\nto = \"192.0.2.0/24\"\ndev = \"lan0\"\n".to_owned()),
        Just("[[networks]]\nname = \"n\"\nprefixes = [\"172.16.0.0/12\"]\ninterfaces = [\"lan0\"] # here\n".to_owned()),
    ]
}

fn file() -> impl Strategy<Value = (String, usize)> {
    let gaps = proptest::collection::vec(gap(), 1..6);
    (gaps, any::<bool>(), any::<bool>()).prop_map(|(gaps, crlf, unfinished)| {
        let mut text = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n".to_owned();
        let mut tables = BTreeSet::new();
        for (index, gap) in gaps.iter().enumerate() {
            if index > 0 {
                text.push_str(&format!(
                    "[[rules]]\nname = \"r{index}\" # {index}\nfrom = [\"10.0.0.0/8\"]\nto = [\"external\"]\naction = \"drop\"\n"
                ));
            }
            if !gap.starts_with('[') || tables.insert(gap) {
                text.push_str(gap);
            }
        }
        let text = if unfinished { text.trim_end().to_owned() } else { text };
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        (text, gaps.len() - 1)
    })
}

fn list() -> impl Strategy<Value = (String, usize)> {
    let before = prop_oneof![
        Just(""),
        Just(" "),
        Just("\n  "),
        Just("\n  # about\n\t"),
        Just(" # here\n\n  # about\n  ")
    ];
    let comma = prop_oneof![Just(","), Just(" ,"), Just(", # tail\n"), Just("\n,")];
    let end = prop_oneof![
        Just(""),
        Just(" "),
        Just("\n"),
        Just(" # tail\n"),
        Just(","),
        Just(", # tail\n  # end\n"),
        Just(",\n")
    ];
    (proptest::collection::vec((before, comma), 0..5), end).prop_map(|(elements, end)| {
        let mut text = "rules = [".to_owned();
        for (index, (before, comma)) in elements.iter().enumerate() {
            text.push_str(&format!(
                "{before}{{name='r{}',from=['10.0.0.0/8'],to=['external'],action='drop'}}",
                index + 1
            ));
            text.push_str(if index + 1 < elements.len() { comma } else { end });
        }
        text.push_str("] # rules\n[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n");
        (text, elements.len())
    })
}

proptest! {
    #[test]
    fn what_was_added_can_be_removed((text, rules) in prop_oneof![file(), list()], index in any::<prop::sample::Index>(), side in 0..3) {
        let index = index.index(rules + 1);
        let at = match side {
            0 if index < rules => before(&format!("r{}", index + 1)),
            1 if index > 0 => after(&format!("r{index}")),
            _ => position(index + 1),
        };
        let edited = add(&text, "nat.toml", &new_rule("new"), &at).unwrap();
        let mut expected: Vec<String> = (1..=rules).map(|n| format!("r{n}")).collect();
        expected.insert(index, "new".to_owned());
        prop_assert_eq!(names(&edited), expected);
        prop_assert_eq!(remove(&edited, "nat.toml", "new").unwrap(), text, "{}", edited);
    }

    #[test]
    fn moves_lose_nothing((text, rules) in prop_oneof![file(), list()], from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        prop_assume!(rules > 0);
        let (from, to) = (from.index(rules), to.index(rules));
        let mut expected: Vec<String> = (1..=rules).map(|n| format!("r{n}")).collect();
        let moved = expected.remove(from);
        expected.insert(to, moved.clone());
        let result = move_rule(&text, "nat.toml", &moved, &position(to + 1));
        // A list that mixes both styles has no place for some comments.
        prop_assume!(text.starts_with("[interfaces]") || result.is_ok());
        let edited = result.unwrap();
        prop_assert_eq!(names(&edited), expected);
        prop_assert_eq!(edited.matches('#').count(), text.matches('#').count(), "{}\n{}", text, edited);
    }
}
