//! What a peer trickles: `application/trickle-ice-sdpfrag` (RFC 8840 §9).

use std::fmt::Write;

use crate::{Candidate, ParseError};

/// The media type of a [`Fragment`].
pub const TRICKLE_TYPE: &str = "application/trickle-ice-sdpfrag";
/// A longer one is refused.
pub const FRAGMENT_MAX: usize = 16 * 1024;
/// Streams and candidates of a stream that are read; further ones are passed over.
const STREAMS_MAX: usize = 32;
const CANDIDATES_MAX: usize = 64;

/// Candidates on their own, outside of a description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Of which generation they are, where all streams have the same credentials.
    pub ufrag: Option<String>,
    /// The password beside it.
    pub pwd: Option<String>,
    /// No more will come, for no stream.
    pub ended: bool,
    /// By streams.
    pub streams: Vec<FragmentStream>,
}

/// Those of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FragmentStream {
    /// The kind of its m-line.
    pub kind: String,
    /// `a=mid`.
    pub mid: Option<String>,
    /// Its own credentials.
    pub ufrag: Option<String>,
    /// The password beside it.
    pub pwd: Option<String>,
    /// The candidates.
    pub candidates: Vec<Candidate>,
    /// No more will come.
    pub ended: bool,
}

impl Fragment {
    /// Reads one. Lines that are none of a fragment's are passed over.
    ///
    /// # Errors
    /// Longer than [`FRAGMENT_MAX`], no text, or a line that is no `x=value`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let refused = |line| ParseError {
            at: 0,
            line,
            expected: "lines of a trickle fragment",
            rfc: "RFC 8840 §9",
        };
        let text = std::str::from_utf8(bytes).map_err(|_| refused(1))?;
        if text.len() > FRAGMENT_MAX {
            return Err(refused(1));
        }
        let mut this = Self::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match line.trim_end().split_once('=') {
                Some(("m", value)) if this.streams.len() < STREAMS_MAX => {
                    let kind = value.split(' ').next().unwrap_or_default().to_owned();
                    this.streams.push(FragmentStream { kind, ..FragmentStream::default() });
                }
                Some(("a", value)) => this.attribute(value),
                Some((name, _)) if name.len() == 1 => {}
                _ => return Err(refused(at + 1)),
            }
        }
        Ok(this)
    }

    fn attribute(&mut self, attribute: &str) {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        let stream = self.streams.last_mut();
        match (name, stream) {
            ("ice-ufrag", Some(stream)) => stream.ufrag = Some(value.to_owned()),
            ("ice-ufrag", None) => self.ufrag = Some(value.to_owned()),
            ("ice-pwd", Some(stream)) => stream.pwd = Some(value.to_owned()),
            ("ice-pwd", None) => self.pwd = Some(value.to_owned()),
            ("end-of-candidates", Some(stream)) => stream.ended = true,
            ("end-of-candidates", None) => self.ended = true,
            ("mid", Some(stream)) => stream.mid = Some(value.to_owned()),
            ("candidate", Some(stream)) if stream.candidates.len() < CANDIDATES_MAX => {
                stream.candidates.extend(Candidate::parse(value));
            }
            _ => {}
        }
    }

    /// The generation of a stream: its own ufrag, or that of all.
    pub fn ufrag_of(&self, stream: &FragmentStream) -> Option<String> {
        stream.ufrag.clone().or_else(|| self.ufrag.clone())
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::new();
        // Writing into a String does not fail.
        let mut line = |name: &str, value: &str| {
            let _ = write!(out, "{name}{value}\r\n");
        };
        let named = [("a=ice-ufrag:", &self.ufrag), ("a=ice-pwd:", &self.pwd)];
        for (name, value) in named {
            value.iter().for_each(|value| line(name, value));
        }
        if self.ended {
            line("a=end-of-candidates", "");
        }
        for stream in &self.streams {
            // RFC 8840 §9.2: port and format mean nothing.
            line("m=", &format!("{} 9 RTP/AVP 0", stream.kind));
            let named = [
                ("a=mid:", &stream.mid),
                ("a=ice-ufrag:", &stream.ufrag),
                ("a=ice-pwd:", &stream.pwd),
            ];
            for (name, value) in named {
                value.iter().for_each(|value| line(name, value));
            }
            for candidate in &stream.candidates {
                line("a=candidate:", &candidate.to_string());
            }
            if stream.ended {
                line("a=end-of-candidates", "");
            }
        }
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 8840 §9.2, shortened.
    const EXAMPLE: &str = "a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=ice-ufrag:8hhY\r\n\
        m=audio 9 RTP/AVP 0\r\na=mid:1\r\n\
        a=candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 5000 typ host\r\n\
        a=candidate:2 1 UDP 1694498815 192.0.2.3 5010 typ srflx raddr 10.0.1.1 rport 8998\r\n\
        m=audio 9 RTP/AVP 0\r\na=mid:2\r\na=end-of-candidates\r\n";

    #[test]
    fn rfc_8840_9_2_a_fragment_is_read_and_written() {
        let fragment = Fragment::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("8hhY"));
        let [first, second] = &fragment.streams[..] else { panic!("{fragment:?}") };
        assert_eq!(
            (first.mid.as_deref(), first.candidates.len(), first.ended),
            (Some("1"), 2, false)
        );
        assert_eq!((second.mid.as_deref(), second.ended), (Some("2"), true));
        assert_eq!(Fragment::parse(&fragment.to_bytes()).unwrap(), fragment);
        assert!(Fragment::parse(b"a=mid:1\r\nnothing\r\n").is_err());
        assert!(Fragment::parse(&vec![b'a'; FRAGMENT_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fragment::parse(&bytes);
        }

        #[test]
        fn any_lines_read_back(lines in proptest::collection::vec("(a=(mid|ice-ufrag|candidate):|m=)[ -~]{0,30}", 0..20)) {
            if let Ok(fragment) = Fragment::parse(lines.join("\r\n").as_bytes()) {
                let again = Fragment::parse(&fragment.to_bytes()).unwrap();
                prop_assert_eq!(again.streams.len(), fragment.streams.len());
            }
        }
    }
}
