use proptest::prelude::*;

use super::*;
use crate::source::{Address, CandidateSet, Flag, Interface, TieBreak, testing::host};

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn chosen(egress: &Egress, next_hop: &str, destination: &str) -> Result<(String, Rule), Error> {
    let (source, rule) = egress.choose(ip(next_hop), ip(destination))?;
    Ok((source.to_string(), rule))
}

fn is(source: &str, rule: Rule) -> Result<(String, Rule), Error> {
    Ok((source.to_owned(), rule))
}

#[test]
fn the_article_s_example_under_each_model() {
    let host = host("wan0: 192.168.1.68/24, 192.168.1.14/24");
    for (model, source, rule) in [
        (Model::Strong, "192.168.1.68", Rule::NextHop),
        (Model::Weak, "192.168.1.68", Rule::FirstConfigured),
        (Model::IsaFirst, "192.168.1.68", Rule::FirstConfigured),
        (Model::TmgDefault, "192.168.1.14", Rule::Smallest),
        (Model::LinuxMasquerade, "192.168.1.68", Rule::LinuxFirstPrimary),
    ] {
        let egress = Egress::new(&host, "wan0", model, &Options::default());
        assert_eq!(chosen(&egress, "192.168.1.127", "203.0.113.9"), is(source, rule), "{model}");
    }
}

#[test]
fn the_destination_decides_where_the_next_hop_does_not() {
    let host = host("wan0: 100.64.0.10/24, 10.0.0.10/24");
    let egress = Egress::new(&host, "wan0", Model::Strong, &Options::default());
    assert_eq!(chosen(&egress, "192.0.2.1", "8.8.8.8"), is("10.0.0.10", Rule::Longest));
    assert_eq!(chosen(&egress, "192.0.2.1", "101.0.0.1"), is("100.64.0.10", Rule::Longest));
    assert_eq!(chosen(&egress, "192.0.2.1", "203.0.113.9"), is("100.64.0.10", Rule::Tie));
    assert_eq!(chosen(&egress, "192.0.2.1", "10.0.0.10"), is("10.0.0.10", Rule::SameAddress));
}

#[test]
fn groups_have_no_source() {
    let host = host("wan0: 192.0.2.10/24\nlan0: 10.0.0.1/31");
    let egress = Egress::new(&host, "wan0", Model::Strong, &Options::default());
    for group in ["224.0.0.5", "239.255.255.255", "255.255.255.255", "192.0.2.255"] {
        assert_eq!(chosen(&egress, "192.0.2.1", group), Err(Error::NotUnicast), "{group}");
    }
    // A subnet of two addresses has no broadcast (RFC 3021).
    assert_eq!(chosen(&egress, "192.0.2.1", "10.0.0.1"), is("192.0.2.10", Rule::OnlyCandidate));
}

#[test]
fn an_interface_without_addresses_or_that_is_not_there_has_no_source() {
    let host = host("wan0:");
    for name in ["wan0", "wan1"] {
        for model in [Model::Strong, Model::Weak, Model::TmgDefault, Model::Linux] {
            let egress = Egress::new(&host, name, model, &Options::default());
            assert_eq!(chosen(&egress, "192.0.2.1", "8.8.8.8"), Err(Error::NoSource));
        }
    }
}

#[test]
fn more_candidates_than_usual_make_no_difference() {
    let addresses: Vec<String> = (1..=200).map(|last| format!("192.0.2.{last}/24")).collect();
    let host = host(&format!("wan0: {}", addresses.join(", ")));
    let egress = Egress::new(&host, "wan0", Model::Strong, &Options::default());
    assert_eq!(chosen(&egress, "192.0.2.201", "8.8.8.8"), is("192.0.2.200", Rule::NextHop));
}

/// Addresses that are near each other, of both private and public ranges and link-local.
fn near() -> impl Strategy<Value = Ipv4Addr> {
    let bases = [[10, 0, 0], [192, 168, 1], [169, 254, 0], [127, 0, 0], [100, 64, 0]];
    (prop::sample::select(bases.to_vec()), 0..16_u8).prop_map(|([a, b, c], d)| {
        // Spread over the octet, so that matches of all lengths occur.
        Ipv4Addr::new(a, b, c, d * 17)
    })
}

prop_compose! {
    fn some_egress()(
        wan in prop::collection::vec((near(), 20..=32_u8, any::<bool>()), 0..6),
        lan in prop::collection::vec((near(), 20..=32_u8, any::<bool>()), 0..3),
        model in prop::sample::select(Model::ALL.to_vec()),
        (lowest, all, site_local, cap) in any::<(bool, bool, bool, Option<bool>)>(),
    ) -> Egress {
        let addresses = |addresses: Vec<(Ipv4Addr, u8, bool)>| {
            let address = |(ip, prefix_len, deprecated): (Ipv4Addr, u8, bool)| Address {
                ip: ip.into(),
                prefix_len,
                flags: deprecated.then_some(Flag::Deprecated).into_iter().collect(),
                advertised_by: None,
            };
            addresses.into_iter().map(address).collect::<Vec<_>>()
        };
        let interface = |name: &str, list| {
            Interface { name: name.to_owned(), up: true, addresses: addresses(list) }
        };
        let interfaces = vec![interface("lan0", lan), interface("wan0", wan)];
        let options = Options {
            tie_break: if lowest { TieBreak::Lowest } else { TieBreak::First },
            candidates: if all { CandidateSet::All } else { CandidateSet::Egress },
            private_scope:
                if site_local { PrivateScope::SiteLocal } else { PrivateScope::Global },
            cpl_cap_to_prefix: cap,
            ..Options::default()
        };
        Egress::new(&Host { interfaces, routes: Vec::new() }, "wan0", model, &options)
    }
}

/// A destination somewhere between an address and anywhere: with the first bits of the one and the
/// last of the other.
fn around(ip: Ipv4Addr, bits: u32, other: u32) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Ipv4Addr::from_bits(ip.to_bits() & mask | other & !mask)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn between_points_the_answer_stays(
        egress in some_egress(),
        next_hop in near(),
        place in near(),
        lens in (0..=32_u32, 0..=32_u32),
        others in any::<(u32, u32)>(),
        on_link in any::<bool>(),
    ) {
        let points: Vec<_> = egress.points().collect();
        let place = egress.addresses.first().copied().unwrap_or(place);
        let first = around(place, lens.0, others.0);
        let second = around(first, lens.1, others.1);
        let around_it = |ip: Ipv4Addr| points.iter().filter(move |net| net.contains(&ip));
        if around_it(first).eq(around_it(second)) {
            let answer = |ip| egress.choose(if on_link { ip } else { next_hop }, ip);
            prop_assert_eq!(answer(first), answer(second), "{} {}", first, second);
        }
    }

    #[test]
    fn points_are_few(egress in some_egress()) {
        if !egress.caps() {
            let (points, candidates) = (egress.points().count(), egress.addresses.len());
            prop_assert!(points <= egress.broadcasts.len() + 7 + 3 * candidates, "{}", points);
        }
    }
}

/// All pairs of a few addresses and lengths, and all destinations around them.
#[test]
fn between_points_the_answer_stays_in_a_small_universe() {
    const LASTS: [u8; 5] = [0x11, 0x12, 0x1f, 0x55, 0x81];
    const LENS: [u8; 4] = [24, 26, 28, 32];
    let some = || LASTS.into_iter().flat_map(|last| LENS.map(|len| format!("10.0.0.{last}/{len}")));
    let pairs = some().flat_map(|one| some().map(move |other| [one.clone(), other]));
    for ([one, other], cap) in pairs.flat_map(|pair| [false, true].map(|cap| (pair.clone(), cap))) {
        let host = host(&format!("wan0: {one}, {other}"));
        let options = Options { cpl_cap_to_prefix: Some(cap), ..Options::default() };
        let egress = Egress::new(&host, "wan0", Model::Strong, &options);
        let points: Vec<_> = egress.points().collect();
        for far in [false, true] {
            let mut answers = std::collections::HashMap::new();
            for last in 0..=255 {
                let ip = Ipv4Addr::new(10, 0, 0, last);
                let place: Vec<_> = points.iter().filter(|net| net.contains(&ip)).collect();
                let answer = egress.choose(if far { Ipv4Addr::LOCALHOST } else { ip }, ip);
                let known = *answers.entry(place).or_insert(answer);
                assert_eq!(known, answer, "{one} {other} {ip} {cap} {far}");
            }
        }
    }
}
