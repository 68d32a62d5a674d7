//! What a source model would choose on this host, and what `[addresses]` says about it.

use std::net::Ipv4Addr;

use clap::ValueEnum as _;

use super::addresses::{has, outside, snat_rules};
use super::ties::{Tie, tie};
use super::{Finding, configured, listed};
use crate::config::{Candidates, Config, ConfiguredAddress, Source, SourceModel, TieBreak};
use crate::host::{LinkState, Snapshot};

/// What `[addresses]` lists for an interface.
fn order<'c>(config: &'c Config, link: &LinkState) -> &'c [ConfiguredAddress] {
    let list = config.addresses.iter().find(|list| list.interface == link.name);
    list.map_or(&[], |list| &list.addresses)
}

/// The addresses of an interface among which a model chooses, in configured order.
pub(super) fn candidates(config: &Config, model: SourceModel, link: &LinkState) -> Vec<Ipv4Addr> {
    let order = order(config, link);
    let heeds_flag = model == SourceModel::StrongHost || config.source.honour_skip_as_source;
    let place = |address: Ipv4Addr| order.iter().position(|one| one.address == address);
    let skipped = |address: Ipv4Addr| {
        heeds_flag && order.iter().any(|one| one.address == address && one.skip_as_source)
    };
    let addresses = link.addresses.iter().map(|net| net.addr());
    let mut candidates: Vec<_> = addresses.filter(|address| !skipped(*address)).collect();
    // Stable: what is not listed stays in the kernel's order.
    candidates.sort_by_key(|address| place(*address).unwrap_or(order.len()));
    candidates
}

/// A choice that another address, or another order, would change.
struct Unsettled {
    source: Ipv4Addr,
    /// How it is chosen: `the lowest of 2 addresses`.
    how: String,
    /// What would change it.
    but: &'static str,
    /// How to settle it without another `source`, as the start of a list; may be empty.
    settle: String,
}

/// What a model chooses on an interface, if nothing says that it has to be that one.
fn unsettled(
    config: &Config,
    host: &Snapshot,
    model: SourceModel,
    link: &LinkState,
) -> Option<Unsettled> {
    let candidates = candidates(config, model, link);
    let count = candidates.len();
    if count < 2 {
        return None;
    }
    match model {
        SourceModel::Lowest => Some(Unsettled {
            source: *candidates.iter().min()?,
            how: format!("the lowest of {count} addresses"),
            but: "a lower one that is added takes its place",
            settle: String::new(),
        }),
        SourceModel::First | SourceModel::WeakHost => {
            let source = *candidates.first()?;
            let in_order = order(config, link).iter().any(|one| one.address == source);
            (!in_order).then(|| Unsettled {
                source,
                how: format!("the first of {count} addresses"),
                but: KERNELS_ORDER,
                settle: format!("list it first for {} in `[addresses]`, ", listed([&link.name])),
            })
        }
        SourceModel::StrongHost => unsettled_tie(config, link, &tie(config, host, link)?),
    }
}

const KERNELS_ORDER: &str =
    "their order is the kernel's, which is not that in which they were added";

/// By the bits of gateway and destination neither order nor number counts; where those are equal,
/// it does.
fn unsettled_tie(config: &Config, link: &LinkState, tie: &Tie) -> Option<Unsettled> {
    let Tie { source, count } = *tie;
    match config.source.tie_break {
        TieBreak::Lowest => Some(Unsettled {
            source,
            how: format!("the lowest of {count} addresses that match the gateway equally well"),
            but: "a lower one that is added may take its place",
            settle: String::new(),
        }),
        TieBreak::First => {
            let mut lists = config.addresses.iter().flat_map(|list| &list.addresses);
            let in_order = lists.any(|one| one.address == source);
            (!in_order).then(|| Unsettled {
                source,
                how: format!(
                    "by the order of the addresses alone, as {count} addresses match the gateway \
                     equally well"
                ),
                but: KERNELS_ORDER,
                settle: format!(
                    "list them for {} in `[addresses]` in the order that is meant, ",
                    listed([&link.name])
                ),
            })
        }
    }
}

/// Rules whose external address moves when somebody adds one to the interface: upstream filters and
/// IPsec peers that know the old one then drop everything. A rule that is sticky keeps it.
pub(super) fn unsettled_sources(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for model in SourceModel::value_variants() {
        let rules = snat_rules(config)
            .filter(|(_, snat)| snat.source == Source::Model(*model) && !snat.sticky)
            .map(|(rule, _)| rule.name.as_str());
        let who = match rules.collect::<Vec<_>>().as_slice() {
            [] => continue,
            [rule] => format!("rule {} takes", listed([rule])),
            rules => format!("rules {} take", listed(rules)),
        };
        for link in outside(config, host) {
            let found = unsettled(config, host, *model, link);
            if let Some(Unsettled { source, how, but, settle }) = found {
                findings.push(Finding::warning(
                    format!("{who} {source} on {}, {how}: {but}", listed([&link.name])),
                    format!(
                        "{settle}name it, `source = {{ addresses = [\"{source}\"] }}`, or keep it \
                         with `sticky = true`"
                    ),
                ));
            }
        }
    }
    findings
}

/// Rules with a model that has nothing to choose from, because every address of an interface is
/// kept back.
pub(super) fn kept_back(config: &Config, host: &Snapshot) -> Vec<Finding> {
    if config.source.candidates == Candidates::All {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (rule, snat) in snat_rules(config) {
        let Source::Model(model) = snat.source else { continue };
        for link in outside(config, host) {
            if link.addresses.is_empty() || !candidates(config, model, link).is_empty() {
                continue;
            }
            findings.push(Finding::warning(
                format!(
                    "rule {} has no address to choose on {}: all have `skip_as_source`; what it \
                     covers and leaves there is dropped",
                    listed([&rule.name]),
                    listed([&link.name])
                ),
                "clear the flag of one in `[addresses]`, or name it in the rule's `source`: then \
                 the flag does not matter",
            ));
        }
    }
    findings
}

/// Addresses of `[addresses]` that their interface does not have: nat-ctl adds none.
pub(super) fn listed_elsewhere(config: &Config, host: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for list in &config.addresses {
        let dev = listed([&list.interface]);
        let Some(link) = host.link(&list.interface) else {
            // Of interfaces with a role it is said that they are missing.
            if !configured(config).any(|name| name == list.interface) {
                findings.push(Finding::warning(
                    format!("`[addresses]` names {dev}: there is no such interface"),
                    "correct the name, or remove the line",
                ));
            }
            continue;
        };
        for one in list.addresses.iter().filter(|one| !has(link, one.address)) {
            let address = one.address;
            let place = match host.owner(address) {
                Some(owner) => format!("which is on {}", listed([&owner.name])),
                None => "which this host does not have".to_owned(),
            };
            findings.push(Finding::warning(
                format!(
                    "`[addresses]` lists {address} for {dev}, {place}: its place and flag mean \
                         nothing"
                ),
                format!(
                    "`ip addr add {address}/LENGTH dev {}`, or take it out of the list",
                    list.interface
                ),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::sample::{config, config_with, default_route, expect, host, link, net};
    use super::*;

    /// [`config`] with another source, and an order of addresses.
    fn with(source: &str, addresses: &str) -> Config {
        let networks = format!("[addresses]\n{addresses}\n[[networks]]");
        let listed = "source = { addresses = [\"203.0.113.7\"] }";
        config_with(&[(listed, source), ("[[networks]]", &networks)])
    }

    fn model(word: &str) -> Config {
        with(&format!("source = \"{word}\""), "")
    }

    /// A gateway whose outside interface has another address, lower than the first.
    fn two() -> Snapshot {
        let mut host = host();
        host.links[1].addresses.push(net("203.0.113.5/24"));
        host
    }

    #[test]
    fn a_default_that_depends_on_order() {
        for word in ["first", "lowest", "weak-host", "strong-host"] {
            expect(&unsettled_sources(&model(word), &host()), &[]);
        }
        expect(&unsettled_sources(&config(), &two()), &[]);
        // Both share 29 bits with the gateway.
        let findings = unsettled_sources(&model("strong-host"), &two());
        expect(
            &findings,
            &["rule `internet` takes 203.0.113.7 on `wan0`, by the order of the addresses alone, \
               as 2 addresses match the gateway equally well: their order is the kernel's"],
        );
        assert!(findings[0].fix.starts_with("list them for `wan0` in `[addresses]` in the order"));
        let mut told_apart = two();
        told_apart.routes[0] = default_route("203.0.113.4", 2);
        expect(&unsettled_sources(&model("strong-host"), &told_apart), &[]);
        for word in ["first", "weak-host"] {
            expect(
                &unsettled_sources(&model(word), &two()),
                &["rule `internet` takes 203.0.113.7 on `wan0`, the first of 2 addresses: their \
                   order is the kernel's"],
            );
        }
        let findings = unsettled_sources(&model("lowest"), &two());
        expect(
            &findings,
            &[
                "rule `internet` takes 203.0.113.5 on `wan0`, the lowest of 2 addresses: a lower one",
            ],
        );
        assert!(findings[0].fix.contains("`source = { addresses = [\"203.0.113.5\"] }`"));
    }

    #[test]
    fn what_settles_a_default() {
        let settled = |source: &str, addresses: &str| {
            unsettled_sources(&with(&format!("source = \"{source}\""), addresses), &two())
        };
        let flag = "{ address = \"203.0.113.5\", skip_as_source = true }";
        expect(&settled("first", "wan0 = [\"203.0.113.5\"]"), &[]);
        // Only an order that decides is one.
        expect(&settled("first", "wan0 = [\"203.0.113.9\"]"), &["takes 203.0.113.7"]);
        expect(&settled("lowest", "wan0 = [\"203.0.113.5\"]"), &["takes 203.0.113.5"]);
        expect(&settled("lowest", &format!("wan0 = [{flag}]")), &[]);
        expect(&settled("first", &format!("wan0 = [{flag}]")), &[]);
        let literal = format!("wan0 = [{flag}]\n[source]\nhonour_skip_as_source = false");
        expect(&settled("lowest", &literal), &["takes 203.0.113.5"]);
        for word in ["lowest", "strong-host"] {
            let sticky = with(&format!("source = \"{word}\"\nsticky = true"), "");
            expect(&unsettled_sources(&sticky, &two()), &[]);
        }
        expect(&settled("strong-host", "wan0 = [\"203.0.113.7\", \"203.0.113.5\"]"), &[]);
        expect(&settled("strong-host", "wan0 = [\"203.0.113.5\"]"), &[]);
        expect(&settled("strong-host", "wan0 = [\"203.0.113.9\"]"), &["takes 203.0.113.7"]);
        expect(&settled("strong-host", &format!("wan0 = [{flag}]")), &[]);
        let lowest = "wan0 = [\"203.0.113.7\"]\n[source]\ntie_break = \"lowest\"";
        expect(
            &settled("strong-host", lowest),
            &["takes 203.0.113.5 on `wan0`, the lowest of 2 addresses that match the gateway"],
        );
    }

    #[test]
    fn rules_with_one_model_are_told_of_together() {
        let rule = "[[rules]]\nname = \"web\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"8.8.8.8\"]\n\
                    action = \"snat\"\nsource = \"lowest\"\n[[rules]]";
        let both = config_with(&[
            ("source = { addresses = [\"203.0.113.7\"] }", "source = \"lowest\""),
            ("[[rules]]", rule),
            ("outside = [\"wan0\"]", "outside = [\"wan0\", \"wan1\"]"),
        ]);
        let mut host = two();
        host.links.push(link(4, "wan1", &["198.51.100.2/24", "198.51.100.1/24"]));
        expect(
            &unsettled_sources(&both, &host),
            &["rules `web` and `internet` take 203.0.113.5 on `wan0`", "198.51.100.1 on `wan1`"],
        );
    }

    #[test]
    fn nothing_left_to_choose() {
        let flags = "wan0 = [{ address = \"203.0.113.7\", skip_as_source = true }]";
        let all = |source: &str, more: &str| {
            kept_back(
                &with(&format!("source = \"{source}\""), &format!("{flags}\n{more}")),
                &host(),
            )
        };
        expect(&all("strong-host", ""), &["rule `internet` has no address to choose on `wan0`"]);
        expect(&all("lowest", ""), &["all have `skip_as_source`"]);
        let literal = "[source]\nhonour_skip_as_source = false";
        expect(&all("lowest", literal), &[]);
        expect(&all("strong-host", literal), &["no address to choose"]);
        expect(&all("strong-host", "[source]\ncandidates = \"all\""), &[]);
        expect(&kept_back(&model("lowest"), &host()), &[]);
        // Named, it does not matter.
        expect(
            &kept_back(&with("source = { addresses = [\"203.0.113.7\"] }", flags), &host()),
            &[],
        );
    }

    #[test]
    fn addresses_that_are_not_where_they_are_listed() {
        let found =
            |addresses: &str| listed_elsewhere(&with("source = \"first\"", addresses), &two());
        expect(&found("wan0 = [\"203.0.113.7\", \"203.0.113.5\"]"), &[]);
        let findings = found("wan0 = [\"203.0.113.9\", \"10.0.0.1\"]");
        expect(
            &findings,
            &[
                "`[addresses]` lists 203.0.113.9 for `wan0`, which this host does not have",
                "`[addresses]` lists 10.0.0.1 for `wan0`, which is on `lan0`",
            ],
        );
        assert!(findings[0].fix.starts_with("`ip addr add 203.0.113.9/LENGTH dev wan0`"));
        expect(&found("dmz0 = [\"10.0.0.1\"]"), &["names `dmz0`: there is no such interface"]);
        let mut gone = two();
        gone.links.remove(1);
        let config = with("source = \"first\"", "wan0 = [\"203.0.113.7\"]");
        expect(&listed_elsewhere(&config, &gone), &[]);
    }
}
