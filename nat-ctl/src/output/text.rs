//! Text that somebody else chose: names in a configuration file, interface names, file names.

use std::borrow::Cow;

/// The longest piece of foreign text that a message quotes.
const QUOTE_CHARS_MAX: usize = 80;

/// Makes foreign text safe to print on a terminal: control characters, invisible characters and
/// those that turn the writing direction become escapes (`\u{1b}`), everything else stays.
///
/// Without it a rule named with an escape sequence could repaint the screen of whoever lists it.
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_printable(character) {
            safe.push(character);
        } else {
            safe.extend(character.escape_default());
        }
    }
    Cow::Owned(safe)
}

/// [`sanitise`], cut to a length that fits into one line of a message.
pub fn excerpt(text: &str) -> String {
    let mut cut: String = sanitise(text).chars().take(QUOTE_CHARS_MAX + 1).collect();
    if cut.chars().count() > QUOTE_CHARS_MAX {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Whether a terminal shows the character as itself, where it stands.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' // zero width, direction marks
            | '\u{2028}'..='\u{202e}' // separators, direction overrides
            | '\u{2060}'..='\u{206f}' // invisible operators, direction isolates
            | '\u{fff9}'..='\u{fffb}' // annotations
            | '\u{e0000}'..='\u{e007f}' // tags
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["internet", "to the \"world\"", r"a\b", "büro – 東京", "हिन्दी", ""]
        {
            assert_eq!(sanitise(text), text);
        }
    }

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        for (text, safe) in [
            ("\u{1b}[31mred", r"\u{1b}[31mred"),
            ("a\nb", r"a\nb"),
            ("\u{202e}evil", r"\u{202e}evil"),
            ("zero\u{200b}width", r"zero\u{200b}width"),
            ("\u{9b}2J", r"\u{9b}2J"),
        ] {
            assert_eq!(sanitise(text), safe);
        }
    }

    #[test]
    fn excerpts_are_short() {
        assert_eq!(excerpt("short"), "short");
        let long = excerpt(&"x".repeat(1000));
        assert_eq!(long.chars().count(), QUOTE_CHARS_MAX + 1);
        assert!(long.ends_with("x…"));
    }
}
