//! `[[static_routes]]`

use super::{accept, good_and, refuse};
use crate::config::StaticRoute;

fn routes(tables: &str) -> Vec<StaticRoute> {
    accept(&good_and(tables)).static_routes
}

#[test]
fn routes_are_taken_in_order() {
    let routes = routes(
        "[[static_routes]]\nto = \"10.128.0.0/9\"\nvia = \"10.0.0.1\"\ndev = \"lan0\"\n\
         [[static_routes]]\nto = \"0.0.0.0/0\"\ndev = \"tun0\"\nmetric = 4294967295\n\
         [[static_routes]]\nto = \"192.0.2.1\"\ndev = \"eth0.100\"",
    );
    assert_eq!(
        routes[0],
        StaticRoute {
            to: "10.128.0.0/9".parse().unwrap(),
            via: Some([10, 0, 0, 1].into()),
            dev: "lan0".to_owned(),
            metric: 0,
        }
    );
    let shown: Vec<String> = routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "10.128.0.0/9 via 10.0.0.1 dev lan0",
            "0.0.0.0/0 dev tun0 metric 4294967295",
            "192.0.2.1/32 dev eth0.100",
        ]
    );
}

#[test]
fn routes_that_cannot_be() {
    let good = "to = \"10.128.0.0/9\"\nvia = \"10.0.0.1\"\ndev = \"lan0\"\n";
    let table = |lines: &str| good_and(&format!("[[static_routes]]\n{lines}"));
    let with = |line: &str, replacement: &str| {
        assert!(good.contains(line), "{line}");
        table(&good.replace(line, replacement))
    };
    let route = format!("[[static_routes]]\n{good}");
    for (text, expected) in [
        (
            table(""),
            "static route 1 has no `to` \n :11:1 \n add the destinations, such as `to = \n \
             static route 1 has no `dev` \n :11:1 \n add the interface, such as `dev = \"lan0\"`",
        ),
        (
            with("10.128.0.0/9", "10.0.0.0/9\"\nfrom = \"10.0.0.1"),
            "unknown key `from` in [[static_routes]] \n :13:1 \n the keys here are `to`, `via`",
        ),
        (
            with("10.128.0.0/9", "10.0.0.1/9"),
            "`to` of static route 1: `10.0.0.1/9` has bits set behind \n :12:6 \n \"10.0.0.0/9\"",
        ),
        (
            with("10.128.0.0/9", "default"),
            "`to` of static route 1: `default` is not an IPv4 prefix \n :12:6 \n write \"0.0.0.0/0\"",
        ),
        (with("10.128.0.0/9", "fd00::/8"), "`to` of static route 1: `fd00::/8` is an IPv6 address"),
        (
            with("\"10.0.0.1\"", "\"10.0.0\""),
            "`via` of static route 1: `10.0.0` is not an IPv4 address \n :13:7 \n \"10.0.0.1\"",
        ),
        (
            with("\"10.0.0.1\"", "\"0.0.0.0\""),
            "`via` of static route 1: 0.0.0.0 cannot be a router: 0.0.0.0/8 means \n :13:7 \n \
             name the router's address, or remove the line if the destinations are neighbours",
        ),
        (
            with("lan0", "a/b"),
            "`dev` of static route 1: interface name `a/b` contains '/' \n :14:7",
        ),
        (
            table(&format!("{good}metric = -1")),
            "`metric` of static route 1 cannot be -1 \n :15:10 \n from 0 to 4294967295",
        ),
        (
            table(&format!("{good}metric = 4294967296")),
            "`metric` of static route 1 cannot be 4294967296",
        ),
        (
            table(&format!("{good}metric = \"low\"")),
            "`metric` in [[static_routes]]: expected a whole number, found string \"low\"",
        ),
        // The kernel tells routes apart by destination and metric only.
        (
            good_and(
                &format!("{route}{route}")
                    .replace("9\"\nvia = \"10.0.0.1", "9\"\nvia = \"10.0.0.2"),
            ),
            "two static routes lead to 10.128.0.0/9 with metric 0 \n :15:1 \n remove one, or give",
        ),
        (
            good_and(&format!("[static_routes]\n{good}")),
            "wrong type for `static_routes`: expected a list, found a table \n :11:1 \n \
             write [[static_routes]], with two brackets",
        ),
    ] {
        refuse(&text, expected);
    }
    let standby = format!("{route}{route}metric = 100").replace("lan0", "wan0");
    assert_eq!(routes(&standby).len(), 2);
}

#[test]
fn a_route_past_the_interfaces_of_its_network() {
    let warnings = |to: &str, dev: &str, interfaces: &str| {
        let text = good_and(&format!(
            "[[static_routes]]\nto = \"{to}\"\ndev = \"{dev}\"\n[[networks]]\nname = \"office\"\n\
             prefixes = [\"192.168.0.0/16\"]\n{interfaces}"
        ));
        let text = text.replace("inside = [\"lan0\"]", "inside = [\"lan0\", \"lan1\"]");
        let shown: Vec<String> = accept(&text).warnings.iter().map(ToString::to_string).collect();
        shown.join("\n")
    };
    let lan0 = "interfaces = [\"lan0\"]";
    assert_eq!(
        warnings("192.168.7.0/24", "lan1", lan0),
        "warning: static route 1 leads to 192.168.7.0/24 by `lan1`, but what comes from network \
         `office` must arrive by `lan0`\n  --> nat.toml:11:1\n  help: add \"lan1\" to `interfaces` \
         of the network, or name another `dev`"
    );
    assert_eq!(warnings("192.168.0.0/16", "lan1", lan0).lines().count(), 3);
    for (to, dev, interfaces) in [
        ("192.168.7.0/24", "lan0", lan0),
        ("192.168.7.0/24", "lan1", "interfaces = [\"lan0\", \"lan1\"]"),
        ("192.168.7.0/24", "lan1", ""),
        // A wider route is for what has no narrower one.
        ("192.0.0.0/8", "lan1", lan0),
        ("10.0.0.0/8", "lan1", lan0),
    ] {
        assert_eq!(warnings(to, dev, interfaces), "", "{to} {dev} {interfaces}");
    }
}
