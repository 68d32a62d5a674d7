//! Values that cannot be, or do not fit together: each has its message. The numbers in the
//! messages are lines and columns.

use super::{GOOD, expect_in_order, good_and, good_with, parse, refuse};
use crate::config::Config;

#[test]
fn interfaces() {
    let inside = |list: &str| good_with("inside = [\"lan0\"]", list);
    for (text, expected) in [
        (String::new(), "no [interfaces] \n --> nat.toml\n inside = [\"lan0\"]"),
        ("[interfaces]\n".to_owned(), "`inside` in [interfaces] is missing \n :1:1 \n `outside`"),
        (inside(""), "`inside` in [interfaces] is missing \n :1:1 \n add `inside = "),
        (inside("inside = []"), "`inside` in [interfaces] is empty \n :2:10"),
        (
            inside("inside = [\"lan0\", \"wan0\"]"),
            "interface `wan0` is both `inside` and `outside` \n :3:12",
        ),
        (
            inside("inside = [\"lan0\", \"lan0\"]"),
            "`inside` in [interfaces] names `lan0` twice \n :2:19",
        ),
        (
            inside("inside = [\"a-very-long-name\"]"),
            "`a-very-long-name` has 16 bytes, more than the 15 of the kernel \n :2:11",
        ),
        (inside("inside = [\"\"]"), "an interface name is empty \n :2:11"),
        (inside("inside = [\"a b\"]"), "interface name `a b` contains ' ' \n :2:11"),
        (inside("inside = [\"a/b\"]"), "interface name `a/b` contains '/'"),
        (inside("inside = [\"lan0:1\"]"), "interface name `lan0:1` contains ':'"),
        (inside("inside = [\"..\"]"), "interface name `..` is not a name"),
        (inside("inside = [\"a\\u001b\"]"), r"`a\u{1b}` contains '\u{1b}'"),
        (
            inside(&format!(
                "inside = [{}]",
                (0..256).map(|n| format!("\"e{n}\",")).collect::<String>()
            )),
            "[interfaces] names 257 interfaces \n there can be 256 at most",
        ),
    ] {
        refuse(&text, expected);
    }
}

#[test]
fn names() {
    let name = |line: &str| good_with("name = \"internet\"", line);
    let long = format!("name = \"{}\"", "n".repeat(64));
    for (text, expected) in [
        (name(""), "rule 1 has no `name` \n :5:1 \n add `name = \"rule-1\"`"),
        (name("name = \"\""), "the `name` of rule 1 is empty \n :6:8"),
        (name("name = \"  \""), "the `name` of rule 1 is empty \n :6:8"),
        (name(&long), "the `name` of rule 1 has 64 bytes, more than 63 \n :6:8"),
        (name("name = \"a\\nb\""), "the `name` of rule 1 has characters that cannot be printed"),
        (name("name = \"a\\u202eb\""), "the `name` of rule 1 has characters"),
        (
            good_and(
                "[[rules]]\nname = \"internet\"\nfrom = [\"1.0.0.0/8\"]\nto = [\"external\"]\n\
                      action = \"drop\"",
            ),
            "two rules are called `internet` \n :12:8 \n rename one",
        ),
    ] {
        refuse(&text, expected);
    }
}

#[test]
fn rules() {
    let route = |more: &str| {
        let text = good_with("\"snat\"", "\"route\"");
        text.replace("source = { addresses = [\"203.0.113.1\"] }", more)
    };
    for (text, expected) in [
        (
            route("source = { addresses = [\"203.0.113.1\"] }"),
            "`source` in rule `internet`, whose action is \"route\" \n :10:1 \n remove the line",
        ),
        (
            route("ports = \"1-2\""),
            "`ports` in rule `internet`, whose action is \"route\" \n :10:1",
        ),
        (
            route("sticky = true"),
            "`sticky` in rule `internet`, whose action is \"route\" \n :10:1 \n remove the line",
        ),
        (
            route("on_address_removed = \"end\""),
            "`on_address_removed` in rule `internet`, whose action is \"route\" \n :10:1",
        ),
        (
            route("protocols = [\"tcp\"]"),
            "`protocols` in rule `internet`, whose action is \"route\" \n :10:1",
        ),
        (
            good_with("action = \"snat\"", ""),
            "rule `internet` has no `action` \n :5:1 \n add `action = \"snat\"`",
        ),
        (good_with("from = [\"10.0.0.0/8\"]", ""), "rule `internet` has no `from` \n :5:1"),
        (
            good_with("from = [\"10.0.0.0/8\"]", "from = []"),
            "rule `internet` has an empty `from` \n :7:8 \n `from = [\"10.0.0.0/8\"]`",
        ),
        (good_with("to = [\"external\"]", "to = []"), "rule `internet` has an empty `to` \n :8:6"),
        (good_and("protocols = []"), "`protocols` in rule `internet` is empty \n :11:13"),
    ] {
        refuse(&text, expected);
    }
}

#[test]
fn too_many_rules() {
    let mut text = GOOD.to_owned();
    for number in 1..=1024 {
        text.push_str(&format!(
            "[[rules]]\nname = \"r{number}\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"external\"]\n\
             action = \"drop\"\n"
        ));
    }
    refuse(&text, "1025 rules, more than 1024 \n :5126:1 \n combine rules");
}

#[test]
fn ports() {
    for (ports, expected) in [
        ("", "`ports` in rule `internet`: \"\" is not a port range \n :11:9"),
        ("1024", "\"1024\" is not a port range \n \"1024-65535\""),
        ("a-b", "\"a-b\" is not a port range"),
        ("+1-+2", "is not a port range"),
        ("1-2-3", "is not a port range"),
        ("1024:2048", "is not a port range"),
        ("0-65535", "port 0 cannot be used \n write \"1-65535\""),
        ("1-65536", "there is no port 65536"),
        ("99999999999-1", "there is no port 99999999999"),
        ("2000-1000", "2000 is greater than 1000 \n write \"1000-2000\""),
    ] {
        refuse(&good_and(&format!("ports = \"{ports}\"")), expected);
    }
}

#[test]
fn addresses() {
    let addresses = |list: &str| good_with("addresses = [\"203.0.113.1\"]", list);
    let many: String = (0..65).map(|n| format!("\"203.0.113.{n}\",")).collect();
    for (list, expected) in [
        (
            "addresses = []",
            "`addresses` in the source of rule `internet` is empty \n :10:24 \n \
             `source = { addresses = [\"203.0.113.1\"] }`, or name a model",
        ),
        ("", "`addresses` in the source of rule `internet` is missing \n :10:10"),
        (
            "addresses = [\"203.0.113.1\", \"203.0.113.1\"]",
            "the source of rule `internet`: 203.0.113.1 is listed twice \n :10:40",
        ),
        ("addresses = [\"0.1.2.3\"]", "0.1.2.3 cannot be an external address \n :10:25"),
        ("addresses = [\"127.0.0.1\"]", "127.0.0.1 cannot be an external address: it is a loop"),
        ("addresses = [\"224.0.0.1\"]", "224.0.0.1 cannot be an external address: it is a multi"),
        ("addresses = [\"255.255.255.255\"]", "cannot be an external address: it is the broadcas"),
        (
            "addresses = [\"203.0.113.1/24\"]",
            "`203.0.113.1/24` is not an IPv4 address \n \
          write the address without the length: \"203.0.113.1\"",
        ),
        ("addresses = [\"2001:db8::1\"]", "`2001:db8::1` is an IPv6 address: IPv6 is not transl"),
        ("addresses = [\"wan0\"]", "`wan0` is not an IPv4 address \n \"203.0.113.1\""),
        (&format!("addresses = [{many}]"), "has 65 addresses \n :10:24 \n can use 64 at most"),
    ] {
        refuse(&addresses(list), expected);
    }
}

#[test]
fn selectors() {
    let from = |element: &str| {
        good_with("from = [\"10.0.0.0/8\"]", &format!("from = [\"{element}\"]"))
            + "[[networks]]\nname = \"internal\"\nprefixes = [\"172.16.0.0/12\"]\n"
    };
    for (element, expected) in [
        (
            "10.0.0.5/8",
            "`from` in rule `internet`: `10.0.0.5/8` has bits set behind the prefix length \n \
             :7:9 \n write \"10.0.0.0/8\" or, for the address alone, \"10.0.0.5\"",
        ),
        ("10.0.0.0/33", "`10.0.0.0/33` is not an IPv4 prefix \n \"10.0.0.0/8\""),
        ("10.0.0", "`10.0.0` is not an IPv4 prefix"),
        ("256.0.0.0/8", "`256.0.0.0/8` is not an IPv4 prefix"),
        ("2001:db8::/32", "`2001:db8::/32` is an IPv6 address: IPv6 is not translated \n :7:9"),
        ("::1", "`::1` is an IPv6 address: IPv6 is not translated"),
        ("internl", "no network is called `internl` \n :7:9 \n did you mean `internal`?"),
        ("extrenal", "no network is called `extrenal` \n did you mean `external`?"),
        (
            "dmz",
            "no network is called `dmz` \n name a network of [[networks]], `external`, `local-host`",
        ),
        ("localhost", "no network is called `localhost` \n :7:9 \n did you mean `local-host`?"),
        ("", "no network is called `` \n :7:9"),
    ] {
        refuse(&from(element), expected);
    }
}

#[test]
fn networks() {
    let network = |name: &str, prefixes: &str| {
        format!("[[networks]]\nname = \"{name}\"\nprefixes = [{prefixes}]\n")
    };
    let one = |name: &str, prefixes: &str| good_and(&network(name, prefixes));
    let two = |first: &str, second: &str| good_and(&(network("a", first) + &network("b", second)));
    for (text, expected) in [
        (
            good_and("[[networks]]"),
            "network 1 has no `name` \n :11:1 \n network 1 has no `prefixes`",
        ),
        (one("a", ""), "network `a` has an empty `prefixes` \n :13:12"),
        (one("external", "\"10.0.0.0/8\""), "network `external` is built in \n :12:8"),
        (one("local-host", "\"10.0.0.0/8\""), "network `local-host` is built in"),
        (one("10.0.0.0/8", "\"10.0.0.0/8\""), "`10.0.0.0/8` looks like an address \n :12:8"),
        (one("::1", "\"10.0.0.0/8\""), "`::1` looks like an address"),
        (
            one("a", "\"10.0.0.1/8\""),
            "`prefixes` of network `a`: `10.0.0.1/8` has bits set \n :13:13 \n \"10.0.0.0/8\"",
        ),
        (one("a", "\"fd00::/8\""), "`prefixes` of network `a`: `fd00::/8` is an IPv6 address"),
        (
            good_and(&(network("a", "\"10.0.0.0/8\"") + &network("a", "\"11.0.0.0/8\""))),
            "two networks are called `a` \n :15:8",
        ),
        (
            two("\"10.0.0.0/8\"", "\"10.1.0.0/16\""),
            "networks `a` and `b` overlap: 10.0.0.0/8 contains 10.1.0.0/16 \n :16:13",
        ),
        (
            two("\"10.1.0.0/16\"", "\"10.0.0.0/8\""),
            "networks `b` and `a` overlap: 10.0.0.0/8 contains 10.1.0.0/16 \n :13:13",
        ),
        (
            two("\"10.0.0.0/8\"", "\"10.0.0.0/8\""),
            "networks `a` and `b` overlap: 10.0.0.0/8 contains 10.0.0.0/8 \n :16:13",
        ),
        (
            // The innermost container is of the same network, the one around it is not.
            two("\"10.0.0.0/8\"", "\"10.1.0.0/16\", \"10.1.1.0/24\""),
            "networks `a` and `b` overlap: 10.0.0.0/8 contains 10.1.0.0/16",
        ),
    ] {
        refuse(&text, expected);
    }
}

#[test]
fn interfaces_of_networks() {
    let network = |interfaces: &str| {
        good_with("\"lan0\"]", "\"lan0\", \"lan1\"]")
            + "[[networks]]\nname = \"a\"\nprefixes = [\"10.0.0.0/8\"]\n"
            + &format!("interfaces = {interfaces}\n")
    };
    for (interfaces, expected) in [
        (
            "[]",
            "network `a` has an empty `interfaces` \n :14:14 \n name inside interfaces, or remove",
        ),
        (
            "[\"lan0\", \"wan0\"]",
            "`interfaces` of network `a`: `wan0` is an outside interface \n :14:23 \n \
             name interfaces of `inside` in [interfaces]",
        ),
        (
            "[\"lna0\"]",
            "`interfaces` of network `a`: `lna0` is not an inside interface \n :14:15 \n \
             did you mean `lan0`?",
        ),
        ("[\"lan1\", \"lan1\"]", "`interfaces` of network `a` names `lan1` twice \n :14:23"),
        ("\"lan0\"", "`interfaces` in [[networks]]: expected a list \n `interfaces = [\"lan0\"]`"),
    ] {
        refuse(&network(interfaces), expected);
    }
    let networks = super::accept(&network("[\"lan1\", \"lan0\"]")).networks;
    assert_eq!(networks[0].interfaces, ["lan1", "lan0"]);
    // Without inside interfaces there is nothing to compare with.
    let text = network("[\"lan0\"]").replace("inside = [\"lan0\", \"lan1\"]\n", "");
    let error = parse(&text).unwrap_err();
    assert_eq!(error.diagnostics().len(), 1, "{error}");
}

#[test]
fn timeouts_and_limits() {
    for (line, expected) in [
        ("udp = \"300\"", "`udp` in [timeouts]: \"300\" is not a duration \n :12:7 \n \"300s\""),
        ("udp = \"\"", "\"\" is not a duration"),
        ("udp = \"-5s\"", "\"-5s\" is not a duration"),
        ("udp = \"5 parsecs\"", "\"5 parsecs\" is not a duration"),
        ("icmp = \"999ms\"", "`icmp` in [timeouts]: \"999ms\" is too short \n from 1s to 30days"),
        ("udp_dns = \"31d\"", "`udp_dns` in [timeouts]: \"31d\" is too long \n from 1s to 30days"),
        ("tcp_opening = \"18446744073709551615y\"", "is not a duration"),
    ] {
        refuse(&good_and(&format!("[timeouts]\n{line}")), expected);
    }
    for number in ["15", "0", "-1", "16777217", "9223372036854775807"] {
        let text = good_and(&format!("[limits]\nmax_sessions = {number}"));
        let expected = format!(
            "`max_sessions` in [limits] cannot be {number} \n :12:16 \n from 16 to 16777216"
        );
        refuse(&text, &expected);
    }
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_file() {
    refuse(
        "mss = 1\n[interfaces]\nhok = 1\nhook = \"tcx\"\n[[rules]]\nmss = \"atuo\"\nname = 7\n\
         [cooldown]\nscope = 1\n[[rules]]\nform = []\n",
        "unknown key `mss` \n :1:1
         unknown key `hok` in [interfaces] \n :3:1
         unknown value \"tcx\" for `hook` \n :4:8
         unknown value \"atuo\" for `mss` \n :6:7
         wrong type for `name` in [[rules]] \n :7:8
         wrong type for `scope` in [cooldown] \n :9:9
         unknown key `form` in [[rules]] \n :11:1 \n did you mean `from`?",
    );
    refuse(
        "[interfaces]\ninside = []\noutside = [\"a b\"]\n[[rules]]\nname = \"\"\nfrom = []\n\
         to = [\"x\"]\naction = \"snat\"\nports = \"9-8\"\n[timeouts]\nudp = \"0s\"\n",
        "`inside` in [interfaces] is empty \n :2:10
         contains ' ' \n :3:12
         the `name` of rule 1 is empty \n :5:8
         rule 1 has an empty `from` \n :6:8
         no network is called `x` \n :7:7
         9 is greater than 8 \n :9:9
         \"0s\" is too short \n :11:7",
    );
}

#[test]
fn a_flood_of_errors_is_cut() {
    let many: String = (0..150).map(|number| format!("x{number} = 1\n")).collect();
    let error = parse(&many).unwrap_err();
    assert_eq!(error.diagnostics().len(), 100);
    let elements = "\"x\",".repeat(150);
    let error = parse(&good_with("\"10.0.0.0/8\"", &elements)).unwrap_err();
    expect_in_order(&error.to_string(), "error: 50 more errors are not shown");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nat.toml");
    let message = || Config::load(&path).unwrap_err().to_string();
    expect_in_order(&message(), "error: cannot read \n nat.toml: No such file");
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    expect_in_order(&message(), "nat.toml: it is not UTF-8 (byte 5)");
    std::fs::write(&path, vec![b'#'; (4 << 20) + 1]).unwrap();
    expect_in_order(&message(), "nat.toml: it is larger than 4 MiB");
    std::fs::write(&path, GOOD).unwrap();
    assert!(Config::load(&path).is_ok());
}

#[test]
fn networks_that_name_too_many_interfaces() {
    let names: Vec<_> = (0..16).map(|n| format!("\"lan{n}\"")).collect();
    let file = |count: usize| {
        let (inside, named) = (names.join(", "), names[..count].join(", "));
        format!(
            "[interfaces]\ninside = [{inside}]\noutside = [\"wan0\"]\n[[networks]]\n\
             name = \"a\"\nprefixes = [\"10.0.0.0/8\"]\ninterfaces = [{named}]\n"
        )
    };
    Config::parse(&file(15), "test.toml").unwrap();
    let error = Config::parse(&file(16), "test.toml").unwrap_err();
    assert!(error.to_string().contains("more than 15 interfaces"), "{error}");
}
