//! What NG messages are made of, whichever way they are written.

use bytes::Bytes;

/// A value of a message: the four kinds bencode knows. JSON is read into the same four.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// Bytes: SDP need not be UTF-8.
    String(Bytes),
    /// A list.
    List(Vec<Value>),
    /// Keys and values, in the order they came; a key given twice counts once, the first time.
    Dictionary(Vec<(Bytes, Value)>),
}

impl Value {
    /// A string of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::String(Bytes::from(text.into()))
    }

    /// A list of texts.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// A count; what does not fit is the largest that does.
    pub fn count(n: impl TryInto<i64>) -> Self {
        Self::Integer(n.try_into().unwrap_or(i64::MAX))
    }

    /// A dictionary.
    pub fn dictionary<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let entry = |(key, value): (&str, Value)| (Bytes::copy_from_slice(key.as_bytes()), value);
        Self::Dictionary(entries.into_iter().map(entry).collect())
    }

    /// The value of a key, if this is a dictionary that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries().iter().find(|(k, _)| k == key.as_bytes()).map(|(_, value)| value)
    }

    /// Keys and values; none unless this is a dictionary.
    pub fn entries(&self) -> &[(Bytes, Value)] {
        match self {
            Self::Dictionary(entries) => entries,
            _ => &[],
        }
    }

    /// The members of a list; none otherwise.
    pub fn members(&self) -> &[Value] {
        match self {
            Self::List(members) => members,
            _ => &[],
        }
    }

    /// The bytes of a string.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string's text, when it is UTF-8.
    pub fn str(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// A number, or a string that writes one: controllers are not of one mind.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            _ => self.str()?.trim().parse().ok(),
        }
    }

    /// The texts of a list, or of a string that stands for a list of one.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let alone = self.str().into_iter();
        alone.chain(self.members().iter().filter_map(Value::str))
    }
}
