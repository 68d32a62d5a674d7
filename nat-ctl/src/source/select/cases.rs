//! Cases that the vectors do not show.
use super::*;
use crate::source::{CandidateSet, Options, testing::host};

const DUAL: &str = "wan0: 198.51.100.5/24, 198.51.100.6/24 skip_as_source
                    lan0: 10.0.0.1/24, 10.0.0.2/24 tentative
                    0.0.0.0/0 via 198.51.100.1 dev wan0
                    198.51.100.0/24 dev wan0
                    10.0.0.0/8 via 10.0.0.254 dev lan0";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `source rule dev`, or the error.
fn brief(told: &Explanation) -> String {
    match told.outcome {
        Ok((source, rule)) => format!("{source} {rule} {}", told.dev().unwrap()),
        Err(error) => error.to_string(),
    }
}

fn ask(text: &str, destination: &str, model: Model) -> String {
    brief(&select(&host(text), &Query::new(ip(destination), model)))
}

fn fates(told: &Explanation) -> Vec<String> {
    let fate = |judged: &Judged| {
        let fate = judged.eliminated_by.map_or("wins", Eliminated::as_str);
        format!("{} {fate}", judged.address)
    };
    told.candidates.iter().map(fate).collect()
}

#[test]
fn a_bound_source_steers_a_strong_host_and_not_a_weak_one() {
    let bound = |bind: &str, destination: &str, model| {
        let query = Query { bind: Some(ip(bind)), ..Query::new(ip(destination), model) };
        select(&host(DUAL), &query)
    };
    for (bind, destination, strong, weak) in [
        ("198.51.100.5", "8.8.8.8", "198.51.100.5 bound wan0", "198.51.100.5 bound wan0"),
        // Named, so the flag does not matter.
        ("198.51.100.6", "8.8.8.8", "198.51.100.6 bound wan0", "198.51.100.6 bound wan0"),
        ("198.51.100.5", "10.9.9.9", "198.51.100.5 bound wan0", "198.51.100.5 bound lan0"),
        ("10.0.0.1", "8.8.8.8", "no-route", "10.0.0.1 bound wan0"),
        ("10.0.0.9", "8.8.8.8", "not-local", "not-local"),
        // Tentative, but configured.
        ("10.0.0.2", "8.8.8.8", "no-route", "10.0.0.2 bound wan0"),
        ("10.0.0.1", "224.0.0.1", "not-unicast", "not-unicast"),
        ("10.0.0.1", "2001:db8::1", "no-source", "no-source"),
    ] {
        assert_eq!(brief(&bound(bind, destination, Model::Strong)), strong, "{bind}");
        assert_eq!(brief(&bound(bind, destination, Model::Rfc6724)), strong, "{bind}");
        for model in [Model::Weak, Model::TmgDefault, Model::Linux, Model::WebProxy] {
            assert_eq!(brief(&bound(bind, destination, model)), weak, "{bind} {model}");
        }
    }
    let told = bound("10.0.0.1", "8.8.8.8", Model::Weak);
    assert_eq!(
        told.warnings,
        [
            "10.0.0.1 is not an address of wan0, which the packet leaves by: upstream firewalls will \
          call it spoofed"
        ]
    );
    assert_eq!(fates(&told), ["198.51.100.5 bound", "198.51.100.6 bound", "10.0.0.1 wins"]);
    let told = bound("10.0.0.1", "8.8.8.8", Model::Strong);
    assert_eq!(
        told.warnings,
        [
            "only routes of the interface that has 10.0.0.1 count for a packet bound to it; without, \
          it would leave by wan0"
        ]
    );
    assert_eq!(bound("198.51.100.5", "8.8.8.8", Model::Weak).warnings, Vec::<String>::new());
}

#[test]
fn those_that_never_entered_are_listed_with_the_reason() {
    let text =
        "wan0: 192.0.2.2/24 skip_as_source, 192.0.2.3/24 tentative, 192.0.2.4/24 duplicate, \
                      192.0.2.5/24 invalid, 192.0.2.255/24, 192.0.2.6/24, 192.0.2.7/24 deprecated
                0.0.0.0/0 via 192.0.2.1 dev wan0";
    let told = select(&host(text), &Query::new(ip("8.8.8.8"), Model::Strong));
    assert_eq!(
        fates(&told),
        [
            "192.0.2.2 skip-as-source",
            "192.0.2.3 tentative",
            "192.0.2.4 duplicate",
            "192.0.2.5 invalid",
            "192.0.2.255 invalid",
            "192.0.2.6 wins",
            "192.0.2.7 3",
        ]
    );
    assert_eq!(told.candidates[6].reason, "is deprecated");
    for (model, expected) in [
        (Model::Weak, "192.0.2.2 first-configured wan0"),
        (Model::TmgDefault, "192.0.2.2 smallest wan0"),
        (Model::Linux, "192.0.2.2 linux-first-primary wan0"),
    ] {
        assert_eq!(ask(text, "8.8.8.8", model), expected);
    }
    let options = Options { honour_skip_as_source: true, ..Options::default() };
    for (model, expected) in [
        (Model::Weak, "192.0.2.6 first-configured wan0"),
        (Model::IsaFirst, "192.0.2.6 first-configured wan0"),
        (Model::WebProxy, "192.0.2.6 first-configured wan0"),
        (Model::TmgDefault, "192.0.2.6 smallest wan0"),
    ] {
        let query = Query { options, ..Query::new(ip("8.8.8.8"), model) };
        assert_eq!(brief(&select(&host(text), &query)), expected);
    }
}

#[test]
fn without_usable_addresses_there_is_no_source() {
    let text = "wan0: 192.0.2.2/24 tentative, 192.0.2.3/24 skip_as_source
                lan0: 10.0.0.1/24
                0.0.0.0/0 dev wan0";
    let told = select(&host(text), &Query::new(ip("8.8.8.8"), Model::Strong));
    assert_eq!(told.error(), Some(Error::NoSource));
    assert_eq!((told.dev(), told.next_hop), (Some("wan0"), Some(ip("8.8.8.8"))));
    assert_eq!(fates(&told), ["192.0.2.2 tentative", "192.0.2.3 skip-as-source"]);
    assert_eq!(ask(text, "8.8.8.8", Model::Weak), "192.0.2.3 first-configured wan0");
    assert_eq!(ask("wan0:\n0.0.0.0/0 dev wan0", "8.8.8.8", Model::TmgDefault), "no-source");
}

#[test]
fn all_interfaces_are_asked_unless_the_destination_is_of_the_link() {
    let text = "lan0: 10.0.0.1/24
                wan0: 169.254.1.1/16
                down0 down: 203.0.113.9/24
                0.0.0.0/0 dev wan0";
    let options = Options { candidates: CandidateSet::All, ..Options::default() };
    let told = |destination: &str| {
        select(&host(text), &Query { options, ..Query::new(ip(destination), Model::Strong) })
    };
    assert_eq!(fates(&told("8.8.8.8")), ["169.254.1.1 2", "10.0.0.1 wins"]);
    assert_eq!(fates(&told("169.254.9.9")), ["169.254.1.1 wins"]);
    assert_eq!(brief(&told("169.254.9.9")), "169.254.1.1 only-candidate wan0");
}

#[test]
fn named_addresses_are_of_the_egress_interface() {
    let named = |model, addresses: &[&str], destination: &str| {
        let named = addresses.iter().map(|text| ip(text)).collect();
        select(&host(DUAL), &Query { named, ..Query::new(ip(destination), model) })
    };
    for (addresses, specified, multiple) in [
        (&[][..], "empty-pool", "empty-pool"),
        (&["198.51.100.6"], "198.51.100.6 specified wan0", "198.51.100.6 pool wan0"),
        (&["198.51.100.5", "10.0.0.1"], "198.51.100.5 specified wan0", "address-not-on-egress"),
        (&["10.0.0.1"], "address-not-on-egress", "address-not-on-egress"),
        (&["192.0.2.77"], "address-not-on-egress", "address-not-on-egress"),
    ] {
        assert_eq!(brief(&named(Model::Specified, addresses, "8.8.8.8")), specified);
        assert_eq!(brief(&named(Model::Multiple, addresses, "8.8.8.8")), multiple);
    }
    // Not assigned yet.
    assert_eq!(brief(&named(Model::Specified, &["10.0.0.2"], "10.9.9.9")), "address-not-on-egress");
    let told = named(Model::Multiple, &["198.51.100.5", "10.0.0.1", "192.0.2.77"], "8.8.8.8");
    assert_eq!(
        told.warnings,
        [
            "10.0.0.1 is on lan0, but packets to 8.8.8.8 leave by wan0",
            "192.0.2.77 is on no interface, but packets to 8.8.8.8 leave by wan0",
        ]
    );
    assert_eq!((told.dev(), told.next_hop), (Some("wan0"), Some(ip("198.51.100.1"))));
}

#[test]
fn a_pool_is_chosen_from_as_the_data_path_does() {
    use nat_common::{
        addr::Ipv4,
        pool::{self, Pool},
    };
    let lasts = [7, 8, 9, 10];
    let mut addresses = [Ipv4::UNSPECIFIED; 64];
    for (slot, last) in addresses.iter_mut().zip(lasts) {
        *slot = Ipv4::new([192, 0, 2, last]);
    }
    let pool = Pool { table: 0, count: 4, addresses };
    let on_wan0 = lasts.map(|last| format!("192.0.2.{last}/24")).join(", ");
    let host = host(&format!("wan0: {on_wan0}\n0.0.0.0/0 via 192.0.2.1 dev wan0"));
    let mut query = Query::new(ip("8.8.8.8"), Model::Multiple);
    query.named = lasts.map(|last| IpAddr::from([192, 0, 2, last])).to_vec();
    for client in (0..200).map(|last| Ipv4Addr::new(10, 0, 0, last)) {
        query.client = Some(client);
        let chosen =
            pool::choose(&pool, pool::Pooling::Paired, Ipv4::new(client.octets()), 0).unwrap();
        let told = select(&host, &query);
        assert_eq!(told.source(), Some(chosen.octets().into()));
        assert_eq!(told.warnings, Vec::<String>::new());
    }
    query.client = None;
    let told = select(&host, &query);
    let of_nobody = pool::choose(&pool, pool::Pooling::Paired, Ipv4::UNSPECIFIED, 0).unwrap();
    assert_eq!(told.source(), Some(of_nobody.octets().into()));
    assert!(told.warnings[0].contains("name the client"));
    query.pooling = Pooling::Random;
    assert!(select(&host, &query).warnings[0].starts_with("each session gets any address"));
}

#[test]
fn linux_goes_by_primaries_and_the_gateway_s_subnet() {
    let two = "wan0: 192.0.2.10/24, 192.0.2.11/24, 198.51.100.10/24
               0.0.0.0/0 via 198.51.100.1 dev wan0
               203.0.113.0/24 via 192.0.2.1 dev wan0 src 192.0.2.11
               10.0.0.0/8 via 10.0.0.1 dev wan0";
    for (destination, local, masquerade) in [
        ("8.8.8.8", "198.51.100.10 linux-gateway-subnet", "198.51.100.10 linux-gateway-subnet"),
        ("203.0.113.9", "192.0.2.11 linux-prefsrc", "192.0.2.10 linux-first-primary"),
        ("10.1.1.1", "192.0.2.10 linux-first-primary", "192.0.2.10 linux-first-primary"),
    ] {
        assert_eq!(ask(two, destination, Model::Linux), format!("{local} wan0"));
        assert_eq!(ask(two, destination, Model::LinuxMasquerade), format!("{masquerade} wan0"));
    }
    let told = select(&host(two), &Query::new(ip("8.8.8.8"), Model::Linux));
    assert_eq!(told.candidates[1].reason, "is a secondary address");
}

#[test]
fn linux_knows_secondaries_by_subnet_or_by_the_kernel_s_flag() {
    let wan0 = |addresses: &str| format!("wan0: {addresses}\n0.0.0.0/0 via 192.168.1.127 dev wan0");
    for (addresses, expected) in [
        // Other lengths, so both are primary; the first whose subnet has the gateway.
        ("192.168.1.68/25, 192.168.1.14/24", "192.168.1.68 linux-first-primary"),
        ("192.168.1.200/25, 192.168.1.14/24", "192.168.1.14 linux-gateway-subnet"),
        ("10.0.0.1/32, 10.0.0.2/32", "10.0.0.1 linux-first-primary"),
        // Another order than the kernel's, which its flag tells.
        ("192.168.1.68/24 secondary, 192.168.1.14/24", "192.168.1.14 linux-first-primary"),
    ] {
        assert_eq!(ask(&wan0(addresses), "8.8.8.8", Model::Linux), format!("{expected} wan0"));
    }
}

#[test]
fn linux_borrows_from_loopback_first_but_not_127() {
    let text = "eth9 down: 203.0.113.1/24
                lo: 127.0.0.1/8, 192.0.2.1/32
                ppp0:
                0.0.0.0/0 dev ppp0
                127.0.0.0/8 dev lo";
    assert_eq!(ask(text, "8.8.8.8", Model::Linux), "192.0.2.1 linux-fallback ppp0");
    assert_eq!(ask(text, "127.0.0.9", Model::Linux), "127.0.0.1 linux-first-primary lo");
    let bare = text.replace(", 192.0.2.1/32", "");
    assert_eq!(ask(&bare, "8.8.8.8", Model::Linux), "203.0.113.1 linux-fallback ppp0");
    let none = bare.replace("203.0.113.1/24", "");
    assert_eq!(ask(&none, "8.8.8.8", Model::Linux), "no-source");
    assert_eq!(ask(text, "8.8.8.8", Model::Strong), "no-source");
}

#[test]
fn linux_ipv6_takes_the_newest_of_equals_and_public_addresses() {
    let text = "eth0: 2001:db8::1/64, 2001:db8::2/64, 2001:db8::3/64 temporary
                eth1: 2001:db8:8::1/64
                ::/0 via fe80::1 dev eth0";
    assert_eq!(ask(text, "2001:db8:8::9", Model::Linux), "2001:db8::2 tie eth0");
    assert_eq!(ask(text, "2001:db8:8::9", Model::Rfc6724), "2001:db8::3 7 eth0");
    // Every interface's.
    assert_eq!(ask(text, "2001:db8:8::1", Model::Linux), "2001:db8:8::1 1 eth0");
    let orchid = "eth0: 2001:10::1/28, fd00::1/64\n::/0 via fe80::1 dev eth0";
    assert_eq!(ask(orchid, "2001:db8::9", Model::Linux), "fd00::1 orchid eth0");
}

#[test]
fn a_source_that_few_can_answer_is_called_so() {
    let warnings = |wan0: &str, destination: &str| {
        let host = host(&format!("wan0: {wan0}\n0.0.0.0/0 dev wan0"));
        select(&host, &Query::new(ip(destination), Model::Strong)).warnings
    };
    for (wan0, destination, warning) in [
        ("169.254.1.1/16", "8.8.8.8", Some("169.254.1.1 is link-local: no router forwards")),
        ("169.254.1.1/16", "169.254.1.2", None),
        ("127.0.0.1/8", "8.8.8.8", Some("127.0.0.1 is a loopback address")),
        ("192.0.2.2/24 deprecated", "8.8.8.8", Some("192.0.2.2 is deprecated")),
        ("192.0.2.2/24", "8.8.8.8", None),
        ("192.0.2.2/24, 192.0.2.3/24", "8.8.8.8", Some("no rule decided: 192.0.2.2 was taken")),
    ] {
        let warnings = warnings(wan0, destination);
        match warning {
            Some(start) => {
                assert!(warnings.len() == 1 && warnings[0].starts_with(start), "{warnings:?}")
            }
            None => assert_eq!(warnings, Vec::<String>::new()),
        }
    }
}

#[test]
fn bits_are_counted_as_the_rules_count_them() {
    let text = "wan0: 192.168.1.14/24, 192.168.1.68/24\n0.0.0.0/0 via 192.168.1.127 dev wan0";
    let bits = |cap| {
        let options = Options { cpl_cap_to_prefix: Some(cap), ..Options::default() };
        let query = Query { options, ..Query::new(ip("192.168.9.9"), Model::Strong) };
        let told = select(&host(text), &query);
        told.candidates
            .iter()
            .map(|judged| (judged.common_prefix_next_hop, judged.common_prefix_destination))
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(false), [(25, 20), (26, 20)]);
    assert_eq!(bits(true), [(24, 20), (24, 20)]);
}
