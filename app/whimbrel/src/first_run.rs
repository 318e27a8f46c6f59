//! The screen a new operator sees: what runs, who may sign in, what to do next.

use crate::present::say;
use qrcode::QrCode;
use sansio::Redacted;
use std::fmt::Write;
use store::FirstRun;

/// Where people reach a running server.
#[derive(Debug, Clone)]
pub struct Places {
    /// `https://host:port`.
    pub console: String,
    /// `host:port` for SIP over UDP and TCP.
    pub sip: String,
    /// `host:port` for SIP over TLS.
    pub sips: String,
    /// The metrics URL.
    pub metrics: String,
    /// How the program was called, for the examples.
    pub program: String,
}

/// Whom the screen greets. What is secret in it is shown once and kept nowhere.
pub enum Newcomer {
    /// Everything is new: two people, an administrator's link.
    FirstStart(FirstRun),
    /// People are there, an administrator was not.
    Administrator(Redacted<String>),
    /// All know their way.
    Nobody,
}

/// Prints where the server runs, and on the first run how to make the first call.
pub fn show(places: &Places, newcomer: &Newcomer) {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "\nWhimbrel is running.\n");
    let _ = writeln!(text, "  Console and web phone  {}", places.console);
    let _ =
        writeln!(text, "  SIP                    {} (UDP, TCP), {} (TLS)", places.sip, places.sips);
    let _ = writeln!(text, "  Metrics and health     {}", places.metrics);
    match newcomer {
        Newcomer::FirstStart(first) => text.push_str(&first_start(places, first)),
        Newcomer::Administrator(link) => text.push_str(&administrator(places, link)),
        Newcomer::Nobody => {}
    }
    say(&text);
}

fn administrator(places: &Places, link: &Redacted<String>) -> String {
    let link = link.reveal();
    format!("\n  Administrator, one use within a day\n    {}/welcome/{link}\n", places.console)
}

fn first_start(places: &Places, first: &FirstRun) -> String {
    let domain = &first.tenant.domain;
    let mut text = String::new();
    let _ = writeln!(text, "\nThis is the first start. Shown once, kept nowhere:");
    let _ = writeln!(text, "{}", administrator(places, &first.one_time_link));
    let _ = writeln!(text, "  Two people to try it with");
    for user in &first.users {
        let _ = writeln!(text, "    {}@{domain}  password {}", user.name, user.password.reveal());
    }
    let _ = writeln!(text, "\nHear a call work, in another terminal:\n");
    if let Some(user) = first.users.first() {
        let (name, password) = (&user.name, user.password.reveal());
        let Places { program, sips, .. } = places;
        let _ = writeln!(text, "    printf %s '{password}' > /tmp/{name}.pw");
        let _ = writeln!(
            text,
            "    {program} phone --account {name}@{domain} --password-file /tmp/{name}.pw --server {sips}"
        );
        let _ = writeln!(text, "\n  and type  echo  and Enter: you hear a chime, then yourself.");
        let _ = writeln!(
            text,
            "  Without a sound card add  --call echo --tone 440 --seconds 8 --record /tmp/heard.wav"
        );
    }
    let _ = writeln!(text, "\nOr open the web phone on your mobile (same network):\n");
    text.push_str(&qr(&format!("{}/phone", places.console)));
    let _ = writeln!(text, "    {}/phone", places.console);
    text
}

/// A QR code in half-block characters, dark on light whatever the terminal's colours.
fn qr(content: &str) -> String {
    let Ok(code) = QrCode::new(content) else { return String::new() };
    let (width, colors) = (code.width(), code.to_colors());
    let dark = |x: i64, y: i64| {
        let inside = (0..width as i64).contains(&x) && (0..width as i64).contains(&y);
        inside && colors[y as usize * width + x as usize] == qrcode::Color::Dark
    };
    let mut text = String::new();
    let (from, to) = (-2, width as i64 + 2);
    let mut y = from;
    while y < to {
        text.push_str("    ");
        for x in from..to {
            text.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => ' ',
                (true, false) => '▄',
                (false, true) => '▀',
                (false, false) => '█',
            });
        }
        text.push('\n');
        y += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_qr_code_is_square_and_framed_in_light() {
        let text = qr("https://192.0.2.1:8443/phone");
        let lines: Vec<&str> = text.lines().collect();
        let width = lines[0].trim_start().chars().count();
        assert!(lines.iter().all(|l| l.trim_start_matches(' ').chars().count() <= width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].trim().chars().all(|c| c == '█'));
    }
}
