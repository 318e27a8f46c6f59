//! One line, with the terminator it came with.

/// One `x=value` line, byte-exact.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    raw: Vec<u8>,
    text_len: usize,
}

impl Line {
    /// A new line ended by CRLF. Control characters in `value` are dropped: no value can smuggle
    /// in a second line.
    pub fn new(kind: u8, value: &str) -> Self {
        let mut raw = vec![kind, b'='];
        raw.extend(value.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | 0)));
        let text_len = raw.len();
        raw.extend_from_slice(b"\r\n");
        Self { raw, text_len }
    }

    /// From the text and its terminator (`\r\n`, `\n` or nothing), as found on the wire.
    pub(crate) fn from_wire(text: &[u8], terminator: &[u8]) -> Self {
        Self { raw: [text, terminator].concat(), text_len: text.len() }
    }

    /// The letter before `=`; 0 for an empty line.
    pub fn kind(&self) -> u8 {
        if self.text_len == 0 { 0 } else { self.raw[0] }
    }

    /// What follows `=`.
    pub fn value(&self) -> &[u8] {
        self.raw.get(2..self.text_len).unwrap_or_default()
    }

    /// What follows `=`, when it is UTF-8.
    pub fn value_str(&self) -> Option<&str> {
        std::str::from_utf8(self.value()).ok()
    }

    /// The line with its terminator.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Name and value when this is an `a=` line (`a=sendrecv` has no value).
    pub fn attribute(&self) -> Option<(&str, Option<&str>)> {
        if self.kind() != b'a' {
            return None;
        }
        let text = self.value_str()?;
        Some(match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text.trim_end(), None),
        })
    }

    /// Ends the line with CRLF if it had no terminator, so that another line may follow.
    pub(crate) fn terminate(&mut self) {
        if self.raw.len() == self.text_len && self.text_len > 0 {
            self.raw.extend_from_slice(b"\r\n");
        }
    }
}

impl std::fmt::Debug for Line {
    /// `a=crypto` and `a=ice-pwd` carry secrets and are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.attribute() {
            Some((name @ ("crypto" | "ice-pwd"), _)) => write!(f, "a={name}:[redacted]"),
            _ => write!(f, "{}", String::from_utf8_lossy(&self.raw[..self.text_len])),
        }
    }
}
