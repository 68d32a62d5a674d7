//! What the kernel does with routes without announcing it.
use crate::machine::{Live, Machine};

fn by_gateway(live: &Live, last: u8) -> usize {
    let via = |via: Option<std::net::Ipv4Addr>| via.is_some_and(|via| via.octets()[3] == last);
    live.network.routes.iter().filter(|route| via(route.via)).count()
}

/// Follows until there are so many routes by a gateway, and the picture is what there is.
async fn settle(live: &mut Live, last: u8, count: usize) {
    live.catch_up().await;
    assert_eq!(by_gateway(live, last), count);
}

#[test]
fn routes_go_with_their_link_and_with_its_last_address() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        let add = "route add default via 192.0.2.254\nroute add 198.51.100.0/24 via 192.0.2.254";
        machine.ip(add);
        settle(&mut live, 254, 2).await;
        machine.ip("link set wan0 down");
        settle(&mut live, 254, 0).await;
        assert!(!live.network.link("wan0").unwrap().up);
        machine.ip("link set wan0 up");
        machine.ip(add);
        settle(&mut live, 254, 2).await;
        // In one burst: the link looks as before.
        machine.ip("link set wan0 down\nlink set wan0 up");
        settle(&mut live, 254, 0).await;
        machine.ip(add);
        settle(&mut live, 254, 2).await;
        machine.ip("addr flush dev wan0");
        settle(&mut live, 254, 0).await;
        machine.ip("addr add 192.0.2.1/24 dev wan0");
        machine.ip(add);
        settle(&mut live, 254, 2).await;
        machine.ip("link del wan0");
        settle(&mut live, 254, 0).await;
    });
}

#[test]
fn a_route_goes_with_the_source_address_that_it_names() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        machine.ip("route add default via 192.0.2.254 src 192.0.2.2");
        settle(&mut live, 254, 1).await;
        machine.ip("addr del 192.0.2.2/24 dev wan0");
        settle(&mut live, 254, 0).await;
    });
}

/// Deleting a primary address takes its secondary ones with it (`promote_secondaries` is off).
#[test]
fn addresses_go_with_their_primary_one() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        machine.ip("addr del 192.0.2.1/24 dev wan0");
        live.catch_up().await;
        assert_eq!(live.network.link("wan0").unwrap().ipv4().count(), 0);
    });
}

#[test]
fn a_next_hop_dies_with_its_link_and_revives() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        machine.ip("route add default nexthop via 192.0.2.254 nexthop via 10.0.0.9");
        settle(&mut live, 254, 1).await;
        machine.ip("link set wan0 down");
        settle(&mut live, 254, 0).await;
        assert_eq!(by_gateway(&live, 9), 1);
        machine.ip("link set wan0 up");
        settle(&mut live, 254, 1).await;
    });
}

/// Objects of `ip nexthop`: a change of one changes the routes that refer to it.
#[test]
fn next_hops_by_number() {
    let machine = Machine::new();
    machine.run(async || {
        let mut live = Live::new().await;
        machine.ip("nexthop add id 1 via 192.0.2.254 dev wan0\nroute add default nhid 1");
        settle(&mut live, 254, 1).await;
        machine.ip("nexthop replace id 1 via 10.0.0.9 dev lan0");
        settle(&mut live, 254, 0).await;
        assert_eq!(by_gateway(&live, 9), 1);
        machine.ip("nexthop del id 1");
        settle(&mut live, 9, 0).await;
    });
}
