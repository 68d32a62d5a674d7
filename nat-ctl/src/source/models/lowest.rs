//! TMG's "default IP address": the first entry of GetAdaptersAddresses(), whose order since Server
//! 2008 is not that of the configuration but ascending ("TMG Enhanced NAT – considerations when
//! using the Default IP Address").
use super::super::{Error, Rule, candidates::Candidate};

/// The lowest, as an unsigned number in network order.
pub fn choose(candidates: &[Candidate]) -> Result<(usize, Rule), Error> {
    let lowest = candidates.iter().enumerate().min_by_key(|(_, candidate)| candidate.ip);
    lowest.map(|(index, _)| (index, Rule::Smallest)).ok_or(Error::NoSource)
}
