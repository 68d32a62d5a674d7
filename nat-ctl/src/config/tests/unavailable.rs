//! Keys of the documented format that this version refuses by name.

use super::accepted::SAMPLE;
use super::{GOOD, good_and};
use crate::config::unavailable::{Key, NOT_YET, is_available};
use crate::config::{Config, ConfigError};

fn refusal(text: &str) -> ConfigError {
    match Config::parse(text, "nat.toml") {
        Ok(config) => panic!("accepted:\n{text}\n{config:#?}"),
        Err(error) => error,
    }
}

/// The sample has every key there is, each once. So a key of the list that the model does not have,
/// or reads from another place, is found here.
#[test]
fn the_sample_is_refused_for_every_key_of_the_list_and_for_no_other() {
    let error = refusal(SAMPLE);
    let expected: Vec<String> = NOT_YET
        .iter()
        .map(|key| match key.section {
            "" => format!("{} is not available in this version", key.key),
            section => format!("`{}` in {section} is not available in this version", key.key),
        })
        .collect();
    let mut said: Vec<&str> =
        error.diagnostics().iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    let mut wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
    said.sort();
    wanted.sort();
    assert_eq!(said, wanted);
    for (key, message) in NOT_YET.iter().zip(&expected) {
        assert!(!is_available(key.section, key.key));
        let here = error.diagnostics().iter().find(|found| found.message == *message).unwrap();
        let (line, _) = here.place.as_ref().unwrap().line_column.unwrap();
        let text = SAMPLE.lines().nth(line - 1).unwrap();
        assert!(text.starts_with(key.key), "{message}: {text}");
    }
}

#[test]
fn other_keys_are_available() {
    assert!(is_available("[[rules]]", "ports") && is_available("[limits]", "max_sessions"));
    assert!(Config::parse(GOOD, "nat.toml").is_ok());
    for key in NOT_YET {
        assert!(is_available("[source]", key.key), "a key of that name elsewhere: {}", key.key);
    }
}

/// Lines with a key, and its line among them.
fn lines_with(key: &Key) -> (String, usize) {
    let is_its = |line: &&str| line.starts_with(&format!("{} = ", key.key));
    match key.section {
        "" => (format!("{}\nanything = 1979-05-27", key.key), 1),
        "[[rules]]" => (SAMPLE.lines().find(is_its).unwrap().to_owned(), 1),
        section => (format!("{section}\n{}", SAMPLE.lines().find(is_its).unwrap()), 2),
    }
}

#[test]
fn the_message_names_the_key_and_the_way_out() {
    for key in NOT_YET {
        let (lines, line) = lines_with(key);
        let (name, what) = match key.section {
            "" => (key.key.to_owned(), "section"),
            section => (format!("`{}` in {section}", key.key), "line"),
        };
        assert_eq!(
            refusal(&good_and(&lines)).to_string(),
            format!(
                "error: {name} is not available in this version\n  --> nat.toml:{}:1\n  \
                 help: remove the {what}",
                line + 10
            )
        );
    }
}

/// What is wrong besides may only seem so: nothing is judged before the keys are right.
#[test]
fn nothing_else_is_judged_then() {
    for key in NOT_YET {
        let (lines, _) = lines_with(key);
        let error = refusal(&format!("{}[timeouts]\nudp = \"1 year\"\n", good_and(&lines)));
        assert_eq!(error.diagnostics().len(), 1, "{error}");
        let misspelt = refusal(&format!("hok = 1\n{}[timeouts]\nupd = 1\n", good_and(&lines)));
        let said: Vec<&str> =
            misspelt.diagnostics().iter().map(|one| one.message.as_str()).collect();
        let [first, second, third] = said.as_slice() else { panic!("{misspelt}") };
        assert!(first.contains("`hok`") && third.contains("`upd`"), "in order: {misspelt}");
        assert!(second.ends_with("is not available in this version"), "in order: {misspelt}");
    }
}
