//! What a stranger wrote, made fit to be shown: in events, logs, pages.

/// Text for an event or a log: control characters and what is no UTF-8 become `\u{fffd}`, marks that
/// turn the direction of what follows too, and it is cut to `limit` characters.
pub(crate) fn shown(text: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let clean = |c: char| if is_unfit(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(limit).map(clean).collect()
}

/// Control characters, line and paragraph separators, and bidirectional overrides.
fn is_unfit(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn r2_4_nothing_shown_breaks_a_line_or_turns_it() {
        assert_eq!(shown(b"a\r\nb\0c\x1b[2J", 99), "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}[2J");
        assert_eq!(shown("x\u{202e}y\u{2028}z".as_bytes(), 99), "x\u{fffd}y\u{fffd}z");
        assert_eq!(shown(b"\xff\xfe<b>", 99), "\u{fffd}\u{fffd}<b>");
        assert_eq!(shown("ä".repeat(9).as_bytes(), 3), "äää");
    }
}
