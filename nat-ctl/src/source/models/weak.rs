//! Windows up to Server 2003 (KB175396), ISA Server and TMG's Web Proxy filter: the egress
//! interface's primary address, which is the one configured first.
use super::super::{Error, Rule, candidates::Candidate};

/// The first.
pub fn choose(candidates: &[Candidate]) -> Result<(usize, Rule), Error> {
    if candidates.is_empty() { Err(Error::NoSource) } else { Ok((0, Rule::FirstConfigured)) }
}
