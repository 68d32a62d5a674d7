//! `[source]`

use toml::Spanned;

use crate::config::checked::{Action, Rule, Source, SourceModel, SourceOptions};
use crate::config::document::Span;
use crate::config::model::SourceOptionsTable;
use crate::config::report::Report;

pub(super) fn resolve(table: &SourceOptionsTable) -> SourceOptions {
    fn value<T: Copy>(written: &Option<Spanned<T>>, default: T) -> T {
        written.as_ref().map_or(default, |written| *written.get_ref())
    }
    let default = SourceOptions::default();
    SourceOptions {
        tie_break: value(&table.tie_break, default.tie_break),
        candidates: value(&table.candidates, default.candidates),
        private_scope: value(&table.private_scope, default.private_scope),
        enforce_strong_send: table.enforce_strong_send.unwrap_or(default.enforce_strong_send),
        honour_skip_as_source: value(&table.honour_skip_as_source, default.honour_skip_as_source),
    }
}

/// Warns about options that change nothing, because no rule has a model that knows them.
pub(super) fn warn(table: &SourceOptionsTable, rules: &[Rule], report: &mut Report<'_>) {
    /// The place of a value that is not the default.
    fn changed<T: PartialEq>(written: &Option<Spanned<T>>, default: T) -> Option<Span> {
        let written = written.as_ref().filter(|written| *written.get_ref() != default);
        written.map(Spanned::span)
    }
    let has = |models: &[SourceModel]| {
        rules.iter().any(|rule| match &rule.action {
            Action::Snat(snat) => {
                matches!(&snat.source, Source::Model(one) if models.contains(one))
            }
            Action::Route | Action::Drop => false,
        })
    };
    let default = SourceOptions::default();
    let strong = (&[SourceModel::StrongHost][..], "\"strong-host\"");
    let old = (
        &[SourceModel::First, SourceModel::Lowest, SourceModel::WeakHost][..],
        "\"first\", \"lowest\" or \"weak-host\"",
    );
    for (key, at, (models, names)) in [
        ("tie_break", changed(&table.tie_break, default.tie_break), strong),
        ("candidates", changed(&table.candidates, default.candidates), strong),
        ("private_scope", changed(&table.private_scope, default.private_scope), strong),
        (
            "honour_skip_as_source",
            changed(&table.honour_skip_as_source, default.honour_skip_as_source),
            old,
        ),
    ] {
        if let Some(at) = at
            && !has(models)
        {
            let message =
                format!("`{key}` in [source] has no effect: no rule's `source` is {names}");
            report.warn(&at, message, "remove the line, or give a rule such a `source`");
        }
    }
}
