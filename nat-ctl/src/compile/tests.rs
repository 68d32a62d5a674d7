use nat_common::rule::{self, Match};
use proptest::prelude::*;

use super::*;
use crate::config::Protocol;

const HEADER: &str = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n";

fn parse(rules: &str) -> Config {
    Config::parse(&format!("{HEADER}{rules}"), "test.toml").unwrap()
}

fn wan(addresses: &[[u8; 4]]) -> Host {
    let addresses = addresses.iter().copied().map(Ipv4Addr::from).collect();
    let wan = OutsideInterface { index: 2, name: "wan0".to_owned(), addresses };
    Host { outside: vec![wan], ..Host::default() }
}

fn lookup(trie: &[(Ipv4Net, RuleBits)], address: Ipv4Addr) -> RuleBits {
    trie.iter()
        .filter(|(prefix, _)| prefix.contains(&address))
        .max_by_key(|(prefix, _)| prefix.prefix_len())
        .map_or(RuleBits::EMPTY, |(_, bits)| *bits)
}

fn classify(table: &RuleTable, from: Ipv4Addr, to: Ipv4Addr, subset: Subset) -> Match {
    let (source, destination) = (lookup(&table.from, from), lookup(&table.to, to));
    let rules = |subset: Subset| table.subsets[subset as usize];
    rule::first_match(&source, &destination, &rules(subset), &rules(Subset::Snat))
}

#[test]
fn external_is_everything_in_no_network() {
    let config = parse(
        r#"
        [[networks]]
        name = "internal"
        prefixes = ["10.0.0.0/8", "172.16.0.0/12"]
        [[networks]]
        name = "perimeter"
        prefixes = ["192.168.0.0/24"]
        [[rules]]
        name = "internet"
        from = ["internal"]
        to = ["external"]
        action = "snat"
        source = { addresses = ["203.0.113.7"] }
        "#,
    );
    let (table, _) = compile(&config, &wan(&[[203, 0, 113, 7]])).unwrap();
    let to = |address: [u8; 4]| classify(&table, [10, 1, 2, 3].into(), address.into(), Subset::Tcp);
    assert_eq!(to([8, 8, 8, 8]), Match::Rule(0));
    assert_eq!(to([192, 168, 1, 1]), Match::Rule(0));
    for inside in [[10, 9, 9, 9], [172, 31, 0, 1], [192, 168, 0, 255]] {
        assert_eq!(to(inside), Match::None, "{inside:?}");
    }
}

#[test]
fn the_machine_is_a_network_of_its_own() {
    let config = parse(
        r#"
        [[networks]]
        name = "internal"
        prefixes = ["10.0.0.0/8"]
        [[rules]]
        name = "clients"
        from = ["internal"]
        to = ["external"]
        action = "route"
        [[rules]]
        name = "machine"
        from = ["local-host"]
        to = ["external"]
        action = "route"
        [[rules]]
        name = "prefix"
        from = ["10.0.0.0/24"]
        to = ["127.0.0.0/8"]
        action = "route"
        [[rules]]
        name = "to the machine"
        from = ["0.0.0.0/0"]
        to = ["local-host"]
        action = "route"
        "#,
    );
    let local = [[10, 0, 0, 1], [203, 0, 113, 7], [127, 0, 0, 1]];
    let local = local.map(|address| (1, Ipv4Addr::from(address))).to_vec();
    let (table, _) = compile(&config, &Host { local, ..wan(&[[203, 0, 113, 7]]) }).unwrap();
    for (from, to, rule) in [
        // The longest prefix wins: the gateway's address inside is the gateway's.
        ([10, 0, 0, 2], [8, 8, 8, 8], Match::Rule(0)),
        ([10, 0, 0, 1], [8, 8, 8, 8], Match::Rule(1)),
        ([203, 0, 113, 7], [8, 8, 8, 8], Match::Rule(1)),
        // `external` ends at the machine, but for the addresses behind which others hide; a prefix
        // does not.
        ([10, 0, 0, 2], [203, 0, 113, 6], Match::Rule(0)),
        ([10, 0, 0, 2], [203, 0, 113, 7], Match::Rule(0)),
        ([10, 0, 0, 2], [127, 0, 0, 1], Match::Rule(2)),
        ([10, 0, 0, 1], [203, 0, 113, 7], Match::Rule(1)),
        ([10, 9, 0, 1], [127, 0, 0, 1], Match::Rule(3)),
        ([10, 9, 0, 1], [10, 0, 0, 1], Match::Rule(3)),
        ([10, 9, 0, 1], [10, 0, 0, 2], Match::None),
    ] {
        assert_eq!(classify(&table, from.into(), to.into(), Subset::Tcp), rule, "{from:?} {to:?}");
    }
}

#[test]
fn local_addresses_take_no_room_where_no_network_is_named() {
    let config = parse(
        "[[rules]]\nname = \"r\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"8.8.8.8\"]\naction = \"drop\"\n",
    );
    let local = vec![(1, Ipv4Addr::new(10, 0, 0, 1))];
    let (table, _) = compile(&config, &Host { local, ..Host::default() }).unwrap();
    assert_eq!((table.from.len(), table.to.len()), (1, 1));
}

#[test]
fn a_rule_for_tcp_only_leaves_udp_to_later_rules_or_to_nobody() {
    let config = parse(
        r#"
        [[rules]]
        name = "web"
        from = ["10.0.0.0/8"]
        to = ["0.0.0.0/0"]
        protocols = ["tcp"]
        action = "snat"
        source = { addresses = ["203.0.113.7"] }
        [[rules]]
        name = "dns"
        from = ["10.0.0.0/8"]
        to = ["8.8.8.8"]
        action = "route"
        "#,
    );
    let (table, _) = compile(&config, &wan(&[[203, 0, 113, 7]])).unwrap();
    let to =
        |address: [u8; 4], subset| classify(&table, [10, 1, 2, 3].into(), address.into(), subset);
    assert_eq!(to([8, 8, 8, 8], Subset::Tcp), Match::Rule(0));
    assert_eq!(to([8, 8, 8, 8], Subset::Udp), Match::Rule(1));
    assert_eq!(to([9, 9, 9, 9], Subset::Udp), Match::OnlyProtocolDiffers);
    assert_eq!(to([9, 9, 9, 9], Subset::Other), Match::OnlyProtocolDiffers);
}

#[test]
fn only_addresses_of_the_interface_are_used_there_and_the_rest_is_said() {
    let config = parse(
        r#"
        [[rules]]
        name = "internet"
        from = ["10.0.0.0/8"]
        to = ["0.0.0.0/0"]
        action = "snat"
        source = { addresses = ["203.0.113.7", "203.0.113.8"] }
        "#,
    );
    let (table, warnings) = compile(&config, &wan(&[[203, 0, 113, 8], [203, 0, 113, 1]])).unwrap();
    let listed = External::Listed(vec![Ipv4Addr::new(203, 0, 113, 8)]);
    assert_eq!(table.rules[0].pools, [(2, listed)]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("203.0.113.7"), "{warnings:?}");

    let (table, warnings) = compile(&config, &wan(&[[198, 51, 100, 1]])).unwrap();
    assert_eq!(table.rules[0].pools, []);
    assert!(warnings.iter().any(|warning| warning.contains("address_not_on_egress")));
}

#[test]
fn a_rule_for_everybody_translates_the_gateways_own_packets_only_if_it_says_so() {
    let gateway = Ipv4Addr::new(203, 0, 113, 7);
    let from = |from: &str| {
        let rule = format!(
            "[[rules]]\nname = \"r\"\nfrom = {from}\nto = [\"0.0.0.0/0\"]\n\
             action = \"snat\"\nsource = {{ addresses = [\"203.0.113.7\"] }}\n"
        );
        let host = Host { local: vec![(2, gateway)], ..wan(&[[203, 0, 113, 7]]) };
        let (table, _) = compile(&parse(&rule), &host).unwrap();
        let to = Ipv4Addr::new(8, 8, 8, 8);
        [gateway, Ipv4Addr::new(203, 0, 113, 8)].map(|from| classify(&table, from, to, Subset::Tcp))
    };
    assert_eq!(from("[\"0.0.0.0/0\"]"), [Match::None, Match::Rule(0)]);
    assert_eq!(from("[\"203.0.113.0/24\"]"), [Match::None, Match::Rule(0)]);
    assert_eq!(from("[\"203.0.113.7\"]"), [Match::Rule(0), Match::None]);
    assert_eq!(from("[\"local-host\"]"), [Match::Rule(0), Match::None]);
    assert_eq!(from("[\"0.0.0.0/0\", \"local-host\"]"), [Match::Rule(0); 2]);
}

#[test]
fn more_prefixes_than_fit_are_refused() {
    let hosts: Vec<_> = (0..=PREFIXES_PER_TABLE)
        .map(|n| format!("\"{}\"", Ipv4Addr::from(0x0b00_0000 + n as u32)))
        .collect();
    let rule = format!(
        "[[rules]]\nname = \"r\"\nfrom = [\"10.0.0.0/8\"]\nto = [{}]\naction = \"drop\"\n",
        hosts.join(", ")
    );
    let error = compile(&parse(&rule), &wan(&[])).unwrap_err();
    assert!(error.to_string().contains("32769 different prefixes in `to`"), "{error}");
}

#[test]
fn the_limits_of_the_file_are_those_of_the_maps() {
    use nat_common::limits;
    assert_eq!(config::RULES_MAX, limits::RULES_MAX as usize);
    assert_eq!(config::ADDRESSES_MAX, limits::POOL_ADDRESSES_MAX as usize);
    assert_eq!(u64::from(config::COOLDOWN_MS_MAX), limits::COOLDOWN_MAX_MS);
    assert_eq!(config::NEW_PER_SECOND_MAX, limits::NEW_PER_SECOND_MAX);
    assert_eq!(config::INTERFACES_MAX, limits::INTERFACES_MAX as usize);
    assert_eq!(config::NAME_BYTES_MAX + 1, limits::RULE_NAME_BYTES);
}

/// Prefixes within one byte, so that they nest and meet often.
fn prefix() -> impl Strategy<Value = Ipv4Net> {
    (any::<u8>(), 24_u8..=32)
        .prop_map(|(last, len)| Ipv4Net::new([10, 0, 0, last].into(), len).unwrap().trunc())
}

proptest! {
    /// Every address of the small universe, against the definition.
    #[test]
    fn the_tries_equal_the_rules_read_one_by_one(
        rules in proptest::collection::vec((prefix(), prefix()), 1..12),
    ) {
        let text: String = rules
            .iter()
            .enumerate()
            .map(|(n, (from, to))| format!(
                "[[rules]]\nname = \"r{n}\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\n\
                 action = \"route\"\n"
            ))
            .collect();
        let (table, _) = compile(&parse(&text), &wan(&[])).unwrap();
        for last in 0..=255 {
            let (from, to) = (Ipv4Addr::new(10, 0, 0, last), Ipv4Addr::new(10, 0, 0, !last));
            let expected = rules
                .iter()
                .position(|rule| rule.0.contains(&from) && rule.1.contains(&to))
                .map_or(Match::None, |n| Match::Rule(n as u32));
            prop_assert_eq!(classify(&table, from, to, Subset::Udp), expected);
        }
    }

    /// The same for words, with addresses of the machine among the prefixes.
    #[test]
    fn the_tries_equal_the_meaning_of_words(
        network in prefix(),
        from in proptest::collection::vec((0_usize..4, prefix()), 1..12),
        local in proptest::collection::btree_set(any::<u8>(), 0..6),
    ) {
        let word = |(kind, prefix): &(usize, Ipv4Net)| match kind {
            0 => "internal".to_owned(),
            1 => "external".to_owned(),
            2 => "local-host".to_owned(),
            _ => prefix.to_string(),
        };
        let mut text = format!("[[networks]]\nname = \"internal\"\nprefixes = [\"{network}\"]\n");
        for (n, from) in from.iter().enumerate() {
            text.push_str(&format!(
                "[[rules]]\nname = \"r{n}\"\nfrom = [\"{}\"]\nto = [\"0.0.0.0/0\"]\n\
                 action = \"route\"\n",
                word(from)
            ));
        }
        let addresses = local.iter().map(|last| (1, Ipv4Addr::new(10, 0, 0, *last))).collect();
        let host = Host { local: addresses, ..Host::default() };
        let config = parse(&text);
        let own: Vec<_> = host.local.iter().map(|(_, address)| *address).collect();
        let (table, _) = compile(&config, &host).unwrap();
        for last in 0..=255 {
            let address = Ipv4Addr::new(10, 0, 0, last);
            let is_local = local.contains(&last);
            let covers = |(kind, prefix): &(usize, Ipv4Net)| match kind {
                0 => !is_local && network.contains(&address),
                1 => !is_local && !network.contains(&address),
                2 => is_local,
                _ => prefix.contains(&address),
            };
            let expected =
                from.iter().position(covers).map_or(Match::None, |n| Match::Rule(n as u32));
            prop_assert_eq!(
                classify(&table, address, Ipv4Addr::new(8, 8, 8, 8), Subset::Udp),
                expected
            );
            // Read in order, without a table.
            let to = Ipv4Addr::new(8, 8, 8, 8);
            let packet = Packet { from: Some(address), to, protocol: Some(Protocol::Udp) };
            let own = Own { all: &own, outside: &[] };
            let read = match first_match(&config, own, packet) {
                Matched::Rule(rule) => {
                    let position = config.rules.iter().position(|one| one.name == rule.name);
                    Match::Rule(position.unwrap() as u32)
                }
                Matched::OnlyProtocolDiffers(_) => Match::OnlyProtocolDiffers,
                Matched::Nothing => Match::None,
            };
            prop_assert_eq!(read, expected);
        }
    }
}

#[test]
fn a_packet_that_only_its_protocol_keeps_from_a_rule() {
    let config = parse(
        "[[rules]]\nname = \"web\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"0.0.0.0/0\"]\n\
         protocols = [\"tcp\"]\naction = \"snat\"\n",
    );
    let web = &config.rules[0];
    let packet =
        |protocol| Packet { from: None, to: Ipv4Addr::new(8, 8, 8, 8), protocol: Some(protocol) };
    let first_match = |protocol| first_match(&config, Own::default(), packet(protocol));
    assert_eq!(first_match(Protocol::Tcp), Matched::Rule(web));
    assert_eq!(first_match(Protocol::Udp), Matched::OnlyProtocolDiffers(web));
}

#[test]
fn networks_that_name_their_interfaces_guard_every_source() {
    let config = Config::parse(
        "[interfaces]\ninside = [\"lan0\", \"lan1\"]\noutside = [\"wan0\"]\n\
         [[networks]]\nname = \"a\"\nprefixes = [\"10.0.0.0/24\", \"10.0.1.0/24\"]\n\
         interfaces = [\"lan0\"]\n\
         [[networks]]\nname = \"b\"\nprefixes = [\"10.1.0.0/16\"]\ninterfaces = [\"lan1\", \"lan0\"]\n\
         [[networks]]\nname = \"free\"\nprefixes = [\"10.2.0.0/16\"]\n",
        "test.toml",
    )
    .unwrap();
    let inside = vec![("lan0".to_owned(), 7), ("lan1".to_owned(), 8)];
    let host = Host { inside, ..Host::default() };
    let (table, _) = compile(&config, &host).unwrap();
    assert_eq!(table.settings.guarded, 1);
    let prefix = |text: &str| text.parse::<Ipv4Net>().unwrap();
    assert_eq!(
        table.guards,
        [
            (prefix("0.0.0.0/0"), Guard::new(false, &[7, 8])),
            (prefix("10.0.0.0/24"), Guard::new(true, &[7])),
            (prefix("10.0.1.0/24"), Guard::new(true, &[7])),
            (prefix("10.1.0.0/16"), Guard::new(true, &[7, 8])),
        ]
    );
    let (table, _) = compile(&parse(""), &host).unwrap();
    assert_eq!((table.settings.guarded, table.guards.len()), (0, 0));
}

/// The segment size of the first rule, with an inside interface and two outside, of which the rule
/// uses the second.
fn mss_of(wanted: config::Mss, inside: u32, outside: [u32; 2]) -> u16 {
    let mut config = parse(
        r#"
        [[rules]]
        name = "internet"
        from = ["10.0.0.0/8"]
        to = ["0.0.0.0/0"]
        action = "snat"
        source = { addresses = ["203.0.113.7"] }
        "#,
    );
    let config::Action::Snat(snat) = &mut config.rules[0].action else { panic!("no snat rule") };
    snat.mss = wanted;
    let mut host = wan(&[[203, 0, 113, 7]]);
    let idle = OutsideInterface { index: 3, name: "wan1".to_owned(), addresses: Vec::new() };
    host.outside.insert(0, idle);
    host.inside = vec![("lan0".to_owned(), 1)];
    host.mtus = [(1, inside), (2, outside[1]), (3, outside[0])].into();
    let (table, _) = compile(&config, &host).unwrap();
    table.rules[0].mss
}

#[test]
fn segments_are_limited_to_what_the_interfaces_of_a_rule_carry() {
    use config::Mss;
    assert_eq!(mss_of(Mss::Auto, 1500, [1500, 1492]), 1452, "PPPoE");
    assert_eq!(mss_of(Mss::Auto, 1420, [1500, 1500]), 1380, "a tunnel to the clients");
    assert_eq!(mss_of(Mss::Auto, 9000, [1280, 1500]), 1460, "not by an interface it does not use");
    assert_eq!(mss_of(Mss::Auto, 1 << 20, [1 << 20, 1 << 20]), u16::MAX);
    assert_eq!(mss_of(Mss::Auto, 1500, [1500, 20]), 0, "nothing that makes sense");
    assert_eq!(mss_of(Mss::Off, 1500, [1500, 1400]), 0);
    assert_eq!(mss_of(Mss::Clamp(1300), 1500, [1500, 1200]), 1300, "as written");
}
