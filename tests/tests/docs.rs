//! The documentation says what the code says. Needs the built `nat-ctl`, no root.
#![expect(clippy::unwrap_used, reason = "a test that cannot do what it says has failed")]

#[path = "docs/compliance.rs"]
mod compliance;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use nat_common::verdict::Verdict;
use nat_ctl::config::{
    Action, Config, Cooldown, Defaults, Interfaces, Limits, Snat, SourceOptions, StaticRoute,
    Timeouts,
};
use nat_tests::lab::nat_ctl::find_binary;

/// The heading of docs/config.md after which the keys that are refused are listed.
const NOT_YET: &str = "## Known, not available yet";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_verdict_table_is_that_of_the_code() {
    let mut table = String::from("| Verdict | Fate | Meaning |\n| --- | --- | --- |\n");
    for verdict in Verdict::ALL {
        let (name, fate) = (verdict.name(), verdict.fate().name());
        table.push_str(&format!("| `{name}` | {fate} | {} |\n", verdict.describe()));
    }
    let text = read("docs/datapath.md");
    let written = text.split("<!-- verdicts:begin -->\n").nth(1).unwrap();
    let written = written.split("<!-- verdicts:end -->").next().unwrap();
    assert!(written == table, "docs/datapath.md: paste this between the markers:\n\n{table}");
}

#[test]
fn every_configuration_in_the_documentation_is_accepted_without_a_warning() {
    for (path, least) in [("README.md", 1), ("docs/config.md", 2)] {
        let text = read(path);
        let blocks = blocks(&text, "toml");
        assert!(blocks.len() >= least, "{path} has {} blocks", blocks.len());
        for block in blocks {
            let config = Config::parse(block, path)
                .unwrap_or_else(|error| panic!("{error}\n\nin:\n{block}"));
            assert_eq!(config.warnings, [], "{path}: {block}");
        }
    }
}

#[test]
fn the_full_sample_shows_the_defaults() {
    let text = read("docs/config.md");
    let config = Config::parse(blocks(&text, "toml")[0], "docs/config.md").unwrap();
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.cooldown, Cooldown::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.defaults, Defaults::default());
    assert_eq!(config.interfaces.hook, Interfaces::HOOK_DEFAULT);
    assert_eq!(config.source, SourceOptions::default());
    assert_eq!(config.static_routes[0].metric, StaticRoute::METRIC_DEFAULT);
    let internet = config.rules.iter().find(|rule| rule.name == "internet").unwrap();
    let Action::Snat(snat) = &internet.action else { panic!("{internet:?}") };
    assert_eq!((&snat.source, &snat.ports), (&Snat::SOURCE_DEFAULT, &Snat::PORTS_DEFAULT));
    assert_eq!(snat.on_address_removed, Snat::ON_ADDRESS_REMOVED_DEFAULT);
    assert_eq!((snat.mapping, snat.filtering), (Snat::MAPPING_DEFAULT, Snat::FILTERING_DEFAULT));
    assert_eq!((snat.exclude_ports.as_slice(), snat.mss), (&[][..], Snat::MSS_DEFAULT));
    assert!(!snat.sticky && !snat.spill);
}

/// The keys of the model, by its source: its types are private.
fn keys() -> Vec<String> {
    let source = read("nat-ctl/src/config/model.rs");
    let fields = source.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
    fields.map(|(key, _)| key.to_owned()).filter(|key| !key.contains(' ')).collect()
}

/// The keys that are refused, by the source of the list: `mss`, `log`.
fn not_yet() -> Vec<String> {
    let source = read("nat-ctl/src/config/unavailable.rs");
    let entries = source.split("key(\"").skip(1).filter_map(|entry| entry.split_once(", \""));
    let keys = entries.filter_map(|(_, rest)| rest.split_once('"')).map(|(key, _)| key);
    keys.map(|key| key.trim_matches(['[', ']']).to_owned()).collect()
}

/// Whether a text names a key, or the section that it is.
fn says(text: &str, key: &str) -> bool {
    let forms = [format!("`{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`")];
    forms.iter().any(|form| text.contains(form.as_str()))
}

#[test]
fn every_key_is_documented_where_it_belongs() {
    let text = read("docs/config.md");
    let (in_force, listed) = text.split_once(NOT_YET).unwrap();
    let (keys, not_yet) = (keys(), not_yet());
    assert!(keys.len() > 30, "{keys:?}");
    for key in &not_yet {
        assert!(keys.contains(key), "nat-ctl/src/config/unavailable.rs: `{key}` is no key");
    }
    for key in &keys {
        let available = !not_yet.contains(key);
        let place = if available { in_force } else { listed };
        assert!(says(place, key), "docs/config.md: `{key}`, available: {available}");
    }
    let stale = keys.iter().filter(|key| listed.contains(&format!("`{key}`")));
    let stale: Vec<&String> = stale.filter(|key| !not_yet.contains(key)).collect();
    assert!(stale.is_empty(), "docs/config.md, \"{NOT_YET}\": {stale:?} are available");
}

/// A row for a key that is refused says so, and no other row does.
#[test]
fn rows_of_keys_that_are_not_available_are_marked() {
    let text = read("docs/config.md");
    let (not_yet, mut marked) = (not_yet(), 0);
    for row in text.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (key, rest) = row.split_once('`').unwrap();
        let is_marked = rest.starts_with(" (not yet) |");
        assert_eq!(is_marked, not_yet.iter().any(|one| one == key), "docs/config.md: row `{key}`");
        marked += usize::from(is_marked);
    }
    // All but those of whose sections nothing is known.
    let sections = ["listen", "log"].into_iter().filter(|one| not_yet.iter().any(|key| key == one));
    assert_eq!(marked + sections.count(), not_yet.len(), "docs/config.md: a row for each key");
}

/// What `nat-ctl ARGUMENTS --help` prints.
fn help(arguments: &[&str]) -> String {
    let binary = find_binary().unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(binary).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_and_flag_is_documented() {
    let text = read("docs/cli.md");
    let mut lines = Vec::new();
    for command in commands(&help(&[])) {
        let inner = commands(&help(&[&command]));
        lines.extend(inner.iter().map(|inner| vec![command.clone(), inner.clone()]));
        if inner.is_empty() {
            lines.push(vec![command]);
        }
    }
    assert!(lines.len() > 4, "{lines:?}");
    for line in lines {
        let name = format!("nat-ctl {}", line.join(" "));
        assert!(text.contains(&name), "docs/cli.md lacks `{name}`");
        let arguments: Vec<_> = line.iter().map(String::as_str).collect();
        let help = help(&arguments);
        let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
        for flag in flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())) {
            let flag = flag.split('=').next().unwrap();
            assert!(flag.len() < 3 || text.contains(flag), "docs/cli.md lacks {flag} of {name}");
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/adr", "tests"].map(|folder| root().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let pages = entries.map(|entry| entry.unwrap().path());
    pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn links_within_the_project_lead_somewhere() {
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = page.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", page.display());
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links were found");
}
