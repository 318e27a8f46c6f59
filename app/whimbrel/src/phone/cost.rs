//! What staying reachable costs: processor time and bytes for each handshake, each registration and
//! each hour (R1.3). On a battery this is the phone's standby.

use net::client::{LinkCost, process_cpu};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The account of one phone, over all its connections.
#[derive(Debug)]
pub struct Costs {
    begun: Instant,
    cpu_before: Duration,
    /// Of connections that are gone.
    bytes: u64,
    handshakes: Sum,
    resumed: u32,
    refreshes: Sum,
    /// The registration under way: processor time and bytes when it began.
    refreshing: Option<(Duration, u64)>,
    /// The connection that stands.
    link: LinkCost,
}

/// From when on an hour can be told of: before, the start is most of it.
const HOUR_FROM: Duration = Duration::from_secs(60);

/// Things of one kind.
#[derive(Debug, Default)]
struct Sum {
    count: u32,
    cpu: Duration,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, cpu: Duration, bytes: u64) {
        self.count += 1;
        self.cpu += cpu;
        self.bytes += bytes;
    }

    /// Milliseconds and bytes of one; null before there is one.
    fn mean(&self) -> (Value, Value) {
        match self.count {
            0 => (Value::Null, Value::Null),
            n => (ms(self.cpu / n), (self.bytes / u64::from(n)).into()),
        }
    }
}

impl Costs {
    /// An empty account.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            cpu_before: process_cpu(),
            bytes: 0,
            handshakes: Sum::default(),
            resumed: 0,
            refreshes: Sum::default(),
            refreshing: None,
            link: LinkCost::default(),
        }
    }

    /// A connection stands.
    pub fn opened(&mut self, link: LinkCost) {
        self.bytes += total(&self.link);
        self.link = link;
        self.refreshing = None;
        if let Some(handshake) = link.handshake {
            self.handshakes.add(handshake.cpu, handshake.sent + handshake.received);
            self.resumed += u32::from(handshake.resumed);
        }
    }

    /// A message is about to go out; the connection has cost this much before it.
    pub fn sends(&mut self, message: &[u8], before: LinkCost) {
        self.link = before;
        // With a challenge a registration is two requests.
        if message.starts_with(b"REGISTER ") && self.refreshing.is_none() {
            self.refreshing = Some((process_cpu(), total(&before)));
        }
    }

    /// A message came; the connection has cost this much with it.
    pub fn heard(&mut self, message: &[u8], now: LinkCost) {
        self.link = now;
        if answers_register(message)
            && let Some((cpu, bytes)) = self.refreshing.take()
        {
            let cpu = process_cpu().saturating_sub(cpu);
            self.refreshes.add(cpu, total(&now).saturating_sub(bytes));
        }
    }

    /// As JSON, for the result.
    pub fn line(&self, now: Instant) -> Value {
        let (handshake_cpu_ms, handshake_bytes) = self.handshakes.mean();
        let (refresh_cpu_ms, refresh_bytes) = self.refreshes.mean();
        let lasted = now.saturating_duration_since(self.begun);
        let hourly = |sum: f64| match lasted < HOUR_FROM {
            true => Value::Null,
            false => (sum * 3600.0 / lasted.as_secs_f64()).round().into(),
        };
        let cpu = process_cpu().saturating_sub(self.cpu_before).as_secs_f64();
        let bytes = (self.bytes + total(&self.link)) as f64;
        json!({
            "handshakes": self.handshakes.count,
            "handshakes_resumed": self.resumed,
            "handshake_cpu_ms": handshake_cpu_ms,
            "handshake_bytes": handshake_bytes,
            "refreshes": self.refreshes.count,
            "refresh_cpu_ms": refresh_cpu_ms,
            "refresh_bytes": refresh_bytes,
            "cpu_ms_per_hour": hourly(cpu * 1000.0),
            "signalling_bytes_per_hour": hourly(bytes),
        })
    }
}

fn total(link: &LinkCost) -> u64 {
    link.sent + link.received
}

fn ms(time: Duration) -> Value {
    ((time.as_secs_f64() * 100_000.0).round() / 100.0).into()
}

/// Whether it is a 2xx to a REGISTER.
fn answers_register(message: &[u8]) -> bool {
    message.starts_with(b"SIP/2.0 2")
        && message
            .split(|byte| *byte == b'\n')
            .take_while(|line| !line.trim_ascii().is_empty())
            .any(|line| line.starts_with(b"CSeq:") && line.trim_ascii().ends_with(b"REGISTER"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::client::HandshakeCost;

    fn link(sent: u64, received: u64, handshake: Option<HandshakeCost>) -> LinkCost {
        LinkCost { sent, received, handshake }
    }

    #[test]
    fn r1_3_a_registration_is_counted_with_its_challenge_and_connections_add_up() {
        let handshake = HandshakeCost {
            cpu: Duration::from_millis(3),
            sent: 500,
            received: 1500,
            resumed: false,
        };
        let mut costs = Costs::new();
        costs.opened(link(500, 1500, Some(handshake)));
        costs.sends(b"REGISTER sip:a SIP/2.0\r\n", link(500, 1500, None));
        costs.heard(b"SIP/2.0 401 Unauthorized\r\nCSeq: 1 REGISTER\r\n\r\n", link(900, 1900, None));
        costs.sends(b"REGISTER sip:a SIP/2.0\r\n", link(900, 1900, None));
        costs.heard(b"SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n", link(1400, 2200, None));
        costs.heard(b"SIP/2.0 200 OK\r\nCSeq: 2 REGISTER\r\n\r\n", link(1400, 2300, None));
        let at = |seconds| costs.begun + Duration::from_secs(seconds);
        let line = costs.line(at(59));
        assert_eq!(line["signalling_bytes_per_hour"], Value::Null, "too early to tell");
        let line = costs.line(at(360));
        assert_eq!(line["signalling_bytes_per_hour"], 37_000.0);
        assert!(line["cpu_ms_per_hour"].as_f64() > Some(0.0));
        assert_eq!((&line["handshakes"], &line["handshake_bytes"]), (&1.into(), &2000.into()));
        assert_eq!(line["handshake_cpu_ms"], 3.0);
        assert_eq!((&line["refreshes"], &line["refresh_bytes"]), (&1.into(), &1700.into()));

        let again = HandshakeCost { resumed: true, ..handshake };
        costs.opened(link(200, 300, Some(again)));
        let line = costs.line(costs.begun);
        assert_eq!((&line["handshakes"], &line["handshakes_resumed"]), (&2.into(), &1.into()));
        assert_eq!(costs.bytes + total(&costs.link), 1400 + 2300 + 500);
    }

    #[test]
    fn without_a_handshake_there_is_no_figure_of_one() {
        assert_eq!(Costs::new().line(Instant::now())["handshake_cpu_ms"], Value::Null);
    }
}
