//! RFC 6724 section 5.
use super::super::rules::Rule;

/// In order.
pub const RULES: [Rule; 9] = [
    Rule::SameAddress,
    Rule::Scope,
    Rule::Deprecated,
    Rule::Home,
    Rule::Outgoing,
    Rule::Advertised,
    Rule::Label,
    Rule::Temporary,
    Rule::Longest,
];
