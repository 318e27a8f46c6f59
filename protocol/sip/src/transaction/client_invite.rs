//! The INVITE client transaction (RFC 3261 §17.1.1, as changed by RFC 6026 §7.2).

use std::time::Duration;

use super::machine::{ClientEvent, Fault, Send, Step, Timer, Timing};

/// ```text
///                    | INVITE from TU: send it, A (UDP) and B start
///      Timer A       v
///     send again +---------+  Timer B: TimedOut,  flow failed: FlowFailed
///            +-->| Calling |-------------------------------------------+
///            +---|         |                                           |
///                +---------+                                           |
///        300-699   |  |  |  2xx: up                                    |
///        up + ACK  |  |  +------------------------------------+        |
///       +----------+  | 1xx: up                               |        |
///       |             v                                       |        |
///       |       +------------+ 2xx: up                        |        |
///       |   +-->| Proceeding |------------------------------->|        |
///       |   +---|            | no final 64*T1 after CANCEL ---|------->|
///       | 1xx up+------------+                                |        |
///       |             | 300-699: up + ACK                     |        |
///       v             v                                       v        |
///      +---------------+  300-699:                      +----------+   |
///  +-->|   Completed   |  ACK again       2xx: up   +-->| Accepted |   |
///  +---|   (Timer D)   |                            +---| (Timer M)|   |
///      +---------------+                                +----------+   |
///             | Timer D; at once if reliable                  | Timer M|
///             v                                               v        v
///      +---------------------------------------------------------------+
///      |                          Terminated                           |
///      +---------------------------------------------------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Sent; nothing heard. The value is the running interval of Timer A.
    Calling(Duration),
    /// A provisional came.
    Proceeding,
    /// A 2xx came; further ones pass up.
    Accepted,
    /// Another final came and was acknowledged.
    Completed,
    /// Over.
    Terminated,
}

/// See [`State`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientInvite {
    pub(super) state: State,
}

impl ClientInvite {
    pub(super) fn start(timing: &Timing) -> (Self, Step) {
        let step = Step::NONE.arm(Timer::B, timing.long());
        let step = if timing.reliable { step } else { step.arm(Timer::A, timing.t1) };
        (Self { state: State::Calling(timing.t1) }, step)
    }

    pub(super) fn handle(&mut self, event: ClientEvent, timing: &Timing) -> Step {
        match self.state {
            State::Calling(interval) => self.calling(event, timing, interval),
            State::Proceeding => self.proceeding(event, timing),
            State::Accepted => self.accepted(event),
            State::Completed => self.completed(event),
            State::Terminated => Step::NONE,
        }
    }

    fn calling(&mut self, event: ClientEvent, timing: &Timing, interval: Duration) -> Step {
        match event {
            // Timer A doubles without the cap T2 (§17.1.1.2).
            ClientEvent::Timer(Timer::A) => {
                self.state = State::Calling(interval * 2);
                Step::send(Send::Again).arm(Timer::A, interval * 2)
            }
            ClientEvent::Timer(Timer::B) => self.fail(Fault::TimedOut),
            ClientEvent::Provisional => {
                self.state = State::Proceeding;
                Step::leave().and_pass()
            }
            other => self.proceeding(other, timing),
        }
    }

    fn proceeding(&mut self, event: ClientEvent, timing: &Timing) -> Step {
        match event {
            ClientEvent::Provisional => Step::pass(),
            ClientEvent::Success => {
                self.state = State::Accepted;
                Step::leave().and_pass().arm(Timer::M, timing.long())
            }
            ClientEvent::Failure if timing.reliable => {
                self.state = State::Terminated;
                Step::terminate().and_send(Send::Ack).and_pass()
            }
            ClientEvent::Failure => {
                self.state = State::Completed;
                Step::leave().and_send(Send::Ack).and_pass().arm(Timer::D, timing.long())
            }
            ClientEvent::Timer(Timer::Cancelled) => self.fail(Fault::TimedOut),
            ClientEvent::FlowFailed => self.fail(Fault::FlowFailed),
            ClientEvent::Timer(_) => Step::NONE,
        }
    }

    fn accepted(&mut self, event: ClientEvent) -> Step {
        match event {
            ClientEvent::Success => Step::pass(),
            ClientEvent::Timer(Timer::M) | ClientEvent::FlowFailed => self.end(),
            _ => Step::NONE,
        }
    }

    /// The TU has its final already, so a lost flow ends this without a word.
    fn completed(&mut self, event: ClientEvent) -> Step {
        match event {
            ClientEvent::Failure => Step::send(Send::Again),
            ClientEvent::Timer(Timer::D) | ClientEvent::FlowFailed => self.end(),
            _ => Step::NONE,
        }
    }

    fn fail(&mut self, fault: Fault) -> Step {
        self.state = State::Terminated;
        Step::fail(fault)
    }

    fn end(&mut self) -> Step {
        self.state = State::Terminated;
        Step::terminate()
    }
}
