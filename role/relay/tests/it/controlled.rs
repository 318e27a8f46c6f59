//! The NG core without sockets: what a controller is told, what is left to the disk, and what is kept.

use std::time::{Duration, Instant};

use audio::Wav;
use bytes::Bytes;
use media::keying::dtls::Certificate;
use relay::ng::{Controlled, Handled, Outcome, Task};
use relay::{Config, Control, NumberedPorts};
use sansio::SeededEntropy;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                   m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
const UNIX: Duration = Duration::new(1_700_000_000, 123_456_789);

struct Desk {
    ng: Controlled,
    control: Control<NumberedPorts>,
    now: Instant,
    cookie: u32,
}

impl Desk {
    fn new(config: Config) -> Self {
        let ports = NumberedPorts::new(config.interfaces.len(), 10_000, 10_199);
        let certificate = Certificate::generate().unwrap();
        let control = Control::new(config, ports, certificate, Box::new(SeededEntropy::new(3)));
        let now = Instant::now();
        Self { ng: Controlled::new(now), control, now, cookie: 0 }
    }

    fn message(&mut self, entries: &[(&str, &str)]) -> Bytes {
        self.cookie += 1;
        let entry = |(k, v): &(&str, &str)| format!("{}:{k}{}:{v}", k.len(), v.len());
        let body: String = entries.iter().map(entry).collect();
        format!("{} d7:call-id1:c{body}e", self.cookie).into()
    }

    fn handle(&mut self, entries: &[(&str, &str)]) -> Handled {
        let message = self.message(entries);
        self.ng.handle((self.now, UNIX), &mut self.control, &message)
    }

    fn told(&mut self, entries: &[(&str, &str)]) -> String {
        match self.handle(entries) {
            Handled::Reply(reply) => String::from_utf8(reply.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn ok(&mut self, entries: &[(&str, &str)]) -> String {
        let told = self.told(entries);
        assert!(told.contains("6:result2:ok"), "{entries:?}: {told}");
        told
    }

    fn call(&mut self) {
        self.ok(&[("command", "offer"), ("from-tag", "a"), ("sdp", SDP)]);
        self.ok(&[("command", "answer"), ("from-tag", "a"), ("to-tag", "b"), ("sdp", SDP)]);
    }

    /// The task a command leaves, and the reply once it came to `outcome`.
    fn errand(&mut self, entries: &[(&str, &str)], outcome: Outcome) -> (Task, String) {
        let Handled::Errand(errand) = self.handle(entries) else { panic!("{entries:?}") };
        let task = errand.task.clone();
        let reply = self.ng.finish(self.now, &mut self.control, *errand, outcome);
        (task, String::from_utf8(reply.to_vec()).unwrap())
    }
}

#[test]
fn ng_a_query_tells_when_the_call_was_made_to_the_microsecond() {
    let mut desk = Desk::new(Config::default());
    desk.call();
    let told = desk.ok(&[("command", "query")]);
    assert!(told.contains("7:createdi1700000000e10:created_usi123456e"), "{told}");
}

/// An offer for one more branch that is refused leaves nothing: neither ports nor a branch that a
/// later answer could be taken for.
#[test]
fn ng_a_refused_offer_for_a_new_branch_is_forgotten() {
    let mut desk = Desk::new(Config { branches_max: 1, ..Config::default() });
    desk.ok(&[("command", "offer"), ("from-tag", "a"), ("via-branch", "x"), ("sdp", SDP)]);
    let before = desk.control.ports().in_use();
    for _ in 0..3 {
        let again = [("command", "offer"), ("from-tag", "a"), ("via-branch", "y"), ("sdp", SDP)];
        let told = desk.told(&again);
        assert!(told.contains("branches in one session"), "{told}");
    }
    assert_eq!(desk.control.ports().in_use(), before);
    // Nobody named: the branch that there is.
    desk.ok(&[("command", "answer"), ("from-tag", "a"), ("to-tag", "b"), ("sdp", SDP)]);
    let told = desk.ok(&[("command", "query")]);
    let tags = told.matches("16:in dialogue with").count();
    assert_eq!(tags, 2, "{told}");
    assert!(told.contains("16:in dialogue with1:b"), "{told}");
}

#[test]
fn ng_what_needs_the_disk_is_an_errand_and_its_reply_is_kept_as_any_other() {
    let mut desk = Desk::new(Config::default());
    desk.call();
    let done = || Outcome::Done(Ok(()));
    let (task, reply) = desk.errand(&[("command", "start recording")], done());
    let Task::Record { name, .. } = &task else { panic!("{task:?}") };
    assert_eq!((name.as_str(), reply.contains("6:result2:ok")), ("1700000000123-1-c", true));
    let no_space = Outcome::Done(Err("no space".to_owned()));
    let (task, reply) = desk.errand(&[("command", "stop recording")], no_space);
    assert!(matches!(task, Task::StopRecording(_)) && reply.contains("no space"), "{reply}");

    let play = [("command", "play media"), ("from-tag", "a"), ("file", "/x.wav")];
    let sound = Outcome::Sound(Ok(Wav::mono(8000, vec![0; 4000])));
    let (task, reply) = desk.errand(&play, sound);
    let Task::Fetch { rate_max, .. } = task else { panic!("{task:?}") };
    assert_eq!(rate_max, 8000, "PCMU hears no more");
    assert!(reply.contains("8:durationi500e"), "{reply}");
    // The same cookie: the same reply, and no errand.
    let cookie = reply.split(' ').next().unwrap().parse::<u32>().unwrap();
    desk.cookie = cookie - 1;
    assert_eq!(desk.told(&play), reply);
}

/// What an offer says of recording is done besides; where it fails the call goes on.
#[test]
fn ng_record_call_in_an_offer_does_not_hold_the_call_up() {
    let mut desk = Desk::new(Config::default());
    let offer = [("command", "offer"), ("from-tag", "a"), ("record call", "yes"), ("sdp", SDP)];
    let failed = Outcome::Done(Err("off".to_owned()));
    let (task, reply) = desk.errand(&offer, failed);
    assert!(matches!(task, Task::Record { .. }));
    assert!(reply.contains("m=audio") && reply.contains("6:result2:ok"), "{reply}");
}

#[test]
fn ng_parties_are_named_by_tag_or_label() {
    let mut desk = Desk::new(Config::default());
    let offer = [("command", "offer"), ("from-tag", "a"), ("label", "east"), ("sdp", SDP)];
    desk.ok(&offer);
    let answer = [("command", "answer"), ("from-tag", "a"), ("to-tag", "b"), ("sdp", SDP)];
    desk.ok(&[&answer[..], &[("label", "west")]].concat());
    for (label, tag) in [("east", "a"), ("west", "b")] {
        let told = desk.ok(&[("command", "subscribe request"), ("label", label)]);
        assert!(told.contains(&format!("8:from-tag1:{tag}")), "{told}");
        assert!(told.contains(&format!("a=label:{label}")), "{told}");
    }
    let told = desk.told(&[("command", "play DTMF"), ("label", "north"), ("code", "1")]);
    assert!(told.contains("No such label"), "{told}");
    // The whole call's end ends its third parties.
    desk.ok(&[("command", "delete"), ("from-tag", "a"), ("delete-delay", "0")]);
    assert_eq!(desk.control.ports().in_use(), 0);
}
