//! Small tables with what they must hold, by hand.
use ipnet::Ipv4Net;

use super::{
    super::{Change, Choice, Edit, Route, Table},
    model::{Addresses, net},
};

fn route(dst: &str, via: Option<&str>) -> Route {
    let via = via.map(|via| via.parse().unwrap());
    Route { dst: net(dst), via, metric: 0, table: 0 }
}

fn addresses(list: &[&str]) -> Addresses {
    Addresses { list: list.iter().map(|text| net(text)).collect(), keep: false }
}

fn source(address: &str) -> Choice {
    Choice::Source(address.parse().unwrap())
}

/// Entries as a reader would write them.
fn lines(table: &Table<Addresses>) -> Vec<String> {
    table.entries().into_iter().map(|(prefix, choice)| line(prefix, choice)).collect()
}

fn line(prefix: Ipv4Net, choice: Choice) -> String {
    match choice {
        Choice::Source(source) => format!("{prefix} {source}"),
        other => format!("{prefix} {other:?}"),
    }
}

/// Two addresses of one subnet: the gateway has 26 bits in common with .68 and 25 with .14. On-link
/// the next hop is the destination: .68 for the 64 around it; the others of the lower half have 25
/// bits in common with .68 and at least 26 with .14, those of the upper half 24 with both, and .14
/// is configured first.
#[test]
fn next_hop_decides_and_on_link_the_destination_itself() {
    let routes = [route("0.0.0.0/0", Some("192.168.1.127")), route("192.168.1.0/24", None)];
    let table = Table::new(addresses(&["192.168.1.14/24", "192.168.1.68/24"]), routes);
    let expected = [
        "0.0.0.0/0 192.168.1.68",
        "192.168.1.0/24 192.168.1.14",
        "192.168.1.64/26 192.168.1.68",
        "192.168.1.255/32 NotUnicast",
        "224.0.0.0/4 NotUnicast",
        "255.255.255.255/32 NotUnicast",
    ];
    // 255.255.255.255 is not in 224.0.0.0/4, and what is between has the gateway's source.
    assert_eq!(lines(&table), expected);
}

#[test]
fn a_hole_in_what_is_covered_costs_one_entry() {
    let routes = ["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/11"].map(|dst| route(dst, None));
    let table = Table::new(addresses(&["10.0.0.1/32"]), routes);
    assert_eq!(
        lines(&table),
        [
            "10.0.0.0/8 10.0.0.1",
            "10.224.0.0/11 NoRoute",
            "224.0.0.0/4 NotUnicast",
            "255.255.255.255/32 NotUnicast"
        ]
    );
}

#[test]
fn without_routes_only_what_is_not_unicast_has_an_entry() {
    let mut table = Table::new(addresses(&[]), []);
    assert_eq!(lines(&table), ["224.0.0.0/4 NotUnicast", "255.255.255.255/32 NotUnicast"]);
    let changes = table.insert_route(route("10.0.0.0/8", None));
    assert_eq!(changes, [Change::Set(net("10.0.0.0/8"), Choice::NoSource)]);
}

/// Linux's policy rules: a default route of an earlier table hides every route of a later one.
#[test]
fn the_first_table_with_a_route_decides() {
    let later = Route { table: 1, ..route("10.1.0.0/16", Some("10.0.0.200")) };
    let mut table = Table::new(addresses(&["10.0.0.1/32", "10.0.0.201/32"]), [later]);
    assert_eq!(table.choose([10, 1, 0, 1].into()), source("10.0.0.201"));
    let default = route("0.0.0.0/0", Some("10.0.0.2"));
    table.insert_route(default);
    assert_eq!(table.choose([10, 1, 0, 1].into()), source("10.0.0.1"));
    let longer = route("10.1.2.0/24", Some("10.0.0.202"));
    table.insert_route(longer);
    assert_eq!(table.choose([10, 1, 2, 1].into()), source("10.0.0.201"));
    assert_eq!(table.choose([10, 1, 3, 1].into()), source("10.0.0.1"));
    table.remove_route(default);
    assert_eq!(table.choose([10, 1, 3, 1].into()), source("10.0.0.201"));
}

#[test]
fn of_the_routes_of_a_prefix_the_lowest_metric_counts_then_the_first() {
    let with = |via, metric| Route { metric, ..route("10.1.0.0/16", Some(via)) };
    let [best, equal, worse] = [with("10.0.0.1", 1), with("10.0.0.65", 1), with("10.0.0.129", 2)];
    let list = ["10.0.0.3/32", "10.0.0.67/32", "10.0.0.131/32"];
    let mut table = Table::new(addresses(&list), [worse, best, equal]);
    let at = [10, 1, 0, 0].into();
    assert_eq!(table.choose(at), source("10.0.0.3"));
    table.remove_route(best);
    assert_eq!(table.choose(at), source("10.0.0.67"));
    table.insert_route(best);
    assert_eq!(table.choose(at), source("10.0.0.67"), "it is the second now");
    table.update([Edit::Remove(equal), Edit::Remove(best)]);
    assert_eq!(table.choose(at), source("10.0.0.131"));
    assert_eq!(table.insert_route(worse), [], "it is there");
    assert_eq!(table.remove_route(best), [], "it is not there");
    table.remove_route(worse);
    assert_eq!(table.choose(at), Choice::NoRoute);
}

/// Both answers are as good for the whole: the one in force stays, whichever it is.
#[test]
fn of_equally_small_assignments_the_one_in_force_stays() {
    let half = |dst: &str, via: &str| route(dst, Some(via));
    let (low, high) = ("10.0.0.0/9", "10.128.0.0/9");
    for (old, new) in [("10.0.0.1", "10.0.0.65"), ("10.0.0.65", "10.0.0.1")] {
        let list = ["10.0.0.3/32", "10.0.0.67/32"];
        let mut table = Table::new(addresses(&list), [half(low, old), half(high, new)]);
        table.update([Edit::Remove(half(high, new)), Edit::Insert(half(high, old))]);
        let in_force = table.choose([10, 0, 0, 0].into());
        assert!(table.entries().contains(&(net("10.0.0.0/8"), in_force)));
        let changes = table.update([Edit::Remove(half(low, old)), Edit::Insert(half(low, new))]);
        let answer = table.choose([10, 0, 0, 0].into());
        assert_ne!(answer, in_force);
        assert_eq!(changes, [Change::Set(net(low), answer)]);
    }
}

/// A prefix that changes and is divided in one go: the half that nobody mentioned changes too.
#[test]
fn a_route_and_a_longer_one_may_come_together() {
    let default = route("0.0.0.0/0", Some("10.0.0.1"));
    let mut table = Table::new(addresses(&["10.0.0.3/32", "10.0.0.67/32"]), [default]);
    let whole = route("11.0.0.0/8", Some("10.0.0.65"));
    let half = route("11.0.0.0/9", Some("10.0.0.1"));
    let changes = table.update([Edit::Insert(whole), Edit::Insert(half)]);
    assert_eq!(changes, [Change::Set(net("11.128.0.0/9"), source("10.0.0.67"))]);
}

/// A route that took the place of another leaves no trace of what would have been in between.
#[test]
fn only_what_was_in_force_is_kept() {
    let list = ["10.0.0.3/32", "10.0.0.67/32", "10.0.0.131/32"].map(net).to_vec();
    let keeping = Addresses { list, keep: true };
    let default = route("0.0.0.0/0", Some("10.0.0.65"));
    let old = route("10.1.0.0/16", Some("10.0.0.1"));
    let new = Route { via: Some([10, 0, 0, 129].into()), ..old };
    let mut table = Table::new(keeping.clone(), [default, old]);
    let at = [10, 1, 0, 0].into();
    table.update([Edit::Remove(old), Edit::Insert(new)]);
    assert_eq!(table.choose(at), source("10.0.0.3"));

    let without = Addresses { list: keeping.list[1..].to_vec(), keep: true };
    table.set_chooser(without);
    assert_eq!(table.choose(at), source("10.0.0.131"));
    table.set_chooser(keeping);
    assert_eq!(table.choose(at), source("10.0.0.131"));

    table.remove_route(default);
    table.update([Edit::Insert(old), Edit::Remove(new), Edit::Remove(old)]);
    assert_eq!(table.choose(at), source("10.0.0.131"));
    let elsewhere = [11, 0, 0, 0].into();
    table.update([Edit::Insert(default), Edit::Remove(default)]);
    assert_eq!(table.choose(elsewhere), source("10.0.0.67"));
}

#[test]
fn what_was_never_in_force_is_not_kept() {
    let list = ["10.0.0.3/32", "10.0.0.67/32"].map(net).to_vec();
    let mut table = Table::new(Addresses { list, keep: true }, []);
    let [low, high] = ["10.0.0.1", "10.0.0.65"].map(|via| route("10.1.0.0/16", Some(via)));
    assert_eq!(table.update([Edit::Insert(low), Edit::Remove(low)]), []);
    table.update([Edit::Insert(low), Edit::Remove(low), Edit::Insert(high)]);
    assert_eq!(table.choose([10, 1, 0, 0].into()), source("10.0.0.67"));
}
