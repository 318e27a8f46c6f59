//! The events of a call as JSON, byte for byte what serde writes, without asking of every name
//! whether it needs escapes: four of them are written for each call, on the thread that carries it.

use super::{EndedBy, Envelope, Event, MediaSummary};

/// What a leg without media through the relay looks like.
const NO_MEDIA: &str = r#"{"codec":"","packets":0,"lost":0,"jitter_ms":0.0,"bytes":0}"#;

/// Appends `envelope` to `out`.
pub(crate) fn write(out: &mut Vec<u8>, envelope: &Envelope) {
    // What most take at most; more only grows.
    out.reserve(512);
    match &envelope.event {
        Event::CallStarted { call, session_id, call_id, tenant, from, to, source, user_agent } => {
            head(out, envelope, "call-started", *call);
            for (name, value) in [
                (r#","session_id":"#, session_id),
                (r#","call_id":"#, call_id),
                (r#","tenant":"#, tenant),
                (r#","from":"#, from),
                (r#","to":"#, to),
                (r#","source":"#, source),
                (r#","user_agent":"#, user_agent),
            ] {
                out.extend_from_slice(name.as_bytes());
                text(out, value);
            }
        }
        Event::CallRinging { call } => head(out, envelope, "call-ringing", *call),
        Event::CallAnswered { call, codecs } if codecs.is_empty() => {
            head(out, envelope, "call-answered", *call);
            out.extend_from_slice(br#","codecs":[]"#);
        }
        Event::CallEnded { call, cause, status, q850, by, caller, callee } => {
            head(out, envelope, "call-ended", *call);
            out.extend_from_slice(br#","cause":"#);
            text(out, cause);
            out.extend_from_slice(br#","status":"#);
            number(out, (*status).into());
            out.extend_from_slice(br#","q850":"#);
            number(out, (*q850).into());
            out.extend_from_slice(br#","by":""#);
            out.extend_from_slice(word(*by).as_bytes());
            out.extend_from_slice(br#"","caller":"#);
            media(out, caller);
            out.extend_from_slice(br#","callee":"#);
            media(out, callee);
        }
        _ => return serde(out, envelope),
    }
    out.extend_from_slice(b"}}");
}

fn head(out: &mut Vec<u8>, envelope: &Envelope, kind: &str, call: u64) {
    out.extend_from_slice(br#"{"seq":"#);
    number(out, envelope.seq);
    out.extend_from_slice(br#","at":"#);
    number(out, envelope.at.as_millis());
    out.extend_from_slice(br#","event":{"kind":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","call":"#);
    number(out, call);
}

fn word(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Unknown => "unknown",
        known => known.as_str(),
    }
}

fn media(out: &mut Vec<u8>, summary: &MediaSummary) {
    match *summary == MediaSummary::default() {
        true => out.extend_from_slice(NO_MEDIA.as_bytes()),
        false => serde(out, summary),
    }
}

/// A string in quotes.
fn text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        return serde(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, number: u64) {
    serde(out, &number);
}

fn serde<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing these types to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sansio::WallTime;

    fn same(event: Event, seq: u64, at: u64) {
        let envelope = Envelope { seq, at: WallTime::from_millis(at), event };
        let mut ours = b"before".to_vec();
        write(&mut ours, &envelope);
        let ours = String::from_utf8(ours).unwrap();
        assert_eq!(ours, format!("before{}", serde_json::to_string(&envelope).unwrap()));
    }

    fn media() -> impl Strategy<Value = MediaSummary> {
        let some = (".{0,8}", any::<[u64; 3]>(), any::<f64>()).prop_map(|(codec, n, jitter_ms)| {
            MediaSummary { codec, packets: n[0], lost: n[1], jitter_ms, bytes: n[2], way: None }
        });
        prop_oneof![Just(MediaSummary::default()), some]
    }

    fn by() -> impl Strategy<Value = EndedBy> {
        prop_oneof![
            Just(EndedBy::Unknown),
            Just(EndedBy::Caller),
            Just(EndedBy::Callee),
            Just(EndedBy::Server)
        ]
    }

    proptest! {
        #[test]
        fn the_events_of_a_call_are_written_as_serde_writes_them(
            numbers in any::<[u64; 3]>(), small in any::<(u16, u8)>(), words in prop::array::uniform8("\\PC{0,20}|[ -~]{0,20}|.{0,9}"),
            sides in (media(), media()), by in by(), codecs in prop::collection::vec("[a-z]{1,5}", 0..3),
        ) {
            let [seq, at, call] = numbers;
            let [session_id, call_id, tenant, from, to, source, user_agent, cause] = words;
            same(Event::CallStarted { call, session_id, call_id, tenant, from, to, source, user_agent }, seq, at);
            same(Event::CallRinging { call }, seq, at);
            same(Event::CallAnswered { call, codecs }, seq, at);
            let (status, q850) = small;
            let (caller, callee) = sides;
            same(Event::CallEnded { call, cause, status, q850, by, caller, callee }, seq, at);
        }
    }
}
