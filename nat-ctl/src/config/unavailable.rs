//! Refuses, by name, what belongs to the documented format but not to this version.

use super::model::{File, NotYet, RuleTable};
use super::report::Report;

/// Reports every use of a key that is not available. A forgotten key cannot slip
/// through: the compiler warns about a field of the model that is never read.
pub(super) fn refuse(file: &File, report: &mut Report<'_>) {
    for (section, value) in
        [("[cooldown]", &file.cooldown), ("[listen]", &file.listen), ("[log]", &file.log)]
    {
        if let Some(value) = value {
            let message = format!("{section} is not available in this version");
            report.error(&value.span(), message, "remove the section");
        }
    }
    let limits = &file.limits;
    let keys = [
        ("sessions_per_client", &limits.sessions_per_client),
        ("half_open_per_client", &limits.half_open_per_client),
        ("new_per_second_per_client", &limits.new_per_second_per_client),
    ];
    refuse_keys(keys, report);
    for rule in &file.rules {
        refuse_in_rule(rule.get_ref(), report);
    }
}

fn refuse_in_rule(rule: &RuleTable, report: &mut Report<'_>) {
    let keys = [
        ("exclude_ports", &rule.exclude_ports),
        ("mapping", &rule.mapping),
        ("filtering", &rule.filtering),
        ("spill", &rule.spill),
        ("mss", &rule.mss),
    ];
    refuse_keys(keys, report);
}

fn refuse_keys<const N: usize>(keys: [(&str, &NotYet); N], report: &mut Report<'_>) {
    for (key, value) in keys {
        if let Some(value) = value {
            let message = format!("`{key}` is not available in this version");
            report.error_at_key(&value.span(), message, "remove the line");
        }
    }
}
