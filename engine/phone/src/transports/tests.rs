//! The machine alone: what it asks for when its transports work, or do not.

use super::*;
use Transport::{Tcp, Tls, Udp, Wss};
use sansio::testing::epoch;

const ALL: [Transport; 4] = [Udp, Tcp, Tls, Wss];
const REGISTER: &[u8] = b"REGISTER sip:example.com SIP/2.0\r\n\r\n";

/// The machine, its time, and a network that lets some transports through.
struct Lab {
    machine: Transports,
    now: Instant,
    open: Vec<Transport>,
    /// Those connected, in order.
    connects: Vec<Transport>,
    probes: Vec<Transport>,
    exhausted: u32,
    kept: u32,
    /// When keep-alives went out.
    keep_alives: Vec<Duration>,
    /// The server answers keep-alives.
    answers: bool,
    start: Instant,
}

impl Lab {
    fn new(open: &[Transport], memory: Vec<Remembered>) -> Self {
        let (machine, now) = (Transports::new(&ALL, memory), epoch());
        Self {
            machine,
            now,
            start: now,
            open: open.to_vec(),
            connects: Vec::new(),
            probes: Vec::new(),
            exhausted: 0,
            kept: 0,
            keep_alives: Vec::new(),
            answers: true,
        }
    }

    fn wall(&self) -> WallTime {
        WallTime::from_secs(1_000_000) + (self.now - self.start)
    }

    fn join(&mut self, network: &str) {
        self.machine.handle_network(self.now, NetworkId(network.into()));
        self.settle();
    }

    /// What the driver and the network do at once: UDP always connects, the rest where it is open;
    /// a REGISTER goes out and is answered where it is open.
    fn settle(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let wall = self.wall();
            match output {
                TransportsOutput::Connect(transport) => {
                    self.connects.push(transport);
                    let open = self.open.contains(&transport);
                    if open || transport == Udp {
                        self.machine.handle_connected();
                        self.machine.handle_sent(self.now, REGISTER);
                    }
                    if open {
                        self.machine.handle_heard(self.now, wall);
                    }
                }
                TransportsOutput::Probe(transport) => {
                    self.probes.push(transport);
                    if self.open.contains(&transport) {
                        self.machine.handle_probed(self.now, wall, transport, true);
                    }
                }
                TransportsOutput::KeepAlive => self.keep_alive(),
                TransportsOutput::Remember => self.kept += 1,
                TransportsOutput::Exhausted => self.exhausted += 1,
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.machine.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let wall = self.wall();
            self.machine.handle_timeout(self.now, wall);
            self.settle();
        }
        self.now = end;
    }

    /// A keep-alive goes out, and is answered where the link is open and the server does so.
    fn keep_alive(&mut self) {
        self.keep_alives.push(self.now - self.start);
        self.machine.handle_sent(self.now, b"\r\n\r\n");
        if self.answers && self.open.contains(&self.machine.current()) {
            self.machine.handle_kept_alive();
        }
    }

    fn up(&self) -> Option<Transport> {
        let up = matches!(self.machine.state, State::Up { proved: Some(_), .. });
        up.then(|| self.machine.current())
    }

    /// A request that nothing answers any more.
    fn cut(&mut self) {
        self.open.clear();
        self.machine.handle_sent(self.now, REGISTER);
    }
}

fn known(network: &str, transport: Transport, since: u64) -> Remembered {
    let since = WallTime::from_secs(since);
    Remembered { network: NetworkId(network.into()), transport, since }
}

#[test]
fn r1_2_blocked_transports_cost_less_than_four_seconds_whichever_they_are() {
    for (open, want) in [(&[Udp, Tls][..], Udp), (&[Tcp, Wss], Tcp), (&[Tls], Tls), (&[Wss], Wss)] {
        let mut lab = Lab::new(open, Vec::new());
        lab.join("hotel");
        lab.run(Duration::from_secs(4));
        assert_eq!(lab.up(), Some(want), "{:?}", lab.connects);
        let tried = ALL.iter().position(|t| *t == want).unwrap() + 1;
        assert_eq!(lab.connects, ALL[..tried], "in the order of the policy, and no further");
        assert_eq!(lab.exhausted, 0);
    }
}

#[test]
fn r1_2_what_worked_is_tried_first_on_the_same_network_and_not_on_another() {
    let mut lab = Lab::new(&[Wss], Vec::new());
    lab.join("hotel");
    lab.run(Duration::from_secs(5));
    let memory = lab.machine.remembered().to_vec();
    assert_eq!((memory.len(), memory[0].transport), (1, Wss));

    let mut again = Lab::new(&[Wss], memory.clone());
    again.join("hotel");
    assert_eq!((again.up(), &again.connects[..]), (Some(Wss), &[Wss][..]));
    let mut home = Lab::new(&ALL, memory);
    home.join("home");
    assert_eq!((home.up(), &home.connects[..]), (Some(Udp), &[Udp][..]));
    home.open = vec![Wss];
    home.join("hotel");
    assert_eq!((home.up(), &home.connects[..]), (Some(Wss), &[Udp, Wss][..]));
    assert_eq!(home.kept, 0, "nothing new was learned");
}

#[test]
fn r1_2_the_phone_steps_back_when_the_first_transport_answers_again() {
    let mut lab = Lab::new(&[Tls], Vec::new());
    lab.join("hotel");
    lab.run(Duration::from_secs(29 * 60));
    assert!(lab.probes.is_empty(), "not at once");
    lab.run(Duration::from_secs(2 * 60));
    assert_eq!((lab.up(), &lab.probes[..]), (Some(Tls), &[Udp, Tcp][..]));
    let connects = lab.connects.len();
    // The next look is an hour later; nothing was interrupted for the first.
    lab.open = vec![Tcp, Tls];
    lab.run(Duration::from_secs(50 * 60));
    assert_eq!((lab.up(), lab.connects.len()), (Some(Tls), connects));
    lab.run(Duration::from_secs(15 * 60));
    assert_eq!((lab.up(), lab.connects.last()), (Some(Tcp), Some(&Tcp)));
    assert_eq!(lab.machine.remembered()[0].transport, Tcp);
    lab.open = ALL.to_vec();
    lab.run(Duration::from_secs(5 * 3600));
    assert_eq!(lab.up(), Some(Udp));
    assert!(lab.machine.remembered().is_empty(), "the first needs no memory");
}

#[test]
fn an_old_memory_is_looked_at_soon_and_a_call_is_not_disturbed() {
    let mut lab = Lab::new(&ALL, vec![known("hotel", Tls, 10)]);
    lab.machine.set_busy(true);
    lab.join("hotel");
    lab.run(Duration::from_secs(600));
    assert_eq!((lab.up(), lab.probes.len()), (Some(Tls), 0));
    lab.machine.set_busy(false);
    lab.run(Duration::from_secs(11));
    assert_eq!((lab.up(), &lab.probes[..]), (Some(Udp), &[Udp][..]));
}

#[test]
fn a_transport_cut_off_while_in_use_is_left_within_five_seconds() {
    let mut lab = Lab::new(&ALL, Vec::new());
    lab.join("cafe");
    lab.run(Duration::from_secs(3600));
    lab.cut();
    lab.open = vec![Tls];
    lab.run(Duration::from_millis(5300));
    assert_eq!((lab.up(), &lab.connects[..]), (Some(Tls), &[Udp, Tcp, Tls][..]));
}

#[test]
fn r1_2_an_idle_link_whose_keep_alives_are_not_answered_any_more_is_left_after_the_second() {
    for cut in [Udp, Tcp, Tls] {
        let at = ALL.iter().position(|t| *t == cut).unwrap();
        let mut lab = Lab::new(&ALL[at..], Vec::new());
        lab.join("cafe");
        lab.run(Duration::from_secs(3600));
        assert_eq!(lab.up(), Some(cut));
        // The network drops everything from now on, and nobody has anything to say.
        lab.open = ALL[at + 1..].to_vec();
        let (begun, sent) = (lab.now, lab.keep_alives.len());
        lab.keep_alive();
        lab.run(Duration::from_millis(7900));
        assert_eq!(lab.up(), Some(cut), "one may be lost");
        lab.run(Duration::from_millis(200));
        assert_eq!(lab.up(), Some(ALL[at + 1]), "{:?}", lab.now - begun);
        assert_eq!(
            lab.keep_alives.len() - sent,
            3,
            "one, one more, and the first of the next link"
        );
    }
}

#[test]
fn a_keep_alive_that_is_lost_leaves_the_link_as_it_was() {
    let mut lab = Lab::new(&[Udp], Vec::new());
    lab.join("home");
    lab.answers = false;
    lab.keep_alive();
    lab.run(Duration::from_secs(1));
    lab.answers = true;
    lab.run(Duration::from_secs(3600));
    assert_eq!((lab.up(), lab.connects.len()), (Some(Udp), 1));
}

#[test]
fn a_server_that_never_answers_keep_alives_is_not_left_for_it() {
    let mut lab = Lab::new(&[Udp, Tcp], Vec::new());
    lab.answers = false;
    lab.join("home");
    for _ in 0..100 {
        lab.keep_alive();
        lab.run(Duration::from_secs(25));
    }
    assert_eq!((lab.up(), lab.connects.len()), (Some(Udp), 1));
}

#[test]
fn the_only_transport_is_connected_anew_when_its_keep_alives_are_not_answered() {
    let mut lab = Lab::new(&[Udp], Vec::new());
    lab.machine = Transports::new(&[Udp], Vec::new());
    lab.join("home");
    lab.answers = false;
    lab.keep_alive();
    lab.run(Duration::from_secs(9));
    assert_eq!((lab.up(), &lab.connects[..], lab.exhausted), (Some(Udp), &[Udp, Udp][..], 0));
}

#[test]
fn answers_and_acks_await_nothing() {
    let mut lab = Lab::new(&[Udp], Vec::new());
    lab.join("home");
    for message in [&b"SIP/2.0 200 OK\r\n"[..], b"ACK sip:bob@b SIP/2.0\r\n"] {
        lab.machine.handle_sent(lab.now, message);
    }
    lab.run(Duration::from_secs(3600));
    assert_eq!((lab.up(), lab.connects.len()), (Some(Udp), 1));
}

#[test]
fn where_nothing_works_rounds_come_later_and_later_and_are_more_patient() {
    let mut lab = Lab::new(&[], Vec::new());
    lab.join("tunnel");
    lab.run(Duration::from_secs(3600));
    assert!((50..130).contains(&lab.exhausted), "{}", lab.exhausted);
    assert_eq!(lab.connects[..5], [Udp, Tcp, Tls, Wss, Udp]);
    lab.open = ALL.to_vec();
    lab.run(Duration::from_secs(90));
    assert_eq!(lab.up(), Some(Udp), "the first again, and not whichever comes");
}

#[test]
fn a_link_that_breaks_is_made_again_by_the_same_transport() {
    let mut lab = Lab::new(&[Tcp, Tls], Vec::new());
    lab.join("home");
    lab.run(Duration::from_secs(60));
    lab.machine.handle_failed(lab.now);
    lab.settle();
    lab.run(Duration::from_millis(600));
    assert_eq!((lab.up(), &lab.connects[..]), (Some(Tcp), &[Udp, Tcp, Tcp][..]));
}

#[test]
fn the_only_transport_is_never_judged_by_its_silence() {
    let mut machine = Transports::new(&[Udp, Udp], Vec::new());
    machine.handle_network(epoch(), NetworkId("home".into()));
    assert_eq!(machine.poll_output(), Some(TransportsOutput::Connect(Udp)));
    machine.handle_connected();
    machine.handle_sent(epoch(), REGISTER);
    assert_eq!((machine.poll_timeout(), machine.order()), (None, &[Udp][..]));
}

#[test]
fn networks_are_remembered_up_to_a_limit_and_the_oldest_goes() {
    let memory: Vec<_> = (0..64).map(|n| known(&format!("n{n}"), Tls, 500 + n)).collect();
    let mut lab = Lab::new(&[Wss], memory);
    lab.join("new");
    lab.run(Duration::from_secs(5));
    let names: Vec<_> = lab.machine.remembered().iter().map(|r| r.network.0.as_str()).collect();
    assert_eq!((names.len(), names[0], names[63]), (64, "n1", "new"));
}
