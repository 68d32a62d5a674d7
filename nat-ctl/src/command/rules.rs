//! `nat-ctl rules list|add|remove|move`
use std::{
    collections::HashMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::enter_namespace;
use crate::{
    api::{self, Request},
    atomic_file,
    cli::{CONFIG_DEFAULT, EditedFile, Global, RulesCommand},
    config::{
        Action, Config, Pooling,
        edit::{self, EditError},
    },
    datapath::{
        Error, RuleState, State,
        kernel::{Pinned, pins::Pins},
    },
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
    ports: Option<String>,
    /// Whether the data path has a rule of this name; None if there is no data path.
    in_force: Option<bool>,
    counters: Option<Counters>,
}

#[derive(Serialize)]
struct Source {
    addresses: Vec<Ipv4Addr>,
    pooling: Pooling,
}

/// Since the data path was attached.
#[derive(Serialize)]
struct Counters {
    sessions: u64,
    routed_packets: u64,
    dropped_packets: u64,
}

/// `rules add|remove|move -j`
#[derive(Serialize)]
struct Edited {
    schema: &'static str,
    version: &'static str,
    config: String,
    /// Whether a controller has put it in force.
    applied: bool,
    #[serde(flatten)]
    plan: Plan,
}

/// Lists or edits rules.
pub fn run(global: &Global, command: &RulesCommand, out: Out) -> Result<Exit, Failure> {
    match command {
        RulesCommand::List(args) => list(global, args.config.as_deref(), out)?,
        RulesCommand::Add(args) => edit_file(global, &args.file, &args.name, out, |text, file| {
            edit::add(text, file, &args.rule(), &args.place.at())
        })?,
        RulesCommand::Remove(args) => {
            edit_file(global, &args.file, &args.name, out, |text, file| {
                edit::remove(text, file, &args.name)
            })?
        }
        RulesCommand::Move(args) => {
            edit_file(global, &args.file, &args.name, out, |text, file| {
                edit::move_rule(text, file, &args.name, &args.place.at())
            })?
        }
    }
    Ok(Exit::Ok)
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

/// The instance, if it is attached. Who may not look is told so only if the answer hangs on it: a
/// file can be listed and edited by anybody who may read or write it.
fn attached(global: &Global, needed: bool) -> Result<Option<Pinned>, Failure> {
    let namespace = enter_namespace(global)?;
    let pins = Pins::new(&global.bpffs, global.instance.as_str());
    match pins.and_then(|pins| Pinned::open(&pins, namespace)) {
        Ok(state) => Ok(Some(state)),
        Err(Error::NotAttached { .. } | Error::NotBpffs { .. }) => Ok(None),
        Err(_) if !needed => Ok(None),
        Err(error) => Err(error.into()),
    }
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
    let view = |(rule, position): (&crate::config::Rule, usize)| {
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
            source: snat
                .map(|snat| Source { addresses: snat.addresses.clone(), pooling: snat.pooling }),
            ports: snat.map(|snat| format!("{}-{}", snat.ports.start(), snat.ports.end())),
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
        let source = rule.source.as_ref().map(|source| {
            let addresses: Vec<_> = source.addresses.iter().map(ToString::to_string).collect();
            addresses.join(" ")
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

/// Edits the rule `rule` of the configuration file, has a running controller read it again, and shows what changed.
fn edit_file(
    global: &Global,
    file: &EditedFile,
    rule: &str,
    out: Out,
    change: impl FnOnce(&str, &str) -> Result<String, EditError>,
) -> Result<(), Failure> {
    let in_force = file_in_force(global)?;
    let path = match (&file.config, &in_force) {
        (Some(path), _) | (None, Some(path)) => path.clone(),
        (None, None) => PathBuf::from(CONFIG_DEFAULT),
    };
    let name = path.display().to_string();
    let plan = atomic_file::edit(&path, |old| {
        let new = change(old, &name)?;
        // A file that was not valid before has no difference to what it is now.
        let plan = match (Config::parse(old, &name), Config::parse(&new, &name)) {
            (Ok(old), Ok(new)) => Plan::after_moving(rule, &old, &new),
            _ => Plan::default(),
        };
        Ok((new, plan))
    })?;
    let applied = reload(global, &path, in_force.as_deref())?;
    if !applied {
        eprintln!("note: {name} is changed, not applied: `nat-ctl apply {name}` does that");
    }
    let edited = Edited {
        schema: "nat-ctl/plan/1",
        version: env!("CARGO_PKG_VERSION"),
        config: name,
        applied,
        plan,
    };
    out.answer(&edited, |edited, _| edited.plan.to_string())
}

/// The file that the configuration in force was read from, if it was one.
fn file_in_force(global: &Global) -> Result<Option<PathBuf>, Failure> {
    let Some(state) = attached(global, false)? else { return Ok(None) };
    let path = state.config()?.map(|written| PathBuf::from(written.name));
    Ok(path.filter(|path| path.is_absolute()))
}

/// Has the controller read its file again, if one runs and this is its file. Says whether it did.
fn reload(global: &Global, edited: &Path, in_force: Option<&Path>) -> Result<bool, Failure> {
    let is_same = |other: &Path| match (edited.canonicalize(), other.canonicalize()) {
        (Ok(edited), Ok(other)) => edited == other,
        _ => false,
    };
    if !in_force.is_some_and(is_same) {
        return Ok(false);
    }
    let socket = api::socket_path(global.instance.as_str());
    let Some(answer) = api::client::ask(&socket, &Request::Reload)? else { return Ok(false) };
    match answer.failure() {
        None => Ok(true),
        Some(failure) => Err(Failure {
            what: format!(
                "{} is changed, but the controller goes on with the rules that it has: {}",
                edited.display(),
                failure.what
            ),
            ..failure
        }),
    }
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
                    source = { addresses = [\"203.0.113.7\"] }\n";
        Config::parse(text, "nat.toml").unwrap()
    }

    fn state(name: &str, action: Option<rule::Action>) -> RuleState {
        let counters = RuleCounters { sessions: 3, routed_packets: 4, ..RuleCounters::default() };
        RuleState { id: 0, name: name.to_owned(), action, counters }
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        let states = [state("vpn", Some(rule::Action::Route)), state("web", None)];
        let views = views(&config(), Some(&states));
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
                    "ports": "1-9",
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
    }

    #[test]
    fn without_a_data_path_nothing_is_said_about_it() {
        let views = views(&config(), None);
        assert!(views.iter().all(|view| view.in_force.is_none() && view.counters.is_none()));
    }
}
