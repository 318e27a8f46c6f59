//! Changing a message by splicing: what is not touched stays byte-exact.

use crate::message::Message;
use crate::name::HeaderName;
use crate::text::{offset_in, split_list, trim_start};
use crate::writer::Writer;

/// Changes to one message, made in the order of the calls and written by [`Edit::finish`].
///
/// For headers that are lists (Via, Route, Record-Route, Path, Contact …) "first" means the first
/// *value*, whether it shares its line with others or not; for all others it means the first line.
#[derive(Debug, Clone)]
pub struct Edit<'m> {
    message: &'m Message,
    lines: Vec<Line>,
    new: Vec<NewLine>,
    uri: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    changed: bool,
}

impl<'m> Edit<'m> {
    /// Begins with the message as it is.
    pub fn new(message: &'m Message) -> Self {
        let lines = (0..message.slots.len()).map(Line::Kept).collect();
        Self { message, lines, new: Vec::new(), uri: None, body: None, changed: false }
    }

    /// Adds a line before the first of its name; when there is none, behind the Via lines, or for
    /// a Via at the top.
    #[must_use]
    pub fn prepend<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        let name = name.into();
        let behind_vias = || match name == HeaderName::VIA {
            true => 0,
            false => self.rposition(HeaderName::VIA).map_or(0, |at| at + 1),
        };
        let at = self.position(name).unwrap_or_else(behind_vias);
        self.insert(at, name, value.as_ref());
        self
    }

    /// Adds a line behind the last of its name, or at the end.
    #[must_use]
    pub fn append<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        let name = name.into();
        let at = self.rposition(name).map_or(self.lines.len(), |at| at + 1);
        self.insert(at, name, value.as_ref());
        self
    }

    /// Removes the first value.
    #[must_use]
    pub fn remove_first<'n>(mut self, name: impl Into<HeaderName<'n>>) -> Self {
        let name = name.into();
        if let Some(at) = self.position(name) {
            let rest = rest_of_list(name, self.value(at)).map(<[u8]>::to_vec);
            self.lines.remove(at);
            self.changed = true;
            if let Some(rest) = rest {
                self.insert(at, name, &rest);
            }
        }
        self
    }

    /// Removes every line of that name.
    #[must_use]
    pub fn remove_all<'n>(mut self, name: impl Into<HeaderName<'n>>) -> Self {
        let name = name.into();
        while let Some(at) = self.position(name) {
            self.lines.remove(at);
            self.changed = true;
        }
        self
    }

    /// Puts a value in the place of the first one; appends it when there is none.
    #[must_use]
    pub fn replace_first<'n>(
        mut self,
        name: impl Into<HeaderName<'n>>,
        value: impl AsRef<[u8]>,
    ) -> Self {
        let name = name.into();
        let Some(at) = self.position(name) else { return self.append(name, value) };
        let rest = rest_of_list(name, self.value(at));
        let whole = match rest {
            Some(rest) => [value.as_ref(), b", ", rest].concat(),
            None => value.as_ref().to_vec(),
        };
        self.lines.remove(at);
        self.insert(at, name, &whole);
        self
    }

    /// Leaves exactly one line of that name, where the first one was.
    #[must_use]
    pub fn set<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        let name = name.into();
        let at = self.position(name).unwrap_or(self.lines.len());
        self = self.remove_all(name);
        self.insert(at, name, value.as_ref());
        self
    }

    /// Changes the Request-URI; nothing happens to a response.
    #[must_use]
    pub fn replace_request_uri(mut self, uri: impl AsRef<[u8]>) -> Self {
        if self.message.is_request() {
            self.uri = Some(uri.as_ref().to_vec());
            self.changed = true;
        }
        self
    }

    /// Changes the body with its Content-Type and Content-Length. An empty `content_type` removes
    /// that header.
    #[must_use]
    pub fn replace_body(self, content_type: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut edit = match content_type {
            "" => self.remove_all(HeaderName::CONTENT_TYPE),
            some => self.set(HeaderName::CONTENT_TYPE, some),
        };
        edit = edit.set(HeaderName::CONTENT_LENGTH, body.len().to_string());
        edit.body = Some(body.to_vec());
        edit
    }

    /// Adds the Content-Length that a datagram may lack and a stream must have (RFC 3261 §18.3).
    #[must_use]
    pub fn ensure_content_length(self) -> Self {
        if self.position(HeaderName::CONTENT_LENGTH).is_some() {
            return self;
        }
        let len = self.body.as_ref().map_or(self.message.body().len(), Vec::len);
        self.append(HeaderName::CONTENT_LENGTH, len.to_string())
    }

    /// The changed message. Without changes it is the same message.
    pub fn finish(self) -> Message {
        if !self.changed {
            return self.message.clone();
        }
        let message = self.message;
        let added: usize = self.new.iter().map(|l| l.value.len() + l.name.len() + 32).sum();
        let body = self.body.as_deref().unwrap_or(message.body());
        let mut writer = Writer::with_capacity(message.bytes().len() + added + body.len());
        let start = match (&self.uri, message.method()) {
            (Some(uri), Some(method)) => writer.request_line(method.as_str(), uri),
            _ => writer.copy_start(message),
        };
        for line in &self.lines {
            match *line {
                Line::Kept(at) => {
                    if let Some(slot) = message.slots.get(at) {
                        writer.copy_line(message, slot);
                    }
                }
                Line::New(at) => writer.header(self.new[at].header_name(), &self.new[at].value),
            }
        }
        writer.finish(start, body)
    }

    fn insert(&mut self, at: usize, name: HeaderName<'_>, value: &[u8]) {
        let text = if name.id() == 0 { name.as_str().to_owned() } else { String::new() };
        self.new.push(NewLine { id: name.id(), name: text, value: value.to_vec() });
        self.lines.insert(at.min(self.lines.len()), Line::New(self.new.len() - 1));
        self.changed = true;
    }

    fn position(&self, name: HeaderName<'_>) -> Option<usize> {
        self.lines.iter().position(|line| self.is_named(*line, name))
    }

    fn rposition(&self, name: HeaderName<'_>) -> Option<usize> {
        self.lines.iter().rposition(|line| self.is_named(*line, name))
    }

    fn is_named(&self, line: Line, name: HeaderName<'_>) -> bool {
        match line {
            Line::Kept(at) => {
                self.message.slots.get(at).is_some_and(|s| self.message.is_named(s, name))
            }
            Line::New(at) => self.new[at].header_name() == name,
        }
    }

    fn value(&self, line: usize) -> &[u8] {
        match self.lines[line] {
            Line::Kept(at) => {
                self.message.slots.get(at).map_or(b"".as_slice(), |s| self.message.value_of(s))
            }
            Line::New(at) => &self.new[at].value,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Line {
    /// Number of a slot of the message.
    Kept(usize),
    /// Number of a line of our own.
    New(usize),
}

#[derive(Debug, Clone)]
struct NewLine {
    id: u8,
    /// Only for a name that is not registered.
    name: String,
    value: Vec<u8>,
}

impl NewLine {
    fn header_name(&self) -> HeaderName<'_> {
        HeaderName::from_id(self.id).unwrap_or_else(|| HeaderName::from(self.name.as_str()))
    }
}

/// What follows the first value of a list header; `None` when nothing does, or it is no list.
fn rest_of_list<'v>(name: HeaderName<'_>, value: &'v [u8]) -> Option<&'v [u8]> {
    if !is_list(name) {
        return None;
    }
    let second = split_list(value).nth(1)?;
    let rest = trim_start(&value[offset_in(value, second)..]);
    (!rest.is_empty()).then_some(rest)
}

fn is_list(name: HeaderName<'_>) -> bool {
    const LISTS: [HeaderName<'static>; 14] = [
        HeaderName::VIA,
        HeaderName::ROUTE,
        HeaderName::RECORD_ROUTE,
        HeaderName::PATH,
        HeaderName::SERVICE_ROUTE,
        HeaderName::CONTACT,
        HeaderName::ALLOW,
        HeaderName::SUPPORTED,
        HeaderName::REQUIRE,
        HeaderName::PROXY_REQUIRE,
        HeaderName::UNSUPPORTED,
        HeaderName::P_ASSERTED_IDENTITY,
        HeaderName::HISTORY_INFO,
        HeaderName::DIVERSION,
    ];
    LISTS.contains(&name)
}

#[cfg(test)]
mod tests;
