//! `[cooldown]`

use proptest::prelude::*;

use super::{accept, good_and, parse, refuse};
use crate::config::{COOLDOWN_MS_MAX, Cooldown, CooldownScope};

fn cooldown(lines: &str) -> Cooldown {
    accept(&good_and(&format!("[cooldown]\n{lines}"))).cooldown
}

fn warnings(text: &str) -> String {
    let shown: Vec<String> = accept(text).warnings.iter().map(ToString::to_string).collect();
    shown.join("\n")
}

#[test]
fn values_are_taken() {
    assert_eq!(cooldown(""), Cooldown::default());
    assert_eq!(
        cooldown(
            "enabled = false\ntime_ms = 1\nrst_ms = 2\nhalf_open_ms = 3\nudp_ms = 4\n\
             scope = \"port\"\nmax_cooling = 5\npressure_reuse = true"
        ),
        Cooldown {
            enabled: false,
            time_ms: 1,
            rst_ms: 2,
            half_open_ms: 3,
            udp_ms: 4,
            scope: CooldownScope::Port,
            max_cooling: 5,
            pressure_reuse: true,
        }
    );
}

/// The numbers of Microsoft's KB2596065, except that it is on by default here.
#[test]
fn kb2596065_defaults() {
    let default = accept(super::GOOD).cooldown;
    assert!(default.enabled);
    assert_eq!((default.time_ms, default.rst_ms), (240_000, 240_000));
    assert_eq!((default.half_open_ms, default.udp_ms), (30_000, 0));
    assert_eq!((default.scope, default.max_cooling), (CooldownScope::Destination, 1_048_576));
    assert!(!default.pressure_reuse);
}

#[test]
fn kb2596065_bounds() {
    assert_eq!(cooldown("time_ms = 0").time_ms, 0);
    assert_eq!(cooldown("time_ms = 100000000").time_ms, COOLDOWN_MS_MAX);
    for key in ["time_ms", "rst_ms", "half_open_ms", "udp_ms"] {
        for value in ["-1", "100000001", "4294967296", "9223372036854775807"] {
            refuse(
                &good_and(&format!("[cooldown]\n{key} = {value}")),
                &format!(
                    "`{key}` in [cooldown] cannot be {value} \n :12:{} \n \
                     it can be from 0 to 100000000 milliseconds",
                    key.len() + 4
                ),
            );
        }
    }
    refuse(
        &good_and("[cooldown]\ntime_ms = -1"),
        "milliseconds, as CooldownForLocalSourcePortReuseTime of Microsoft TMG",
    );
}

#[test]
fn what_cannot_be() {
    for (line, expected) in [
        (
            "enabled = 2",
            "`enabled` in [cooldown]: expected true or false, found integer `2` \n :12:11",
        ),
        ("time_ms = \"240s\"", "`time_ms` in [cooldown]: expected a whole number, found string"),
        ("time_ms = 1.5", "`time_ms` in [cooldown]: expected a whole number"),
        ("time = 5", "unknown key `time` in [cooldown] \n :12:1 \n did you mean `time_ms`?"),
        (
            "scope = \"dst\"",
            "unknown value \"dst\" for `scope` in [cooldown] \n :12:9 \n \
             it can be \"destination\" or \"port\"",
        ),
        (
            "max_cooling = 0",
            "`max_cooling` in [cooldown] cannot be 0 \n :12:15 \n it can be from 1 to 16777216",
        ),
        ("max_cooling = 16777217", "`max_cooling` in [cooldown] cannot be 16777217"),
        ("pressure_reuse = 1", "`pressure_reuse` in [cooldown]: expected true or false"),
    ] {
        refuse(&good_and(&format!("[cooldown]\n{line}")), expected);
    }
    assert_eq!(cooldown("max_cooling = 16777216").max_cooling, 16_777_216);
}

#[test]
fn kb2596065_names_lead_to_the_keys() {
    for (name, key) in [
        ("ApplyCooldownForLocalSourcePortReuse", "enabled"),
        ("CooldownForLocalSourcePortReuseTime", "time_ms"),
    ] {
        let expected = format!("unknown key `{name}` in [cooldown] \n did you mean `{key}`?");
        refuse(&good_and(&format!("[cooldown]\n{name} = 1")), &expected);
    }
}

#[test]
fn rfc6888_req8_ports_that_anybody_may_send_to() {
    let open = "filtering = { udp = \"endpoint-independent\" }";
    let with = |rule: &str, lines: &str| warnings(&good_and(&format!("{rule}\n{lines}")));
    assert_eq!(
        with(open, ""),
        "warning: rule `internet` lets anybody send to a client's external port, which another \
         client can have 0 ms later: RFC 6888 REQ-8 asks for 120000\n  --> nat.toml\n  help: set \
         `udp_ms = 120000` in [cooldown], or give the rule `filtering = \"address-dependent\"`"
    );
    let short = with(open, "[cooldown]\nudp_ms = 119999");
    assert!(short.contains("can have 119999 ms later") && short.contains(":13:10"), "{short}");
    let off = with(open, "[cooldown]\nudp_ms = 120000\nenabled = false");
    assert!(off.contains("can have 0 ms later") && off.contains("nat.toml:14:11"), "{off}");
    let icmp = with("filtering = { icmp = \"endpoint-independent\" }", "");
    assert!(!icmp.contains("lets anybody send"), "{icmp}");
    for (rule, lines) in [
        (open, "[cooldown]\nudp_ms = 120000"),
        ("", ""),
        ("filtering = { udp = \"address-dependent\" }", ""),
        // TCP is followed to its end.
        (
            "filtering = { tcp = \"endpoint-independent\" }\n\
             mapping = { tcp = \"endpoint-independent\" }",
            "",
        ),
        (
            "filtering = \"endpoint-independent\"\nmapping = \"endpoint-independent\"\nprotocols = [\"tcp\"]",
            "",
        ),
    ] {
        assert_eq!(with(rule, lines), "", "{rule} {lines}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_number_is_in_range_or_refused_with_it(number: i64, key in prop::sample::select(vec![
        "time_ms", "rst_ms", "half_open_ms", "udp_ms", "max_cooling",
    ])) {
        match parse(&good_and(&format!("[cooldown]\n{key} = {number}"))) {
            Ok(_) => prop_assert!((0..=100_000_000).contains(&number)),
            Err(error) => {
                let message = error.to_string();
                let expected = format!("`{key}` in [cooldown] cannot be {number}");
                prop_assert!(message.contains(&expected));
                prop_assert!(message.contains("it can be from "));
            }
        }
    }
}
