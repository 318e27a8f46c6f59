//! The non-INVITE server transaction (RFC 3261 §17.2.2, as corrected by RFC 4320).

use super::machine::{Fault, Send, ServerEvent, Step, Timer, Timing};

/// ```text
///                    | request: up; Timer F starts (the client's own limit)
///                    v
///              +-----------+  request: absorbed
///              |  Trying   |  Timer F: NoAnswer ------------------+
///              +-----------+                                      |
///     200-699 from |   | 100 from TU: send                        |
///     TU: send     |   v  (over UDP not before Timer E is at T2)  |
///       +----------+ +------------+  request: 100 again           |
///       |            | Proceeding |  Timer F: NoAnswer ---------->|
///       |            +------------+                               |
///       |              | 200-699 from TU: send                    |
///       v              v                                          |
///      +-----------------+  request: final again                  |
///      |    Completed    |  (nothing after a suppressed 408)      |
///      |    (Timer J)    |                                        |
///      +-----------------+                                        |
///              | Timer J; at once if reliable                     |
///              v                                                  v
///      +----------------------------------------------------------+
///      |                       Terminated                         |
///      +----------------------------------------------------------+
/// ```
///
/// RFC 4320: no provisional but 100, a late 100 over UDP only, never 408, and nothing at all once
/// the client's Timer F must have fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No response yet; `late` once a 100 would be of use to the client.
    Trying {
        /// The client's Timer E has reached T2, or the transport is reliable.
        late: bool,
    },
    /// A 100 was sent.
    Proceeding,
    /// The final was sent, or suppressed.
    Completed {
        /// There is a final to send again.
        answered: bool,
    },
    /// Over.
    Terminated,
}

/// See [`State`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) state: State,
}

impl Server {
    pub(super) fn start(timing: &Timing) -> (Self, Step) {
        let step = Step::pass().arm(Timer::F, timing.long());
        // Timer E doubles from T1 and is reset to T2 after T1 + 2*T1 + ... < T2: with the default
        // times 500 + 1000 + 2000 ms.
        let mut reached = timing.t1;
        while reached + timing.t1 < timing.t2 {
            reached = reached * 2 + timing.t1;
        }
        let step = if timing.reliable { step } else { step.arm(Timer::Trying, reached) };
        (Self { state: State::Trying { late: timing.reliable } }, step)
    }

    pub(super) fn handle(&mut self, event: ServerEvent, timing: &Timing) -> Step {
        match self.state {
            State::Trying { late } => self.trying(event, timing, late),
            State::Proceeding => self.proceeding(event, timing),
            State::Completed { answered } => self.completed(event, answered),
            State::Terminated => Step::NONE,
        }
    }

    fn trying(&mut self, event: ServerEvent, timing: &Timing, late: bool) -> Step {
        match event {
            ServerEvent::Timer(Timer::Trying) => {
                self.state = State::Trying { late: true };
                Step::NONE
            }
            ServerEvent::Provisional if late => {
                self.state = State::Proceeding;
                Step::send(Send::Response)
            }
            ServerEvent::Provisional | ServerEvent::Request => Step::NONE,
            other => self.proceeding(other, timing),
        }
    }

    fn proceeding(&mut self, event: ServerEvent, timing: &Timing) -> Step {
        match event {
            ServerEvent::Request => Step::send(Send::Again),
            ServerEvent::Provisional => Step::send(Send::Response),
            ServerEvent::Success | ServerEvent::Failure if timing.reliable => {
                self.state = State::Terminated;
                Step::terminate().and_send(Send::Response)
            }
            ServerEvent::Success | ServerEvent::Failure => {
                self.state = State::Completed { answered: true };
                Step::leave().and_send(Send::Response).arm(Timer::J, timing.long())
            }
            ServerEvent::Suppressed => {
                self.state = State::Completed { answered: false };
                Step::leave().arm(Timer::J, timing.long())
            }
            ServerEvent::Timer(Timer::F) => {
                self.state = State::Terminated;
                Step::fail(Fault::NoAnswer)
            }
            ServerEvent::Ack | ServerEvent::Timer(_) => Step::NONE,
        }
    }

    fn completed(&mut self, event: ServerEvent, answered: bool) -> Step {
        match event {
            ServerEvent::Request if answered => Step::send(Send::Again),
            ServerEvent::Timer(Timer::J) => {
                self.state = State::Terminated;
                Step::terminate()
            }
            _ => Step::NONE,
        }
    }
}
