//! The controller on a data path in memory.
use std::net::Ipv4Addr;

use super::*;
use crate::{
    datapath::{State, fake::Fake},
    hook::Situation,
    host::{Address, Link},
};

const HEADER: &str = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n";

fn rule(name: &str, to: &str) -> String {
    format!(
        "[[rules]]\nname = \"{name}\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"{to}\"]\n\
         action = \"snat\"\nsource = {{ addresses = [\"203.0.113.7\"] }}\n"
    )
}

fn text(rules: &str) -> ConfigText {
    ConfigText { name: "nat.toml".to_owned(), text: format!("{HEADER}{rules}") }
}

fn link(index: u32, name: &str, address: [u8; 4]) -> Link {
    Link {
        index,
        name: name.to_owned(),
        ethernet: true,
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
        addresses: vec![Address { ip: address.into(), prefix_len: 24, flags: Default::default() }],
        ..Link::default()
    }
}

fn host(wan_index: u32) -> Network {
    let links = vec![link(1, "lan0", [10, 0, 0, 1]), link(wan_index, "wan0", [203, 0, 113, 7])];
    Network { links, ..Network::default() }
}

fn controller() -> Controller<Fake> {
    let text = text(&rule("internet", "0.0.0.0/0"));
    let config = Config::parse(&text.text, &text.name).unwrap();
    let mut sources = Sources::default();
    let (none, situation) = (Remembered::new(), Situation::default());
    let desired = desired(&config, &host(2), &mut sources, &none, &situation).unwrap();
    let mut fake = Fake::default();
    fake.apply(&desired.table, &sources, &text).unwrap();
    fake.attach(&desired.interfaces).unwrap();
    Controller::new(fake, Source::CommandLine, config, text, host(2), sources, desired)
}

fn change(controller: &mut Controller<Fake>, network: Network) -> Result<(), Failure> {
    let links = controller.network.links != network.links;
    let delta = NetworkDelta { links, ..NetworkDelta::default() };
    controller.network = network;
    controller.follow(&delta)
}

#[test]
fn a_new_configuration_is_in_force_with_its_text() {
    let mut controller = controller();
    let new = text(&(rule("dns", "192.0.2.53") + &rule("internet", "0.0.0.0/0")));
    controller.apply(new.clone(), true).unwrap();
    assert_eq!(controller.datapath.tables.len(), 1, "a dry run changes nothing");
    let applied = controller.apply(new.clone(), false).unwrap();
    assert!(!applied.plan.is_empty());
    assert_eq!(controller.datapath.tables.last().unwrap().rules[0].name, "dns");
    assert_eq!(controller.datapath.config().unwrap(), Some(new.clone()));
    assert!(controller.apply(new, false).unwrap().plan.is_empty());
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let mut controller = controller();
    let before = controller.datapath.config().unwrap();
    let failure = controller.apply(text("[[rules]]\nnam = 1\n"), false).unwrap_err();
    assert_eq!(failure.exit, crate::exit::Exit::Usage);
    assert_eq!(controller.datapath.config().unwrap(), before);
    assert_eq!(controller.datapath.tables.len(), 1);
    assert!(controller.reload().is_err());
}

#[test]
fn an_interface_that_comes_back_is_attached_with_its_new_index() {
    let mut controller = controller();
    let mut gone = host(2);
    gone.links.pop();
    change(&mut controller, gone).unwrap();
    let names = |controller: &Controller<Fake>| {
        let interfaces = controller.datapath.interfaces().unwrap();
        interfaces.iter().map(|one| (one.name.clone(), one.index)).collect::<Vec<_>>()
    };
    assert_eq!(names(&controller), [("lan0".to_owned(), 1)]);
    assert_eq!(controller.datapath.tables.last().unwrap().rules[0].pools, []);
    change(&mut controller, host(9)).unwrap();
    assert_eq!(names(&controller), [("wan0".to_owned(), 9), ("lan0".to_owned(), 1)]);
    let pools = &controller.datapath.tables.last().unwrap().rules[0].pools;
    let listed = External::Listed(vec![Ipv4Addr::new(203, 0, 113, 7)]);
    assert_eq!(pools[..], [(9, listed)]);
}

#[test]
fn a_host_that_has_not_changed_is_no_reason_for_a_new_table() {
    let mut controller = controller();
    change(&mut controller, host(2)).unwrap();
    assert_eq!(controller.datapath.tables.len(), 1);
}

#[test]
fn the_controller_signs_on_and_off() {
    let mut controller = controller();
    controller.sweep().unwrap();
    assert_eq!(controller.datapath.instance.controller_pid, std::process::id());
    controller.leave().unwrap();
    assert_eq!(controller.datapath.instance.controller_pid, 0);
    assert_ne!(controller.datapath.instance.heartbeat_ns, 0);
}

#[test]
fn what_has_rested_is_forgotten_bit_by_bit() {
    use nat_common::{
        addr::Port,
        cooldown::{Reason, Resting},
        flow::Protocol,
    };
    let mut controller = controller();
    let tuple = |port| {
        let local = (Ipv4Addr::new(203, 0, 113, 7).into(), Port::new(port));
        let remote = (Ipv4Addr::new(198, 51, 100, 9).into(), Port::new(443));
        FlowKey::new(Protocol::Tcp, local, remote)
    };
    let resting = Resting::new(0, Reason::Fin);
    controller.datapath.resting = (1..=6).map(|port| (tuple(port), resting)).collect();
    controller.datapath.now_ns = 239_999_999_999;
    assert_eq!(controller.sweep(), Ok(false));
    assert_eq!(controller.datapath.resting.len(), 6);
    controller.datapath.now_ns += 1;
    assert_eq!(controller.sweep(), Ok(true));
    assert_eq!(controller.sweep(), Ok(false));
    assert_eq!(controller.datapath.resting, []);
}
