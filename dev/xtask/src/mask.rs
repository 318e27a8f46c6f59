//! Rust source with comments and literals blanked out, so that checks see code only.
//!
//! The result has the same bytes per line as the source: offsets and line numbers stay valid. It is
//! a lexer of a screen, not a parser; it knows nested comments, raw strings, and a lifetime from a
//! character.

/// Blanks the insides of comments, strings and character literals.
pub fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that starts at `at` ends; `at` itself if none starts here.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let starts_word = at == 0 || !is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => at + line_length(rest),
        [b'/', b'*', ..] => at + block_comment_length(rest),
        [b'"', ..] => at + string_length(rest),
        [b'b' | b'c', b'"', ..] if starts_word => at + 1 + string_length(&rest[1..]),
        [b'r', b'"' | b'#', ..] if starts_word => at + raw_string_length(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if starts_word => at + raw_string_length(rest, 2),
        [b'\'', ..] => at + character_length(rest),
        _ => at,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string_length(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0; // `r#ident`, not a string
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[open + 1..];
    let found = body.windows(close.len()).position(|w| w == close);
    found.map_or(rest.len(), |i| open + 1 + i + close.len())
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn character_length(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return rest[3.min(rest.len())..]
            .iter()
            .position(|b| *b == b'\'')
            .map_or(1, |i| 3.min(rest.len()) + i + 1);
    }
    // A character outside of ASCII takes up to four bytes.
    let close = rest.iter().skip(2).take(4).position(|b| *b == b'\'');
    match close {
        Some(0) => 3,
        Some(i) if !rest[1].is_ascii() => i + 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hides(source: &str) {
        let masked = mask(source);
        assert_eq!(masked.len(), source.len());
        assert!(!masked.contains("HIDE"), "{masked}");
        assert!(masked.contains("SEE"), "{masked}");
    }

    #[test]
    fn comments_and_literals_are_blank_and_code_stays() {
        hides("SEE // HIDE");
        hides("/* HIDE /* HIDE */ HIDE */ SEE");
        hides(r#"f("HIDE \" HIDE") SEE"#);
        hides(r##"f(r#"HIDE " HIDE"#) SEE"##);
        hides(r#"f(b"HIDE", br"HIDE\") SEE"#);
    }

    #[test]
    fn a_lifetime_is_no_character() {
        assert!(mask("fn f<'a>(SEE: &'a str) { '\\'' '{' 'é' }").contains("SEE: &'a str"));
        assert!(!mask("'{' '\\'' '\"'").contains('{'));
        assert!(mask("let r#SEE = 1;").contains("SEE"));
    }

    #[test]
    fn unfinished_literals_do_not_panic() {
        for source in ["\"", "'", "'\\", "r#\"", "/*", "b", "br#", "'é", "\"\\"] {
            assert_eq!(mask(source).len(), source.len());
        }
    }
}
