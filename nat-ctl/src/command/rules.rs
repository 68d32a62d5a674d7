//! `nat-ctl rules list|add|remove|move`
mod behaviour;

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::Serialize;

use behaviour::Behaviour;

use super::edit_file::{attached, edit_file};
use crate::{
    cli::{CONFIG_DEFAULT, EditedFile, Global, RulesCommand},
    config::{
        self, Action, Config, OnAddressRemoved, Pooling, SourceModel,
        edit::{self, EditError},
    },
    datapath::{RuleState, State},
    exit::{Exit, Failure},
    output::{Out, Style, Table, Tone},
    plan::{self, Plan},
};

/// `rules list -j`
#[derive(Serialize)]
struct List {
    schema: &'static str,
    version: &'static str,
    /// Where the rules come from: a file, or what was in force when it was read.
    config: Option<String>,
    rules: Vec<RuleView>,
}

/// A rule of the configuration and what the data path has of it.
#[derive(Serialize)]
struct RuleView {
    /// From 1; the first rule that matches decides.
    position: usize,
    name: String,
    action: &'static str,
    from: Vec<String>,
    to: Vec<String>,
    /// None of a rule that does not translate: it is for all.
    protocols: Option<Vec<&'static str>>,
    source: Option<Source>,
    sticky: Option<bool>,
    on_address_removed: Option<OnAddressRemoved>,
    ports: Option<String>,
    #[serde(flatten)]
    behaviour: Option<Behaviour>,
    /// Whether the data path has a rule of this name; None if there is no data path.
    in_force: Option<bool>,
    counters: Option<Counters>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Source {
    Model { model: SourceModel },
    Addresses { addresses: Vec<Ipv4Addr>, pooling: Pooling },
}

impl From<&config::Source> for Source {
    fn from(source: &config::Source) -> Self {
        match source {
            config::Source::Model(model) => Self::Model { model: *model },
            config::Source::Addresses { addresses, pooling } => {
                Self::Addresses { addresses: addresses.clone(), pooling: *pooling }
            }
        }
    }
}

/// Since the data path was attached.
#[derive(Serialize)]
struct Counters {
    sessions: u64,
    routed_packets: u64,
    dropped_packets: u64,
}

/// Lists or edits rules.
pub fn run(global: &Global, command: &RulesCommand, out: Out) -> Result<Exit, Failure> {
    match command {
        RulesCommand::List(args) => list(global, args.config.as_deref(), out)?,
        RulesCommand::Add(args) => {
            let rule = args.rule()?;
            edit_rule(global, &args.file, &args.name, out, |text, file| {
                edit::add(text, file, &rule, &args.place.at())
            })?
        }
        RulesCommand::Remove(args) => {
            edit_rule(global, &args.file, &args.name, out, |text, file| {
                edit::remove(text, file, &args.name)
            })?
        }
        RulesCommand::Move(args) => {
            edit_rule(global, &args.file, &args.name, out, |text, file| {
                edit::move_rule(text, file, &args.name, &args.place.at())
            })?
        }
    }
    Ok(Exit::Ok)
}

/// Edits the rule `rule` of the configuration file.
fn edit_rule(
    global: &Global,
    file: &EditedFile,
    rule: &str,
    out: Out,
    change: impl FnOnce(&str, &str) -> Result<String, EditError>,
) -> Result<(), Failure> {
    let plan = |old: &Config, new: &Config| Plan::after_moving(rule, old, new);
    edit_file(global, file, out, |text, file| Ok(change(text, file)?), plan)
}

fn list(global: &Global, file: Option<&Path>, out: Out) -> Result<(), Failure> {
    let attached = attached(global, file.is_none())?;
    let (config, name) = match (file, &attached) {
        (None, Some(state)) => in_force(state)?,
        (file, _) => {
            let file = file.map_or_else(|| PathBuf::from(CONFIG_DEFAULT), Path::to_owned);
            (Some(Config::load(&file)?), Some(file.display().to_string()))
        }
    };
    let states = attached.map(|state| state.rules()).transpose()?;
    let list = List {
        schema: "nat-ctl/rules/1",
        version: env!("CARGO_PKG_VERSION"),
        config: name,
        rules: config.map(|config| views(&config, states.as_deref())).unwrap_or_default(),
    };
    out.answer(&list, table)
}

/// The configuration in force, as it was written.
fn in_force(state: &impl State) -> Result<(Option<Config>, Option<String>), Failure> {
    let Some(written) = state.config()? else { return Ok((None, None)) };
    Ok((Some(Config::parse(&written.text, &written.name)?), Some(written.name)))
}

fn views(config: &Config, states: Option<&[RuleState]>) -> Vec<RuleView> {
    let by_name: Option<HashMap<&str, &RuleState>> = states.map(|states| {
        let in_force = states.iter().filter(|state| state.action.is_some());
        in_force.map(|state| (state.name.as_str(), state)).collect()
    });
    let view = |(rule, position): (&config::Rule, usize)| {
        let snat = match &rule.action {
            Action::Snat(snat) => Some(snat),
            Action::Route | Action::Drop => None,
        };
        let state = by_name.as_ref().map(|by_name| by_name.get(rule.name.as_str()));
        RuleView {
            position,
            name: rule.name.clone(),
            action: rule.action.as_str(),
            from: plan::selector_names(config, &rule.from),
            to: plan::selector_names(config, &rule.to),
            protocols: snat.map(|_| plan::protocol_names(rule.protocols)),
            source: snat.map(|snat| Source::from(&snat.source)),
            sticky: snat.map(|snat| snat.sticky),
            on_address_removed: snat.map(|snat| snat.on_address_removed),
            ports: snat.map(|snat| format!("{}-{}", snat.ports.start(), snat.ports.end())),
            behaviour: snat
                .map(|snat| Behaviour::of(snat, |key| config::is_available("[[rules]]", key))),
            in_force: state.map(|state| state.is_some()),
            counters: state.flatten().map(|state| Counters {
                sessions: state.counters.sessions,
                routed_packets: state.counters.routed_packets,
                dropped_packets: state.counters.dropped_packets,
            }),
        }
    };
    config.rules.iter().zip(1..).map(view).collect()
}

fn table(list: &List, style: Style) -> String {
    let mut table =
        Table::new(&["POS", "RULE", "ACTION", "FROM", "TO", "PROTO", "SOURCE", "HITS", "IN FORCE"])
            .right(&[0, 7]);
    for rule in &list.rules {
        let source = rule.source.as_ref().map(|source| match source {
            Source::Model { model } => model.to_string(),
            Source::Addresses { addresses, .. } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                addresses.join(" ")
            }
        });
        // Sessions of a rule that translates, packets of the others.
        let hits = rule.counters.as_ref().map(|counters| {
            (counters.sessions + counters.routed_packets + counters.dropped_packets).to_string()
        });
        let cells = [
            rule.position.to_string(),
            rule.name.clone(),
            rule.action.to_owned(),
            rule.from.join(" "),
            rule.to.join(" "),
            rule.protocols.as_ref().map_or_else(|| "any".to_owned(), |names| names.join(" ")),
            source.unwrap_or_else(|| "-".to_owned()),
            hits.unwrap_or_else(|| "-".to_owned()),
            rule.in_force.map_or("-", |yes| if yes { "yes" } else { "no" }).to_owned(),
        ];
        match rule.in_force {
            Some(false) => table.row_in(Tone::Dim, cells),
            _ => table.row(cells),
        }
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use nat_common::{rule, stats::RuleCounters};

    use super::*;

    fn config() -> Config {
        let text = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n\
                    [[rules]]\nname = \"vpn\"\nfrom = [\"10.0.0.0/8\", \"local-host\"]\n\
                    to = [\"external\"]\naction = \"route\"\n\
                    [[rules]]\nname = \"web\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"8.8.8.8\"]\n\
                    action = \"snat\"\nprotocols = [\"tcp\"]\nports = \"1-9\"\n\
                    source = { addresses = [\"203.0.113.7\"] }\n\
                    [[rules]]\nname = \"rest\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"external\"]\n\
                    action = \"snat\"\nsource = \"lowest\"\nsticky = true\n\
                    on_address_removed = \"end\"\n";
        Config::parse(text, "nat.toml").unwrap()
    }

    fn state(name: &str, action: Option<rule::Action>) -> RuleState {
        let counters = RuleCounters { sessions: 3, routed_packets: 4, ..RuleCounters::default() };
        let behaviour = nat_common::mapping::Behaviour::default();
        RuleState { id: 0, name: name.to_owned(), action, behaviour, counters }
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        let states = [state("vpn", Some(rule::Action::Route)), state("web", None)];
        let views = views(&config(), Some(&states));
        let translates: Vec<bool> = views.iter().map(|view| view.behaviour.is_some()).collect();
        assert_eq!(translates, [false, true, true]);
        // Which keys it has depends on what is available.
        let views: Vec<RuleView> =
            views.into_iter().map(|view| RuleView { behaviour: None, ..view }).collect();
        assert_eq!(
            serde_json::to_value(&views).unwrap(),
            serde_json::json!([
                {
                    "position": 1,
                    "name": "vpn",
                    "action": "route",
                    "from": ["10.0.0.0/8", "local-host"],
                    "to": ["external"],
                    "protocols": null,
                    "source": null,
                    "sticky": null,
                    "on_address_removed": null,
                    "ports": null,
                    "in_force": true,
                    "counters": {"sessions": 3, "routed_packets": 4, "dropped_packets": 0},
                },
                {
                    "position": 2,
                    "name": "web",
                    "action": "snat",
                    "from": ["10.0.0.0/8"],
                    "to": ["8.8.8.8/32"],
                    "protocols": ["tcp"],
                    "source": {"addresses": ["203.0.113.7"], "pooling": "paired"},
                    "sticky": false,
                    "on_address_removed": "drain",
                    "ports": "1-9",
                    "in_force": false,
                    "counters": null,
                },
                {
                    "position": 3,
                    "name": "rest",
                    "action": "snat",
                    "from": ["10.0.0.0/8"],
                    "to": ["external"],
                    "protocols": ["tcp", "udp", "icmp"],
                    "source": {"model": "lowest"},
                    "sticky": true,
                    "on_address_removed": "end",
                    "ports": "1024-65535",
                    "in_force": false,
                    "counters": null,
                },
            ])
        );
        let list = List { schema: "", version: "", config: None, rules: views };
        let text = table(&list, Style::new(false));
        let words = |line: usize| -> Vec<&str> {
            text.lines().nth(line).unwrap().split_whitespace().collect()
        };
        assert_eq!(
            words(1),
            ["1", "vpn", "route", "10.0.0.0/8", "local-host", "external", "any", "-", "7", "yes"]
        );
        assert_eq!(
            words(2),
            ["2", "web", "snat", "10.0.0.0/8", "8.8.8.8/32", "tcp", "203.0.113.7", "-", "no"]
        );
        assert_eq!(words(3)[8], "lowest");
    }

    #[test]
    fn without_a_data_path_nothing_is_said_about_it() {
        let views = views(&config(), None);
        assert!(views.iter().all(|view| view.in_force.is_none() && view.counters.is_none()));
    }
}
