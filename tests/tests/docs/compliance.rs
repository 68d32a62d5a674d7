//! Every requirement has its answer, and every answer its tests.
use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path},
};

use super::{read, root};

/// Where tests are, below the project's folder.
const SOURCES: [&str; 4] = ["nat-common/src", "nat-ctl/src", "tests/src", "tests/tests"];

/// A row of docs/rfc-compliance.md.
#[derive(Debug)]
struct Row {
    id: String,
    level: String,
    fit: String,
    verdict: String,
    how: String,
    tests: Vec<String>,
}

/// The quoted words of a cell.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let text = read("docs/rfc-compliance.md");
    let lines = text.lines().filter(|line| line.starts_with("| "));
    let lines = lines.filter(|line| !line.starts_with("| Id ") && !line.starts_with("| ---"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [id, level, fit, verdict, how, tests] = cells[..] else {
            panic!("docs/rfc-compliance.md: a row has six cells: {line}")
        };
        let [id, level, fit, verdict, how] = [id, level, fit, verdict, how].map(str::to_owned);
        Row { id, level, fit, verdict, how, tests: quoted(tests) }
    };
    lines.map(row).collect()
}

#[test]
fn every_requirement_has_one_answer() {
    let text = read("tests/data/nat-requirements.txt");
    let asked: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(asked.len() > 100, "only {} requirements", asked.len());
    let rows = rows();
    let answers = rows.iter().map(|row| format!("{}\t{}\t{}", row.id, row.level, row.fit));
    let answers: Vec<String> = answers.collect();
    for line in &asked {
        let count = answers.iter().filter(|answer| answer == line).count();
        assert_eq!(count, 1, "docs/rfc-compliance.md: one row for {line:?}");
    }
    let unasked = answers.iter().find(|answer| !asked.contains(&answer.as_str()));
    assert_eq!(unasked, None, "tests/data/nat-requirements.txt does not have it");
}

#[test]
fn every_answer_is_one() {
    for row in rows() {
        assert!(!row.how.is_empty(), "docs/rfc-compliance.md: {}: how", row.id);
        match row.verdict.as_str() {
            "✅" => assert!(!row.tests.is_empty(), "{}: no test shows it", row.id),
            "❌" => {}
            "n-a" => assert_ne!(row.fit, "core", "{}: core is for every gateway", row.id),
            other => panic!("{}: {other:?} is no verdict", row.id),
        }
    }
}

/// RFC 6888 REQ-1 asks for what the RFCs of the protocols demand.
#[test]
fn rfc6888_req1_what_the_rfcs_of_the_protocols_demand_holds() {
    let demanded = |row: &&Row| row.fit == "core" && row.level.contains('M');
    let protocols = ["4787-", "5382-", "5508-", "7857-"];
    let of_a_protocol = |row: &&Row| protocols.iter().any(|rfc| row.id.starts_with(rfc));
    let rows = rows();
    let demands: Vec<&Row> = rows.iter().filter(demanded).filter(of_a_protocol).collect();
    assert!(demands.len() > 25, "only {} demands", demands.len());
    for row in demands {
        assert_eq!(row.verdict, "✅", "{}: {}", row.id, row.how);
    }
}

/// The test functions of a file.
fn functions(text: &str) -> Vec<String> {
    let mut functions = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim_start) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or(line.strip_prefix("fn ")) {
            if marked {
                functions.push(rest.split('(').next().unwrap().to_owned());
            }
            marked = false;
        }
    }
    functions
}

/// The tests of a folder: the parts of the file's path, as Rust writes them, and the function.
fn collect(folder: &Path, found: &mut BTreeSet<(Vec<String>, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let place = path.strip_prefix(root()).unwrap().with_extension("");
            let part = |part: Component<'_>| part.as_os_str().to_str().unwrap().replace('-', "_");
            let place: Vec<String> = place.components().map(part).collect();
            let functions = functions(&fs::read_to_string(&path).unwrap());
            found.extend(functions.into_iter().map(|name| (place.clone(), name)));
        }
    }
}

fn all_tests() -> BTreeSet<(Vec<String>, String)> {
    let mut found = BTreeSet::new();
    for folder in SOURCES {
        collect(&root().join(folder), &mut found);
    }
    found
}

/// Whether a name such as `datapath::tcp::only_a_syn_opens` means a test: its modules are parts of
/// the path, in this order. A `*` at the end of the name stands for anything.
fn means(name: &str, (place, function): &(Vec<String>, String)) -> bool {
    let (modules, wanted) = name.rsplit_once("::").unwrap_or(("", name));
    let mut place = place.iter();
    let there = modules.split("::").all(|module| place.any(|part| part == module));
    let same = wanted
        .strip_suffix('*')
        .map_or(function == wanted, |beginning| function.starts_with(beginning));
    there && same && !modules.is_empty()
}

/// Every test that a page names in the last cell of a table's row exists.
fn check_names(page: &str, names: impl Iterator<Item = String>) {
    let tests = all_tests();
    assert!(tests.len() > 500, "only {} tests were found", tests.len());
    for name in names {
        assert!(tests.iter().any(|test| means(&name, test)), "{page}: there is no test `{name}`");
    }
}

#[test]
fn the_tests_of_requirements_exist() {
    let names = rows().into_iter().flat_map(|row| row.tests);
    check_names("docs/rfc-compliance.md", names);
}

#[test]
fn the_tests_of_threats_exist() {
    let text = read("docs/threats.md");
    let cells = text.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | "));
    let names: Vec<String> = cells.flat_map(|(_, cell)| quoted(cell)).collect();
    assert!(names.len() > 10, "{names:?}");
    check_names("docs/threats.md", names.into_iter());
}

#[test]
fn names_of_tests_are_told_from_others() {
    let place = ["tests", "tests", "datapath", "tcp"].map(str::to_owned).to_vec();
    let test = (place, "only_a_syn_opens".to_owned());
    for name in ["datapath::tcp::only_a_syn_opens", "tcp::only_*"] {
        assert!(means(name, &test), "{name}");
    }
    for name in
        ["only_a_syn_opens", "tcp::datapath::only_a_syn_opens", "tcp::only_a_syn", "tcp::a_*"]
    {
        assert!(!means(name, &test), "{name}");
    }
    let text = "#[test]\nfn one() {\n}\nfn helper() {}\n    #[tokio::test]\n    async fn two() {";
    assert_eq!(functions(text), ["one", "two"]);
}
