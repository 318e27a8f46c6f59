//! The lines of one level, with typed views and line-wise edits.

use crate::{
    Candidate, Connection, Crypto, Direction, Fingerprint, Fmtp, Line, RtcpAddress, RtpMap, Setup,
};

/// The lines of the session level, or of one m-line (the `m=` line first). [`crate::Session`] and
/// [`crate::MediaLine`] both deref to it. Reading an attribute here never looks at another level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    pub(crate) lines: Vec<Line>,
    pub(crate) is_media: bool,
}

impl Section {
    /// Every line in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The value of the first line of this letter (`o`, `s`, `c`, `b`, `t` …).
    pub fn value(&self, kind: u8) -> Option<&str> {
        self.lines.iter().find(|l| l.kind() == kind)?.value_str()
    }

    /// Replaces the first line of this letter, or inserts one where RFC 8866 §5 wants it.
    pub fn set_value(&mut self, kind: u8, value: &str) {
        let line = Line::new(kind, value);
        match self.lines.iter().position(|l| l.kind() == kind) {
            Some(at) => self.lines[at] = line,
            None => self.insert(line),
        }
    }

    /// Removes every line of this letter. True if there was one.
    pub fn remove_lines(&mut self, kind: u8) -> bool {
        let before = self.lines.len();
        self.lines.retain(|l| l.kind() != kind);
        self.lines.len() != before
    }

    /// The `c=` line of this level.
    pub fn connection(&self) -> Option<Connection> {
        Connection::parse(self.value(b'c')?)
    }

    /// Sets the `c=` line of this level.
    pub fn set_connection(&mut self, connection: &Connection) {
        self.set_value(b'c', &connection.to_string());
    }

    // -- attributes, generic

    /// All attributes in order: name and value.
    pub fn all_attributes(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.lines.iter().filter_map(Line::attribute)
    }

    /// The values of every `a=name:value`. An attribute without value counts as empty.
    pub fn attributes(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all_attributes().filter(move |(n, _)| *n == name).map(|(_, v)| v.unwrap_or(""))
    }

    /// The value of the first `a=name`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes(name).next()
    }

    /// Whether `a=name` is there.
    pub fn has_attribute(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Appends `a=name` or `a=name:value` at the end of this level.
    pub fn add_attribute(&mut self, name: &str, value: Option<&str>) {
        let text = value.map_or_else(|| name.to_owned(), |v| format!("{name}:{v}"));
        self.insert(Line::new(b'a', &text));
    }

    /// Replaces the first `a=name` where it stands, drops the others, or appends it.
    pub fn set_attribute(&mut self, name: &str, value: Option<&str>) {
        let text = value.map_or_else(|| name.to_owned(), |v| format!("{name}:{v}"));
        let is_it = |l: &Line| l.attribute().is_some_and(|(n, _)| n == name);
        let Some(at) = self.lines.iter().position(is_it) else {
            return self.insert(Line::new(b'a', &text));
        };
        self.lines[at] = Line::new(b'a', &text);
        let mut index = 0;
        self.lines.retain(|l| {
            index += 1;
            index - 1 <= at || !is_it(l)
        });
    }

    /// Removes every `a=name`. Returns how many there were.
    pub fn remove_attributes(&mut self, name: &str) -> usize {
        self.retain_attributes(|n, _| n != name)
    }

    /// Keeps the attributes for which `keep(name, value)` holds. Returns how many went.
    pub fn retain_attributes(&mut self, mut keep: impl FnMut(&str, Option<&str>) -> bool) -> usize {
        let before = self.lines.len();
        self.lines.retain(|l| l.attribute().is_none_or(|(name, value)| keep(name, value)));
        before - self.lines.len()
    }

    // -- attributes, typed

    /// The direction written at this level; `None` means "not said here".
    pub fn own_direction(&self) -> Option<Direction> {
        self.all_attributes().find_map(|(name, _)| Direction::parse(name))
    }

    /// Writes the direction at this level, in the place of the former one.
    pub fn set_direction(&mut self, direction: Direction) {
        let is_it = |l: &Line| l.attribute().is_some_and(|(n, _)| Direction::parse(n).is_some());
        let line = Line::new(b'a', direction.name());
        match self.lines.iter().position(is_it) {
            Some(at) => self.lines[at] = line,
            None => self.insert(line),
        }
    }

    /// Readable `a=rtpmap` lines.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap> {
        self.attributes("rtpmap").filter_map(RtpMap::parse)
    }

    /// What a payload type means here: its rtpmap, or the static meaning (RFC 3551 §6).
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap> {
        self.rtpmaps()
            .find(|m| m.payload_type == payload_type)
            .or_else(|| RtpMap::of_static(payload_type))
    }

    /// The `a=fmtp` of a payload type.
    pub fn fmtp(&self, payload_type: u8) -> Option<Fmtp> {
        self.attributes("fmtp").filter_map(Fmtp::parse).find(|f| f.payload_type == payload_type)
    }

    /// `a=ptime` in milliseconds.
    pub fn ptime_ms(&self) -> Option<u32> {
        self.attribute("ptime")?.trim().parse().ok().filter(|ms| (1..=200).contains(ms))
    }

    /// Readable `a=crypto` lines in the order of preference.
    pub fn cryptos(&self) -> impl Iterator<Item = Crypto> {
        self.attributes("crypto").filter_map(Crypto::parse)
    }

    /// Appends an `a=crypto` line.
    pub fn add_crypto(&mut self, crypto: &Crypto) {
        self.add_attribute("crypto", Some(&crypto.to_string()));
    }

    /// The first readable `a=fingerprint`.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprints().next()
    }

    /// All readable `a=fingerprint` lines (RFC 8122 §5 allows several).
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.attributes("fingerprint").filter_map(Fingerprint::parse)
    }

    /// `a=setup`.
    pub fn setup(&self) -> Option<Setup> {
        Setup::parse(self.attribute("setup")?)
    }

    /// `a=ice-ufrag`.
    pub fn ice_ufrag(&self) -> Option<&str> {
        self.attribute("ice-ufrag").map(str::trim)
    }

    /// `a=ice-pwd`.
    pub fn ice_pwd(&self) -> Option<&str> {
        self.attribute("ice-pwd").map(str::trim)
    }

    /// The words of `a=ice-options`.
    pub fn ice_options(&self) -> impl Iterator<Item = &str> {
        self.attributes("ice-options").flat_map(str::split_ascii_whitespace)
    }

    /// Whether `a=ice-lite` stands at this level (RFC 8839 §5.3: session level only).
    pub fn ice_lite(&self) -> bool {
        self.has_attribute("ice-lite")
    }

    /// Readable `a=candidate` lines.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate> {
        self.attributes("candidate").filter_map(Candidate::parse)
    }

    /// Appends an `a=candidate` line.
    pub fn add_candidate(&mut self, candidate: &Candidate) {
        self.add_attribute("candidate", Some(&candidate.to_string()));
    }

    /// Removes every attribute of ICE: `ice-*`, `candidate`, `end-of-candidates`,
    /// `remote-candidates`.
    pub fn remove_ice(&mut self) -> usize {
        self.retain_attributes(|name, _| {
            !name.starts_with("ice-")
                && !matches!(name, "candidate" | "end-of-candidates" | "remote-candidates")
        })
    }

    /// Removes every attribute of keying: `crypto`, `fingerprint`, `setup`, `tls-id`,
    /// `key-mgmt`, `zrtp-hash`.
    pub fn remove_keying(&mut self) -> usize {
        self.retain_attributes(|name, _| {
            !matches!(
                name,
                "crypto" | "fingerprint" | "setup" | "tls-id" | "key-mgmt" | "zrtp-hash"
            )
        })
    }

    /// `a=rtcp` (RFC 3605).
    pub fn rtcp(&self) -> Option<RtcpAddress> {
        RtcpAddress::parse(self.attribute("rtcp")?)
    }

    /// Sets `a=rtcp`.
    pub fn set_rtcp(&mut self, rtcp: &RtcpAddress) {
        self.set_attribute("rtcp", Some(&rtcp.to_string()));
    }

    /// `a=rtcp-mux` (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.has_attribute("rtcp-mux")
    }

    /// `a=mid` (RFC 5888).
    pub fn mid(&self) -> Option<&str> {
        self.attribute("mid").map(str::trim)
    }

    /// `a=group` lines: semantics and the mids (RFC 5888).
    pub fn groups(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.attributes("group").filter_map(|value| {
            let mut words = value.split_ascii_whitespace();
            Some((words.next()?, words.collect()))
        })
    }

    /// Inserts a line where the order of RFC 8866 §5 wants it, after its equals.
    fn insert(&mut self, line: Line) {
        let rank = self.rank(line.kind());
        let at = self
            .lines
            .iter()
            .rposition(|l| l.kind() != 0 && self.rank(l.kind()) <= rank)
            .map_or(0, |last| last + 1);
        if let Some(before) = at.checked_sub(1) {
            self.lines[before].terminate();
        }
        self.lines.insert(at, line);
    }

    fn rank(&self, kind: u8) -> usize {
        let order: &[u8] = if self.is_media { b"micbka" } else { b"vosiuepcbtrzka" };
        order.iter().position(|k| *k == kind).unwrap_or(order.len())
    }
}
