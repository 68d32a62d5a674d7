//! What the programs cost the verifier and the stack, as committed in tests/baseline.toml: a change
//! of it is to be seen, and made on purpose.
use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use serde::Deserialize;

/// Set to anything, this variable has the test write the file instead of comparing.
pub const TAKE: &str = "NAT_TAKE_BASELINE";

/// How far a figure may be from the baseline, in percent of it.
const TOLERANCE: u64 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub verified_instructions: u64,
    /// Bytes on the deepest chain of calls.
    pub stack: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Version of the kernel that verified them, without its patch level: another one may walk other
    /// ways.
    pub kernel: String,
    pub programs: BTreeMap<String, Program>,
}

impl Baseline {
    /// The committed one.
    pub fn read() -> Self {
        let path = path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; {}", path.display(), how_to_take());
        });
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn write(&self) {
        fs::write(path(), self.text()).unwrap();
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# Of each program: the instructions that the verifier walked through, and the stack of its\n\
             # deepest chain of calls in bytes. Compared by tests/tests/datapath/verifier.rs;\n\
             # {}.\n\
             kernel = \"{}\"\n",
            how_to_take(),
            self.kernel
        );
        for (name, program) in &self.programs {
            let Program { verified_instructions, stack } = program;
            write!(
                text,
                "\n[programs.{name}]\nverified_instructions = {verified_instructions}\nstack = {stack}\n"
            )
            .unwrap();
        }
        text
    }

    /// What `now` has that is not so in this one, a line for each. Instructions are compared only if
    /// the kernel is of the same version.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let same_kernel = self.kernel == now.kernel;
        let mut lines = Vec::new();
        for (name, after) in &now.programs {
            let Some(before) = self.programs.get(name) else {
                lines.push(format!("{name} is not in it"));
                continue;
            };
            if same_kernel {
                let (before, after) = (before.verified_instructions, after.verified_instructions);
                lines.extend(change(name, "verified instructions", before, after));
            }
            lines.extend(change(name, "bytes of stack", before.stack, after.stack));
        }
        let gone = self.programs.keys().filter(|name| !now.programs.contains_key(*name));
        lines.extend(gone.map(|name| format!("{name} is no program any more")));
        lines
    }
}

fn change(name: &str, what: &str, before: u64, after: u64) -> Option<String> {
    let far = before.abs_diff(after) * 100 > before * TOLERANCE;
    let how = if after > before { "rose" } else { "fell" };
    far.then(|| format!("{name} {how} from {before} to {after} {what}"))
}

/// What to do about a difference.
pub fn how_to_take() -> String {
    format!("taken anew by `{TAKE}=1 cargo nextest run -p nat-tests --test datapath verifier`")
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(programs: &[(&str, u64, u64)]) -> Baseline {
        let program = |&(name, verified_instructions, stack): &(&str, u64, u64)| {
            (name.to_owned(), Program { verified_instructions, stack })
        };
        Baseline { kernel: "6.1".to_owned(), programs: programs.iter().map(program).collect() }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let baseline = baseline(&[("one", 1000, 400), ("other", 10, 0)]);
        assert_eq!(toml::from_str::<Baseline>(&baseline.text()).unwrap(), baseline);
    }

    #[test]
    fn a_program_past_the_tolerance_is_named_whichever_way_it_went() {
        let before = baseline(&[("one", 1000, 400), ("other", 1000, 400), ("gone", 1, 0)]);
        assert!(before.differences(&before).is_empty());
        let within = baseline(&[("one", 1050, 420), ("other", 950, 380), ("gone", 1, 0)]);
        assert!(before.differences(&within).is_empty());
        let past = baseline(&[("one", 1051, 400), ("other", 949, 421), ("new", 1, 0)]);
        assert_eq!(
            before.differences(&past),
            [
                "new is not in it",
                "one rose from 1000 to 1051 verified instructions",
                "other fell from 1000 to 949 verified instructions",
                "other rose from 400 to 421 bytes of stack",
                "gone is no program any more",
            ]
        );
    }

    #[test]
    fn another_kernel_says_nothing_of_instructions() {
        let before = baseline(&[("one", 1000, 400)]);
        let mut now = baseline(&[("one", 2000, 500)]);
        "6.2".clone_into(&mut now.kernel);
        assert_eq!(before.differences(&now), ["one rose from 400 to 500 bytes of stack"]);
    }
}
