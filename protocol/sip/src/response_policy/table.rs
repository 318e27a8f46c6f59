//! The table: every registered final status that is no success.

use super::Action::{self, FailOver, Redirect, Retry, Stop, TellUser};

/// One status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The status.
    pub status: u16,
    /// What to do.
    pub action: Action,
    /// The Q.850 cause it stands for (RFC 3398 §8.2.6.1; where that is silent, the nearest).
    pub cause: u8,
}

const fn row(status: u16, action: Action, cause: u8) -> Row {
    Row { status, action, cause }
}

/// In order of status. The first of each class stands for what is not registered.
pub const ROWS: &[Row] = &[
    // 3xx: RFC 3261 §21.3.
    row(300, Redirect, 23),
    row(301, Redirect, 23),
    row(302, Redirect, 23),
    row(305, Redirect, 23),
    row(380, Redirect, 23),
    // 4xx of the request itself, RFC 3261 §21.4.
    row(400, Stop, 41),
    row(401, Retry, 21),
    row(402, TellUser, 21),
    row(403, TellUser, 21),
    row(404, TellUser, 1),
    row(405, Stop, 63),
    row(406, Stop, 79),
    row(407, Retry, 21),
    // The place was too slow; not the callee, which would be 480 or 487.
    row(408, FailOver, 102),
    row(410, TellUser, 22),
    row(412, Stop, 127),
    row(413, Stop, 127),
    row(414, Stop, 127),
    row(415, TellUser, 79),
    row(416, Stop, 127),
    row(417, Stop, 127),
    // What it asks for can be given: extensions, intervals (RFC 4028 §7.3, RFC 3261 §8.1.3.5).
    row(420, Retry, 127),
    row(421, Retry, 127),
    row(422, Retry, 127),
    row(423, Retry, 127),
    row(424, Stop, 127),
    row(425, Stop, 127),
    // Identity: RFC 8224 §6.2.2. Another peer may not insist.
    row(428, FailOver, 127),
    row(429, Retry, 127),
    row(430, FailOver, 38),
    row(433, TellUser, 21),
    row(436, FailOver, 127),
    row(437, FailOver, 127),
    row(438, FailOver, 127),
    row(439, Stop, 127),
    row(440, Stop, 25),
    row(469, Stop, 127),
    row(470, TellUser, 21),
    // 48x: the callee.
    row(480, TellUser, 18),
    row(481, Stop, 41),
    row(482, Stop, 25),
    row(483, Stop, 25),
    row(484, TellUser, 28),
    row(485, TellUser, 1),
    row(486, TellUser, 17),
    row(487, TellUser, 16),
    row(488, TellUser, 65),
    row(489, Stop, 127),
    row(491, Retry, 127),
    row(493, TellUser, 127),
    row(494, Retry, 127),
    // 5xx: the server. What it cannot do for lack of skill fails over, what nobody can do stops.
    row(500, FailOver, 41),
    row(501, FailOver, 79),
    row(502, FailOver, 38),
    row(503, FailOver, 41),
    row(504, FailOver, 102),
    row(505, FailOver, 127),
    row(513, Stop, 127),
    row(555, Stop, 127),
    row(580, TellUser, 47),
    // 6xx: everywhere (RFC 3261 §21.6, RFC 8197, RFC 8688).
    row(600, TellUser, 17),
    row(603, TellUser, 21),
    row(604, TellUser, 1),
    row(606, TellUser, 65),
    row(607, TellUser, 21),
    row(608, TellUser, 21),
];
