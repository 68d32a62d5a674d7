//! Windows since Vista and Server 2008: a strong host, with RFC 3484's rules as far as they concern
//! IPv4, and rule 8a, which is in no RFC (KB969029; "TMG sources outgoing packets with Secondary IP
//! addresses").
use super::super::rules::Rule;

/// In order.
pub const RULES: [Rule; 6] = [
    Rule::SameAddress,
    Rule::Scope,
    Rule::Deprecated,
    Rule::Outgoing,
    Rule::NextHop,
    Rule::Longest,
];
