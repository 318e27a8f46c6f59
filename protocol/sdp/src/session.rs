//! A whole description.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};

use crate::{
    Connection, Direction, Fingerprint, Line, MediaLine, Origin, ParseError, Section, Setup,
};

/// A session description whose lines keep their bytes and order. By deref it is the session
/// level's [`Section`]; the m-lines are in [`Session::media`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    section: Section,
    media: Vec<MediaLine>,
}

impl Session {
    /// A description with `v=`, `o=`, `s=-`, `c=` and `t=0 0`, and no media yet.
    pub fn new(session_id: u64, version: u64, address: IpAddr) -> Self {
        let origin = Origin::new(session_id, version, address).to_string();
        let connection = Connection::from(address).to_string();
        let lines = [(b'v', "0"), (b'o', &origin), (b's', "-"), (b'c', &connection), (b't', "0 0")]
            .map(|(kind, value)| Line::new(kind, value));
        let section = Section { lines: lines.to_vec(), is_media: false };
        Self { section, media: Vec::new() }
    }

    /// Reads a description within the default [`Limits`].
    ///
    /// # Errors
    /// When a line is not `x=value`, `v=0` is not first, an m-line cannot be read, or a limit is
    /// passed.
    pub fn parse(input: &[u8]) -> Result<Self, ParseError> {
        Self::parse_with(input, &Limits::default())
    }

    /// Reads a description within the limits given.
    ///
    /// # Errors
    /// As [`Session::parse`].
    pub fn parse_with(input: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        let mut cursor = Cursor { rest: input, at: 0, line: 0 };
        if input.len() > limits.bytes_max {
            return Err(cursor.error("fewer bytes than the limit", "limit"));
        }
        let mut this = Self { section: Section::default(), media: Vec::new() };
        while let Some(line) = cursor.next_line(limits)? {
            match line.kind() {
                b'm' if this.media.len() == limits.media_max => {
                    return Err(cursor.error("fewer m-lines than the limit", "limit"));
                }
                b'm' => {
                    let media = MediaLine::from_line(line);
                    let expected = "`m=media port proto fmt ..`";
                    this.media.push(media.ok_or_else(|| cursor.error(expected, "RFC 8866 §5.14"))?);
                }
                _ => match this.media.last_mut() {
                    Some(media) => media.push(line),
                    None => this.section.lines.push(line),
                },
            }
        }
        match this.section.lines.first() {
            Some(v) if v.kind() == b'v' && v.value().trim_ascii() == b"0" => Ok(this),
            _ => Err(ParseError { at: 0, line: 1, expected: "`v=0` first", rfc: "RFC 8866 §5.1" }),
        }
    }

    /// The description as bytes. What was not edited is as it came.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sections = std::iter::once(&self.section).chain(self.media.iter().map(|m| &**m));
        let mut out = Vec::with_capacity(1024);
        for line in sections.flat_map(Section::lines) {
            if !out.is_empty() && !out.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(line.raw());
        }
        out
    }

    /// The `o=` line.
    pub fn origin(&self) -> Option<Origin> {
        Origin::parse(self.value(b'o')?)
    }

    /// Sets the `o=` line.
    pub fn set_origin(&mut self, origin: &Origin) {
        self.set_value(b'o', &origin.to_string());
    }

    /// The m-lines in order.
    pub fn media(&self) -> &[MediaLine] {
        &self.media
    }

    /// The m-lines, to edit.
    pub fn media_mut(&mut self) -> &mut [MediaLine] {
        &mut self.media
    }

    /// Appends an m-line.
    pub fn push_media(&mut self, media: MediaLine) -> &mut MediaLine {
        let at = self.media.len();
        self.media.push(media);
        &mut self.media[at]
    }

    /// The description as if the m-line at `index` were its only one.
    #[must_use]
    pub fn only(&self, index: usize) -> Self {
        let media = self.media.get(index).cloned().into_iter().collect();
        Self { section: self.section.clone(), media }
    }

    // -- views of m-line `index` that fall back to the session level; defaults when out of range

    /// The direction of an m-line: its own, the session's, or `sendrecv` (RFC 8866 §6.7).
    pub fn direction_of(&self, index: usize) -> Direction {
        let own = self.media.get(index).and_then(|m| m.own_direction());
        own.or_else(|| self.own_direction()).unwrap_or_default()
    }

    /// The `c=` that holds for an m-line.
    pub fn connection_of(&self, index: usize) -> Option<Connection> {
        self.media.get(index)?.connection().or_else(|| self.connection())
    }

    /// Where RTP of an m-line goes, when its address is an IP address and it is not rejected.
    pub fn rtp_addr_of(&self, index: usize) -> Option<SocketAddr> {
        let media = self.media.get(index).filter(|m| !m.is_rejected())?;
        Some(SocketAddr::new(self.connection_of(index)?.ip()?, media.port()))
    }

    /// Where RTCP of an m-line goes when it is not multiplexed: `a=rtcp`, or port + 1.
    pub fn rtcp_addr_of(&self, index: usize) -> Option<SocketAddr> {
        let rtp = self.rtp_addr_of(index)?;
        match self.media.get(index)?.rtcp() {
            Some(rtcp) => {
                let ip = rtcp.connection.and_then(|c| c.ip()).unwrap_or(rtp.ip());
                Some(SocketAddr::new(ip, rtcp.port))
            }
            None => Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)),
        }
    }

    /// The fingerprints that hold for an m-line.
    pub fn fingerprints_of(&self, index: usize) -> Vec<Fingerprint> {
        let own: Vec<_> =
            self.media.get(index).map_or_else(Vec::new, |m| m.fingerprints().collect());
        if own.is_empty() { self.fingerprints().collect() } else { own }
    }

    /// The `a=setup` that holds for an m-line.
    pub fn setup_of(&self, index: usize) -> Option<Setup> {
        self.media.get(index)?.setup().or_else(|| self.setup())
    }

    /// ICE user fragment and password that hold for an m-line.
    pub fn ice_credentials_of(&self, index: usize) -> Option<(&str, &str)> {
        let media = self.media.get(index)?;
        let ufrag = media.ice_ufrag().or_else(|| self.ice_ufrag())?;
        let pwd = media.ice_pwd().or_else(|| self.ice_pwd())?;
        Some((ufrag, pwd))
    }
}

impl Deref for Session {
    type Target = Section;

    fn deref(&self) -> &Section {
        &self.section
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Section {
        &mut self.section
    }
}

/// How much of a stranger's description is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all.
    pub bytes_max: usize,
    /// Lines in all.
    pub lines_max: usize,
    /// Bytes of one line.
    pub line_bytes_max: usize,
    /// m-lines.
    pub media_max: usize,
}

impl Default for Limits {
    /// Room for a browser's offer with a dozen streams.
    fn default() -> Self {
        Self { bytes_max: 64 * 1024, lines_max: 2000, line_bytes_max: 8192, media_max: 32 }
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
    line: usize,
}

impl Cursor<'_> {
    fn error(&self, expected: &'static str, rfc: &'static str) -> ParseError {
        ParseError { at: self.at, line: self.line.max(1), expected, rfc }
    }

    fn next_line(&mut self, limits: &Limits) -> Result<Option<Line>, ParseError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        if self.line > limits.lines_max {
            return Err(self.error("fewer lines than the limit", "limit"));
        }
        let end = self.rest.iter().position(|b| *b == b'\n');
        let (raw, rest) = self.rest.split_at(end.map_or(self.rest.len(), |n| n + 1));
        let text = raw.strip_suffix(b"\r\n").or_else(|| raw.strip_suffix(b"\n")).unwrap_or(raw);
        // Empty lines are tolerated at the end only: some phones send one.
        let blank = text.is_empty() && rest.iter().all(|b| matches!(b, b'\r' | b'\n'));
        let well_formed = text.len() >= 2 && text[1] == b'=' && text[0].is_ascii_lowercase();
        if !blank && (!well_formed || text[2..].contains(&0) || text[2..].contains(&b'\r')) {
            return Err(self.error("`x=value`", "RFC 8866 §5"));
        }
        if text.len() > limits.line_bytes_max {
            return Err(self.error("a shorter line", "limit"));
        }
        self.at += raw.len();
        self.rest = rest;
        Ok(Some(Line::from_wire(text, &raw[text.len()..])))
    }
}

#[cfg(test)]
mod tests;
