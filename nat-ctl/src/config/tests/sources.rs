//! How a source is chosen: the keys of rules, `[addresses]` and `[source]`.

use super::{accept, good_and, good_with, refuse};
use crate::config::{
    Action, Candidates, Config, ConfiguredAddress, InterfaceAddresses, OnAddressRemoved,
    PrivateScope, Snat, Source, SourceModel, SourceOptions, TieBreak,
};

const LISTED: &str = "source = { addresses = [\"203.0.113.1\"] }";

fn snat(text: &str) -> Snat {
    match accept(text).rules.remove(0).action {
        Action::Snat(snat) => snat,
        other => panic!("{other:?}"),
    }
}

fn warnings(text: &str) -> String {
    let shown: Vec<String> = accept(text).warnings.iter().map(ToString::to_string).collect();
    shown.join("\n")
}

/// [`super::GOOD`] with a source model, and something after it: line 11 and on.
fn model_and(model: &str, more: &str) -> String {
    good_with(LISTED, &format!("source = \"{model}\"")) + more + "\n"
}

#[test]
fn models() {
    for (word, model) in [
        ("strong-host", SourceModel::StrongHost),
        ("weak-host", SourceModel::WeakHost),
        ("first", SourceModel::First),
        ("lowest", SourceModel::Lowest),
    ] {
        let snat = snat(&model_and(word, ""));
        assert_eq!(snat.source, Source::Model(model));
        assert_eq!(snat.source.addresses(), [std::net::Ipv4Addr::LOCALHOST; 0]);
        assert_eq!(model.as_str(), word);
    }
    assert_eq!(snat(&good_with(LISTED, "")).source, Source::Model(SourceModel::StrongHost));
    refuse(
        &model_and("linux", ""),
        "unknown value \"linux\" for `source` in [[rules]] \n :10:10 \n \
         it can be \"strong-host\", \"weak-host\", \"first\" or \"lowest\"",
    );
}

#[test]
fn an_address_that_stays() {
    let by_default = snat(&model_and("lowest", ""));
    assert!(!by_default.sticky);
    assert_eq!(by_default.on_address_removed, OnAddressRemoved::Drain);
    let text = model_and("lowest", "sticky = true\non_address_removed = \"end\"");
    let snat = snat(&text);
    assert!(snat.sticky);
    assert_eq!(snat.on_address_removed, OnAddressRemoved::End);
    assert_eq!(warnings(&text), "");
    refuse(
        &good_and("sticky = \"yes\""),
        "wrong type for `sticky` in [[rules]]: expected true or false, found string \"yes\" \n :11:10",
    );
    refuse(
        &good_and("on_address_removed = \"drian\""),
        "unknown value \"drian\" for `on_address_removed` \n :11:22 \n did you mean \"drain\"?",
    );
}

#[test]
fn a_list_of_addresses_has_nothing_to_keep() {
    assert_eq!(
        warnings(&good_and("sticky = true")),
        "warning: `sticky` in rule `internet` has no effect: it keeps what a source model has \
         chosen, and this source lists its addresses\n  --> nat.toml:11:10\n  help: remove the \
         line; a client keeps its address of the list with `pooling = \"paired\"`"
    );
    assert_eq!(warnings(&good_and("sticky = false\non_address_removed = \"end\"")), "");
}

fn addresses(lines: &str) -> Config {
    accept(&model_and("first", &format!("[addresses]\n{lines}")))
}

#[test]
fn addresses_have_an_order_and_flags() {
    let address = |text: &str, skip_as_source| ConfiguredAddress {
        address: text.parse().unwrap(),
        skip_as_source,
    };
    let config = addresses(
        "wan0 = [\"192.0.2.2\", { address = \"192.0.2.1\", skip_as_source = true }, \
         { address = \"192.0.2.3\" }, { skip_as_source = false, address = \"240.0.0.1\" }]",
    );
    assert_eq!(config.warnings, []);
    assert_eq!(
        config.addresses,
        [InterfaceAddresses {
            interface: "wan0".to_owned(),
            addresses: vec![
                address("192.0.2.2", false),
                address("192.0.2.1", true),
                address("192.0.2.3", false),
                address("240.0.0.1", false),
            ],
        }]
    );
    assert_eq!(accept(super::GOOD).addresses, []);
}

/// The order of interfaces is nobody's business; that of addresses is.
#[test]
fn interfaces_of_addresses_have_no_order() {
    let both = |first: &str, second: &str| {
        let text = model_and("first", &format!("[addresses]\n{first}\n{second}"));
        accept(&text.replace("[\"wan0\"]", "[\"wan0\", \"e.1\"]")).addresses
    };
    let (wan, vlan) = ("wan0 = [\"192.0.2.1\"]", "\"e.1\" = [\"192.0.2.3\", \"192.0.2.2\"]");
    assert_eq!(both(wan, vlan), both(vlan, wan));
    assert_eq!(both(wan, vlan)[0].interface, "e.1");
    let other_order = "\"e.1\" = [\"192.0.2.2\", \"192.0.2.3\"]";
    assert_ne!(both(wan, vlan), both(wan, other_order));
}

#[test]
fn addresses_that_cannot_be() {
    for (lines, expected) in [
        (
            "wan0 = [\"192.0.2.1\", \"192.0.2.1\"]",
            "[addresses] lists 192.0.2.1 twice, first for `wan0` \n :12:22 \n remove one of them",
        ),
        (
            "wan0 = [\"192.0.2.1\"]\nlan0 = [{ address = \"192.0.2.1\" }]",
            "[addresses] lists 192.0.2.1 twice, first for `wan0` \n :13:9",
        ),
        (
            "wan0 = [\"224.0.0.1\"]",
            "`wan0` in [addresses]: 224.0.0.1 cannot be an address of an interface: it is a \
             multicast address \n :12:9 \n name a unicast address",
        ),
        ("wan0 = [\"255.255.255.255\"]", "cannot be an address of an interface: it is the broad"),
        (
            "wan0 = [{ address = \"192.0.2.1/24\" }]",
            "`wan0` in [addresses]: `192.0.2.1/24` is not an IPv4 address \n :12:21 \n \
             write the address without the length: \"192.0.2.1\"",
        ),
        ("wan0 = [\"fd00::1\"]", "`wan0` in [addresses]: `fd00::1` is an IPv6 address"),
        (
            "wan0 = [{ skip_as_source = true }]",
            "an element of `wan0` in [addresses] has no `address` \n :12:9 \n add `address = ",
        ),
        (
            "wan0 = [{ addres = \"192.0.2.1\" }]",
            "unknown key `addres` in `wan0` of [addresses] \n :12:11 \n did you mean `address`?",
        ),
        (
            "wan0 = [{ address = \"192.0.2.1\", skip = true }]",
            "unknown key `skip` in `wan0` of [addresses] \n :12:34 \n \
             did you mean `skip_as_source`?",
        ),
        (
            "wan0 = [{ address = \"192.0.2.1\", skip_as_source = 1 }]",
            "`skip_as_source` in `wan0` of [addresses]: expected true or false, found integer `1`",
        ),
        ("\"a b\" = []", "[addresses]: interface name `a b` contains ' ' \n :12:1"),
        (
            "wan0 = [5]",
            "wrong type for `wan0` in [addresses]: expected an address in quotes, or a table such \
             as { address = \"203.0.113.1\", skip_as_source = true }, found integer `5` \n :12:9",
        ),
        (
            "wan0 = \"192.0.2.1\"",
            "wrong type for `wan0` in [addresses]: expected a list \n `wan0 = [\"192.0.2.1\"]`",
        ),
        (
            "eth0.100 = [\"192.0.2.1\"]",
            "wrong type for `eth0` in [addresses]: expected a list, found a table \n :12:1 \n \
             quote a name with dots: `\"eth0.100\" =",
        ),
    ] {
        refuse(&good_and(&format!("[addresses]\n{lines}")), expected);
    }
    refuse(
        &good_and("[[addresses]]\nwan0 = []"),
        "wrong type for `addresses`: expected a table, found a list \n :11:1 \n write [addresses]",
    );
}

#[test]
fn addresses_without_a_use() {
    let listed = |lines: &str| warnings(&good_and(&format!("[addresses]\n{lines}")));
    assert_eq!(listed("wan0 = [\"192.0.2.1\"]"), "");
    assert_eq!(
        listed("wna0 = [\"192.0.2.1\"]"),
        "warning: [addresses] names `wna0`, which is not an outside interface: no rule chooses an \
         address there\n  --> nat.toml:12:1\n  help: did you mean `wan0`?"
    );
    let inside = listed("dmz = [\"192.0.2.1\"]");
    assert!(inside.ends_with("name an interface of `outside` in [interfaces], or remove the line"));
    assert_eq!(
        listed("wan0 = []"),
        "warning: `wan0` in [addresses] lists no address\n  --> nat.toml:12:8\n  help: remove the \
         line"
    );
    // Then every address of the machine can be chosen.
    let all = "[addresses]\nlan0 = [\"192.0.2.1\"]\n[source]\ncandidates = \"all\"";
    assert_eq!(warnings(&model_and("strong-host", all)), "");
}

#[test]
fn options() {
    let options = |lines: &str| {
        let text = model_and("strong-host", &format!("[source]\n{lines}"));
        accept(&text).source
    };
    assert_eq!(options(""), SourceOptions::default());
    assert_eq!(
        options(
            "tie_break = \"lowest\"\ncandidates = \"all\"\nprivate_scope = \"site-local\"\n\
             enforce_strong_send = true\nhonour_skip_as_source = false"
        ),
        SourceOptions {
            tie_break: TieBreak::Lowest,
            candidates: Candidates::All,
            private_scope: PrivateScope::SiteLocal,
            enforce_strong_send: true,
            honour_skip_as_source: false,
        }
    );
    for (line, expected) in [
        ("tie_brake = 1", "unknown key `tie_brake` in [source] \n :12:1 \n mean `tie_break`?"),
        (
            "tie_break = \"last\"",
            "unknown value \"last\" for `tie_break` in [source] \n :12:13 \n \
             it can be \"first\" or \"lowest\"",
        ),
        ("candidates = \"egres\"", "`candidates` in [source] \n :12:14 \n mean \"egress\"?"),
        (
            "private_scope = \"sitelocal\"",
            "`private_scope` in [source] \n :12:17 \n did you mean \"site-local\"?",
        ),
        (
            "enforce_strong_send = \"yes\"",
            "`enforce_strong_send` in [source]: expected true or false, found string \"yes\"",
        ),
        ("honour_skip_as_source = 0", "`honour_skip_as_source` in [source]: expected true or"),
    ] {
        refuse(&good_and(&format!("[source]\n{line}")), expected);
    }
}

#[test]
fn options_that_no_rule_knows() {
    for (line, models) in [
        ("tie_break = \"lowest\"", ["strong-host"].as_slice()),
        ("candidates = \"all\"", &["strong-host"]),
        ("private_scope = \"site-local\"", &["strong-host"]),
        ("honour_skip_as_source = false", &["first", "lowest", "weak-host"]),
        ("enforce_strong_send = true", &["first", "lowest", "weak-host", "strong-host"]),
    ] {
        for model in ["first", "lowest", "weak-host", "strong-host"] {
            let shown = warnings(&model_and(model, &format!("[source]\n{line}")));
            let key = line.split(' ').next().unwrap();
            let expected = format!("`{key}` in [source] has no effect: no rule's `source` is \"");
            assert_eq!(shown.contains(&expected), !models.contains(&model), "{model}: {shown}");
            assert_eq!(shown.is_empty(), models.contains(&model), "{model}: {shown}");
        }
        // What is the default anyway is no mistake.
        let default = "[source]\ntie_break = \"first\"\nhonour_skip_as_source = true";
        assert_eq!(warnings(&good_and(default)), "");
    }
}
