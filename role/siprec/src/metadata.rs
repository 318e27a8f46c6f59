//! Metadata of a recording session (RFC 7865): who is heard in which stream, since when.
//!
//! Always the whole of it (`complete`): an SRS that missed something has everything again with the
//! next change.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sansio::{Entropy, WallTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The namespace (RFC 7865 §10.1).
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:recording:1";
/// Characters of a name; a caller chooses its own.
const NAME_MAX: usize = 128;
/// Characters of an address.
const AOR_MAX: usize = 512;

/// Names of the streams in SDP (RFC 4574), the caller's and the callee's.
pub const LABELS: [&str; 2] = ["1", "2"];

/// Somebody who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Participant {
    /// The address of record, a URI.
    pub aor: String,
    /// The name to show; may be empty. Written by whoever calls: escaped here.
    pub name: String,
}

/// What an SRS is told of one call: the caller first, then the callee.
#[derive(Debug, Clone)]
pub struct Snapshot {
    participants: [Participant; 2],
    session_id: String,
    started: WallTime,
    ids: Ids,
    /// Which of them sends.
    pub sends: [bool; 2],
}

/// Names that stay for the whole of the recording (RFC 7865 §6.10).
#[derive(Debug, Clone)]
struct Ids {
    session: String,
    participants: [String; 2],
    streams: [String; 2],
}

impl Snapshot {
    /// Of a call that begins now, both sides talking. `session_id` is the caller's half of the
    /// Session-ID (RFC 7989).
    pub fn new(
        participants: [Participant; 2],
        session_id: &str,
        started: WallTime,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let mut uuid = || {
            let mut bytes = [0; 16];
            entropy.fill(&mut bytes);
            // RFC 4122 §4.4.
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            STANDARD.encode(bytes)
        };
        let ids =
            Ids { session: uuid(), participants: [uuid(), uuid()], streams: [uuid(), uuid()] };
        let session_id = session_id.to_owned();
        Self { participants, session_id, started, ids, sends: [true; 2] }
    }

    /// As XML, elements in the order of the schema (RFC 7865 §9).
    pub fn to_xml(&self) -> String {
        let mut xml = String::with_capacity(2048);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
        let session = &self.ids.session;
        let since = format!("<associate-time>{}</associate-time>", timestamp(self.started));
        line(&mut xml, &format!("<recording xmlns=\"{NAMESPACE}\">"));
        line(&mut xml, "<datamode>complete</datamode>");
        line(&mut xml, &format!("<session session_id=\"{session}\">"));
        // The callee's half is not ours to know (RFC 7989 §5).
        let id = escaped(&self.session_id, AOR_MAX);
        line(&mut xml, &format!("<sipSessionID>{id};remote={:032}</sipSessionID>", 0));
        line(&mut xml, &format!("<start-time>{}</start-time>", timestamp(self.started)));
        line(&mut xml, "</session>");
        for (who, id) in self.participants.iter().zip(&self.ids.participants) {
            line(&mut xml, &format!("<participant participant_id=\"{id}\">"));
            line(&mut xml, &name_id(who));
            line(&mut xml, "</participant>");
        }
        for (stream, label) in self.ids.streams.iter().zip(LABELS) {
            line(&mut xml, &format!("<stream stream_id=\"{stream}\" session_id=\"{session}\">"));
            line(&mut xml, &format!("<label>{label}</label>"));
            line(&mut xml, "</stream>");
        }
        line(&mut xml, &format!("<sessionrecordingassoc session_id=\"{session}\">"));
        line(&mut xml, &since);
        line(&mut xml, "</sessionrecordingassoc>");
        for id in &self.ids.participants {
            let open = "<participantsessionassoc participant_id";
            line(&mut xml, &format!("{open}=\"{id}\" session_id=\"{session}\">"));
            line(&mut xml, &since);
            line(&mut xml, "</participantsessionassoc>");
        }
        for own in [0, 1] {
            self.write_streams(&mut xml, own);
        }
        line(&mut xml, "</recording>");
        xml
    }

    /// What one of them sends and hears. Who is on hold does neither (RFC 8068 §3.3).
    fn write_streams(&self, xml: &mut String, own: usize) {
        let other = 1 - own;
        let id = &self.ids.participants[own];
        line(xml, &format!("<participantstreamassoc participant_id=\"{id}\">"));
        if self.sends[own] {
            line(xml, &format!("<send>{}</send>", self.ids.streams[own]));
        }
        if self.sends[other] {
            line(xml, &format!("<recv>{}</recv>", self.ids.streams[other]));
        }
        line(xml, "</participantstreamassoc>");
    }
}

fn name_id(who: &Participant) -> String {
    let aor = escaped(&who.aor, AOR_MAX);
    match escaped(&who.name, NAME_MAX) {
        name if name.is_empty() => format!("<nameID aor=\"{aor}\"/>"),
        name => format!("<nameID aor=\"{aor}\"><name>{name}</name></nameID>"),
    }
}

fn line(xml: &mut String, text: &str) {
    xml.push_str(text);
    xml.push_str("\r\n");
}

/// For text and attributes, at most `max` characters of it. What XML 1.0 §2.2 allows in no form is
/// left out.
fn escaped(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(max) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                // Kept as they are, whatever attribute normalisation would make of them.
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if u32::from(c) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

fn timestamp(at: WallTime) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}
