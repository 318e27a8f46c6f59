//! The non-INVITE client transaction (RFC 3261 §17.1.2).

use std::time::Duration;

use super::machine::{ClientEvent, Fault, Send, Step, Timer, Timing};

/// ```text
///                    | request from TU: send it, E (UDP) and F start
///      Timer E       v
///     send again +----------+  Timer F: TimedOut,  flow failed: FlowFailed
///            +-->|  Trying  |------------------------------------------+
///            +---|          |                                          |
///                +----------+                                          |
///       200-699: up |    | 1xx: up                                     |
///       +-----------+    v                                             |
///       |        +------------+  Timer F: TimedOut                     |
///       |   +--->| Proceeding |  flow failed: FlowFailed               |
///       |   +----|            |--------------------------------------->|
///       | E: again, T2       |                                         |
///       | 1xx: up+-----------+                                         |
///       |             | 200-699: up                                    |
///       v             v                                                |
///      +---------------+                                               |
///      |   Completed   | finals absorbed                               |
///      |   (Timer K)   |                                               |
///      +---------------+                                               |
///              | Timer K; at once if reliable                          |
///              v                                                       v
///      +---------------------------------------------------------------+
///      |                          Terminated                           |
///      +---------------------------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Sent; nothing heard. The value is the running interval of Timer E.
    Trying(Duration),
    /// A provisional came; Timer E runs on at T2.
    Proceeding,
    /// The final came.
    Completed,
    /// Over.
    Terminated,
}

/// See [`State`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) state: State,
}

impl Client {
    pub(super) fn start(timing: &Timing) -> (Self, Step) {
        let step = Step::NONE.arm(Timer::F, timing.long());
        let step = if timing.reliable { step } else { step.arm(Timer::E, timing.t1) };
        (Self { state: State::Trying(timing.t1) }, step)
    }

    pub(super) fn handle(&mut self, event: ClientEvent, timing: &Timing) -> Step {
        match self.state {
            State::Trying(interval) => self.trying(event, timing, interval),
            State::Proceeding => self.proceeding(event, timing),
            State::Completed => self.completed(event),
            State::Terminated => Step::NONE,
        }
    }

    fn trying(&mut self, event: ClientEvent, timing: &Timing, interval: Duration) -> Step {
        match event {
            ClientEvent::Timer(Timer::E) => {
                let interval = timing.doubled(interval);
                self.state = State::Trying(interval);
                Step::send(Send::Again).arm(Timer::E, interval)
            }
            // Timers E and F run on into Proceeding (§17.1.2.2).
            ClientEvent::Provisional => {
                self.state = State::Proceeding;
                Step::pass()
            }
            other => self.proceeding(other, timing),
        }
    }

    fn proceeding(&mut self, event: ClientEvent, timing: &Timing) -> Step {
        match event {
            ClientEvent::Provisional => Step::pass(),
            ClientEvent::Success | ClientEvent::Failure if timing.reliable => {
                self.state = State::Terminated;
                Step::terminate().and_pass()
            }
            ClientEvent::Success | ClientEvent::Failure => {
                self.state = State::Completed;
                Step::leave().and_pass().arm(Timer::K, timing.t4)
            }
            ClientEvent::Timer(Timer::E) => Step::send(Send::Again).arm(Timer::E, timing.t2),
            ClientEvent::Timer(Timer::F) => self.fail(Fault::TimedOut),
            ClientEvent::FlowFailed => self.fail(Fault::FlowFailed),
            ClientEvent::Timer(_) => Step::NONE,
        }
    }

    fn completed(&mut self, event: ClientEvent) -> Step {
        match event {
            ClientEvent::Timer(Timer::K) | ClientEvent::FlowFailed => {
                self.state = State::Terminated;
                Step::terminate()
            }
            _ => Step::NONE,
        }
    }

    fn fail(&mut self, fault: Fault) -> Step {
        self.state = State::Terminated;
        Step::fail(fault)
    }
}
