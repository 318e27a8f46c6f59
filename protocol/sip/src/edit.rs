//! Changing a message by splicing: what is not touched stays byte-exact.

mod scratch;

use std::borrow::Cow;

use crate::message::{Marks, Message};
use crate::name::HeaderName;
use crate::text::{offset_in, split_list, trim_start};
use crate::writer::{Decimal, Writer};
use scratch::{Line, Scratch};

/// Changes to one message, made in the order of the calls and written by [`Edit::finish`].
///
/// For headers that are lists (Via, Route, Record-Route, Path, Contact …) "first" means the first
/// *value*, whether it shares its line with others or not; for all others it means the first line.
///
/// The one allocation of an edit is the new message, made at its exact size; what is noted until
/// then lies in memory that edits of one thread hand on to each other.
#[derive(Debug, Clone)]
pub struct Edit<'m> {
    message: &'m Message,
    scratch: Scratch,
    /// What is still known of the tags and the branch.
    marks: Marks,
    changed: bool,
}

impl<'m> Edit<'m> {
    /// Begins with the message as it is.
    pub fn new(message: &'m Message) -> Self {
        let mut scratch = Scratch::take();
        scratch.lines.extend(message.slots().map(Line::kept));
        Self { message, scratch, marks: message.marks(), changed: false }
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
        self.insert(at, name, &[value.as_ref()]);
        self
    }

    /// Adds a line behind the last of its name, or at the end.
    #[must_use]
    pub fn append<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        let name = name.into();
        let at = self.rposition(name).map_or(self.scratch.lines.len(), |at| at + 1);
        self.insert(at, name, &[value.as_ref()]);
        self
    }

    /// Removes the first value.
    #[must_use]
    pub fn remove_first<'n>(mut self, name: impl Into<HeaderName<'n>>) -> Self {
        let name = name.into();
        if let Some(at) = self.position(name) {
            let rest = self.rest_of_list(name, at);
            self.remove(at);
            if let Some(rest) = rest {
                self.insert(at, name, &[&rest]);
            }
        }
        self
    }

    /// Removes every line of that name.
    #[must_use]
    pub fn remove_all<'n>(mut self, name: impl Into<HeaderName<'n>>) -> Self {
        let name = name.into();
        while let Some(at) = self.position(name) {
            self.remove(at);
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
        let rest = self.rest_of_list(name, at);
        self.remove(at);
        match rest {
            Some(rest) => self.insert(at, name, &[value.as_ref(), b", ", &rest]),
            None => self.insert(at, name, &[value.as_ref()]),
        }
        self
    }

    /// Leaves exactly one line of that name, where the first one was.
    #[must_use]
    pub fn set<'n>(mut self, name: impl Into<HeaderName<'n>>, value: impl AsRef<[u8]>) -> Self {
        let name = name.into();
        let at = self.position(name).unwrap_or(self.scratch.lines.len());
        self = self.remove_all(name);
        self.insert(at, name, &[value.as_ref()]);
        self
    }

    /// Changes the Request-URI; nothing happens to a response.
    #[must_use]
    pub fn replace_request_uri(mut self, uri: impl AsRef<[u8]>) -> Self {
        if self.message.is_request() {
            self.scratch.uri = Some(self.scratch.keep(uri.as_ref()));
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
        edit = edit.set(HeaderName::CONTENT_LENGTH, Decimal::new(body.len() as u64));
        edit.scratch.body = Some(edit.scratch.keep(body));
        edit
    }

    /// Adds the Content-Length that a datagram may lack and a stream must have (RFC 3261 §18.3).
    #[must_use]
    pub fn ensure_content_length(self) -> Self {
        if self.position(HeaderName::CONTENT_LENGTH).is_some() {
            return self;
        }
        let len = self.body().len() as u64;
        self.append(HeaderName::CONTENT_LENGTH, Decimal::new(len))
    }

    /// The changed message. Without changes it is the same message.
    pub fn finish(self) -> Message {
        if !self.changed {
            return self.message.clone();
        }
        let (message, scratch, body) = (self.message, &self.scratch, self.body());
        let uri = scratch.uri.map(|uri| scratch.kept(uri));
        let start_len = match uri {
            Some(uri) => message.start_len() + uri.len() - message.request_uri().len(),
            None => message.start_len(),
        };
        let lines: usize = scratch.lines.iter().map(Line::len).sum();
        let mut writer = Writer::with_capacity(start_len + lines + 2 + body.len());
        let start = match (uri, message.method()) {
            (Some(uri), Some(method)) => writer.request_line(method.as_str(), uri),
            _ => writer.copy_start(message),
        };
        self.write_lines(&mut writer);
        writer.mark(self.marks);
        writer.finish(start, body)
    }

    /// Writes the lines, those that follow each other in one go.
    fn write_lines(&self, writer: &mut Writer) {
        let mut rest = self.scratch.lines.as_slice();
        while let [first, ..] = rest {
            let follows = |pair: &[Line]| pair[0].is_followed_by(&pair[1]);
            let run = rest.windows(2).take_while(|pair| follows(pair)).count() + 1;
            let (run, after) = rest.split_at(run);
            let range = first.start()..run[run.len() - 1].end();
            let bytes = match first.is_new() {
                true => &self.scratch.text[range],
                false => &self.message.bytes[range],
            };
            writer.lines(bytes, run.iter().map(|line| (line.len(), line.id())));
            if !first.is_new() && run.iter().any(|l| self.message.is_folded(l.slot())) {
                writer.folded();
            }
            rest = after;
        }
    }

    fn body(&self) -> &[u8] {
        self.scratch.body.map_or(self.message.body(), |body| self.scratch.kept(body))
    }

    fn insert(&mut self, at: usize, name: HeaderName<'_>, parts: &[&[u8]]) {
        let line = self.scratch.new_line(name, parts);
        let at = at.min(self.scratch.lines.len());
        self.scratch.lines.insert(at, line);
        self.touched(name.id());
    }

    fn remove(&mut self, at: usize) {
        let line = self.scratch.lines.remove(at);
        self.touched(line.id());
    }

    fn touched(&mut self, id: u8) {
        self.changed = true;
        self.marks.forget(id);
    }

    fn position(&self, name: HeaderName<'_>) -> Option<usize> {
        self.scratch.lines.iter().position(|line| self.is_named(line, name))
    }

    fn rposition(&self, name: HeaderName<'_>) -> Option<usize> {
        self.scratch.lines.iter().rposition(|line| self.is_named(line, name))
    }

    fn is_named(&self, line: &Line, name: HeaderName<'_>) -> bool {
        line.id() == name.id()
            && (line.id() != 0
                || match line.is_new() {
                    true => self.scratch.name_is(line, name),
                    false => self.message.is_named(&line.slot(), name),
                })
    }

    /// What follows the first value of a list header; `None` when nothing does, or it is no list.
    fn rest_of_list(&self, name: HeaderName<'_>, at: usize) -> Option<Cow<'m, [u8]>> {
        if !is_list(name) {
            return None;
        }
        let line = &self.scratch.lines[at];
        let message: &'m Message = self.message;
        match line.is_new() {
            true => behind_first(self.scratch.value(line)).map(|rest| Cow::Owned(rest.to_vec())),
            false => behind_first(message.value_of(&line.slot())).map(Cow::Borrowed),
        }
    }
}

fn behind_first(value: &[u8]) -> Option<&[u8]> {
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
