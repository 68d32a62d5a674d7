//! "Did you mean …?"

/// How alike two words must be (0 to 1) to be worth a suggestion. `hok` and `hook` have 0.93,
/// `proto` and `protocols` 0.91, `foo` and `from` 0.75.
const SIMILARITY_MIN: f64 = 0.8;

/// Keys by the names that they have elsewhere: in the registry of Microsoft TMG (KB2596065).
const OTHER_NAMES: [(&str, &str); 2] = [
    ("ApplyCooldownForLocalSourcePortReuse", "enabled"),
    ("CooldownForLocalSourcePortReuseTime", "time_ms"),
];

/// The candidate that is most like `word`, if one is like it at all.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    let mut best = None;
    let mut best_similarity = SIMILARITY_MIN;
    for candidate in candidates {
        let similarity = similarity(&word, &candidate.to_lowercase());
        if similarity > best_similarity {
            best = Some(candidate);
            best_similarity = similarity;
        }
    }
    best
}

/// The one of these keys that another product calls `name`.
pub(super) fn by_other_name<'c>(name: &str, keys: &[&'c str]) -> Option<&'c str> {
    let (_, key) = OTHER_NAMES.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
    keys.iter().copied().find(|known| *known == key)
}

/// From 0 to 1. Jaro-Winkler alone thinks nothing of swapped letters in short words: `xpd` and
/// `xdp` would have 0.56.
fn similarity(a: &str, b: &str) -> f64 {
    let slip = a.len().min(b.len()) >= 3 && strsim::osa_distance(a, b) == 1;
    strsim::jaro_winkler(a, b).max(if slip { 0.9 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_word() {
        let keys = ["inside", "outside", "hook", "protocols", "prefixes"];
        for (word, expected) in [
            ("hok", Some("hook")),
            ("Hook", Some("hook")),
            ("insdie", Some("inside")),
            ("ouside", Some("outside")),
            ("proto", Some("protocols")),
            ("prefix", Some("prefixes")),
            ("foo", None),
            ("xok", None),
            ("xhook", Some("hook")),
            ("hoko", Some("hook")),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }

    #[test]
    fn names_of_another_product_find_their_key() {
        for (name, key) in OTHER_NAMES {
            assert_eq!(by_other_name(&name.to_uppercase(), &["scope", key]), Some(key));
            assert_eq!(by_other_name(name, &["scope"]), None, "not a key there");
        }
        assert_eq!(by_other_name("enable", &["enabled"]), None);
    }
}
