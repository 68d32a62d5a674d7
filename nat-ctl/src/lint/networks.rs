//! Networks and the interfaces that their packets must arrive by.

use ipnet::Ipv4Net;

use super::{Finding, listed};
use crate::config::{Config, Network};
use crate::host::{Route, Snapshot};

/// Networks with prefixes that are reached by another interface than they must arrive by: the
/// filter against forged sources would drop the real clients.
pub(super) fn reached_elsewhere(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for network in config.networks.iter().filter(|network| !network.interfaces.is_empty()) {
        let mut told: Vec<&str> = Vec::new();
        for (part, route) in network.prefixes.iter().flat_map(|prefix| parts(host, *prefix)) {
            let dev = host.name(route.interface);
            // One of each interface is enough to see what is meant.
            if !network.interfaces.iter().any(|name| name == dev) && !told.contains(&dev) {
                told.push(dev);
                findings.push(elsewhere(config, network, part, dev));
            }
        }
    }
    findings
}

/// The parts of a prefix of which is known where they are, with their routes: those within it, else
/// the one around it. A default route says nothing: networks are often larger than what is there.
fn parts(host: &Snapshot, prefix: Ipv4Net) -> Vec<(Ipv4Net, &Route)> {
    let in_use = |route: &&Route| {
        let better =
            |other: &Route| other.destination == route.destination && other.metric < route.metric;
        route.destination.prefix_len() > 0 && !host.routes.iter().any(better)
    };
    let routes: Vec<&Route> = host.routes.iter().filter(in_use).collect();
    let within = routes.iter().filter(|route| prefix.contains(&route.destination));
    let within: Vec<_> = within.map(|route| (route.destination, *route)).collect();
    if !within.is_empty() {
        return within;
    }
    let around = routes.iter().filter(|route| route.destination.contains(&prefix));
    let longest = around.max_by_key(|route| route.destination.prefix_len());
    longest.map(|route| (prefix, *route)).into_iter().collect()
}

fn elsewhere(config: &Config, network: &Network, part: Ipv4Net, dev: &str) -> Finding {
    let (name, dev_name) = (listed([&network.name]), listed([dev]));
    let what = format!(
        "{part} of network {name} is reached by {dev_name}, but must arrive by {}: what comes from \
         there is dropped as forged",
        listed(&network.interfaces),
    );
    let is_one = |names: &[String]| names.iter().any(|name| name == dev);
    let fix = if is_one(&config.interfaces.inside) {
        format!("add \"{dev}\" to `interfaces` of the network, or take {part} out of it")
    } else if is_one(&config.interfaces.outside) {
        format!("take {part} out of the network, or correct the route")
    } else {
        format!(
            "if clients are there, add \"{dev}\" to `inside` and to `interfaces` of the network; if \
             not, take {part} out of it"
        )
    };
    Finding::warning(what, fix)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, config_with, connected, default_route, expect, host, link};
    use super::*;

    /// [`config`] with `internal` on lan0 only, and another inside interface.
    fn bound() -> Config {
        config_with(&[
            ("name = \"internal\"", "name = \"internal\"\ninterfaces = [\"lan0\"]"),
            ("inside = [\"lan0\"]", "inside = [\"lan0\", \"lan1\"]"),
        ])
    }

    #[test]
    fn where_clients_are() {
        let mut host = host();
        expect(&reached_elsewhere(&bound(), &host), &[]);
        host.links.push(link(4, "lan1", &["10.1.0.1/16"]));
        host.links.push(link(5, "docker0", &["10.2.0.1/16"]));
        host.routes.push(connected("10.1.0.0/16", 4));
        host.routes.push(connected("10.1.7.0/24", 4));
        let findings = reached_elsewhere(&bound(), &host);
        expect(
            &findings,
            &["10.1.0.0/16 of network `internal` is reached by `lan1`, but must arrive by `lan0`"],
        );
        assert!(findings[0].fix.starts_with("add \"lan1\" to `interfaces`"), "{findings:#?}");
        expect(&reached_elsewhere(&config(), &host), &[]);
        host.routes.push(connected("10.2.0.0/16", 5));
        let findings = reached_elsewhere(&bound(), &host);
        expect(&findings, &["`lan1`", "10.2.0.0/16 of network `internal` is reached by `docker0`"]);
        assert!(findings[1].fix.contains("add \"docker0\" to `inside`"), "{findings:#?}");
    }

    #[test]
    fn the_route_around_a_prefix() {
        let mut host = host();
        host.links.push(link(4, "lan1", &[]));
        host.routes.retain(|route| route.interface != 3);
        // By the default route nobody is reached.
        expect(&reached_elsewhere(&bound(), &host), &[]);
        host.routes.push(connected("10.0.0.0/7", 2));
        let findings = reached_elsewhere(&bound(), &host);
        expect(&findings, &["10.0.0.0/8 of network `internal` is reached by `wan0`"]);
        assert!(findings[0].fix.starts_with("take 10.0.0.0/8 out"), "{findings:#?}");
        host.routes.push(connected("10.0.0.0/8", 3));
        expect(&reached_elsewhere(&bound(), &host), &[]);
    }

    #[test]
    fn a_route_for_standby_is_not_in_use() {
        let mut host = host();
        host.links.push(link(4, "lan1", &[]));
        host.routes.push(Route { metric: 9, ..connected("10.0.0.0/8", 4) });
        host.routes.push(Route { metric: 9, ..default_route("203.0.113.1", 4) });
        expect(&reached_elsewhere(&bound(), &host), &[]);
    }
}
