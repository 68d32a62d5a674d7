//! The list of what the demo claims, each with whether it held.

use crate::screen::{self, GREEN, RED, paint};

#[derive(Default)]
pub struct Checks(Vec<Check>);

struct Check {
    claim: String,
    result: Result<String, String>,
}

impl Checks {
    /// Notes a claim with its evidence: what was seen when it holds, what is wrong when it does not.
    pub fn note(&mut self, claim: &str, result: Result<String, String>) {
        self.0.push(Check { claim: claim.to_owned(), result });
    }

    /// Notes a claim that needs no more evidence than what was seen.
    pub fn holds(&mut self, claim: &str, held: bool, seen: impl Into<String>) {
        let seen = seen.into();
        self.note(claim, if held { Ok(seen) } else { Err(seen) });
    }

    pub fn print(&self) {
        screen::heading("Checks");
        for Check { claim, result } in &self.0 {
            match result {
                Ok(seen) => println!("  {}      {claim}: {seen}", paint(GREEN, "ok")),
                Err(wrong) => println!("  {}  {claim}: {wrong}", paint(RED, "FAILED")),
            }
        }
    }

    pub fn all(&self) -> usize {
        self.0.len()
    }

    pub fn failed(&self) -> usize {
        self.0.iter().filter(|check| check.result.is_err()).count()
    }
}
