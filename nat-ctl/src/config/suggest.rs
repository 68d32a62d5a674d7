//! "Did you mean …?"

/// How alike two words must be (0 to 1) to be worth a suggestion. `hok` and `hook` have 0.93,
/// `proto` and `protocols` 0.91, `foo` and `from` 0.75.
const SIMILARITY_MIN: f64 = 0.8;

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
}
