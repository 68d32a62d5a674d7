//! What is accepted, but surely not meant.

use super::{GOOD, accept, good_and, good_with};

fn warnings(text: &str) -> Vec<String> {
    accept(text).warnings.iter().map(ToString::to_string).collect()
}

/// [`GOOD`] and a second rule after its rule for 10.0.0.0/8, at line 11.
fn second(from: &str, to: &str, action: &str) -> Vec<String> {
    let rule = format!(
        "[[rules]]\nname = \"second\"\nfrom = [{from}]\nto = [{to}]\naction = \"{action}\"\n"
    );
    let source = "source = { addresses = [\"203.0.113.1\"] }\n";
    warnings(&good_and(&(rule + if action == "snat" { source } else { "" })))
}

#[test]
fn a_rule_behind_one_that_takes_everything() {
    let expected = "warning: rule `second` never matches: rule `internet` before it takes all its \
                    packets\n  --> nat.toml:11:1\n  help: move it before `internet`, or remove it";
    assert_eq!(second(r#""10.1.0.0/16""#, r#""8.8.8.8""#, "snat"), [expected]);
    assert_eq!(second(r#""10.0.0.0/9", "10.128.0.0/9""#, r#""external""#, "snat"), [expected]);
}

#[test]
fn a_rule_that_has_something_left() {
    for (from, to, action) in [
        (r#""10.1.0.0/16", "192.168.0.0/16""#, r#""external""#, "snat"),
        // The first rule does not cover GRE or SCTP.
        (r#""10.1.0.0/16""#, r#""8.8.8.8""#, "route"),
        (r#""10.1.0.0/16""#, r#""external""#, "drop"),
    ] {
        assert_eq!(second(from, to, action), [""; 0], "{from} {to} {action}");
    }
}

#[test]
fn external_is_what_no_network_has() {
    let networks = "[[networks]]\nname = \"a\"\nprefixes = [\"172.16.0.0/12\"]\n";
    let rule = "[[rules]]\nname = \"second\"\nfrom = [\"10.0.0.0/8\"]\naction = \"snat\"\n\
                source = { addresses = [\"203.0.113.1\"] }\n";
    let to = |to: &str| warnings(&good_and(&format!("{rule}to = [\"{to}\"]\n{networks}")));
    assert_eq!(to("a"), [""; 0]);
    assert_eq!(to("172.0.0.0/11"), [""; 0]);
    assert_eq!(to("172.32.0.0/11").len(), 1);
}

/// No prefix but that of all addresses surely covers the machine's own; no other rule has to.
#[test]
fn local_host_is_apart() {
    for (from, to, warned) in [
        (r#""local-host""#, r#""8.8.8.8""#, false),
        (r#""10.1.0.0/16", "local-host""#, r#""8.8.8.8""#, false),
        (r#""10.1.0.0/16""#, r#""local-host""#, false),
        (r#""10.1.0.0/16""#, r#""8.8.8.8""#, true),
    ] {
        assert_eq!(second(from, to, "snat").len(), usize::from(warned), "{from} {to}");
    }
    let all = |from: &str| {
        let rule = "[[rules]]\nname = \"second\"\nfrom = [\"local-host\"]\nto = [\"local-host\"]\n\
                    action = \"drop\"\n";
        let text = good_and(rule).replace("\"snat\"", "\"drop\"");
        let text = text.replace("source = { addresses = [\"203.0.113.1\"] }\n", "");
        let text = text.replace("[\"10.0.0.0/8\"]", from);
        warnings(&text.replace("[\"external\"]", from)).len()
    };
    assert_eq!(all("[\"0.0.0.0/1\", \"128.0.0.0/1\"]"), 1);
    assert_eq!(all("[\"local-host\"]"), 1);
    // Rules that translate leave the machine's own packets to those that name them.
    let snat = good_with("[\"10.0.0.0/8\"]", "[\"0.0.0.0/0\"]").replace("external", "0.0.0.0/0");
    let machine = "[[rules]]\nname = \"second\"\nfrom = [\"local-host\"]\nto = [\"8.8.8.8\"]\n\
                   action = \"snat\"\nsource = { addresses = [\"203.0.113.1\"] }\n";
    assert_eq!(warnings(&format!("{snat}{machine}")), [""; 0]);
    assert_eq!(all("[\"0.0.0.0/1\", \"external\"]"), 0);
}

#[test]
fn networks_that_leave_nothing_outside() {
    let text = good_and("[[networks]]\nname = \"all\"\nprefixes = [\"0.0.0.0/0\"]");
    assert_eq!(
        warnings(&text),
        ["warning: rule `internet` never matches: `external` covers no address\n  --> \
          nat.toml:5:1\n  help: the networks cover every address: narrow them"]
    );
}

#[test]
fn no_rules() {
    let text = GOOD.split("[[rules]]").next().unwrap();
    assert_eq!(
        warnings(text),
        ["warning: no [[rules]]: nothing is translated\n  --> nat.toml\n  help: add [[rules]] \
          with `action = \"snat\"`"]
    );
}

#[test]
fn an_order_that_works() {
    let route = "[[rules]]\nname = \"vpn\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"10.20.0.0/16\"]\n\
                 action = \"route\"\n\n[[rules]]";
    assert_eq!(warnings(&good_with("[[rules]]", route)), [""; 0]);
}
