//! Every state against every event, as the figures of RFC 3261 §17 and RFC 6026 have it.

use std::time::Duration;

use crate::transaction::machine::{ClientEvent, ServerEvent, Step, Timer, Timing};
use crate::transaction::{client, client_invite, server, server_invite};

const T1: Duration = Duration::from_millis(500);

fn timing(reliable: bool) -> Timing {
    Timing {
        t1: T1,
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        silence: Duration::from_secs(600),
        reliable,
    }
}

const CLIENT_EVENTS: [ClientEvent; 12] = [
    ClientEvent::Provisional,
    ClientEvent::Success,
    ClientEvent::Failure,
    ClientEvent::FlowFailed,
    ClientEvent::Timer(Timer::A),
    ClientEvent::Timer(Timer::B),
    ClientEvent::Timer(Timer::D),
    ClientEvent::Timer(Timer::E),
    ClientEvent::Timer(Timer::F),
    ClientEvent::Timer(Timer::K),
    ClientEvent::Timer(Timer::M),
    ClientEvent::Timer(Timer::Cancelled),
];

const SERVER_EVENTS: [ServerEvent; 14] = [
    ServerEvent::Request,
    ServerEvent::Ack,
    ServerEvent::Provisional,
    ServerEvent::Success,
    ServerEvent::Failure,
    ServerEvent::Suppressed,
    ServerEvent::Timer(Timer::Trying),
    ServerEvent::Timer(Timer::F),
    ServerEvent::Timer(Timer::G),
    ServerEvent::Timer(Timer::H),
    ServerEvent::Timer(Timer::I),
    ServerEvent::Timer(Timer::J),
    ServerEvent::Timer(Timer::L),
    ServerEvent::Timer(Timer::Silence),
];

/// Compares `rows` (`event -> state: step`) with what the machine does; events without a row must
/// change nothing.
fn check<E: std::fmt::Debug + Copy>(
    from: &str,
    events: &[E],
    rows: &[(&str, &str)],
    mut step: impl FnMut(E) -> (String, Step),
) {
    let mut used = 0;
    for event in events {
        let name = format!("{event:?}").replace("Timer(", "").replace(')', "");
        let (state, step) = step(*event);
        let seen = format!("{state}: {step}");
        match rows.iter().find(|(event, _)| *event == name) {
            Some((_, expected)) => {
                used += 1;
                assert_eq!(seen, *expected, "{from} + {name}");
            }
            None => assert_eq!(seen, format!("{from}: -"), "{from} + {name} must be absorbed"),
        }
    }
    assert_eq!(used, rows.len(), "a row of {from} names no event");
}

fn client_invite(from: client_invite::State, reliable: bool, rows: &[(&str, &str)]) {
    check(&format!("{from:?}"), &CLIENT_EVENTS, rows, |event| {
        let mut machine = client_invite::ClientInvite { state: from };
        let step = machine.handle(event, &timing(reliable));
        (format!("{:?}", machine.state), step)
    });
}

#[test]
fn client_invite_follows_rfc3261_figure_5_with_rfc6026() {
    use client_invite::State::{Accepted, Calling, Completed, Proceeding, Terminated};
    client_invite(
        Calling(T1),
        false,
        &[
            ("A", "Calling(1s): send:Again A=1000"),
            ("B", "Terminated: leave fault:TimedOut end"),
            ("Provisional", "Proceeding: leave pass"),
            ("Success", "Accepted: leave pass M=32000"),
            ("Failure", "Completed: leave send:Ack pass D=32000"),
            ("FlowFailed", "Terminated: leave fault:FlowFailed end"),
            ("Cancelled", "Terminated: leave fault:TimedOut end"),
        ],
    );
    client_invite(
        Proceeding,
        false,
        &[
            ("Provisional", "Proceeding: pass"),
            ("Success", "Accepted: leave pass M=32000"),
            ("Failure", "Completed: leave send:Ack pass D=32000"),
            ("FlowFailed", "Terminated: leave fault:FlowFailed end"),
            ("Cancelled", "Terminated: leave fault:TimedOut end"),
        ],
    );
    client_invite(
        Proceeding,
        true,
        &[
            ("Provisional", "Proceeding: pass"),
            ("Success", "Accepted: leave pass M=32000"),
            ("Failure", "Terminated: leave send:Ack pass end"),
            ("FlowFailed", "Terminated: leave fault:FlowFailed end"),
            ("Cancelled", "Terminated: leave fault:TimedOut end"),
        ],
    );
    client_invite(
        Accepted,
        false,
        &[
            ("Success", "Accepted: pass"),
            ("M", "Terminated: leave end"),
            ("FlowFailed", "Terminated: leave end"),
        ],
    );
    client_invite(
        Completed,
        false,
        &[
            ("Failure", "Completed: send:Again"),
            ("D", "Terminated: leave end"),
            ("FlowFailed", "Terminated: leave end"),
        ],
    );
    client_invite(Terminated, false, &[]);
}

#[test]
fn client_invite_starts_timers_a_and_b() {
    let (_, step) = client_invite::ClientInvite::start(&timing(false));
    assert_eq!(step.to_string(), "A=500 B=32000");
    let (_, step) = client_invite::ClientInvite::start(&timing(true));
    assert_eq!(step.to_string(), "B=32000");
}

fn client(from: client::State, reliable: bool, rows: &[(&str, &str)]) {
    check(&format!("{from:?}"), &CLIENT_EVENTS, rows, |event| {
        let mut machine = client::Client { state: from };
        let step = machine.handle(event, &timing(reliable));
        (format!("{:?}", machine.state), step)
    });
}

#[test]
fn client_follows_rfc3261_figure_6() {
    use client::State::{Completed, Proceeding, Terminated, Trying};
    client(
        Trying(T1),
        false,
        &[
            ("E", "Trying(1s): send:Again E=1000"),
            ("F", "Terminated: leave fault:TimedOut end"),
            ("Provisional", "Proceeding: pass"),
            ("Success", "Completed: leave pass K=5000"),
            ("Failure", "Completed: leave pass K=5000"),
            ("FlowFailed", "Terminated: leave fault:FlowFailed end"),
        ],
    );
    client(
        Trying(Duration::from_secs(4)),
        true,
        &[
            ("E", "Trying(4s): send:Again E=4000"),
            ("F", "Terminated: leave fault:TimedOut end"),
            ("Provisional", "Proceeding: pass"),
            ("Success", "Terminated: leave pass end"),
            ("Failure", "Terminated: leave pass end"),
            ("FlowFailed", "Terminated: leave fault:FlowFailed end"),
        ],
    );
    client(
        Proceeding,
        false,
        &[
            ("E", "Proceeding: send:Again E=4000"),
            ("F", "Terminated: leave fault:TimedOut end"),
            ("Provisional", "Proceeding: pass"),
            ("Success", "Completed: leave pass K=5000"),
            ("Failure", "Completed: leave pass K=5000"),
            ("FlowFailed", "Terminated: leave fault:FlowFailed end"),
        ],
    );
    client(
        Completed,
        false,
        &[("K", "Terminated: leave end"), ("FlowFailed", "Terminated: leave end")],
    );
    client(Terminated, false, &[]);
    assert_eq!(client::Client::start(&timing(false)).1.to_string(), "E=500 F=32000");
    assert_eq!(client::Client::start(&timing(true)).1.to_string(), "F=32000");
}

fn server_invite(from: server_invite::State, reliable: bool, rows: &[(&str, &str)]) {
    check(&format!("{from:?}"), &SERVER_EVENTS, rows, |event| {
        let mut machine = server_invite::ServerInvite { state: from };
        let step = machine.handle(event, &timing(reliable));
        (format!("{:?}", machine.state), step)
    });
}

#[test]
fn server_invite_follows_rfc3261_figure_7_with_rfc6026() {
    use server_invite::State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    server_invite(
        Proceeding,
        false,
        &[
            ("Request", "Proceeding: send:Again"),
            ("Trying", "Proceeding: send:Trying"),
            ("Provisional", "Proceeding: leave send:Response Silence=600000"),
            ("Silence", "Terminated: leave fault:NoAnswer end"),
            ("Success", "Accepted: leave send:Response L=32000"),
            ("Failure", "Completed(500ms): leave send:Response G=500 H=32000"),
            ("Suppressed", "Completed(500ms): leave send:Response G=500 H=32000"),
        ],
    );
    server_invite(
        Proceeding,
        true,
        &[
            ("Request", "Proceeding: send:Again"),
            ("Trying", "Proceeding: send:Trying"),
            ("Provisional", "Proceeding: leave send:Response Silence=600000"),
            ("Silence", "Terminated: leave fault:NoAnswer end"),
            ("Success", "Accepted: leave send:Response L=32000"),
            ("Failure", "Completed(500ms): leave send:Response H=32000"),
            ("Suppressed", "Completed(500ms): leave send:Response H=32000"),
        ],
    );
    server_invite(
        Accepted,
        false,
        &[
            ("Ack", "Accepted: pass"),
            ("Success", "Accepted: send:Through"),
            ("L", "Terminated: leave end"),
        ],
    );
    server_invite(
        Completed(Duration::from_secs(2)),
        false,
        &[
            ("Request", "Completed(2s): send:Again"),
            ("G", "Completed(4s): send:Again G=4000"),
            ("Ack", "Confirmed: leave pass I=5000"),
            ("Success", "Completed(2s): send:Through"),
            ("H", "Terminated: leave fault:NoAck end"),
        ],
    );
    server_invite(
        Completed(T1),
        true,
        &[
            ("Request", "Completed(500ms): send:Again"),
            ("G", "Completed(1s): send:Again G=1000"),
            ("Ack", "Terminated: leave pass end"),
            ("Success", "Completed(500ms): send:Through"),
            ("H", "Terminated: leave fault:NoAck end"),
        ],
    );
    server_invite(
        Confirmed,
        false,
        &[("Success", "Confirmed: send:Through"), ("I", "Terminated: leave end")],
    );
    server_invite(Terminated, false, &[]);
}

fn server(from: server::State, reliable: bool, rows: &[(&str, &str)]) {
    check(&format!("{from:?}"), &SERVER_EVENTS, rows, |event| {
        let mut machine = server::Server { state: from };
        let step = machine.handle(event, &timing(reliable));
        (format!("{:?}", machine.state), step)
    });
}

#[test]
fn server_follows_rfc3261_figure_8_with_rfc4320() {
    use server::State::{Completed, Proceeding, Terminated, Trying};
    let answered = "Completed { answered: true }: leave send:Response J=32000";
    let silent = "Completed { answered: false }: leave J=32000";
    server(
        Trying { late: false },
        false,
        &[
            ("Trying", "Trying { late: true }: -"),
            ("Success", answered),
            ("Failure", answered),
            ("Suppressed", silent),
            ("F", "Terminated: leave fault:NoAnswer end"),
        ],
    );
    server(
        Trying { late: true },
        false,
        &[
            ("Provisional", "Proceeding: send:Response"),
            ("Success", answered),
            ("Failure", answered),
            ("Suppressed", silent),
            ("F", "Terminated: leave fault:NoAnswer end"),
        ],
    );
    server(
        Proceeding,
        false,
        &[
            ("Request", "Proceeding: send:Again"),
            ("Provisional", "Proceeding: send:Response"),
            ("Success", answered),
            ("Failure", answered),
            ("Suppressed", silent),
            ("F", "Terminated: leave fault:NoAnswer end"),
        ],
    );
    server(
        Proceeding,
        true,
        &[
            ("Request", "Proceeding: send:Again"),
            ("Provisional", "Proceeding: send:Response"),
            ("Success", "Terminated: leave send:Response end"),
            ("Failure", "Terminated: leave send:Response end"),
            ("Suppressed", silent),
            ("F", "Terminated: leave fault:NoAnswer end"),
        ],
    );
    server(
        Completed { answered: true },
        false,
        &[("Request", "Completed { answered: true }: send:Again"), ("J", "Terminated: leave end")],
    );
    server(Completed { answered: false }, false, &[("J", "Terminated: leave end")]);
    server(Terminated, false, &[]);
    assert_eq!(server::Server::start(&timing(false)).1.to_string(), "pass Trying=3500 F=32000");
    assert_eq!(server::Server::start(&timing(true)).1.to_string(), "pass F=32000");
}
