//! Source-address selection, as the server sees it.
use std::net::Ipv4Addr;

use nat_tests::lab::{Offloads, process::ip};

use crate::{
    gateway::WITHOUT_OFFLOADS,
    uplink::{FAR, Uplink, rule},
};

const STRONG: &str = "\"strong-host\"";

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn uplink(addresses: &[u8], next_hop: u8) -> Uplink {
    let addresses: Vec<_> = addresses.iter().map(|last| format!("{}/24", host(*last))).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    Uplink::new(Offloads::Off, &addresses, host(next_hop), &[host(70), host(200)])
}

/// The article about TMG and secondary addresses: .14 and .68 behind a gateway .127. Rule 8a prefers
/// .68, which shares 26 bits with the gateway and not only 25.
#[test]
fn the_secondary_address_is_nearer_to_the_gateway() {
    for hook in WITHOUT_OFFLOADS {
        let uplink = uplink(&[14, 68], 127);
        let controller = uplink.start(hook, STRONG);
        assert_eq!(uplink.seen(FAR), Some(host(68)), "{hook}");
        // On-link, the next hop is the destination itself.
        assert_eq!(uplink.seen(host(70)), Some(host(68)), "{hook}");
        // Both share 24 bits with .200, and .14 was there first.
        assert_eq!(uplink.seen(host(200)), Some(host(14)), "{hook}");
        drop(controller);
        // Windows Server 2003, ISA Server, TMG.
        for (model, source) in [("\"weak-host\"", 14), ("\"first\"", 14), ("\"lowest\"", 14)] {
            let controller = uplink.start(hook, model);
            assert_eq!(uplink.seen(FAR), Some(host(source)), "{hook} {model}");
            drop(controller);
        }
        uplink.gateway.nat.detach();
    }
}

/// The article about Enhanced NAT: .223 on the property page, .222 added later.
#[test]
fn tmg_takes_the_lowest_address_and_isa_the_first() {
    let uplink = uplink(&[223, 222], 1);
    for (model, source) in [("\"lowest\"", 222), ("\"first\"", 223), (STRONG, 223)] {
        let _controller = uplink.start("tc", model);
        assert_eq!(uplink.seen(FAR), Some(host(source)), "{model}");
    }
    let _controller = uplink.start("tc", "{ addresses = [\"192.168.1.222\"] }");
    assert_eq!(uplink.seen(FAR), Some(host(222)));
}

#[test]
fn an_address_to_skip_is_no_source() {
    let uplink = uplink(&[14, 68], 127);
    let skip = "[addresses]\nwan0 = [\"192.168.1.14\", \
                { address = \"192.168.1.68\", skip_as_source = true }]";
    let _controller = uplink.start_with("tc", STRONG, skip);
    assert_eq!(uplink.seen(FAR), Some(host(14)));
    // Unless it is asked for by name.
    let named = rule("{ addresses = [\"192.168.1.68\"] }", skip);
    let file = uplink.gateway.config("tc", named);
    drop(uplink.gateway.nat.text(&["apply", file.to_str().unwrap()]));
    assert_eq!(uplink.seen(FAR), Some(host(68)));
}

/// The kernel lists primary addresses first; the order that decides is that of the file.
#[test]
fn ties_go_to_the_address_that_is_configured_first() {
    let uplink = uplink(&[14, 68], 254);
    let controller = uplink.start("tc", STRONG);
    assert_eq!(uplink.seen(FAR), Some(host(14)));
    drop(controller);
    let order = "[addresses]\nwan0 = [\"192.168.1.68\", \"192.168.1.14\"]";
    let controller = uplink.start_with("tc", STRONG, order);
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    drop(controller);
    let lowest = format!("{order}\n[source]\ntie_break = \"lowest\"");
    let _controller = uplink.start_with("tc", STRONG, lowest);
    assert_eq!(uplink.seen(FAR), Some(host(14)));
}

#[test]
fn a_deprecated_address_is_avoided_and_used_when_there_is_no_other() {
    let uplink = uplink(&[14, 68], 127);
    let _controller = uplink.start("tc", STRONG);
    assert_eq!(uplink.seen(FAR), Some(host(68)));
    uplink.ip("addr change 192.168.1.68/24 dev wan0 valid_lft forever preferred_lft 0\n");
    uplink.follows(FAR, host(14));
    uplink.ip("addr change 192.168.1.14/24 dev wan0 valid_lft forever preferred_lft 0\n");
    uplink.follows(FAR, host(68));
}

/// The article about dual-homed servers: both interfaces in one subnet, one default gateway, and
/// static routes that lead the private networks to the inner one.
#[test]
fn a_dual_homed_gateway_uses_the_address_of_each_way_out() {
    for hook in WITHOUT_OFFLOADS {
        let outer = Ipv4Addr::new(192, 168, 10, 1);
        let uplink = Uplink::new(Offloads::Off, &["192.168.10.5/24"], outer, &[]);
        let lab = &uplink.gateway.lab;
        lab.second_uplink("192.168.10.6/24", "192.168.10.2/24");
        let inner = Ipv4Addr::new(10, 1, 2, 3);
        ip(&lab.server, &format!("addr add {inner}/32 dev lo\n"));
        let both = |routes: &str| {
            let file = uplink.gateway.config(hook, rule(STRONG, routes));
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, text.replace("[\"wan0\"]", "[\"wan0\", \"wan1\"]")).unwrap();
            uplink.gateway.nat.start(&file)
        };
        let controller = both("");
        assert_eq!(uplink.seen(FAR), Some(Ipv4Addr::new(192, 168, 10, 5)), "{hook}");
        // The SYN_SENT picture: the inner network is looked for outside.
        assert_eq!(uplink.seen(inner), Some(Ipv4Addr::new(192, 168, 10, 5)), "{hook}");
        drop(controller);

        let routes =
            "[[static_routes]]\nto = \"10.0.0.0/8\"\nvia = \"192.168.10.2\"\ndev = \"wan1\"";
        let _controller = both(routes);
        assert!(uplink.shown(&["route"]).contains("10.0.0.0/8 via 192.168.10.2 dev wan1"));
        uplink.follows(inner, Ipv4Addr::new(192, 168, 10, 6));
        assert_eq!(uplink.seen(FAR), Some(Ipv4Addr::new(192, 168, 10, 5)), "{hook}");
        uplink.gateway.nat.detach();
        assert!(!uplink.shown(&["route"]).contains("10.0.0.0/8"), "detach takes its routes along");
    }
}

#[test]
fn several_addresses_are_shared_out_and_each_client_keeps_its_own() {
    let uplink = uplink(&[14, 68, 90], 127);
    let _controller = uplink.start("tc", "{ addresses = [\"192.168.1.14\", \"192.168.1.90\"] }");
    let first = uplink.seen(FAR).unwrap();
    assert!([host(14), host(90)].contains(&first), "{first}");
    for destination in [FAR, host(70), host(200), FAR] {
        assert_eq!(uplink.seen(destination), Some(first));
    }
}
