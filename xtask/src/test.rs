//! Everything that has to pass, in stages; stops at the first that does not.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{cmd, lint, setup};

pub struct Options {
    pub no_install: bool,
    pub unprivileged: bool,
    /// Passed to the runner of the privileged tests.
    pub filter: Vec<String>,
}

pub fn test(options: &Options) -> Result<()> {
    if !options.unprivileged && !cmd::is_root() {
        bail!(
            "the end-to-end tests make network namespaces and load eBPF programs: run this as \
             root (sudo env \"PATH=$PATH\" cargo xtask test), or leave them out with --unprivileged"
        );
    }
    let mut stages = Stages::default();
    let result = run_stages(options, &mut stages);
    eprint!("{}", table(&stages.done));
    result
}

/// The longest that each stage may take on a cold machine of two cores, in minutes. What takes longer
/// has to get faster, or become a task of its own: CI as a whole has 45 minutes.
const BUDGETS: [(&str, u64); 7] = [
    ("set-up", 12),
    ("format", 1),
    ("clippy", 5),
    ("clippy-ebpf", 2),
    ("unit tests", 6),
    ("build", 3),
    ("end-to-end tests", 16),
];

fn budget(stage: &str) -> Duration {
    let minutes =
        BUDGETS.iter().find(|(name, _)| *name == stage).map_or(1, |(_, minutes)| *minutes);
    Duration::from_secs(minutes * 60)
}

fn run_stages(options: &Options, stages: &mut Stages) -> Result<()> {
    // What --unprivileged leaves builds and passes on stable Rust alone.
    if !options.unprivileged {
        stages.run("set-up", || setup::setup(options.no_install))?;
    }
    // A machine without rustfmt can still tell whether NAT works.
    match lint::ensure_components(options.no_install) {
        Ok(()) => {
            stages.run("format", lint::format)?;
            stages.run("clippy", lint::clippy)?;
        }
        Err(err) => stages.skip("format, clippy", &format!("{err:#}")),
    }
    if !options.unprivileged && !stages.run_unless_skipped("clippy-ebpf", lint::clippy_ebpf)? {
        stages.skip("clippy-ebpf", lint::NO_EBPF_CLIPPY);
    }

    let runner = Runner::find();
    stages.run("unit tests", || runner.unit_tests())?;
    if options.unprivileged {
        stages.skip("end-to-end tests", "--unprivileged");
        return Ok(());
    }
    stages.run("build", || {
        cmd::run(cmd::cargo().args(["build", "-p", "nat-ctl", "-p", "nat-tests", "--bins"]))
    })?;
    stages.run("end-to-end tests", || runner.end_to_end_tests(&options.filter))
}

#[derive(Clone, Copy)]
enum Runner {
    Nextest,
    /// Always there, but one hanging test stops it for ever.
    Cargo,
}

impl Runner {
    fn find() -> Runner {
        match cmd::probe(cmd::cargo().args(["nextest", "--version"])) {
            Some(_) => Runner::Nextest,
            None => Runner::Cargo,
        }
    }

    fn unit_tests(self) -> Result<()> {
        if let Runner::Cargo = self {
            return cmd::run(cmd::cargo().arg("test"));
        }
        cmd::run(&mut nextest())?;
        // nextest does not know documentation tests.
        cmd::run(cmd::cargo().args(["test", "--doc"]))
    }

    fn end_to_end_tests(self, filter: &[String]) -> Result<()> {
        let mut command = match self {
            Runner::Nextest => nextest(),
            Runner::Cargo => {
                let mut cargo = cmd::cargo();
                cargo.arg("test");
                cargo
            }
        };
        command.args(["-p", "nat-tests"]);
        if let Runner::Cargo = self {
            // As in .config/nextest.toml: more at a time disturb each other's timing.
            command.args(["--", "--test-threads=2"]);
        }
        cmd::run(command.args(filter))
    }
}

fn nextest() -> Command {
    let mut cargo = cmd::cargo();
    cargo.args(["nextest", "run"]);
    if env::var_os("CI").is_some() {
        cargo.args(["--profile", "ci"]);
    }
    cargo
}

#[derive(Default)]
struct Stages {
    done: Vec<(&'static str, Outcome)>,
}

enum Outcome {
    Passed(Duration),
    Failed(Duration),
    Skipped,
}

impl Stages {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.run_unless_skipped(name, || work().map(|()| true)).map(drop)
    }

    /// The work returns false if it found that it has to be skipped, and the caller says why.
    fn run_unless_skipped(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let result = work();
        // People may have slower machines; CI must not become slow unnoticed.
        let over = env::var_os("CI").is_some() && start.elapsed() > budget(name);
        let result = match result {
            Ok(_) if over => {
                Err(anyhow::anyhow!("it took longer than its {} s", budget(name).as_secs()))
            }
            result => result,
        };
        match result {
            Ok(true) => self.done.push((name, Outcome::Passed(start.elapsed()))),
            Ok(false) => {}
            Err(_) => self.done.push((name, Outcome::Failed(start.elapsed()))),
        }
        result.with_context(|| format!("stage \"{name}\" FAILED"))
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        eprintln!("\n!! {name} SKIPPED: {why}");
        self.done.push((name, Outcome::Skipped));
    }
}

fn table(done: &[(&'static str, Outcome)]) -> String {
    let mut text = String::from("\nstage              seconds\n");
    for (name, outcome) in done {
        text += &match outcome {
            Outcome::Passed(time) => format!("{name:<18} {:>7.1}\n", time.as_secs_f64()),
            Outcome::Failed(time) => format!("{name:<18} {:>7.1}  FAILED\n", time.as_secs_f64()),
            Outcome::Skipped => format!("{name:<18}       -  SKIPPED\n"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_stage_is_named_and_timed() {
        let mut stages = Stages::default();
        stages.run("good", || Ok(())).unwrap();
        let error = stages.run("bad", || bail!("no")).unwrap_err();
        assert_eq!(format!("{error:#}"), "stage \"bad\" FAILED: no");
        assert!(matches!(
            stages.done[..],
            [("good", Outcome::Passed(_)), ("bad", Outcome::Failed(_))]
        ));
    }

    #[test]
    fn the_budgets_of_all_stages_are_that_of_ci() {
        assert_eq!(BUDGETS.iter().map(|(_, minutes)| minutes).sum::<u64>(), 45);
    }

    #[test]
    fn table_has_a_line_for_each_stage() {
        let second = Duration::from_millis(1250);
        let done = [
            ("format", Outcome::Skipped),
            ("unit tests", Outcome::Passed(second)),
            ("end-to-end tests", Outcome::Failed(second * 100)),
        ];
        assert_eq!(
            table(&done),
            "\nstage              seconds\n\
             format                   -  SKIPPED\n\
             unit tests             1.2\n\
             end-to-end tests     125.0  FAILED\n"
        );
    }
}
