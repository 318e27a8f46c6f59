//! Draws a [`State`]; made for 80 columns and 24 lines, and fine with more or fewer.

use super::state::{CallView, DialFor, Phase, Recent, Registration, State};
use media::MediaStats;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph, Widget};
use rtp::zrtp::{Secured, Trust};
use std::time::Duration;

const DIM: Style = Style::new().fg(Color::DarkGray);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// The quietest level a meter shows, in dBov.
const METER_FLOOR: f32 = -60.0;

/// The whole screen.
pub struct View<'a>(pub &'a State);

impl Widget for View<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let rows = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(6),
            Constraint::Length(6),
            Constraint::Length(3),
            Constraint::Min(0),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .split(area);
        header(self.0, rows[0], buf);
        call(self.0, rows[1], buf);
        quality(self.0, rows[2], buf);
        dial(self.0, rows[3], buf);
        recent(self.0, rows[4], buf);
        notice(self.0, rows[5], buf);
        Paragraph::new(help(self.0)).style(DIM).render(rows[6], buf);
    }
}

fn header(state: &State, area: Rect, buf: &mut Buffer) {
    let (words, color) = match &state.registration {
        Registration::Trying => ("registering ..".to_string(), Color::Yellow),
        Registration::Registered => (format!("registered, {}", state.server), Color::Green),
        Registration::Failed(why) => (format!("not registered: {why}"), Color::Red),
        Registration::NotConnected(why) => (format!("not connected: {why}"), Color::Red),
    };
    let account = format!(" {}  ", state.account);
    let line = Line::from(vec![
        Span::styled(" Whimbrel", BOLD.fg(Color::Cyan)),
        Span::raw(account),
        Span::styled(words, Style::new().fg(color)),
    ]);
    Paragraph::new(line).render(area, buf);
}

fn call(state: &State, area: Rect, buf: &mut Buffer) {
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let Some(view) = state.ringing() {
        let style = BOLD.fg(Color::Yellow);
        lines.push(Line::styled(format!("{} calls", full_name(view)), style));
    }
    if let Some(view) = state.focused() {
        lines.push(Line::styled(full_name(view), BOLD));
        lines.push(Line::raw(progress(state, view)));
        lines.extend(view.secured.as_ref().map(string));
    }
    for view in state.calls.iter().filter(|v| v.phase != Phase::Incoming) {
        if Some(view.call) != state.focus {
            lines.push(Line::styled(format!("{}  {}", view.who, progress(state, view)), DIM));
        }
    }
    if lines.is_empty() {
        lines.push(Line::styled("no call", DIM));
    }
    Paragraph::new(lines).block(Block::bordered().title(" Call ")).render(area, buf);
}

fn full_name(view: &CallView) -> String {
    match view.name.is_empty() {
        true => view.who.clone(),
        false => format!("{} <{}>", view.name, view.who),
    }
}

/// The string that the two users compare, and whether they have.
fn string(secured: &Secured) -> Line<'static> {
    let (words, color) = match secured.trust {
        Trust::Verified => ("verified", Color::Green),
        Trust::Remembered => ("known", Color::Yellow),
        Trust::FirstContact => ("first contact", Color::Yellow),
        Trust::Changed => ("KEY CHANGED", Color::Red),
    };
    let more = match (secured.peer_is_mitm, secured.trust) {
        (true, _) => "; ends at an intermediary",
        (false, Trust::Verified) => "",
        (false, _) => "; v, then type what they read",
    };
    Line::from(vec![
        Span::styled(secured.sas.to_string(), BOLD),
        Span::styled(format!("  {words}{more}"), Style::new().fg(color)),
    ])
}

/// The state of a call in words, with its duration.
fn progress(state: &State, view: &CallView) -> String {
    let words = match view.phase {
        Phase::Calling => "calling ..",
        Phase::Ringing => "ringing ..",
        Phase::EarlyMedia => "not answered yet (they can be heard)",
        Phase::Incoming => "calls you",
        Phase::Talking if view.held && view.held_by_peer => "on hold on both sides",
        Phase::Talking if view.held => "on hold",
        Phase::Talking if view.held_by_peer => "they put you on hold",
        Phase::Talking => "talking",
    };
    let mut text = words.to_string();
    if let Some(since) = view.since {
        let duration = clock(state.now.saturating_duration_since(since));
        text = format!("{text}  {duration}");
    }
    if state.muted && Some(view.call) == state.focus {
        text += "  MUTED";
    }
    if !view.digits.is_empty() {
        let skip = view.digits.chars().count().saturating_sub(20);
        text += &format!("  keys: {}", view.digits.chars().skip(skip).collect::<String>());
    }
    text
}

fn quality(state: &State, area: Rect, buf: &mut Buffer) {
    let block = Block::bordered().title(" Quality ");
    let inner = block.inner(area);
    block.render(area, buf);
    let Some(view) = state.focused().filter(|view| view.since.is_some()) else { return };
    let rows = Layout::vertical([Constraint::Length(1); 4]).split(inner);
    let security = if view.encrypted { "encrypted" } else { "NOT encrypted" };
    let color = if view.encrypted { Color::Green } else { Color::Red };
    let line = Line::from(vec![
        Span::raw(format!("{}, ", view.codec)),
        Span::styled(security, Style::new().fg(color)),
    ]);
    Paragraph::new(line).render(rows[0], buf);
    if let Some(stats) = &state.stats {
        Paragraph::new(figures(stats)).render(rows[1], buf);
    }
    meter("you ", state.levels.0, rows[2], buf);
    meter("they", state.levels.1, rows[3], buf);
}

/// The figures in one line.
fn figures(stats: &MediaStats) -> String {
    let rtt = stats.rtt_ms.map_or("-".to_string(), |ms| format!("{ms:.0} ms"));
    let expected = stats.packets_received + stats.lost;
    let loss = stats.lost as f64 * 100.0 / expected.max(1) as f64;
    format!(
        "RTT {rtt}  jitter {:.1} ms  loss {loss:.1} % ({})  buffer {:.0} ms",
        stats.jitter_ms, stats.lost, stats.delay_ms
    )
}

fn meter(label: &str, dbov: f32, area: Rect, buf: &mut Buffer) {
    let [name, bar] = Layout::horizontal([Constraint::Length(5), Constraint::Min(0)]).areas(area);
    Paragraph::new(label.to_string()).render(name, buf);
    let ratio = f64::from(((dbov - METER_FLOOR) / -METER_FLOOR).clamp(0.0, 1.0));
    let label = if dbov <= METER_FLOOR { "silent".into() } else { format!("{dbov:.0} dBov") };
    let color = if dbov > -6.0 { Color::Red } else { Color::Green };
    let gauge = Gauge::default().ratio(ratio).label(label);
    gauge.gauge_style(Style::new().fg(color).bg(Color::Black)).render(bar, buf);
}

fn dial(state: &State, area: Rect, buf: &mut Buffer) {
    let title = match &state.dial_for {
        DialFor::Call => " Dial ",
        DialFor::Transfer(_) => " Transfer to ",
        DialFor::Text(_) => " Text ",
        DialFor::Compare(_) => " They read (letters or words) ",
    };
    let block = Block::bordered().title(title);
    let line = match &state.dial {
        Some(text) => {
            // The end of a long address is where the typing goes on.
            let width = usize::from(area.width.saturating_sub(4));
            let skip = text.chars().count().saturating_sub(width);
            let shown: String = text.chars().skip(skip).collect();
            Line::from(vec![Span::raw(shown), Span::styled("_", BOLD)])
        }
        None if state.calls.is_empty() => Line::styled("type an address, then Enter", DIM),
        None => Line::styled("/ opens this line", DIM),
    };
    Paragraph::new(line).block(block).render(area, buf);
}

fn recent(state: &State, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.height.saturating_sub(2));
    let width = usize::from(area.width.saturating_sub(2));
    let lines: Vec<Line<'_>> =
        state.recent.iter().take(room).map(|r| Line::raw(recent_line(r, width))).collect();
    Paragraph::new(lines).block(Block::bordered().title(" Recent calls ")).render(area, buf);
}

fn recent_line(recent: &Recent, width: usize) -> String {
    let arrow = if recent.incoming { "<-" } else { "->" };
    let lasted = recent.lasted.map_or("     ".to_string(), clock);
    let tail = format!("  {lasted:>7}  {}", recent.how);
    let room = width.saturating_sub(tail.chars().count().min(40) + 3).max(10);
    let who: String = recent.who.chars().take(room).collect();
    format!("{arrow} {who:room$}{tail}")
}

fn notice(state: &State, area: Rect, buf: &mut Buffer) {
    if let Some((words, _)) = &state.notice {
        let style = Style::new().fg(Color::Yellow);
        Paragraph::new(format!(" {words}")).style(style).render(area, buf);
    }
}

/// What the keys do now.
fn help(state: &State) -> Line<'static> {
    let words = if state.dial.is_some() {
        " Enter call  Esc close  Up/Down earlier calls  Ctrl-U clear  Ctrl-C quit"
    } else if state.ringing().is_some() {
        " a answer  d decline  / dial  q quit"
    } else if let Some(view) = state.focused() {
        match (view.phase, state.calls.len()) {
            (Phase::Talking, 1) => {
                " x hang up  h hold/resume  t transfer  m mute  0-9*# digits  / dial  q quit"
            }
            (Phase::Talking, _) => {
                " x hang up  h hold/resume  t join both  j three-way  m mute  Tab other call  / dial  q quit"
            }
            _ => " x hang up  m mute  / dial  q quit",
        }
    } else {
        " address + Enter call (/ first if it begins with q)  Up earlier calls  q quit"
    };
    Line::raw(words).alignment(Alignment::Left)
}

/// `m:ss`, with hours when there are some.
fn clock(time: Duration) -> String {
    let (hours, minutes, seconds) =
        (time.as_secs() / 3600, time.as_secs() / 60 % 60, time.as_secs() % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests;
