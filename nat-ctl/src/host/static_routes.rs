//! Routes that are kept in the kernel's table `main`, as `ROUTE ADD … IF … -p` does elsewhere.
//!
//! They carry a protocol number of their own (`proto 78` in `ip route`), so that nobody else's route
//! is ever taken for one of them. Who calls [`put`] once and [`keep`] after every change of the host
//! gets them back when their interface does, or when somebody has removed one.
use std::{collections::BTreeSet, net::Ipv4Addr};

use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};
use rtnetlink::Handle;

use super::{
    network::{Network, ask},
    routes::{Key, Kind, Path},
};
use crate::{config::StaticRoute, exit::Failure};

/// RTA_PROTOCOL of our routes: "N" for NAT. Nobody has it in /etc/iproute2/rt_protos (up to
/// iproute2 6.15) nor in include/uapi/linux/rtnetlink.h.
pub const PROTOCOL: u8 = 78;

const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

/// What the kernel tells a static route apart by.
fn key_of(route: &StaticRoute) -> Key {
    let (network, prefix_len) = (route.to.network().to_bits(), route.to.prefix_len());
    Key { table: MAIN, network, prefix_len, metric: route.metric }
}

/// A route of the kernel that is ours, or is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    key: Key,
    via: Option<Ipv4Addr>,
    /// Index of the interface.
    dev: u32,
}

/// What is to be done about one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Add(Entry),
    /// In the place of ours, which is the only one of its key.
    Replace(Entry),
    Remove(Entry),
}

/// What is to be done, and what cannot be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    warnings: Vec<String>,
}

/// Makes the kernel have these routes, and of those that were wanted before no others: what carries
/// our number beside them is another instance's. Returns what did not work, for people.
pub async fn put(
    network: &Network,
    wanted: &[StaticRoute],
    before: &[StaticRoute],
) -> Result<Vec<String>, Failure> {
    // Of what was done a moment ago the kernel's announcement may not have been read yet.
    let mut network = Network { links: network.links.clone(), ..Network::default() };
    network.read_routes_again().await?;
    carry_out(plan(&network, wanted, before)).await
}

fn plan(network: &Network, wanted: &[StaticRoute], before: &[StaticRoute]) -> Plan {
    let mut plan = Plan { steps: leftovers(network, wanted, before), ..Plan::default() };
    let mine: Vec<_> = wanted.iter().chain(before).cloned().collect();
    let missing = missing(network, wanted, &mine);
    plan.steps.extend(missing.steps);
    plan.warnings.extend(missing.warnings);
    plan
}

/// Makes the kernel have these routes again, after a change of the host; quick, however many routes
/// there are. Returns what did not work, for people.
pub async fn keep(network: &Network, wanted: &[StaticRoute]) -> Result<Vec<String>, Failure> {
    carry_out(missing(network, wanted, wanted)).await
}

/// Our routes whose prefix and metric are not wanted any more.
fn leftovers(network: &Network, wanted: &[StaticRoute], before: &[StaticRoute]) -> Vec<Step> {
    let wanted: BTreeSet<Key> = wanted.iter().map(key_of).collect();
    let unwanted = before.iter().map(key_of).filter(|key| !wanted.contains(key));
    let ours = unwanted
        .flat_map(|key| ours(network, key, before).map(move |path| Step::Remove(entry(key, path))));
    ours.collect()
}

/// What it takes to have the wanted routes; `mine` are those that may be changed for it.
fn missing(network: &Network, wanted: &[StaticRoute], mine: &[StaticRoute]) -> Plan {
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for route in wanted {
        let (steps, problem) = match seen.insert(key_of(route)) {
            true => towards(network, route, mine),
            false => (Vec::new(), Some("another one has the same prefix and metric".to_owned())),
        };
        plan.steps.extend(steps);
        plan.warnings.extend(problem.map(|problem| format!("static route {route}: {problem}")));
    }
    plan
}

/// The steps to one route, and what is in its way.
fn towards(
    network: &Network,
    route: &StaticRoute,
    mine: &[StaticRoute],
) -> (Vec<Step>, Option<String>) {
    let key = key_of(route);
    let paths = network.routes.paths(&key);
    let there: Vec<Entry> = ours(network, key, mine).map(|path| entry(key, path)).collect();
    let remove = there.iter().copied().map(Step::Remove);
    let Some(link) = network.link(&route.dev).filter(|link| link.up) else {
        // What there still is of ours is over another interface.
        let problem =
            format!("`{}` is not there or down; it is added when that changes", route.dev);
        return (remove.collect(), Some(problem));
    };
    let wanted = Entry { key, via: route.via, dev: link.index };
    match there.as_slice() {
        [one] if *one == wanted => (Vec::new(), None),
        [_] if paths.len() == 1 => (vec![Step::Replace(wanted)], None),
        _ if there.len() < paths.len() => {
            let problem = format!(
                "a route with this prefix and metric, which is not ours, is there and stays; \
                 remove it (`ip route show {}`) or choose another metric",
                route.to.trunc()
            );
            (remove.collect(), Some(problem))
        }
        _ => (remove.chain([Step::Add(wanted)]).collect(), None),
    }
}

/// Routes of a key that were made for one of `mine`. Another instance has the same number.
fn ours<'a>(
    network: &'a Network,
    key: Key,
    mine: &'a [StaticRoute],
) -> impl Iterator<Item = &'a Path> {
    let is_mine = move |path: &Path| {
        let wanted = mine.iter().filter(|route| key_of(route) == key && route.via == path.via);
        let devices = wanted.filter_map(|route| network.link(&route.dev));
        devices.into_iter().any(|link| link.index == path.dev)
    };
    let paths = network.routes.paths(&key).iter();
    paths
        .filter(|path| path.protocol == PROTOCOL && path.kind == Kind::Unicast)
        .filter(move |path| is_mine(path))
}

fn entry(key: Key, path: &Path) -> Entry {
    Entry { key, via: path.via, dev: path.dev }
}

async fn carry_out(plan: Plan) -> Result<Vec<String>, Failure> {
    let Plan { steps, mut warnings } = plan;
    if steps.is_empty() {
        return Ok(warnings);
    }
    ask(async |handle| {
        for step in steps {
            warnings.extend(take(handle, step).await?);
        }
        Ok(warnings)
    })
    .await
}

/// Returns what the kernel has against it.
async fn take(handle: &Handle, step: Step) -> Result<Option<String>, rtnetlink::Error> {
    let (verb, entry, result) = match step {
        Step::Add(entry) => ("add", entry, handle.route().add(message(entry)).execute().await),
        Step::Replace(entry) => {
            ("change", entry, handle.route().add(message(entry)).replace().execute().await)
        }
        Step::Remove(entry) => {
            ("remove", entry, handle.route().del(message_to_remove(entry)).execute().await)
        }
    };
    let dst = entry.key.dst();
    match result {
        Ok(()) => tracing::info!("static route to {dst}: {verb}"),
        Err(rtnetlink::Error::NetlinkError(error)) => {
            let error = error.to_io();
            // Both have been announced, or will be: then it is looked at again.
            let gone = matches!(
                (step, error.raw_os_error()),
                (Step::Remove(_), Some(libc::ESRCH)) | (Step::Add(_), Some(libc::EEXIST))
            );
            let via = entry.via.map(|via| format!(" via {via}")).unwrap_or_default();
            let refused = || format!("cannot {verb} the static route {dst}{via}: {error}");
            return Ok((!gone).then(refused));
        }
        Err(error) => return Err(error),
    }
    Ok(None)
}

fn message(entry: Entry) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = AddressFamily::Inet;
    header.destination_prefix_length = entry.key.prefix_len;
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::Other(PROTOCOL);
    header.scope = if entry.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    header.kind = RouteType::Unicast;
    let address = |ip| RouteAddress::Inet(ip);
    message.attributes = vec![
        RouteAttribute::Destination(address(entry.key.dst().network())),
        RouteAttribute::Oif(entry.dev),
        RouteAttribute::Priority(entry.key.metric),
    ];
    message.attributes.extend(entry.via.map(|via| RouteAttribute::Gateway(address(via))));
    message
}

/// With the protocol and the next hop in it the kernel takes no other route for the one meant.
fn message_to_remove(entry: Entry) -> RouteMessage {
    let mut message = message(entry);
    // Of whatever scope.
    message.header.scope = RouteScope::NoWhere;
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Link, routes::Paths};

    fn wanted(to: &str, via: Option<&str>, dev: &str) -> StaticRoute {
        let via = via.map(|via| via.parse().unwrap());
        StaticRoute { to: to.parse().unwrap(), via, dev: dev.to_owned(), metric: 0 }
    }

    /// `lan0` is number 3, `wan0` number 4, `down0` number 5.
    fn network(routes: &[(&str, u8, u32)]) -> Network {
        let link =
            |index, name: &str, up| Link { index, name: name.to_owned(), up, ..Link::default() };
        let links = vec![link(3, "lan0", true), link(4, "wan0", true), link(5, "down0", false)];
        let mut network = Network { links, ..Network::default() };
        for (to, protocol, dev) in routes {
            let path = Path { dev: *dev, protocol: *protocol, ..Path::default() };
            network.routes.push(key_of(&wanted(to, None, "")), Paths::One(path));
        }
        network
    }

    fn at(to: &str, dev: u32) -> Entry {
        Entry { key: key_of(&wanted(to, None, "")), via: None, dev }
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let network = network(&[("10.1.0.0/16", PROTOCOL, 3)]);
        let routes = [wanted("10.1.0.0/16", None, "lan0"), wanted("10.2.0.0/16", None, "wan0")];
        let plan = plan(&network, &routes, &[]);
        assert_eq!(plan, Plan { steps: vec![Step::Add(at("10.2.0.0/16", 4))], warnings: vec![] });
        assert_eq!(leftovers(&network, &routes, &routes), []);
    }

    #[test]
    fn ours_is_replaced_and_removed() {
        let network = network(&[("10.1.0.0/16", PROTOCOL, 3), ("10.9.0.0/16", PROTOCOL, 3)]);
        let routes = [wanted("10.1.0.0/16", Some("192.0.2.1"), "wan0")];
        let replacement = Entry { via: routes[0].via, ..at("10.1.0.0/16", 4) };
        let before = [wanted("10.1.0.0/16", None, "lan0"), wanted("10.9.0.0/16", None, "lan0")];
        assert_eq!(missing(&network, &routes, &before).steps, [Step::Replace(replacement)]);
        // Another instance's has the same number.
        assert_eq!(missing(&network, &routes, &routes).steps, []);
        assert_eq!(missing(&network, &routes, &routes).warnings.len(), 1);
        let gone = [Step::Remove(at("10.9.0.0/16", 3))];
        assert_eq!(leftovers(&network, &routes, &before), gone);
        assert_eq!(leftovers(&network, &[], &before).len(), 2);
        // Those of another instance have the same number, and are none of ours.
        assert_eq!(leftovers(&network, &[], &before[1..]), gone);
    }

    #[test]
    fn the_routes_of_others_are_left_alone() {
        let theirs = network(&[("10.1.0.0/16", 4, 3), ("10.9.0.0/16", 4, 3)]);
        let routes = [wanted("10.1.0.0/16", None, "lan0")];
        let plan = missing(&theirs, &routes, &routes);
        assert_eq!(plan.steps, []);
        assert!(plan.warnings[0].contains("10.1.0.0/16 dev lan0: a route with this prefix"));
        assert_eq!(leftovers(&theirs, &[], &[wanted("10.9.0.0/16", None, "lan0")]), []);
        // Another metric is another route.
        let other = StaticRoute { metric: 5, ..routes[0].clone() };
        assert_eq!(missing(&theirs, &[other], &[]).steps.len(), 1);
        // Ours beside theirs: that it is as wanted is enough.
        let both = network(&[("10.1.0.0/16", 4, 4), ("10.1.0.0/16", PROTOCOL, 3)]);
        assert_eq!(missing(&both, &routes, &routes), Plan::default());
        let moved = [wanted("10.1.0.0/16", None, "wan0")];
        let plan = missing(&both, &moved, &routes);
        assert_eq!(plan.steps, [Step::Remove(at("10.1.0.0/16", 3))]);
        assert_eq!(plan.warnings.len(), 1);
    }

    #[test]
    fn a_route_waits_for_its_interface() {
        let network = network(&[("10.1.0.0/16", PROTOCOL, 3)]);
        for dev in ["down0", "ppp0"] {
            let before = [wanted("10.1.0.0/16", None, "lan0")];
            let plan = plan(&network, &[wanted("10.1.0.0/16", None, dev)], &before);
            assert_eq!(plan.steps, [Step::Remove(at("10.1.0.0/16", 3))], "the old one is not it");
            assert!(
                plan.warnings[0].contains(dev) && plan.warnings[0].contains("when that changes")
            );
        }
    }

    #[test]
    fn the_second_of_two_is_a_warning() {
        let routes = [wanted("10.1.0.0/16", None, "lan0"), wanted("10.1.0.0/16", None, "wan0")];
        let plan = plan(&network(&[]), &routes, &[]);
        assert_eq!(plan.steps, [Step::Add(at("10.1.0.0/16", 3))]);
        assert_eq!(plan.warnings.len(), 1);
    }
}
