//! Whatever the file holds, the answer is a configuration or a message.

use proptest::prelude::*;
use proptest::sample::select;

use super::{GOOD, accepted::SAMPLE, parse};

/// Pieces from which almost-valid files can be built.
const PIECES: &[&str] = &[
    "[interfaces]",
    "[[rules]]",
    "[[networks]]",
    "[limits]",
    "[timeouts]",
    "[cooldown]",
    "[addresses]",
    "[source]",
    "[[static_routes]]",
    "[rules.source]",
    "inside",
    "outside",
    "hook",
    "name",
    "from",
    "to",
    "action",
    "source",
    "ports",
    "prefixes",
    "protocols",
    "addresses",
    "address",
    "skip_as_source",
    "sticky",
    "tie_break",
    "interfaces",
    "via",
    "dev",
    "metric",
    "pooling",
    "max_sessions",
    "udp",
    "mss",
    "mapping",
    "filtering",
    "exclude_ports",
    "spill",
    "time_ms",
    "scope",
    "max_cooling",
    "sessions_per_client",
    "tcp",
    "icmp",
    "\"endpoint-independent\"",
    "{ udp = \"endpoint-independent\" }",
    "[1, \"1024-2000\", 65535]",
    "\"auto\"",
    "1400",
    "=",
    "=",
    "=",
    ".",
    ",",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\n",
    "\n",
    " ",
    "\"tcp\"",
    "\"snat\"",
    "\"route\"",
    "\"external\"",
    "\"strong-host\"",
    "\"192.0.2.1\"",
    "[\"192.0.2.1\", { address = \"192.0.2.2\", skip_as_source = true }]",
    "[\"10.0.0.0/8\"]",
    "[\"lan0\"]",
    "\"1-2\"",
    "\"5s\"",
    "0",
    "-1",
    "1e9",
    "99999999999999999999",
    "1979-05-27",
    "true",
    "\u{1b}",
    "ä",
    "\u{feff}",
    "\r",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(PIECES).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Whatever comes back can be printed, and places lie inside the file.
fn check(text: &str) -> Result<(), TestCaseError> {
    match parse(text) {
        Ok(config) => {
            for warning in &config.warnings {
                prop_assert!(!warning.to_string().is_empty());
            }
        }
        Err(error) => {
            prop_assert!(!error.diagnostics().is_empty());
            let shown = error.to_string();
            prop_assert!(shown.starts_with("error: "));
            prop_assert!(!shown.contains('\u{1b}'), "{shown}");
            for place in error.diagnostics().iter().filter_map(|error| error.place.as_ref()) {
                let (line, column) = place.line_column.unwrap_or((1, 1));
                prop_assert!((1..=text.split('\n').count()).contains(&line), "{place}");
                prop_assert!(column >= 1);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn almost_valid_text(pieces in prop::collection::vec(piece(), 0..40)) {
        check(&pieces.concat())?;
    }

    #[test]
    fn a_valid_file_with_a_piece_put_in(
        sample in select(&[GOOD, SAMPLE][..]),
        at in any::<prop::sample::Index>(),
        length in 0usize..20,
        piece in piece(),
    ) {
        let mut characters: Vec<char> = sample.chars().collect();
        let start = at.index(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, piece.chars());
        check(&characters.into_iter().collect::<String>())?;
    }

    #[test]
    fn arbitrary_values(
        key in select(&["from", "to", "name", "ports", "source", "protocols", "action"][..]),
        value in any::<String>(),
    ) {
        let quoted = toml::Value::String(value).to_string();
        let rules = GOOD.split_once("[[rules]]").map_or("", |(before, _)| before);
        check(&format!("{rules}[[rules]]\n{key} = {quoted}\n"))?;
        check(&format!("{rules}[[rules]]\n{key} = [{quoted}]\n"))?;
        check(&format!("{GOOD}[addresses]\nwan0 = [{quoted}]\n{quoted} = [\"192.0.2.1\"]\n"))?;
        for key in ["to", "via", "dev"] {
            check(&format!("{GOOD}[[static_routes]]\n{key} = {quoted}\n"))?;
        }
        check(&format!("[timeouts]\nudp = {quoted}\n[interfaces]\ninside = [{quoted}]\n"))?;
    }
}
