//! Bencode, as NG controllers write it: `i12e`, `4:spam`, `l…e`, `d…e`.

use bytes::{Bytes, BytesMut};

use super::value::Value;

/// Lists and dictionaries in one another.
const DEPTH_MAX: usize = 16;
/// Values in one message: a stranger's message may not cost more than its bytes.
const VALUES_MAX: usize = 10_000;

/// Why a message is not bencode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    /// It goes on, or would: more bytes are needed.
    #[error("the message ends in the middle of a value, at byte {0}")]
    Incomplete(usize),
    /// A byte that no value begins with, or a number that is none.
    #[error("byte {0} of the message does not begin or end a bencode value")]
    Malformed(usize),
    /// More nested or more numerous than any controller writes.
    #[error("the message has more than {VALUES_MAX} values or {DEPTH_MAX} levels")]
    TooLarge,
}

/// Reads one value from the front; the value and how many bytes it took.
///
/// # Errors
/// [`BencodeError`]; [`BencodeError::Incomplete`] when more bytes could make it whole.
pub fn read(input: &Bytes) -> Result<(Value, usize), BencodeError> {
    let mut reader = Reader { input, at: 0, left: VALUES_MAX };
    let value = reader.value(0)?;
    Ok((value, reader.at))
}

/// Writes a value; the keys of dictionaries in the order bencode wants them.
pub fn write(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Integer(n) => out.extend_from_slice(format!("i{n}e").as_bytes()),
        Value::String(bytes) => write_string(bytes, out),
        Value::List(members) => {
            out.extend_from_slice(b"l");
            members.iter().for_each(|member| write(member, out));
            out.extend_from_slice(b"e");
        }
        Value::Dictionary(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.extend_from_slice(b"d");
            for (key, value) in sorted {
                write_string(key, out);
                write(value, out);
            }
            out.extend_from_slice(b"e");
        }
    }
}

fn write_string(bytes: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    input: &'a Bytes,
    at: usize,
    left: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, BencodeError> {
        self.left = self.left.checked_sub(1).ok_or(BencodeError::TooLarge)?;
        if depth > DEPTH_MAX {
            return Err(BencodeError::TooLarge);
        }
        match self.peek()? {
            b'i' => {
                self.at += 1;
                let start = self.at;
                let digits = self.until(b'e')?;
                digits.parse().map(Value::Integer).map_err(|_| BencodeError::Malformed(start))
            }
            b'l' => {
                self.at += 1;
                let mut members = Vec::new();
                while !self.ends()? {
                    members.push(self.value(depth + 1)?);
                }
                Ok(Value::List(members))
            }
            b'd' => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.ends()? {
                    let key = self.string()?;
                    entries.push((key, self.value(depth + 1)?));
                }
                Ok(Value::Dictionary(entries))
            }
            b'0'..=b'9' => Ok(Value::String(self.string()?)),
            _ => Err(BencodeError::Malformed(self.at)),
        }
    }

    fn string(&mut self) -> Result<Bytes, BencodeError> {
        let start = self.at;
        let malformed = BencodeError::Malformed(start);
        if !self.peek()?.is_ascii_digit() {
            return Err(malformed);
        }
        let len: usize = self.until(b':')?.parse().map_err(|_| malformed.clone())?;
        let end = self.at.checked_add(len).ok_or(malformed)?;
        if end > self.input.len() {
            return Err(BencodeError::Incomplete(self.input.len()));
        }
        let bytes = self.input.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    /// The digits up to a byte that ends them, which is passed over.
    fn until(&mut self, end: u8) -> Result<&str, BencodeError> {
        /// The longest number: a sign and nineteen digits.
        const DIGITS_MAX: usize = 20;
        let rest = &self.input[self.at..];
        let window = &rest[..rest.len().min(DIGITS_MAX + 1)];
        let len = match window.iter().position(|b| *b == end) {
            Some(len) => len,
            None if rest.len() > DIGITS_MAX => return Err(BencodeError::Malformed(self.at)),
            None => return Err(BencodeError::Incomplete(self.input.len())),
        };
        let start = self.at;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len]).map_err(|_| BencodeError::Malformed(start))
    }

    fn ends(&mut self) -> Result<bool, BencodeError> {
        let ends = self.peek()? == b'e';
        self.at += usize::from(ends);
        Ok(ends)
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.input.get(self.at).copied().ok_or(BencodeError::Incomplete(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<(Value, usize), BencodeError> {
        read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_request_is_read_and_written_with_sorted_keys() {
        let (value, used) = parse("d7:command4:ping1:ai-3e4:listl1:x0:ee rest").unwrap();
        assert_eq!(used, 37);
        assert_eq!(value.get("command").and_then(Value::str), Some("ping"));
        assert_eq!(value.get("a").and_then(Value::number), Some(-3));
        let words: Vec<_> = value.get("list").unwrap().words().collect();
        assert_eq!(words, ["x", ""]);
        let mut out = BytesMut::new();
        write(&value, &mut out);
        assert_eq!(out, "d1:ai-3e7:command4:ping4:listl1:x0:ee");
    }

    #[test]
    fn what_is_cut_short_is_told_from_what_is_wrong() {
        for short in ["", "d", "i12", "5:abc", "d1:a", "l1:ai2e", "12"] {
            assert!(matches!(parse(short), Err(BencodeError::Incomplete(_))), "{short}");
        }
        for wrong in ["x", "i1x2e", "-1:a", "di1e1:ae", "99999999999999999999999:a", "ie"] {
            assert!(matches!(parse(wrong), Err(BencodeError::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn depth_and_number_are_limited() {
        let deep = "l".repeat(DEPTH_MAX + 2);
        assert_eq!(parse(&deep), Err(BencodeError::TooLarge));
        let many = format!("l{}e", "0:".repeat(VALUES_MAX));
        assert_eq!(parse(&many), Err(BencodeError::TooLarge));
    }

    fn values() -> impl Strategy<Value = Value> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from);
        let leaf =
            prop_oneof![any::<i64>().prop_map(Value::Integer), bytes().prop_map(Value::String)];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let sorted = proptest::collection::btree_map(bytes(), inner.clone(), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::List),
                sorted.prop_map(|map| Value::Dictionary(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            let mut out = BytesMut::new();
            write(&value, &mut out);
            let out = out.freeze();
            prop_assert_eq!(read(&out), Ok((value, out.len())));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&Bytes::from(bytes));
        }
    }
}
