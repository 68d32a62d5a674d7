//! `nat-ctl check`
use std::path::Path;

use serde::Serialize;

use super::{block_on, enter_namespace};
use crate::{
    cli::{CheckArgs, Global},
    compile::{self, compile},
    config::{Config, Diagnostic},
    exit::{Exit, Failure},
    host::Snapshot,
    lint::{self, Finding},
    output::{Out, Style, Tone, sanitise},
};

/// `check -j`
#[derive(Serialize)]
struct Check {
    schema: &'static str,
    version: &'static str,
    file: String,
    /// Whether the file would be used.
    valid: bool,
    /// Whether this host was looked at too.
    host: bool,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    notes: Vec<Problem>,
}

/// Something that was found, in the file or on the host.
#[derive(Serialize)]
struct Problem {
    what: String,
    /// In the file; absent for what is about the host.
    key: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    fix: Option<String>,
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let place = diagnostic.place.as_ref().and_then(|place| place.line_column);
        Self {
            what: diagnostic.message.clone(),
            key: diagnostic.key.clone(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            fix: diagnostic.help.clone(),
        }
    }
}

impl From<Finding> for Problem {
    fn from(finding: Finding) -> Self {
        let Finding { what, fix, .. } = finding;
        Self { what, key: None, line: None, column: None, fix: Some(fix) }
    }
}

/// Checks a file, and this host against it.
pub fn run(global: &Global, args: &CheckArgs, out: Out) -> Result<Exit, Failure> {
    let config = Config::load(&args.file);
    // Of no interest where the file is wrong: the answer would be of another configuration.
    let snapshot = if args.no_host || config.is_err() {
        None
    } else {
        enter_namespace(global)?;
        Some(block_on(Snapshot::read())?)
    };
    let check = match config {
        Ok(config) => judge(&args.file, &config, snapshot.as_ref()),
        Err(error) => Check {
            valid: false,
            errors: error.diagnostics().iter().map(Problem::from).collect(),
            ..empty(&args.file)
        },
    };
    out.answer(&check, text)?;
    Ok(if check.valid { Exit::Ok } else { Exit::Usage })
}

fn empty(file: &Path) -> Check {
    Check {
        schema: "nat-ctl/check/1",
        version: env!("CARGO_PKG_VERSION"),
        file: sanitise(&file.display().to_string()).into_owned(),
        valid: true,
        host: false,
        errors: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
    }
}

/// What there is to say about a file that holds together.
fn judge(file: &Path, config: &Config, snapshot: Option<&Snapshot>) -> Check {
    let mut check = Check { host: snapshot.is_some(), ..empty(file) };
    check.warnings.extend(config.warnings.iter().map(Problem::from));
    let links = snapshot.iter().flat_map(|host| &host.links);
    let addresses =
        links.flat_map(|link| link.addresses.iter().map(|net| (link.index, net.addr())));
    let host = compile::Host { local: addresses.collect(), ..compile::Host::default() };
    if let Err(error) = compile(config, &host) {
        let Failure { what, help, .. } = error.into();
        check.valid = false;
        check.errors.push(Problem { what, key: None, line: None, column: None, fix: help });
    }
    for finding in snapshot.map(|host| lint::all(config, host)).unwrap_or_default() {
        match finding.severity {
            lint::Severity::Warning => check.warnings.push(finding.into()),
            lint::Severity::Note => check.notes.push(finding.into()),
        }
    }
    check
}

fn text(check: &Check, style: Style) -> String {
    let mut text = String::new();
    let groups = [
        ("error", Tone::Bad, &check.errors),
        ("warning", Tone::Warning, &check.warnings),
        ("note", Tone::Dim, &check.notes),
    ];
    for (word, tone, problems) in groups {
        for problem in problems {
            text.push_str(&format!("{}: {}\n", style.paint(tone, word), problem.what));
            if let (Some(line), Some(column)) = (problem.line, problem.column) {
                text.push_str(&format!("  --> {}:{line}:{column}\n", check.file));
            }
            if let Some(fix) = &problem.fix {
                text.push_str(&format!("  help: {fix}\n"));
            }
            text.push('\n');
        }
    }
    let counts = groups.map(|(word, _, problems)| match problems.len() {
        0 => String::new(),
        1 => format!("1 {word}"),
        several => format!("{several} {word}s"),
    });
    let counts: Vec<String> = counts.into_iter().filter(|count| !count.is_empty()).collect();
    let looked_at = if check.host { "the file and this host" } else { "the file" };
    text.push_str(&match counts.as_slice() {
        [] => format!("{}: no problem found in {looked_at}\n", check.file),
        counts => format!("{}: {}\n", check.file, counts.join(", ")),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[interfaces]\ninside = [\"lan0\"]\noutside = [\"wan0\"]\n[[rules]]\n\
                        name = \"a\"\nfrom = [\"10.0.0.0/8\"]\nto = [\"external\"]\naction = \"drop\"\n";

    fn check(text: &str, host: Option<&Snapshot>) -> Check {
        let file = Path::new("nat.toml");
        judge(file, &Config::parse(text, "nat.toml").unwrap(), host)
    }

    #[test]
    fn a_good_file() {
        let check = check(GOOD, None);
        assert!(check.valid);
        assert_eq!(text(&check, Style::new(false)), "nat.toml: no problem found in the file\n");
    }

    #[test]
    fn warnings_have_their_place() {
        let check = check(
            &GOOD.replace(
                "[\"external\"]\naction",
                "[\"external\"]\n\
             action = \"drop\"\n[[rules]]\nname = \"b\"\nfrom = [\"10.0.0.0/8\"]\n\
             to = [\"external\"]\naction",
            ),
            Some(&Snapshot::default()),
        );
        let [problem, missing @ ..] = check.warnings.as_slice() else { panic!() };
        assert_eq!((problem.line, problem.column), (Some(9), Some(1)));
        assert_eq!(problem.key.as_deref(), Some("rules[1]"));
        assert_eq!(missing.len(), 2);
        let text = text(&check, Style::new(false));
        assert!(text.contains("warning: rule `b` never matches"), "{text}");
        assert!(text.contains("\n  --> nat.toml:9:1\n  help: move it before `a`"), "{text}");
        assert!(text.ends_with("nat.toml: 3 warnings\n"), "{text}");
    }

    #[test]
    fn errors_have_key_and_line() {
        let error =
            Config::parse(&GOOD.replace("10.0.0.0/8", "10.0.0.0/33"), "nat.toml").unwrap_err();
        let problem = Problem::from(&error.diagnostics()[0]);
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            serde_json::json!({
                "what": "`from` in rule `a`: `10.0.0.0/33` is not an IPv4 prefix",
                "key": "rules[0].from",
                "line": 6,
                "column": 9,
                "fix": "write it like \"10.0.0.0/8\"",
            })
        );
    }
}
