//! Where functions begin and end, in masked source.

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, from 1.
    pub line: usize,
    /// From the line of `fn` to that of the closing brace.
    pub lines: usize,
}

/// Every function of `masked`, inner ones too.
pub fn all(masked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = find_word(masked, "fn", from) {
        from = at + 2;
        let name: String = masked[from..]
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let Some(end) = body_end(masked, from) else { continue };
        if name.is_empty() {
            continue; // the type `fn(..)`
        }
        let lines = masked[at..end].matches('\n').count() + 1;
        found.push(Function { name, line: masked[..at].matches('\n').count() + 1, lines });
    }
    found
}

/// `masked` without its `#[cfg(test)]` items, whose lines are dropped.
pub fn without_tests(masked: &str) -> String {
    let mut out = String::with_capacity(masked.len());
    let mut rest = masked;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let end = item_end(rest, at);
        // Line numbers before the tests stay right; tests stand last, so nothing after them moves.
        rest = &rest[end..];
    }
    out.push_str(rest.trim_end());
    out
}

/// The end of the item after an attribute: its `;` or its closing brace.
fn item_end(text: &str, at: usize) -> usize {
    let open = text[at..].find('{').map(|i| at + i);
    let semicolon = text[at..].find(';').map(|i| at + i);
    match (open, semicolon) {
        (Some(open), Some(semicolon)) if semicolon < open => semicolon + 1,
        (Some(_), _) => body_end(text, at).unwrap_or(text.len()),
        (None, Some(semicolon)) => semicolon + 1,
        (None, None) => text.len(),
    }
}

/// The end of the first `{..}` after `from`; none if a `;` comes first (a declaration).
fn body_end(masked: &str, from: usize) -> Option<usize> {
    let (mut depth, mut brackets) = (0_usize, 0_i32);
    for (at, byte) in masked.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return (depth == 1).then_some(at + 1),
            b'}' => depth -= 1,
            b'[' | b'(' if depth == 0 => brackets += 1,
            b']' | b')' if depth == 0 => brackets -= 1,
            // `[u8; 4]` in a signature is no end.
            b';' if depth == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

fn find_word(text: &str, word: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_word = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let mut from = from;
    while let Some(at) = text.get(from..)?.find(word).map(|i| from + i) {
        if (at == 0 || !is_word(at - 1)) && !is_word(at + word.len()) {
            return Some(at);
        }
        from = at + word.len();
    }
    None
}
