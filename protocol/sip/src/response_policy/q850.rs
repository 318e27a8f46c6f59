//! Q.850 causes and SIP statuses, both ways (RFC 3398 §7.2.4.1 and §8.2.6.1).

use super::{Action, row_of};

/// The cause a status stands for; 16 (normal clearing) for a success.
pub fn cause_of(status: u16) -> u8 {
    match status {
        300..=699 => row_of(status).cause,
        _ => 16,
    }
}

/// The status a cause stands for; 500 for one RFC 3398 does not list.
pub fn status_of(cause: u8) -> u16 {
    match cause {
        1..=3 | 26 => 404,
        16 | 19 | 20 | 31 => 480,
        17 => 486,
        18 => 408,
        21 | 55 | 57 | 87 => 403,
        22 | 23 => 410,
        27 => 502,
        28 => 484,
        29 | 79 => 501,
        34 | 38 | 41 | 42 | 47 | 58 | 88 => 503,
        65 | 70 => 488,
        102 => 504,
        _ => 500,
    }
}

/// What a cause says to do, where it says anything: whether the callee spoke, or the network.
pub(super) fn action(cause: u8) -> Option<Action> {
    match cause {
        // Unallocated, busy, no answer, absent, rejected, changed, incomplete, barred.
        1 | 17..=22 | 28 | 29 | 55 | 57 | 65 | 87 | 88 => Some(Action::TellUser),
        // No route, out of order, no circuit, congestion, temporary failure.
        2 | 3 | 25..=27 | 34 | 38 | 41..=44 | 47 | 58 | 102 => Some(Action::FailOver),
        _ => None,
    }
}

/// The recommendation's words for a cause.
pub(super) fn name(cause: u8) -> &'static str {
    match cause {
        1 => "Unallocated number",
        2 => "No route to transit network",
        3 => "No route to destination",
        16 => "Normal call clearing",
        17 => "User busy",
        18 => "No user responding",
        19 => "No answer from user",
        20 => "Subscriber absent",
        21 => "Call rejected",
        22 => "Number changed",
        23 => "Redirection to new destination",
        25 => "Exchange routing error",
        27 => "Destination out of order",
        28 => "Invalid number format",
        29 => "Facility rejected",
        31 => "Normal, unspecified",
        34 => "No circuit available",
        38 => "Network out of order",
        41 => "Temporary failure",
        42 => "Switching equipment congestion",
        44 => "Requested circuit not available",
        47 => "Resource unavailable",
        55 => "Incoming calls barred",
        57 => "Bearer capability not authorized",
        58 => "Bearer capability not available",
        63 => "Service not available",
        65 => "Bearer capability not implemented",
        79 => "Service not implemented",
        87 => "User not member of CUG",
        88 => "Incompatible destination",
        102 => "Recovery on timer expiry",
        127 => "Interworking, unspecified",
        _ => "Unspecified",
    }
}
