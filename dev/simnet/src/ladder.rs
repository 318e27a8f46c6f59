//! The SIP ladder of a run, in plain characters.
//!
//! ```text
//!          alice       server        bob
//!            |            |            |
//!   0.012000 |---INVITE-->|            |   INVITE (1)
//!   0.024500 |            |---INVITE-->|   INVITE (1)
//!   0.061000 |            |<-----180---|   180 Ringing (1 INVITE)
//!   0.070000 |            |---x        |   BYE (2): lost on link
//! ```

use std::fmt::Write;
use std::time::Duration;

use crate::trace::{Fate, Trace, TraceEntry};

/// The width of one column.
const COLUMN: usize = 16;

/// How many lines are shown; a failing story is about its end.
const LINES_MAX: usize = 400;

/// Draws every SIP message and note of a trace. Media is counted, not drawn.
pub fn ladder(trace: &Trace) -> String {
    let columns = columns(trace);
    let mut lines = Vec::new();
    let mut media = 0_usize;
    for entry in trace.entries() {
        match entry {
            TraceEntry::Packet { label: None, .. } => media += 1,
            TraceEntry::Packet { at, sender, receiver, label: Some(label), fate, .. } => {
                let row = Row { columns: &columns, sender, receiver: receiver.as_deref() };
                lines.push(format!("{} {}", clock(*at), row.draw(label, *fate)));
            }
            TraceEntry::Note { at, text } => lines.push(format!("{}  * {text}", clock(*at))),
        }
    }
    render(&columns, &lines, media)
}

fn render(columns: &[&str], lines: &[String], media: usize) -> String {
    let mut out = " ".repeat(11);
    for name in columns {
        let _ = write!(out, "{name:^COLUMN$}");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    let skipped = lines.len().saturating_sub(LINES_MAX);
    if skipped > 0 {
        let _ = writeln!(out, "{:11}({skipped} earlier lines left out)", "");
    }
    for line in &lines[skipped..] {
        out.push_str(line);
        out.push('\n');
    }
    let _ = writeln!(out, "{:11}({media} other packets: media, keep-alives, parts of streams)", "");
    out
}

/// The hosts that took part in signalling, in order of appearance.
fn columns(trace: &Trace) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for entry in trace.entries() {
        let TraceEntry::Packet { sender, receiver, label: Some(_), .. } = entry else { continue };
        for name in [Some(sender.as_str()), receiver.as_deref()].into_iter().flatten() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn clock(at: Duration) -> String {
    format!("{:>4}.{:06}", at.as_secs(), at.subsec_micros())
}

struct Row<'a> {
    columns: &'a [&'a str],
    sender: &'a str,
    receiver: Option<&'a str>,
}

impl Row<'_> {
    fn draw(&self, label: &str, fate: Fate) -> String {
        let word = label.split(' ').next().unwrap_or_default();
        let mut line: Vec<char> = vec![' '; self.columns.len() * COLUMN];
        for column in 0..self.columns.len() {
            line[middle(column)] = '|';
        }
        let from = self.column(self.sender);
        match self.receiver.map(|name| self.column(name)) {
            Some(to) if to != from => arrow(&mut line, middle(from), middle(to), word),
            Some(_) => put(&mut line, middle(from) + 1, "<-"),
            None => put(&mut line, middle(from) + 1, "---x"),
        }
        let line: String = line.into_iter().collect();
        let why = match fate {
            Fate::Delivered => "",
            Fate::LostOnLink => ": lost on the link",
            Fate::StoppedByNat => ": stopped by the NAT",
            Fate::StoppedByFirewall => ": stopped by a firewall",
            Fate::NoSuchHost => ": nobody has that address",
            Fate::NotItsAddress => ": not sent, the address is gone",
            Fate::HostDown => ": the host is down",
        };
        format!("{line} {label}{why}")
    }

    fn column(&self, name: &str) -> usize {
        self.columns.iter().position(|c| *c == name).unwrap_or(0)
    }
}

fn middle(column: usize) -> usize {
    column * COLUMN + COLUMN / 2
}

/// An arrow between two columns with a word in its middle.
fn arrow(line: &mut [char], from: usize, to: usize, word: &str) {
    let (left, right) = (from.min(to) + 1, from.max(to) - 1);
    line[left..=right].fill('-');
    let start = left + (right - left).saturating_sub(word.len()) / 2;
    put(line, start, word);
    if from < to {
        line[right] = '>';
    } else {
        line[left] = '<';
    }
}

fn put(line: &mut [char], at: usize, text: &str) {
    for (cell, character) in line.iter_mut().skip(at).zip(text.chars()) {
        *cell = character;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(at: u64, sender: &str, receiver: Option<&str>, label: &str) -> TraceEntry {
        let address = "10.0.0.1:5060".parse().unwrap();
        TraceEntry::Packet {
            at: Duration::from_micros(at),
            sender: sender.to_owned(),
            receiver: receiver.map(str::to_owned),
            from: address,
            to: address,
            label: (!label.is_empty()).then(|| label.to_owned()),
            length: 0,
            fate: if receiver.is_some() { Fate::Delivered } else { Fate::LostOnLink },
        }
    }

    #[test]
    fn a_call_reads_from_top_to_bottom() {
        let mut trace = Trace::default();
        trace.add(packet(500, "alice", Some("bob"), "INVITE (1)"));
        trace.add(packet(1500, "bob", Some("alice"), "180 Ringing (1 INVITE)"));
        trace.add(packet(2000, "alice", Some("bob"), ""));
        trace.add(TraceEntry::Note {
            at: Duration::from_secs(2),
            text: "bob loses his radio".into(),
        });
        trace.add(packet(2_000_001, "alice", None, "BYE (2)"));
        let expected = "\x20               alice            bob
   0.000500         |----INVITE---->|        INVITE (1)
   0.001500         |<----180-------|        180 Ringing (1 INVITE)
   2.000000  * bob loses his radio
   2.000001         |---x           |        BYE (2): lost on the link
           (1 other packets: media, keep-alives, parts of streams)
";
        assert_eq!(ladder(&trace), expected);
    }
}
