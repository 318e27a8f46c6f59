//! R1.1: the parser, the splice and the framer against models too simple to be wrong.

use bytes::Bytes;
use proptest::prelude::*;
use sip::{Edit, Frame, HeaderName, Message, Method, RequestBuilder, StreamFramer};

/// Registered names, a compact form among them, one that is a list and one nobody knows.
const NAMES: [&str; 6] = ["Subject", "Route", "X-Unknown", "k", "Date", "x-unknown"];

/// Via comes last: a line that is new to a message goes behind it.
const HEAD: &str = "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
    Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\n";

/// Header lines as they stand on the wire, and a body.
#[derive(Debug, Clone)]
struct Model {
    uri: String,
    lines: Vec<(String, String)>,
    body: String,
}

impl Model {
    fn print(&self) -> String {
        let mut text = format!("OPTIONS {} SIP/2.0\r\n{HEAD}", self.uri);
        for (name, value) in &self.lines {
            text += &format!("{name}: {value}\r\n");
        }
        text + "\r\n" + &self.body
    }

    fn first(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|(n, _)| same(n, name))
    }

    fn last(&self, name: &str) -> Option<usize> {
        self.lines.iter().rposition(|(n, _)| same(n, name))
    }

    fn insert(&mut self, at: usize, name: &str, value: &str) {
        let name = HeaderName::from(name).as_str().to_owned();
        self.lines.insert(at, (name, value.to_owned()));
    }

    /// Takes the first value off its line; gives back where it was and what it left.
    fn take(&mut self, name: &str) -> Option<(usize, Option<String>)> {
        let at = self.first(name)?;
        let (name, value) = self.lines.remove(at);
        let is_list = matches!(name.as_str(), "Route" | "Supported" | "k");
        let rest = value.split_once(", ").filter(|_| is_list).map(|(_, rest)| rest.to_owned());
        Some((at, rest))
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Prepend(name, value) => {
                self.insert(self.first(name).unwrap_or(0), name, value);
            }
            Step::Append(name, value) => {
                self.insert(self.last(name).map_or(self.lines.len(), |at| at + 1), name, value);
            }
            Step::RemoveFirst(name) => {
                if let Some((at, Some(rest))) = self.take(name) {
                    self.insert(at, name, &rest);
                }
            }
            Step::RemoveAll(name) => self.lines.retain(|(n, _)| !same(n, name)),
            Step::ReplaceFirst(name, value) => match self.take(name) {
                Some((at, Some(rest))) => self.insert(at, name, &format!("{value}, {rest}")),
                Some((at, None)) => self.insert(at, name, value),
                None => self.insert(self.lines.len(), name, value),
            },
            Step::Set(name, value) => {
                let at = self.first(name);
                self.lines.retain(|(n, _)| !same(n, name));
                self.insert(at.unwrap_or(self.lines.len()), name, value);
            }
            Step::Uri(uri) => self.uri.clone_from(uri),
        }
    }
}

fn same(a: &str, b: &str) -> bool {
    HeaderName::from(a) == HeaderName::from(b)
}

#[derive(Debug, Clone)]
enum Step {
    Prepend(&'static str, String),
    Append(&'static str, String),
    RemoveFirst(&'static str),
    RemoveAll(&'static str),
    ReplaceFirst(&'static str, String),
    Set(&'static str, String),
    Uri(String),
}

impl Step {
    fn edit<'m>(&self, edit: Edit<'m>) -> Edit<'m> {
        match self {
            Self::Prepend(name, value) => edit.prepend(*name, value),
            Self::Append(name, value) => edit.append(*name, value),
            Self::RemoveFirst(name) => edit.remove_first(*name),
            Self::RemoveAll(name) => edit.remove_all(*name),
            Self::ReplaceFirst(name, value) => edit.replace_first(*name, value),
            Self::Set(name, value) => edit.set(*name, value),
            Self::Uri(uri) => edit.replace_request_uri(uri),
        }
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.as_slice())
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{1,12}", "[a-z]{1,4}(, [a-z]{1,4}){1,3}"]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (name(), value()).prop_map(|(n, v)| Step::Prepend(n, v)),
        (name(), value()).prop_map(|(n, v)| Step::Append(n, v)),
        name().prop_map(Step::RemoveFirst),
        name().prop_map(Step::RemoveAll),
        (name(), value()).prop_map(|(n, v)| Step::ReplaceFirst(n, v)),
        (name(), value()).prop_map(|(n, v)| Step::Set(n, v)),
        "sip:[a-z]{1,8}@[a-z]{1,8}".prop_map(Step::Uri),
    ]
}

/// Up to 60 lines, so that some messages need more than the index holds inline.
fn model() -> impl Strategy<Value = Model> {
    let lines = prop::collection::vec((name().prop_map(str::to_owned), value()), 0..60);
    (lines, "[a-z\r\n]{0,40}").prop_map(|(lines, body)| Model {
        uri: "sip:b@x".into(),
        lines,
        body,
    })
}

fn parse(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

proptest! {
    #[test]
    fn r1_1_splice_equals_rebuild(model in model(), steps in prop::collection::vec(step(), 0..12)) {
        let message = parse(&model.print());
        let mut rebuilt = model;
        let mut edit = Edit::new(&message);
        for step in &steps {
            rebuilt.apply(step);
            edit = step.edit(edit);
        }
        let spliced = edit.finish();
        let rebuilt = rebuilt.print();
        prop_assert_eq!(std::str::from_utf8(spliced.bytes()).unwrap(), rebuilt.as_str());
        let parsed = parse(&rebuilt);
        prop_assert!(parsed.header_lines().eq(spliced.header_lines()));
        prop_assert_eq!((parsed.request_uri(), parsed.body()), (spliced.request_uri(), spliced.body()));
    }

    #[test]
    fn r1_1_what_is_printed_is_what_was_parsed(model in model()) {
        let message = parse(&model.print());
        let mut printed = RequestBuilder::new(Method::OPTIONS, message.request_uri());
        for (name, value) in message.header_lines() {
            printed = printed.header(name, value);
        }
        let printed = printed.build();
        let again = parse(std::str::from_utf8(printed.bytes()).unwrap());
        prop_assert!(again.header_lines().eq(printed.header_lines()));
        let lines = message.header_lines().chain([(HeaderName::CONTENT_LENGTH, b"0".as_slice())]);
        prop_assert!(again.header_lines().eq(lines));
    }

    #[test]
    fn r1_1_a_stream_gives_the_messages_of_datagrams_however_it_is_cut(
        models in prop::collection::vec((model(), 0..3_usize), 1..4),
        cuts in prop::collection::vec(1..60_usize, 1..20),
    ) {
        let mut stream = Vec::new();
        let mut datagrams = Vec::new();
        for (mut model, pings) in models {
            let length = model.body.len().to_string();
            model.lines.push(("l ".into(), length));
            let text = model.print();
            stream.extend(b"\r\n\r\n".repeat(pings));
            stream.extend(text.as_bytes());
            datagrams.push(parse(&text));
        }
        let mut framer = StreamFramer::default();
        let mut messages = Vec::new();
        let (mut rest, mut cuts) = (stream.as_slice(), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            framer.push(now);
            rest = later;
            while let Some(frame) = framer.next_frame().unwrap() {
                if let Frame::Message(bytes) = frame {
                    messages.push(Message::parse(bytes).unwrap());
                }
            }
        }
        prop_assert_eq!(messages, datagrams);
        prop_assert_eq!(framer.buffered(), 0);
    }
}
