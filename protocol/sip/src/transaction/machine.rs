//! What the four machines share: events, timer letters, and the step a machine answers with.
//!
//! A machine is a pure function of state and event. It touches neither messages nor clocks: it says
//! what is to happen in a [`Step`], and `Layer` does it.

use std::time::Duration;

/// The timers of RFC 3261 §17 (table 4) and RFC 6026 by their letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// `ServerInvite`: 200 ms until the layer sends 100 (§17.2.1). `Server`: the time before which
    /// no 100 may be sent over UDP (RFC 4320 §4.1).
    Trying,
    /// INVITE retransmission.
    A,
    /// INVITE timeout.
    B,
    /// Wait for retransmitted non-2xx finals.
    D,
    /// Non-INVITE retransmission.
    E,
    /// Non-INVITE timeout; on the server side the moment the client has given up (RFC 4320 §4.2).
    F,
    /// Retransmission of a non-2xx final to INVITE.
    G,
    /// Wait for the ACK.
    H,
    /// Wait for retransmitted ACKs.
    I,
    /// Wait for retransmitted non-INVITE requests.
    J,
    /// Wait for retransmitted non-INVITE finals.
    K,
    /// Wait for retransmitted INVITEs after a 2xx (RFC 6026).
    L,
    /// Wait for retransmitted or further 2xx (RFC 6026).
    M,
    /// `ServerInvite`: the TU has said nothing for so long that it must have forgotten the request.
    Silence,
    /// 64*T1 after a CANCEL, the INVITE is held cancelled whatever the peer does (§9.1).
    Cancelled,
}

impl Timer {
    /// Whether it is the one that paces sending, as opposed to the one that ends a state. A
    /// transaction has at most one of each kind.
    pub(super) fn is_pacing(self) -> bool {
        matches!(self, Self::Trying | Self::A | Self::E | Self::G)
    }
}

/// The base times, for one transaction's hop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) t1: Duration,
    pub(super) t2: Duration,
    pub(super) t4: Duration,
    /// Timer `Silence`.
    pub(super) silence: Duration,
    /// The hop's transport does not lose messages: no Timers A, E, G; D, I, J, K are zero.
    pub(super) reliable: bool,
}

impl Timing {
    /// 64*T1: Timers B, D, F, H, J, L, M.
    pub(super) fn long(&self) -> Duration {
        self.t1 * 64
    }

    pub(super) fn doubled(&self, interval: Duration) -> Duration {
        (interval * 2).min(self.t2)
    }
}

/// What happens to a client transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientEvent {
    /// A 1xx.
    Provisional,
    /// A 2xx.
    Success,
    /// A 3xx to 6xx.
    Failure,
    Timer(Timer),
    /// The flow it was sent by is gone.
    FlowFailed,
}

/// What happens to a server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerEvent {
    /// The request again.
    Request,
    /// An ACK that matches the INVITE.
    Ack,
    /// The TU answers 1xx.
    Provisional,
    /// The TU answers 2xx.
    Success,
    /// The TU answers 3xx to 6xx.
    Failure,
    /// The TU's final must not be sent (408 to a non-INVITE, RFC 4320 §4.2).
    Suppressed,
    Timer(Timer),
}

/// What to put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Send {
    /// What was sent last, again.
    Again,
    /// An ACK for the final that just came, to be kept for `Again`.
    Ack,
    /// The TU's response, to be kept for `Again`.
    Response,
    /// The TU's response, once, leaving what is kept untouched.
    Through,
    /// The layer's own 100.
    Trying,
}

/// Why a transaction ended without its normal end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Timer B or F, or nothing came after a CANCEL.
    TimedOut,
    FlowFailed,
    /// Timer H.
    NoAck,
    /// The TU never answered.
    NoAnswer,
}

/// What a machine wants done, in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Step {
    /// The state was left: its timers stop.
    pub(super) clear: bool,
    pub(super) send: Option<Send>,
    /// The message goes up to the TU.
    pub(super) pass: bool,
    pub(super) pace: Option<(Timer, Duration)>,
    pub(super) end: Option<(Timer, Duration)>,
    pub(super) fault: Option<Fault>,
    pub(super) terminated: bool,
}

impl Step {
    /// Nothing at all: the event is absorbed.
    pub(super) const NONE: Self = Self {
        clear: false,
        send: None,
        pass: false,
        pace: None,
        end: None,
        fault: None,
        terminated: false,
    };

    pub(super) fn pass() -> Self {
        Self { pass: true, ..Self::NONE }
    }

    pub(super) fn leave() -> Self {
        Self { clear: true, ..Self::NONE }
    }

    pub(super) fn terminate() -> Self {
        Self { clear: true, terminated: true, ..Self::NONE }
    }

    pub(super) fn fail(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::terminate() }
    }

    pub(super) fn send(what: Send) -> Self {
        Self { send: Some(what), ..Self::NONE }
    }

    pub(super) fn and_send(self, what: Send) -> Self {
        Self { send: Some(what), ..self }
    }

    pub(super) fn and_pass(self) -> Self {
        Self { pass: true, ..self }
    }

    pub(super) fn arm(self, timer: Timer, after: Duration) -> Self {
        if timer.is_pacing() {
            Self { pace: Some((timer, after)), ..self }
        } else {
            Self { end: Some((timer, after)), ..self }
        }
    }
}

/// One line per step, for the state tables of the tests.
#[cfg(test)]
impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.clear.then(|| "leave".into()));
        words.extend(self.send.map(|s| format!("send:{s:?}")));
        words.extend(self.pass.then(|| "pass".into()));
        for (timer, after) in self.pace.iter().chain(&self.end) {
            words.push(format!("{timer:?}={}", after.as_millis()));
        }
        words.extend(self.fault.map(|x| format!("fault:{x:?}")));
        words.extend(self.terminated.then(|| "end".into()));
        f.write_str(if words.is_empty() { "-" } else { "" })?;
        f.write_str(&words.join(" "))
    }
}
