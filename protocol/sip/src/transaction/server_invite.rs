//! The INVITE server transaction (RFC 3261 §17.2.1, as changed by RFC 6026 §7.1).

use std::time::Duration;

use super::machine::{Fault, Send, ServerEvent, Step, Timer, Timing};

/// ```text
///                     | INVITE: up; 100 after 200 ms if asked for and the TU is silent
///   INVITE: last      v
///   1xx again   +------------+  1xx from TU: send
///           +-->| Proceeding |<--+
///           +---|            |---+   neither 1xx nor final from TU for 10 min: NoAnswer
///               +------------+
///   300-699 from TU: | | 2xx from TU: send
///   send, G(UDP)+H   | +----------------------------------+
///        +-----------+                                    v
///        v                                         +-----------+  INVITE: absorbed
///   +-----------+  INVITE or Timer G:           +->|  Accepted |  2xx from TU: send
///   | Completed |  final again                  +--| (Timer L) |  ACK: up
///   +-----------+                                  +-----------+
///     |       | ACK: Ack up                              | Timer L
///     |       v                                          |
///     |  +-----------+  ACK, INVITE: absorbed            |
///     |  | Confirmed |                                   |
///     |  | (Timer I) |                                   |
///     |  +-----------+                                   |
///     |       | Timer I; at once if reliable             |
///     | Timer H: NoAck                                   |
///     v       v                                          v
///   +------------------------------------------------------+
///   |                       Terminated                     |
///   +------------------------------------------------------+
/// ```
///
/// A 2xx that the TU gives after another final is sent once and changes nothing: a proxy forwards
/// every 2xx to INVITE (§16.7 step 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No final yet.
    Proceeding,
    /// A 2xx was sent.
    Accepted,
    /// Another final was sent. The value is the running interval of Timer G.
    Completed(Duration),
    /// And acknowledged.
    Confirmed,
    /// Over.
    Terminated,
}

/// See [`State`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerInvite {
    pub(super) state: State,
}

impl ServerInvite {
    /// `trying`: after what time the layer sends 100 by itself.
    pub(super) fn start(trying: Option<Duration>, timing: &Timing) -> (Self, Step) {
        let step = Step::pass().arm(Timer::Silence, timing.silence);
        let step = match trying {
            Some(Duration::ZERO) => step.and_send(Send::Trying),
            Some(after) => step.arm(Timer::Trying, after),
            None => step,
        };
        (Self { state: State::Proceeding }, step)
    }

    pub(super) fn handle(&mut self, event: ServerEvent, timing: &Timing) -> Step {
        match self.state {
            State::Proceeding => self.proceeding(event, timing),
            State::Accepted => self.accepted(event),
            State::Completed(interval) => self.completed(event, timing, interval),
            State::Confirmed => self.confirmed(event),
            State::Terminated => Step::NONE,
        }
    }

    fn proceeding(&mut self, event: ServerEvent, timing: &Timing) -> Step {
        match event {
            ServerEvent::Request => Step::send(Send::Again),
            ServerEvent::Timer(Timer::Trying) => Step::send(Send::Trying),
            ServerEvent::Provisional => {
                Step::leave().and_send(Send::Response).arm(Timer::Silence, timing.silence)
            }
            ServerEvent::Timer(Timer::Silence) => {
                self.state = State::Terminated;
                Step::fail(Fault::NoAnswer)
            }
            ServerEvent::Success => {
                self.state = State::Accepted;
                Step::leave().and_send(Send::Response).arm(Timer::L, timing.long())
            }
            ServerEvent::Failure | ServerEvent::Suppressed => {
                self.state = State::Completed(timing.t1);
                let step = Step::leave().and_send(Send::Response).arm(Timer::H, timing.long());
                if timing.reliable { step } else { step.arm(Timer::G, timing.t1) }
            }
            // An ACK before any final acknowledges nothing.
            ServerEvent::Ack | ServerEvent::Timer(_) => Step::NONE,
        }
    }

    fn accepted(&mut self, event: ServerEvent) -> Step {
        match event {
            ServerEvent::Success => Step::send(Send::Through),
            ServerEvent::Ack => Step::pass(),
            ServerEvent::Timer(Timer::L) => self.end(),
            _ => Step::NONE,
        }
    }

    fn completed(&mut self, event: ServerEvent, timing: &Timing, interval: Duration) -> Step {
        match event {
            ServerEvent::Request => Step::send(Send::Again),
            ServerEvent::Timer(Timer::G) => {
                let interval = timing.doubled(interval);
                self.state = State::Completed(interval);
                Step::send(Send::Again).arm(Timer::G, interval)
            }
            ServerEvent::Ack if timing.reliable => self.end().and_pass(),
            ServerEvent::Ack => {
                self.state = State::Confirmed;
                Step::leave().and_pass().arm(Timer::I, timing.t4)
            }
            ServerEvent::Timer(Timer::H) => {
                self.state = State::Terminated;
                Step::fail(Fault::NoAck)
            }
            ServerEvent::Success => Step::send(Send::Through),
            _ => Step::NONE,
        }
    }

    fn confirmed(&mut self, event: ServerEvent) -> Step {
        match event {
            ServerEvent::Timer(Timer::I) => self.end(),
            ServerEvent::Success => Step::send(Send::Through),
            _ => Step::NONE,
        }
    }

    fn end(&mut self) -> Step {
        self.state = State::Terminated;
        Step::terminate()
    }
}
