use nat_common::instance::Role;

use super::*;

const ALL: XdpFeatures = XdpFeatures(7);

fn config(hook: &str) -> Config {
    let text = format!(
        "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\nhook = \"{hook}\"\n\
         [[rules]]\nname = \"internet\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"0.0.0.0/0\"]\n\
         action = \"snat\"\n"
    );
    Config::parse(&text, "nat.toml").unwrap()
}

/// A network card that can do everything.
fn card(index: u32, name: &str) -> Link {
    let (name, xdp) = (name.to_owned(), Some(ALL));
    Link { index, name, ethernet: true, mtu: 1500, up: true, xdp, ..Link::default() }
}

/// lan0 (1) and wan0 (2), after a change of lan0.
fn network(change: impl FnOnce(&mut Link)) -> Network {
    let mut lan = card(1, "lan0");
    change(&mut lan);
    Network { links: vec![lan, card(2, "wan0"), card(3, "other")], ..Network::default() }
}

fn interfaces(choices: &BTreeMap<u32, Choice>) -> Vec<Interface> {
    let interface = |(index, choice): (&u32, &Choice)| Interface {
        index: *index,
        name: format!("if{index}"),
        role: Role::Inside,
        hook: choice.mode,
        why: choice.why,
        because_of: choice.because_of,
        mac: [0; 6],
    };
    choices.iter().map(interface).collect()
}

#[track_caller]
fn expect(network: &Network, situation: &Situation, lan: Choice, wan: Choice) {
    let choices = choose(&config("auto"), network, situation);
    assert_eq!(choices, BTreeMap::from([(1, lan), (2, wan)]));
}

const ABLE: Choice = Choice::new(HookMode::Xdp, HookReason::Able);

#[test]
fn two_able_cards_have_xdp() {
    expect(&network(|_| {}), &Situation::default(), ABLE, ABLE);
    // What the card says only with a program is looked at when it has one.
    let basic = network(|lan| lan.xdp = Some(XdpFeatures(3)));
    expect(&basic, &Situation::default(), ABLE, ABLE);
}

#[test]
fn one_that_cannot_keeps_all_from_it_and_is_named() {
    type Change = fn(&mut Link);
    let cases: [(Change, HookReason); 10] = [
        (|lan| lan.kind = Some("veth".to_owned()), HookReason::PartialChecksums),
        (|lan| lan.kind = Some("tun".to_owned()), HookReason::PartialChecksums),
        (|lan| lan.kind = Some("tap".to_owned()), HookReason::PartialChecksums),
        (|lan| lan.has_xdp = true, HookReason::OtherProgram),
        (|lan| lan.mtu = 3507, HookReason::Mtu),
        (|lan| lan.mtu = 9000, HookReason::Mtu),
        (|lan| lan.xdp = None, HookReason::Unknown),
        (|lan| lan.xdp = Some(XdpFeatures(0)), HookReason::NoNativeXdp),
        (|lan| lan.xdp = Some(XdpFeatures::BASIC), HookReason::NoNativeXdp),
        (|lan| lan.xdp = Some(XdpFeatures(2 | 4)), HookReason::NoNativeXdp),
    ];
    for (change, why) in cases {
        let network = network(change);
        let lan = Choice::new(HookMode::Tc, why);
        expect(&network, &Situation::default(), lan, Choice::tc_because_of(1));
        // Whatever it is: a word of the configuration has precedence.
        for (word, choice) in [("tc", Choice::TC), ("xdp", Choice::XDP)] {
            let choices = choose(&config(word), &network, &Situation::default());
            assert_eq!(choices, BTreeMap::from([(1, choice), (2, choice)]));
        }
    }
    expect(&network(|lan| lan.mtu = 3506), &Situation::default(), ABLE, ABLE);
    let buffers = |lan: &mut Link| (lan.mtu, lan.xdp) = (9000, Some(XdpFeatures(7 | 32)));
    expect(&network(buffers), &Situation::default(), ABLE, ABLE);
    let bond = network(|lan| lan.kind = Some("bond".to_owned()));
    expect(&bond, &Situation::default(), ABLE, ABLE);
}

#[test]
fn what_is_not_ethernet_or_not_there_has_no_part_in_it() {
    let tun = network(|lan| lan.ethernet = false);
    let choices = choose(&config("auto"), &tun, &Situation::default());
    assert_eq!(choices, BTreeMap::from([(2, ABLE)]));
    let gone = network(|lan| lan.name = "lan9".to_owned());
    assert_eq!(choose(&config("auto"), &gone, &Situation::default()), BTreeMap::from([(2, ABLE)]));
}

#[test]
fn our_own_program_is_no_obstacle() {
    let network = network(|lan| lan.has_xdp = true);
    let there = interfaces(&BTreeMap::from([(1, ABLE), (2, ABLE)]));
    let situation = Situation::of(&config("auto"), &network, &there, || Filters::None);
    expect(&network, &situation, ABLE, ABLE);
    let there = interfaces(&BTreeMap::from([(1, Choice::TC), (2, ABLE)]));
    let situation = Situation::of(&config("auto"), &network, &there, || unreachable!());
    let lan = Choice::new(HookMode::Tc, HookReason::OtherProgram);
    expect(&network, &situation, lan, Choice::tc_because_of(1));
}

#[test]
fn netfilter_keeps_all_from_it_with_a_warning() {
    let network = network(|_| {});
    let names = || Filters::There(vec!["inet filter forward".to_owned()]);
    for (filters, why) in
        [(names(), HookReason::ForwardFilter), (Filters::Unknown, HookReason::ForwardFilterUnknown)]
    {
        let situation = Situation::of(&config("auto"), &network, &[], || filters.clone());
        let choice = Choice::new(HookMode::Tc, why);
        expect(&network, &situation, choice, choice);
        let warning = situation.warning(&choose(&config("auto"), &network, &situation));
        assert_eq!(warning.is_some(), filters == names());
        assert!(warning.is_none_or(|text| text.contains("`inet filter forward`")));
    }
    // Nobody looks where it does not matter.
    for word in ["tc", "xdp"] {
        let situation = Situation::of(&config(word), &network, &[], || unreachable!());
        assert_eq!(situation.warning(&choose(&config(word), &network, &situation)), None);
    }
}

#[test]
fn what_turns_out_unable_takes_all_back_to_tc() {
    let mut there = interfaces(&BTreeMap::from([(1, ABLE), (2, ABLE)]));
    let features = |wan| BTreeMap::from([(1, ALL), (2, wan)]);
    assert_eq!(not_redirectable(&there, &features(ALL)), None);
    assert_eq!(not_redirectable(&there, &features(XdpFeatures(3))), Some(2));
    assert_eq!(not_redirectable(&there, &BTreeMap::from([(2, ALL)])), Some(1), "nothing known");
    fall_back(&mut there, 2, HookReason::NoRedirect);
    let expected = BTreeMap::from([
        (1, Choice::tc_because_of(2)),
        (2, Choice::new(HookMode::Tc, HookReason::NoRedirect)),
    ]);
    assert_eq!(there, interfaces(&expected));
    assert_eq!(because(&there[0], &there), "XDP needs all interfaces, and if2 cannot");
    assert_eq!(because(&there[1], &there), "its driver takes no redirected frames");
    // Who says `xdp` has it, or an error.
    let mut must = interfaces(&BTreeMap::from([(1, Choice::XDP), (2, Choice::XDP)]));
    let before = must.clone();
    assert_eq!(not_redirectable(&must, &features(XdpFeatures(0))), None);
    fall_back(&mut must, 2, HookReason::Refused);
    assert_eq!(must, before);
}

#[test]
fn frames_in_several_buffers_are_redirected_only_if_all_take_them() {
    let there = interfaces(&BTreeMap::from([(1, Choice::XDP), (2, ABLE)]));
    let all = XdpFeatures(7 | 64);
    assert!(takes_buffers(&there, &BTreeMap::from([(1, all), (2, all), (3, ALL)])));
    assert!(!takes_buffers(&there, &BTreeMap::from([(1, all), (2, ALL)])));
    assert!(!takes_buffers(&there, &BTreeMap::from([(1, all)])), "nothing known");
}

/// Frames of the VLAN may come without their tag, beside those of the interface itself.
#[test]
fn a_vlan_on_an_interface_keeps_it_from_xdp() {
    let with = |kind: &str| {
        let mut network = network(|_| {});
        let vlan = &mut network.links[2];
        (vlan.kind, vlan.parent) = (Some(kind.to_owned()), Some(1));
        network
    };
    let lan = Choice::new(HookMode::Tc, HookReason::Vlan);
    expect(&with("vlan"), &Situation::default(), lan, Choice::tc_because_of(1));
    expect(&with("macvlan"), &Situation::default(), ABLE, ABLE);
    // As an interface with a role it has no native XDP of its own.
    let vlan = network(|lan| {
        (lan.kind, lan.parent, lan.xdp) = (Some("vlan".to_owned()), Some(3), Some(XdpFeatures(0)));
    });
    let lan = Choice::new(HookMode::Tc, HookReason::NoNativeXdp);
    expect(&vlan, &Situation::default(), lan, Choice::tc_because_of(1));
}
