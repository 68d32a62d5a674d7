//! Which choice by destination is meant.
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{CandidateSet, Model, Options, PrivateScope, TieBreak};
use crate::config;

/// What tells one table of choices from another: rules that agree in all of it share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableKey {
    /// Index of the outside interface.
    pub ifindex: u32,
    pub model: Model,
    pub options: Options,
    /// Whether a destination keeps its source while that is valid.
    pub sticky: bool,
    /// Stands for the configured order and flags of addresses: with others it is another table, so
    /// that all of a new configuration is in force at once.
    order: u64,
}

impl TableKey {
    /// The table of a rule's model on an outside interface.
    pub fn new(
        ifindex: u32,
        model: config::SourceModel,
        sticky: bool,
        config: &config::Config,
    ) -> Self {
        let mut order = DefaultHasher::new();
        config.addresses.hash(&mut order);
        let options = options(config.source);
        Self { ifindex, model: model.into(), options, sticky, order: order.finish() }
    }

    /// Whether this is the other one before the configuration changed.
    pub fn succeeds(&self, other: &Self) -> bool {
        (self.ifindex, self.model) == (other.ifindex, other.model)
    }
}

impl From<config::SourceModel> for Model {
    fn from(model: config::SourceModel) -> Self {
        match model {
            config::SourceModel::StrongHost => Self::Strong,
            config::SourceModel::WeakHost => Self::Weak,
            config::SourceModel::First => Self::IsaFirst,
            config::SourceModel::Lowest => Self::TmgDefault,
        }
    }
}

/// The options of `[source]` that models have.
pub fn options(source: config::SourceOptions) -> Options {
    Options {
        tie_break: match source.tie_break {
            config::TieBreak::First => TieBreak::First,
            config::TieBreak::Lowest => TieBreak::Lowest,
        },
        candidates: match source.candidates {
            config::Candidates::Egress => CandidateSet::Egress,
            config::Candidates::All => CandidateSet::All,
        },
        private_scope: match source.private_scope {
            config::PrivateScope::Global => PrivateScope::Global,
            config::PrivateScope::SiteLocal => PrivateScope::SiteLocal,
        },
        honour_skip_as_source: source.honour_skip_as_source,
        ..Options::default()
    }
}
