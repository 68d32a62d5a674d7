use clap::Parser as _;

use super::*;
use crate::{
    cli::{Cli, Command},
    output::Style,
    source::testing::host,
};

const ARTICLE: &str = "ext: 192.168.1.14/24, 192.168.1.68/24
                       192.168.1.0/24 dev ext
                       0.0.0.0/0 via 192.168.1.127 dev ext";

fn args(line: &str) -> ExplainArgs {
    match Cli::try_parse_from(format!("nat-ctl explain {line}").split_whitespace()) {
        Ok(Cli { command: Command::Explain(args), .. }) => args,
        other => panic!("{other:?}"),
    }
}

fn told(hosts: &str, line: &str, rule: Option<Matched>) -> Answer {
    answer(&args(line), Asked { host: host(hosts).into(), rule, ..Asked::default() }).unwrap()
}

fn text(hosts: &str, line: &str) -> String {
    text::render(&told(hosts, line, None), Style::new(false))
}

fn snat(model: Model, addresses: &[&str]) -> Matched {
    let action = Action::Snat {
        model,
        options: Options::default(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        pooling: Pooling::Paired,
        behaviour: vec![
            Behaviour {
                proto: Protocol::Udp,
                mapping: Mapping::EndpointIndependent,
                filtering: Filtering::AddressDependent,
            },
            Behaviour {
                proto: Protocol::Icmp,
                mapping: Mapping::EndpointIndependent,
                filtering: Filtering::AddressDependent,
            },
        ],
    };
    Matched { name: Some("internet".to_owned()), action }
}

#[test]
fn the_article_s_example() {
    assert_eq!(
        text(ARTICLE, "203.0.113.9"),
        "\
203.0.113.9 is reached from 192.168.1.68

why       rule 8a: it shares the most bits with the next hop
model     strong-host (Windows Server 2008 and later: by rules, also the longest match with the next hop)
route     0.0.0.0/0 via 192.168.1.127 dev ext
next hop  192.168.1.127, the gateway

Bits shared with the next hop
192.168.1.127  11000000 10101000 00000001 01111111
192.168.1.14   11000000 10101000 00000001 00001110  25
192.168.1.68   11000000 10101000 00000001 01000100  26

Rules in turn
8a    192.168.1.14 shares 25 bits with the next hop 192.168.1.127, not 26
wins  192.168.1.68
"
    );
}

#[test]
fn a_tie_is_shown_to_the_last_rule_and_called_one() {
    assert_eq!(
        text(&ARTICLE.replace(".127", ".254"), "203.0.113.9:443"),
        "\
203.0.113.9 is reached from 192.168.1.14

why       no rule decides: it comes first
model     strong-host (Windows Server 2008 and later: by rules, also the longest match with the next hop)
route     0.0.0.0/0 via 192.168.1.254 dev ext
next hop  192.168.1.254, the gateway

Bits shared with the next hop
192.168.1.254  11000000 10101000 00000001 11111110
192.168.1.14   11000000 10101000 00000001 00001110  24
192.168.1.68   11000000 10101000 00000001 01000100  24

Bits shared with the destination
203.0.113.9   11001011 00000000 01110001 00001001
192.168.1.14  11000000 10101000 00000001 00001110  4
192.168.1.68  11000000 10101000 00000001 01000100  4

Rules in turn
tie   192.168.1.68 is as good by every rule, and loses the tie-break
wins  192.168.1.14

warning: no rule decided: 192.168.1.14 was taken because it is configured first: another order, and \
the source is another
"
    );
}

#[test]
fn whoever_went_before_the_bits_were_counted_is_not_among_them() {
    let text = text(
        "ext: 192.168.1.126/24 skip_as_source, 192.168.1.14/24, 192.168.1.69/24 deprecated, \
         192.168.1.68/24
         0.0.0.0/0 via 192.168.1.127 dev ext metric 20",
        "203.0.113.9",
    );
    let from = text.find("route").unwrap();
    assert_eq!(
        &text[from..],
        "\
route     0.0.0.0/0 via 192.168.1.127 dev ext metric 20
next hop  192.168.1.127, the gateway

Bits shared with the next hop
192.168.1.127  11000000 10101000 00000001 01111111
192.168.1.14   11000000 10101000 00000001 00001110  25
192.168.1.68   11000000 10101000 00000001 01000100  26

Rules in turn
skip-as-source  192.168.1.126 is marked SkipAsSource: it has to be asked for by name
3               192.168.1.69 is deprecated
8a              192.168.1.14 shares 25 bits with the next hop 192.168.1.127, not 26
wins            192.168.1.68
"
    );
}

#[test]
fn models_that_count_no_bits_show_none() {
    assert_eq!(
        text(ARTICLE, "203.0.113.9 --model weak"),
        "\
203.0.113.9 is reached from 192.168.1.14

why       it is configured first
model     weak-host (Windows up to Server 2003: the egress interface's primary address)
route     0.0.0.0/0 via 192.168.1.127 dev ext
next hop  192.168.1.127, the gateway

Rules in turn
first-configured  192.168.1.68 is not the first in configured order
wins              192.168.1.14
"
    );
}

#[test]
fn an_address_of_another_interface_looks_spoofed() {
    let two = format!("{ARTICLE}\nint: 10.0.0.1/24");
    let weak = text(&two, "203.0.113.9 --model weak-host --bind 10.0.0.1");
    assert!(weak.starts_with("203.0.113.9 is reached from 10.0.0.1\n"), "{weak}");
    assert!(
        weak.ends_with(
            "\nwarning: 10.0.0.1 is not an address of ext, which the packet leaves by: upstream \
             firewalls will call it spoofed\n"
        ),
        "{weak}"
    );
    assert_eq!(
        text(&two, "203.0.113.9 --bind 10.0.0.1"),
        "\
203.0.113.9 is not reached: no-route

why       the interface that has 10.0.0.1 has no route to 203.0.113.9
model     strong-host (Windows Server 2008 and later: by rules, also the longest match with the next hop)

warning: only routes of the interface that has 10.0.0.1 count for a packet bound to it; without, it \
would leave by ext
"
    );
}

#[test]
fn without_a_source_the_addresses_are_listed_all_the_same() {
    let text = text(&ARTICLE.replace("/24,", "/24 tentative,"), "203.0.113.9 --model specified");
    assert_eq!(
        text,
        "\
203.0.113.9 is not reached: empty-pool

why       no address is named
model     specified (TMG: the specified address)
route     0.0.0.0/0 via 192.168.1.127 dev ext
next hop  192.168.1.127, the gateway

Addresses
tentative  192.168.1.14 is tentative: somebody else may have it
-          192.168.1.68
"
    );
}

#[test]
fn ipv6_is_counted_in_hexadecimal() {
    let text = text(
        "eth0: 2001:db8:1::1/64, 2001:db8:1::2/48\n::/0 via fe80::1 dev eth0",
        "[2001:db8:1::3]:443 --model rfc6724",
    );
    assert!(
        text.contains(
            "
Bits shared with the destination, no further than the subnet's prefix
2001:db8:1::3  2001:0db8:0001:0000:0000:0000:0000:0003
2001:db8:1::1  2001:0db8:0001:0000:0000:0000:0000:0001  64
2001:db8:1::2  2001:0db8:0001:0000:0000:0000:0000:0002  48
"
        ),
        "{text}"
    );
    assert!(!text.contains("with the next hop"), "{text}");
}

#[test]
fn colour_parts_the_bits() {
    let text = text::render(&told(ARTICLE, "203.0.113.9", None), Style::new(true));
    for part in [
        "reached from \u{1b}[32m192.168.1.68\u{1b}[0m\n",
        "192.168.1.14   \u{1b}[32m11000000 10101000 00000001 0\u{1b}[0m\u{1b}[2m0001110\u{1b}[0m  25\n",
        "\u{1b}[32mwins  192.168.1.68\u{1b}[0m\n",
    ] {
        assert!(text.contains(part), "{text:?}");
    }
    let whole = text::render(&told(ARTICLE, "192.168.1.14", None), Style::new(true));
    assert!(whole.contains("192.168.1.14"), "{whole:?}");
}

#[test]
fn names_cannot_paint_the_screen() {
    let text = text(&ARTICLE.replace("ext", "\u{1b}[2Jx"), "203.0.113.9");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("dev \\u{1b}[2Jx\n"), "{text:?}");
}

#[test]
fn json_has_what_is_promised() {
    let answer = told(ARTICLE, "203.0.113.9", None);
    let mut value = serde_json::to_value(view(&answer)).unwrap();
    assert!(value["version"].take().is_string());
    assert_eq!(
        value,
        serde_json::json!({
            "schema": "nat-ctl/explain/1",
            "version": null,
            "destination": "203.0.113.9",
            "rule": null,
            "action": null,
            "model": "strong-host",
            "dev": "ext",
            "next_hop": "192.168.1.127",
            "source": "192.168.1.68",
            "deciding_rule": "8a",
            "candidates": [
                {
                    "address": "192.168.1.14",
                    "dev": "ext",
                    "eliminated_by": "8a",
                    "common_prefix_next_hop": 25,
                    "common_prefix_destination": 4,
                },
                {
                    "address": "192.168.1.68",
                    "dev": "ext",
                    "eliminated_by": null,
                    "common_prefix_next_hop": 26,
                    "common_prefix_destination": 4,
                },
            ],
            "behaviour": [], "in_force": null,
            "error": null,
            "warnings": [],
        })
    );
}

#[test]
fn json_of_an_error_has_what_is_known() {
    let value = serde_json::to_value(view(&told(ARTICLE, "224.0.0.1", None))).unwrap();
    assert_eq!(value["error"], "not-unicast");
    for field in ["dev", "next_hop", "source", "deciding_rule", "rule", "action"] {
        assert_eq!(value[field], serde_json::Value::Null, "{field}");
    }
    let bare = told("ext:\n0.0.0.0/0 via 192.168.1.127 dev ext", "203.0.113.9", None);
    let value = serde_json::to_value(view(&bare)).unwrap();
    assert_eq!(value["error"], "no-source");
    assert_eq!((&value["dev"], &value["next_hop"]), (&"ext".into(), &"192.168.1.127".into()));
}

#[test]
fn a_rule_gives_model_and_addresses_unless_a_flag_does() {
    let source = |rule, line: &str| {
        let answer = told(ARTICLE, line, Some(rule));
        let view = view(&answer);
        assert_eq!((view.rule.as_deref(), view.action), (Some("internet"), Some("snat")));
        view.source.map(|source| source.to_string())
    };
    let (first, second) = (Some("192.168.1.14".to_owned()), Some("192.168.1.68".to_owned()));
    assert_eq!(source(snat(Model::IsaFirst, &[]), "203.0.113.9"), first);
    assert_eq!(source(snat(Model::IsaFirst, &[]), "203.0.113.9 --model strong"), second);
    assert_eq!(source(snat(Model::Specified, &["192.168.1.68"]), "203.0.113.9"), second);
    let both = ["192.168.1.14", "192.168.1.68"];
    let of = |client| {
        source(snat(Model::Multiple, &both), &format!("203.0.113.9 --from 10.0.0.{client}"))
    };
    assert!(
        (0..20).any(|client| of(client) == first) && (0..20).any(|client| of(client) == second)
    );
    let text = text::render(
        &told(ARTICLE, "203.0.113.9", Some(snat(Model::IsaFirst, &[]))),
        Style::new(false),
    );
    assert!(text.contains("\nrule      internet (snat)\n"), "{text}");
    let ports =
        "\nports     udp, icmp: mapping endpoint-independent, filtering address-dependent\n";
    assert!(text.contains(ports), "{text}");
}

#[test]
fn rules_that_do_not_translate() {
    let rule = |action| Some(Matched { name: Some("vpn".to_owned()), action });
    let routed = told(ARTICLE, "203.0.113.9", rule(Action::Route));
    assert_eq!(
        text::render(&routed, Style::new(false)),
        "packets to 203.0.113.9 leave as they are, by ext\n\n\
         rule      vpn (route)\nnext hop  192.168.1.127, the gateway\n"
    );
    let routed = view(&routed);
    assert_eq!((routed.action, routed.dev.as_deref()), (Some("route"), Some("ext")));
    assert_eq!((routed.source, routed.error), (None, None));
    let nowhere = told("ext:", "203.0.113.9", rule(Action::Route));
    assert_eq!(view(&nowhere).error, Some(Error::NoRoute));
    let dropped = told(ARTICLE, "203.0.113.9", rule(Action::Drop));
    assert_eq!(
        text::render(&dropped, Style::new(false)),
        "packets to 203.0.113.9 are dropped\n\nrule      vpn (drop)\n"
    );
    assert_eq!((view(&dropped).action, view(&dropped).dev), (Some("drop"), None));
}

#[test]
fn flags_override_the_file() {
    let file = r#"{"interfaces":[{"name":"ext","addresses":[
            {"ip":"192.168.1.14","prefix":24},{"ip":"192.168.1.68","prefix":24}]}],
        "routes":[{"dst":"0.0.0.0/0","via":"192.168.1.254","dev":"ext"}],
        "destination":"203.0.113.9","model":"lowest","bind":null,
        "options":{"tie_break":"lowest"}}"#;
    let file = Vector::read(file).unwrap();
    let source = |line: &str| {
        view(&answer(&args(line), Asked { host: file.clone(), ..Asked::default() }).unwrap())
    };
    assert_eq!(source("").deciding_rule, Some(Rule::Smallest));
    assert_eq!(source("--model strong").deciding_rule, Some(Rule::Tie));
    assert_eq!(source("--bind 192.168.1.68").deciding_rule, Some(Rule::Bound));
    assert_eq!(source("192.168.1.70").next_hop, source("").next_hop);
    assert_eq!(source("192.168.1.70").destination, "192.168.1.70".parse::<IpAddr>().unwrap());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let refused = |line: &str, rule| {
        let failure =
            answer(&args(line), Asked { host: host(ARTICLE).into(), rule, ..Asked::default() })
                .err()
                .unwrap();
        assert_eq!(failure.exit, Exit::Usage);
        failure.what
    };
    assert_eq!(refused("", None), "there is no destination");
    assert_eq!(refused("203.0.113.9 --bind ::1", None), "::1 cannot be the source to 203.0.113.9");
    let two = snat(Model::Specified, &["192.168.1.14", "192.168.1.68"]);
    assert!(refused("203.0.113.9", Some(two)).starts_with("the model `specified` takes one"));
}
