//! How a rule translates: `mapping`, `filtering`, `exclude_ports`, `spill` and `mss`.

use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::{GOOD, accept, good_and, good_with, parse, refuse};
use crate::config::{
    Action, EXCLUDED_MAX, Filtering, Mapping, Mss, PerProtocol, Protocol, Snat, port_text,
};

const ONE_ADDRESS: &str = "source = { addresses = [\"203.0.113.1\"] }";

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

#[test]
fn rfc7857_5_mapping_is_set_by_protocol() {
    use Mapping::{AddressAndPortDependent, EndpointIndependent};
    let mapping = |line: &str| snat(&good_and(line)).mapping;
    let default = PerProtocol {
        tcp: AddressAndPortDependent,
        udp: EndpointIndependent,
        icmp: EndpointIndependent,
    };
    assert_eq!(mapping(""), default);
    assert_eq!(mapping("mapping = {}"), default);
    assert_eq!(
        mapping("mapping = \"endpoint-independent\""),
        PerProtocol::all(EndpointIndependent)
    );
    assert_eq!(
        mapping("mapping = { udp = \"address-and-port-dependent\" }"),
        PerProtocol { udp: AddressAndPortDependent, ..default }
    );
    let all = "mapping = { tcp = \"endpoint-independent\", udp = \"address-and-port-dependent\", \
               icmp = \"address-and-port-dependent\" }";
    let turned = mapping(all);
    assert_eq!(turned.get(Protocol::Tcp), EndpointIndependent);
    assert_eq!(turned.get(Protocol::Udp), AddressAndPortDependent);
    assert_eq!(turned.get(Protocol::Icmp), AddressAndPortDependent);
}

#[test]
fn rfc4787_req8a_filtering_is_set_by_protocol() {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    let filtering = |line: &str| snat(&good_and(line)).filtering;
    assert_eq!(filtering(""), PerProtocol::all(AddressAndPortDependent));
    for (word, value) in [
        ("endpoint-independent", EndpointIndependent),
        ("address-dependent", AddressDependent),
        ("address-and-port-dependent", AddressAndPortDependent),
    ] {
        assert_eq!(filtering(&format!("filtering = \"{word}\"")), PerProtocol::all(value));
        assert_eq!(
            filtering(&format!("filtering = {{ icmp = \"{word}\" }}")),
            PerProtocol { icmp: value, ..PerProtocol::all(AddressAndPortDependent) }
        );
    }
}

#[test]
fn words_and_tables_that_cannot_be() {
    for (line, expected) in [
        (
            "mapping = \"address-dependent\"",
            "unknown value \"address-dependent\" for `mapping` in [[rules]] \n :11:11 \n did you mean",
        ),
        (
            "mapping = { udp = \"none\" }",
            "unknown value \"none\" for `udp` in `mapping` of [[rules]] \n :11:19 \n \
             it can be \"endpoint-independent\" or \"address-and-port-dependent\"",
        ),
        (
            "mapping = { sctp = \"endpoint-independent\" }",
            "unknown key `sctp` in `mapping` of [[rules]] \n :11:13 \n the keys here are `tcp`, `udp`",
        ),
        (
            "mapping = [\"endpoint-independent\"]",
            "wrong type for `mapping` in [[rules]]: expected a word such as \"endpoint-independent\", \
             or a table such as { udp = \"endpoint-independent\" }, found a list \n :11:11",
        ),
        (
            "filtering = { tcp = 1 }",
            "wrong type for `tcp` in `filtering` of [[rules]]: expected \"endpoint-independent\", \
             \"address-dependent\" or \"address-and-port-dependent\", found integer `1` \n :11:21",
        ),
        ("filtering = \"adress-dependent\"", "`filtering` \n did you mean \"address-dependent\"?"),
        ("spill = \"yes\"", "wrong type for `spill` in [[rules]]: expected true or false"),
    ] {
        refuse(&good_and(line), expected);
    }
}

#[test]
fn filtering_that_the_mapping_makes_idle() {
    assert_eq!(
        warnings(&good_and("filtering = \"address-dependent\"")),
        "warning: `filtering` in rule `internet` has no effect on tcp: with `mapping` \
         \"address-and-port-dependent\" a port can belong to several clients, and only the remote \
         endpoint tells whose a packet is\n  --> nat.toml:11:13\n  help: set `mapping = { tcp = \
         \"endpoint-independent\" }`, or name the other protocols only: `filtering = { udp = \
         \"endpoint-independent\" }`"
    );
    let both = "filtering = { tcp = \"address-dependent\", udp = \"address-dependent\" }\n\
                mapping = \"address-and-port-dependent\"";
    assert!(warnings(&good_and(both)).contains("has no effect on tcp and udp"));
    for lines in [
        "filtering = { udp = \"address-dependent\" }",
        "filtering = \"address-dependent\"\nmapping = { tcp = \"endpoint-independent\" }",
        "filtering = \"address-dependent\"\nprotocols = [\"udp\"]",
        "filtering = \"address-and-port-dependent\"\nmapping = \"address-and-port-dependent\"",
    ] {
        assert_eq!(warnings(&good_and(lines)), "", "{lines}");
    }
}

/// Nobody outside is let in by ICMP: see docs/config.md.
#[test]
fn filtering_of_icmp_is_idle() {
    let idle = "warning: `filtering` in rule `internet` has no effect on icmp: an echo request from \
                outside is the gateway's to answer, and a reply comes in only from whom a client has \
                asked";
    for (lines, at) in [
        ("filtering = { icmp = \"endpoint-independent\" }", "11:22"),
        ("filtering = { udp = \"address-dependent\", icmp = \"address-dependent\" }", "11:49"),
        ("filtering = \"address-dependent\"\nprotocols = [\"icmp\"]", "11:13"),
    ] {
        let expected = format!("{idle}\n  --> nat.toml:{at}\n  help: leave icmp out of it");
        assert_eq!(warnings(&good_and(lines)), expected, "{lines}");
    }
    for lines in [
        "filtering = { icmp = \"address-and-port-dependent\" }",
        "filtering = \"address-and-port-dependent\"\nprotocols = [\"icmp\"]",
        "filtering = \"address-dependent\"\nprotocols = [\"udp\", \"icmp\"]",
    ] {
        assert_eq!(warnings(&good_and(lines)), "", "{lines}");
    }
}

#[test]
fn protocols_that_the_rule_leaves_out() {
    let text = "protocols = [\"tcp\"]\nmapping = { tcp = \"endpoint-independent\", \
                udp = \"endpoint-independent\" }\nmss = \"auto\"";
    assert_eq!(
        warnings(&good_and(text)),
        "warning: `mapping` in rule `internet` names udp, which its `protocols` leave out\n  --> \
         nat.toml:12:49\n  help: remove one, or add the other"
    );
    let text = "protocols = [\"udp\"]\nfiltering = { icmp = \"address-dependent\" }\nmss = 1400";
    let both = warnings(&good_and(text));
    assert!(both.contains("`filtering` in rule `internet` names icmp"), "{both}");
    assert!(both.contains("`mss` in rule `internet` has no effect: its `protocols` leave out tcp"));
    assert_eq!(warnings(&good_and("protocols = [\"udp\"]\nmss = \"off\"")), "");
}

#[test]
fn mss() {
    let mss = |value: &str| snat(&good_and(&format!("mss = {value}"))).mss;
    assert_eq!(snat(GOOD).mss, Mss::Off);
    assert_eq!((mss("\"off\""), mss("\"auto\"")), (Mss::Off, Mss::Auto));
    assert_eq!((mss("536"), mss("65495")), (Mss::Clamp(536), Mss::Clamp(65_495)));
    for shown in ["off", "auto"] {
        assert_eq!(mss(&format!("\"{shown}\"")).to_string(), shown);
    }
    assert_eq!(mss("1_360").to_string(), "1360");
    for (value, expected) in [
        (
            "535",
            "`mss` in rule `internet` cannot be 535 \n :11:7 \n \
             it can be from 536 to 65495, \"off\" or \"auto\"",
        ),
        ("65496", "`mss` in rule `internet` cannot be 65496"),
        ("0", "`mss` in rule `internet` cannot be 0"),
        ("-1400", "`mss` in rule `internet` cannot be -1400"),
        (
            "\"1400\"",
            "wrong type for `mss` in [[rules]]: expected \"off\", \"auto\" or a number of bytes \
             without quotes, found string \"1400\" \n :11:7",
        ),
        ("\"atuo\"", "unknown value \"atuo\" for `mss` in [[rules]] \n did you mean \"auto\"?"),
        ("true", "wrong type for `mss` in [[rules]]: expected \"off\", \"auto\" or a number"),
        ("14e2", "wrong type for `mss` in [[rules]]: expected \"off\", \"auto\" or a number"),
    ] {
        refuse(&good_and(&format!("mss = {value}")), expected);
    }
}

#[test]
fn rfc7857_4_spill_is_for_several_paired_addresses() {
    let with =
        |source: &str, spill: bool| good_with(ONE_ADDRESS, source) + &format!("spill = {spill}\n");
    let two = "source = { addresses = [\"203.0.113.1\", \"203.0.113.2\"] }";
    let random = two.replace("] }", "], pooling = \"random\" }");
    assert!(snat(&with(two, true)).spill && !snat(&with(two, false)).spill && !snat(GOOD).spill);
    assert_eq!(warnings(&with(two, true)), "");
    for (source, reason) in [
        (ONE_ADDRESS, "there is one address"),
        ("source = \"lowest\"", "a source model gives one address"),
        ("", "a source model gives one address"),
        (random.as_str(), "with `pooling = \"random\"` every flow may use every address"),
    ] {
        assert_eq!(
            warnings(&with(source, true)),
            format!(
                "warning: `spill` in rule `internet` has no effect: {reason}\n  --> \
                 nat.toml:11:9\n  help: remove the line, or list several addresses with \
                 `pooling = \"paired\"`"
            )
        );
        assert_eq!(warnings(&with(source, false)), "");
    }
}

fn excluded(lines: &str) -> Vec<RangeInclusive<u16>> {
    snat(&good_and(lines)).exclude_ports
}

#[test]
fn ports_are_left_out() {
    assert_eq!(excluded("exclude_ports = []"), []);
    assert_eq!(
        excluded("exclude_ports = [8080, \"5000-5100\", 65535, \" 1024 - 1024 \"]"),
        [1024..=1024, 5000..=5100, 8080..=8080, 65535..=65535]
    );
    // What touches is one range, and what is behind the end of `ports` is not there.
    assert_eq!(
        excluded("ports = \"10-20\"\nexclude_ports = [15, 14, 16, \"1-11\", \"18-99\", 15]"),
        [10..=11, 14..=16, 18..=20]
    );
    assert_eq!(excluded("ports = \"7-8\"\nexclude_ports = [8]"), [8..=8]);
    assert_eq!(port_text(&(8..=8)), "8");
    assert_eq!(port_text(&(8..=9)), "8-9");
}

#[test]
fn ports_that_cannot_be_left_out() {
    for (lines, expected) in [
        (
            "exclude_ports = [0]",
            "`exclude_ports` in rule `internet`: there is no port 0 \n :11:18 \n \
             ports are from 1 to 65535",
        ),
        ("exclude_ports = [65536]", "there is no port 65536"),
        ("exclude_ports = [80, -1]", "there is no port -1 \n :11:22"),
        (
            "exclude_ports = [\"80\"]",
            "`exclude_ports` in rule `internet`: \"80\" is not a port range \n :11:18 \n \
             write 80, without quotes",
        ),
        ("exclude_ports = [\"9-8\"]", "9 is greater than 8 \n write \"8-9\""),
        ("exclude_ports = [\"http\"]", "\"http\" is not a port range \n first and the last port"),
        ("exclude_ports = [\"0-8\"]", "`exclude_ports` in rule `internet`: port 0 cannot be used"),
        (
            "exclude_ports = 80",
            "wrong type for `exclude_ports` in [[rules]]: expected a list, found integer `80` \n :11:17",
        ),
        (
            "exclude_ports = [true]",
            "expected a port, or a range in quotes such as \"5000-5100\", found boolean `true` \n :11:18",
        ),
        (
            "ports = \"10-20\"\nexclude_ports = [\"10-14\", \"1-10\", \"15-20\"]",
            "`exclude_ports` in rule `internet` leaves none of the ports 10-20 \n :12:17 \n leave one",
        ),
        ("ports = \"10-10\"\nexclude_ports = [10]", "leaves none of the ports 10 \n :12:17"),
    ] {
        refuse(&good_and(lines), expected);
    }
}

#[test]
fn ports_that_are_not_used_anyway() {
    assert_eq!(
        warnings(&good_and("exclude_ports = [80, \"1-1024\"]")),
        "warning: `exclude_ports` in rule `internet`: 80 is not in `ports` (1024-65535) anyway\n  \
         --> nat.toml:11:18\n  help: remove it"
    );
    assert_eq!(excluded("exclude_ports = [80, \"1-1024\"]"), [1024..=1024]);
}

#[test]
fn many_ranges() {
    let list = |count: usize| {
        let ports: Vec<String> = (0..count).map(|index| (2000 + 2 * index).to_string()).collect();
        format!("exclude_ports = [{}]", ports.join(", "))
    };
    assert_eq!(excluded(&list(EXCLUDED_MAX)).len(), EXCLUDED_MAX);
    refuse(
        &good_and(&list(EXCLUDED_MAX + 1)),
        "`exclude_ports` in rule `internet` has 16 ranges apart from each other \n :11:17 \n 15 at most",
    );
    let touching: Vec<String> = (2000..2500).map(|port: u16| port.to_string()).collect();
    assert_eq!(excluded(&format!("exclude_ports = [{}]", touching.join(", "))), [2000..=2499]);
}

#[test]
fn rules_that_do_not_translate_have_none_of_them() {
    for (key, line) in [
        ("exclude_ports", "exclude_ports = []"),
        ("mapping", "mapping = \"endpoint-independent\""),
        ("filtering", "filtering = \"address-dependent\""),
        ("spill", "spill = false"),
        ("mss", "mss = \"off\""),
    ] {
        let text = good_with(ONE_ADDRESS, line).replace("\"snat\"", "\"route\"");
        let expected = format!(
            "`{key}` in rule `internet`, whose action is \"route\" \n :10:1 \n only \"snat\" rules"
        );
        refuse(&text, &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Port by port, against what the file says.
    #[test]
    fn exactly_the_named_ports_are_left_out(
        (first, last) in (1_u16..200, 1_u16..200).prop_map(|(a, b)| (a.min(b), a.max(b))),
        ranges in prop::collection::vec((1_u16..210, 0_u16..30, any::<bool>()), 0..12),
    ) {
        let named: Vec<RangeInclusive<u16>> =
            ranges.iter().map(|(start, more, alone)| *start..=start + if *alone { 0 } else { *more }).collect();
        let written: Vec<String> = named
            .iter()
            .zip(&ranges)
            .map(|(range, (start, _, alone))| {
                if *alone { start.to_string() } else { format!("\"{start}-{}\"", range.end()) }
            })
            .collect();
        let text = good_and(&format!(
            "ports = \"{first}-{last}\"\nexclude_ports = [{}]", written.join(", ")
        ));
        let left = |port: u16| !named.iter().any(|range| range.contains(&port));
        let parsed = parse(&text);
        prop_assert_eq!(parsed.is_ok(), (first..=last).any(left));
        let Ok(mut config) = parsed else { return Ok(()) };
        let Action::Snat(snat) = config.rules.remove(0).action else { panic!() };
        for port in 1..=300 {
            let excluded = snat.exclude_ports.iter().any(|range| range.contains(&port));
            prop_assert_eq!(excluded, (first..=last).contains(&port) && !left(port), "{}", port);
        }
        for pair in snat.exclude_ports.windows(2) {
            prop_assert!(pair[0].end() + 1 < *pair[1].start(), "{:?}", snat.exclude_ports);
        }
    }
}

/// A good file with a second rule, whose lines these are; the first one has ports 1024-65535.
fn with_second(first: &str, second: &str) -> String {
    let rule = "[[rules]]\nname = \"second\"\nfrom = [\"10.1.0.0/16\"]\nto = [\"external\"]\n\
                action = \"snat\"\n";
    format!("{}\n{rule}{second}\n", good_and(first))
}

#[test]
fn rules_that_may_share_ports_map_alike() {
    let independent = "mapping = \"endpoint-independent\"";
    let kinds = "rule `internet` and rule `second` may use the same ports of the same address for tcp, but \
                 map differently \n --> nat.toml:13 \n give them the same `mapping`, `ports` and \
                 `exclude_ports`, or `ports` with nothing in common";
    refuse(&with_second("", independent), kinds);
    let ports = "rule `internet` and rule `second` may use the same address for udp, with ports of \
                 which some, but not all, are the same \n --> nat.toml:13 \n give them the same `ports` \
                 and `exclude_ports`, or `ports` with nothing in common";
    refuse(&with_second("", "ports = \"40000-50000\""), ports);
    refuse(&with_second("", "exclude_ports = [5000]"), ports);
    for (first, second) in [
        ("", ""),
        (independent, independent),
        ("exclude_ports = [5000]", "exclude_ports = [\"5000-5000\"]"),
        ("ports = \"1024-2047\"", "ports = \"2048-4095\"\nmapping = \"endpoint-independent\""),
        ("protocols = [\"udp\"]", "protocols = [\"tcp\"]\nmapping = \"endpoint-independent\""),
        ("protocols = [\"tcp\"]", "protocols = [\"tcp\"]\nports = \"40000-50000\""),
        ("", "source = { addresses = [\"203.0.113.2\"] }\nmapping = \"endpoint-independent\""),
    ] {
        accept(&with_second(first, second));
    }
}
