//! One m-line and what belongs to it.

use std::ops::{Deref, DerefMut};

use crate::{Line, Section};

/// One media description: the fields of its `m=` line, and by deref its [`Section`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLine {
    section: Section,
    kind: String,
    port: u16,
    port_count: Option<u16>,
    proto: String,
    formats: Vec<String>,
}

impl MediaLine {
    /// A new m-line: `MediaLine::new("audio", 49170, "RTP/AVP", &["0"])`.
    pub fn new(kind: &str, port: u16, proto: &str, formats: &[&str]) -> Self {
        let mut this = Self {
            section: Section { lines: Vec::new(), is_media: true },
            kind: kind.to_owned(),
            port,
            port_count: None,
            proto: proto.to_owned(),
            formats: formats.iter().map(|f| (*f).to_owned()).collect(),
        };
        this.section.lines.push(this.to_line());
        this
    }

    /// Reads an `m=` line. `None` if it has fewer than four words or no readable port.
    pub(crate) fn from_line(line: Line) -> Option<Self> {
        let mut words = line.value_str()?.split_ascii_whitespace();
        let kind = words.next()?.to_owned();
        let port = words.next()?;
        let (port, count) = port.split_once('/').map_or((port, None), |(p, n)| (p, Some(n)));
        let port = port.parse().ok()?;
        let port_count = count.map(str::parse).transpose().ok()?;
        let proto = words.next()?.to_owned();
        let formats: Vec<String> = words.map(str::to_owned).collect();
        if formats.is_empty() {
            return None;
        }
        let section = Section { lines: vec![line], is_media: true };
        Some(Self { section, kind, port, port_count, proto, formats })
    }

    /// `audio`, `video`, `application`, `image` …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The port; 0 means rejected or disabled (RFC 3264 §6).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the port.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
        self.rewrite();
    }

    /// Whether the stream is rejected or disabled.
    pub fn is_rejected(&self) -> bool {
        self.port == 0
    }

    /// The transport, such as `RTP/AVP`, `RTP/SAVP`, `UDP/TLS/RTP/SAVPF`.
    pub fn proto(&self) -> &str {
        &self.proto
    }

    /// Sets the transport.
    pub fn set_proto(&mut self, proto: &str) {
        proto.clone_into(&mut self.proto);
        self.rewrite();
    }

    /// The formats: for RTP the payload types in the order of preference.
    pub fn formats(&self) -> &[String] {
        &self.formats
    }

    /// The formats that are payload types.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats.iter().filter_map(|f| f.parse().ok()).filter(|pt| *pt < 128)
    }

    /// Sets the formats. Their `a=rtpmap` and `a=fmtp` lines are the caller's.
    pub fn set_formats(&mut self, formats: &[&str]) {
        self.formats = formats.iter().map(|f| (*f).to_owned()).collect();
        self.rewrite();
    }

    fn to_line(&self) -> Line {
        let count = self.port_count.map(|n| format!("/{n}")).unwrap_or_default();
        let formats = self.formats.join(" ");
        Line::new(b'm', &format!("{} {}{count} {} {formats}", self.kind, self.port, self.proto))
    }

    fn rewrite(&mut self) {
        self.section.lines[0] = self.to_line();
    }

    pub(crate) fn push(&mut self, line: Line) {
        self.section.lines.push(line);
    }
}

impl Deref for MediaLine {
    type Target = Section;

    fn deref(&self) -> &Section {
        &self.section
    }
}

impl DerefMut for MediaLine {
    fn deref_mut(&mut self) -> &mut Section {
        &mut self.section
    }
}
