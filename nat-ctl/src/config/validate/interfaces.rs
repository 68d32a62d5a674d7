//! `[interfaces]`

use toml::Spanned;

use crate::config::INTERFACES_MAX;
use crate::config::checked::Interfaces;
use crate::config::document::Span;
use crate::config::model::{InterfacesTable, List};
use crate::config::report::Report;
use crate::output::text::excerpt;

/// IFNAMSIZ without the terminating zero.
const NAME_BYTES_MAX: usize = 15;

const EXAMPLE: &str = "write, for example,\n    [interfaces]\n    inside = [\"lan0\"]\n    \
                       outside = [\"wan0\"]";

pub(super) fn resolve(
    table: Option<Spanned<InterfacesTable>>,
    report: &mut Report<'_>,
) -> Option<Interfaces> {
    let Some(table) = table else {
        report.error_in_file("no [interfaces]: inside and outside are not known", EXAMPLE);
        return None;
    };
    let at = table.span();
    let InterfacesTable { inside, outside, hook } = table.into_inner();
    let inside_names = names("inside", &inside, &at, report);
    let outside_names = names("outside", &outside, &at, report);
    for name in outside.iter().flat_map(|list| list.get_ref()) {
        if inside_names.contains(name.get_ref()) {
            let message =
                format!("interface `{}` is both `inside` and `outside`", excerpt(name.get_ref()));
            report.error(&name.span(), message, "name it in one of them");
        }
    }
    let count = inside_names.len() + outside_names.len();
    if count > INTERFACES_MAX {
        let message = format!("[interfaces] names {count} interfaces");
        report.error(&at, message, format!("there can be {INTERFACES_MAX} at most"));
    }
    Some(Interfaces {
        inside: inside_names,
        outside: outside_names,
        hook: hook.unwrap_or(Interfaces::HOOK_DEFAULT),
    })
}

fn names(key: &str, list: &List<String>, table: &Span, report: &mut Report<'_>) -> Vec<String> {
    let Some(list) = list else {
        let message = format!("`{key}` in [interfaces] is missing");
        report.error(table, message, format!("add `{key} = [\"IFACE\"]`"));
        return Vec::new();
    };
    if list.get_ref().is_empty() {
        let message = format!("`{key}` in [interfaces] is empty");
        report.error(&list.span(), message, "name at least one interface");
    }
    let mut names: Vec<String> = Vec::new();
    for name in list.get_ref() {
        let text = name.get_ref();
        if let Err(problem) = check_interface_name(text) {
            let message = format!("`{key}` in [interfaces]: {problem}");
            report.error(&name.span(), message, "`ip -brief link` lists the names");
        } else if names.contains(text) {
            let message = format!("`{key}` in [interfaces] names `{text}` twice");
            report.error(&name.span(), message, "remove one of them");
        } else {
            names.push(text.clone());
        }
    }
    names
}

/// Whether the kernel would accept this as the name of an interface (`dev_valid_name`).
pub fn check_interface_name(name: &str) -> Result<(), String> {
    let problem = if name.is_empty() {
        return Err("an interface name is empty".to_owned());
    } else if name.len() > NAME_BYTES_MAX {
        format!("has {} bytes, more than the {NAME_BYTES_MAX} of the kernel", name.len())
    } else if name == "." || name == ".." {
        "is not a name".to_owned()
    } else if let Some(character) =
        name.chars().find(|c| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control())
    {
        format!("contains {character:?}")
    } else {
        return Ok(());
    };
    Err(format!("interface name `{}` {problem}", excerpt(name)))
}
