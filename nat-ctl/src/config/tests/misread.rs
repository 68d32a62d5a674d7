//! Text that is not a configuration at all: syntax, keys, words and types. The numbers in the
//! messages are lines and columns.

use super::{good_and, good_with, parse, refuse};

#[test]
fn the_shape_is_that_of_a_compiler() {
    let error = parse("# test\n\n[interfaces]\nhok = \"tc\"\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: unknown key `hok` in [interfaces]\n  --> nat.toml:4:1\n  help: did you mean `hook`?"
    );
}

#[test]
fn syntax() {
    for (text, expected) in [
        ("[interfaces\n", "not valid TOML: unclosed table \n nat.toml:1:12"),
        ("\ninside = [lan0]\n", "not valid TOML: string values must be quoted \n nat.toml:2:11"),
        ("a = 1\na = 2\n", "not valid TOML: duplicate key \n nat.toml:2:1"),
        ("a = \"x", "not valid TOML \n nat.toml:1:"),
    ] {
        refuse(text, expected);
    }
}

#[test]
fn unknown_keys() {
    for (text, expected) in [
        (good_and("[timeout]"), "unknown key `timeout` \n :11:2 \n did you mean `timeouts`?"),
        (
            good_and("[timeouts]\nudp_dsn = \"1s\""),
            "unknown key `udp_dsn` in [timeouts] \n :12:1 \n did you mean `udp_dns`?",
        ),
        (
            good_and("prots = \"1-2\""),
            "unknown key `prots` in [[rules]] \n :11:1 \n did you mean `ports`?",
        ),
        (
            good_with("] }", "], poling = \"paired\" }"),
            "unknown key `poling` in `source` of [[rules]] \n :10:41 \n did you mean `pooling`?",
        ),
        (
            good_and("[defaults]\nfoo = 1"),
            "unknown key `foo` in [defaults] \n :12:1 \n the keys here are `unmatched`",
        ),
        // A suggestion may well be a key that is not available either.
        (good_and("ms = \"off\""), "unknown key `ms` \n :11:1 \n did you mean `mss`?"),
        // What looks like part of serde's own message.
        (
            "\"a`, expected `b\" = 1\n".to_owned(),
            "unknown key `a`, expected `b` \n :1:1 \n the keys here are `interfaces`, `networks`",
        ),
        ("\"\\u001b[31m\" = 1\n".to_owned(), r"unknown key `\u{1b}[31m`"),
    ] {
        refuse(&text, expected);
    }
}

#[test]
fn unknown_words() {
    for (text, expected) in [
        (
            good_with("outside = [\"wan0\"]", "outside = [\"wan0\"]\nhook = \"xpd\""),
            "unknown value \"xpd\" for `hook` in [interfaces] \n :4:8 \n did you mean \"xdp\"?",
        ),
        (
            good_with("\"snat\"", "\"masquerade\""),
            "unknown value \"masquerade\" for `action` in [[rules]] \n :9:10 \n \
             it can be \"snat\", \"route\" or \"drop\"",
        ),
        (
            good_and("protocols = [\"tcp\", \"upd\"]"),
            "unknown value \"upd\" for `protocols` \n :11:21 \n did you mean \"udp\"?",
        ),
        (
            good_with("{ addresses = [\"203.0.113.1\"] }", "\"strong_host\""),
            "unknown value \"strong_host\" for `source` \n :10:10 \n did you mean \"strong-host\"?",
        ),
        (
            good_with("] }", "], pooling = \"rand\" }"),
            "unknown value \"rand\" for `pooling` in `source` of [[rules]] \n :10:51 \n \
             did you mean \"random\"?",
        ),
        (
            good_and("[defaults]\nunmatched = \"accept\""),
            "unknown value \"accept\" for `unmatched` in [defaults] \n :12:13 \n \
             it can be \"route\" or \"drop\"",
        ),
    ] {
        refuse(&text, expected);
    }
}

#[test]
fn wrong_types() {
    for (text, expected) in [
        (
            good_with("inside = [\"lan0\"]", "inside = \"lan0\""),
            "wrong type for `inside` in [interfaces]: expected a list, found string \"lan0\" \n \
             :2:10 \n write it in brackets: `inside = [\"lan0\"]`",
        ),
        (
            good_with("inside = [\"lan0\"]", "inside = [0]"),
            "wrong type for `inside` in [interfaces]: expected text in quotes, found integer `0` \
             \n :2:11",
        ),
        (
            good_with("[[rules]]", "[rules]"),
            "wrong type for `rules`: expected a list, found a table \n :5:1 \n write [[rules]]",
        ),
        (
            "interfaces = 5\n".to_owned(),
            "wrong type for `interfaces`: expected a table, found integer `5` \n :1:14",
        ),
        (
            good_and("[timeouts]\nudp = 300"),
            "wrong type for `udp` in [timeouts]: expected a duration with its unit, in quotes, \
             such as \"300s\", found integer `300` \n :12:7",
        ),
        (
            good_and("ports = 1024"),
            "wrong type for `ports` in [[rules]]: expected a port range in quotes, such as \
             \"1024-65535\", found integer `1024` \n :11:9",
        ),
        (
            good_with("{ addresses = [\"203.0.113.1\"] }", "[\"203.0.113.1\"]"),
            "wrong type for `source` in [[rules]]: expected a model such as \"strong-host\", or a \
             table such as { addresses = [\"203.0.113.1\"] }, found a list \n :10:10",
        ),
        (
            good_and("[limits]\nmax_sessions = \"many\""),
            "`max_sessions` in [limits]: expected a whole number, found string \"many\" \n :12:16",
        ),
        (
            good_and("[limits]\nmax_sessions = 1.5"),
            "`max_sessions` in [limits]: expected a whole number, found floating point `1.5`",
        ),
        (
            good_and("[limits]\nmax_sessions = 99999999999999999999"),
            "`max_sessions` in [limits]: expected a whole number \n :12:16",
        ),
        (
            good_with("outside = [\"wan0\"]", "outside = [\"wan0\"]\nhook = { xdp = 1 }"),
            "`hook` in [interfaces]: expected \"auto\", \"xdp\" or \"tc\", found a table \n :4:8",
        ),
    ] {
        refuse(&text, expected);
    }
}
