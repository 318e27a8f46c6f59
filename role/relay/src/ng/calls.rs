//! Calls as a controller names them: Call-ID, tags and Via branches, and the relay's session and
//! branch behind each.
//!
//! ```text
//!   offer  from-tag A, via-branch x     ─► session 7, branch 1: A calls, x has no tag yet
//!   offer  from-tag A, via-branch y     ─► session 7, branch 2: the fork
//!   answer from-tag A, to-tag B, via y  ─► branch 2 is B's
//!   offer  from-tag B, to-tag A         ─► branch 2 again, from the callee this time
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::request::Parties;
use crate::api::{Direction, SessionId};

/// A call that nobody answers ends after this long, as at rtpengine (`offer-timeout`): its controller
/// may have died before it deleted it.
pub const UNANSWERED_MAX: Duration = Duration::from_secs(3600);

/// One call.
#[derive(Debug)]
pub struct Call {
    pub session: SessionId,
    /// When it was made, since 1970, for the controller.
    pub created: Duration,
    pub last_signal: Duration,
    /// The tag of the one who sent the first offer.
    pub caller_tag: Bytes,
    pub branches: Vec<Branch>,
    /// When it ends, once it was deleted with a delay.
    pub ends: Option<Instant>,
    /// When it ends unless it is answered before.
    answer_by: Option<Instant>,
    /// What few calls have.
    more: Option<Box<More>>,
    next_branch: u32,
}

#[derive(Debug, Default)]
struct More {
    /// Third parties: the tag and the number of each.
    subscriptions: Vec<(Bytes, u32)>,
    /// Names of parties, of the caller as `None`.
    labels: Vec<(Option<u32>, Bytes)>,
}

/// One party that was offered to.
#[derive(Debug, Clone)]
pub struct Branch {
    pub number: u32,
    pub via_branch: Option<Bytes>,
    pub tag: Option<Bytes>,
}

/// Whose description it is, and of which branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub session: SessionId,
    pub branch: u32,
    pub direction: Direction,
}

impl Call {
    fn new(session: SessionId, caller_tag: Bytes, unix: Duration) -> Self {
        Self {
            session,
            created: unix,
            last_signal: unix,
            caller_tag,
            branches: Vec::new(),
            ends: None,
            answer_by: None,
            more: None,
            next_branch: 1,
        }
    }

    fn way(&self, at: usize, direction: Direction) -> Way {
        Way { session: self.session, branch: self.branches[at].number, direction }
    }

    fn branch_of_tag(&self, tag: &Bytes) -> Option<usize> {
        self.branches.iter().position(|b| b.tag.as_ref() == Some(tag))
    }

    fn branch_of_via(&self, via: &Bytes) -> Option<usize> {
        self.branches.iter().position(|b| b.via_branch.as_ref() == Some(via))
    }

    /// Where an offer goes, a new branch if it is for someone new.
    pub fn offer(&mut self, parties: &Parties) -> Way {
        let from = parties.from_tag.clone().unwrap_or_default();
        if from != self.caller_tag
            && let Some(at) = self.branch_of_tag(&from)
        {
            return self.way(at, Direction::FromCallee);
        }
        // The callee offers in an early dialog, before its answer told us its tag.
        let known_to = parties.to_tag.as_ref();
        if from != self.caller_tag && known_to == Some(&self.caller_tag) {
            let at = self.untagged(parties).unwrap_or_else(|| self.add(None));
            self.branches[at].tag = Some(from);
            return self.way(at, Direction::FromCallee);
        }
        let found = known_to.and_then(|tag| self.branch_of_tag(tag));
        let at = match (found, &parties.via_branch) {
            (Some(at), _) => at,
            (None, Some(via)) => self.branch_of_via(via).unwrap_or_else(|| self.add(Some(via))),
            (None, None) => match self.branches.len() {
                0 => self.add(None),
                // Said again, or a re-offer of one who does not name the other.
                n => n - 1,
            },
        };
        self.way(at, Direction::FromCaller)
    }

    /// Where an answer belongs; its branch has the answerer's tag from now on.
    pub fn answer(&mut self, parties: &Parties) -> Option<Way> {
        let offerer = parties.from_tag.as_ref()?;
        let answerer = parties.to_tag.as_ref()?;
        if *offerer != self.caller_tag
            && let Some(at) = self.branch_of_tag(offerer)
        {
            return Some(self.way(at, Direction::FromCaller));
        }
        let via = parties.via_branch.as_ref();
        let at = self
            .branch_of_tag(answerer)
            .or_else(|| self.branch_of_via(via?))
            .or_else(|| self.untagged(parties))
            // A second answer to one offer: it was forked behind the one we know.
            .or_else(|| self.branches.len().checked_sub(1))?;
        self.branches[at].tag = Some(answerer.clone());
        Some(self.way(at, Direction::FromCallee))
    }

    /// The one branch a request is about; `None` when it is about the whole call.
    pub fn one_branch(&self, parties: &Parties) -> Option<usize> {
        if self.branches.len() < 2 {
            return None;
        }
        let by_tag = parties.to_tag.as_ref().and_then(|tag| self.branch_of_tag(tag));
        by_tag.or_else(|| self.branch_of_via(parties.via_branch.as_ref()?))
    }

    /// The parties a request is about: the caller as `None`, a branch by its number.
    pub fn meant(&self, parties: &Parties) -> Vec<Option<u32>> {
        let everyone = || {
            let branches = self.branches.iter().map(|b| Some(b.number));
            std::iter::once(None).chain(branches).collect()
        };
        match &parties.from_tag {
            _ if parties.all => everyone(),
            Some(tag) if *tag == self.caller_tag => vec![None],
            Some(tag) => {
                let at = self.branch_of_tag(tag);
                at.map(|at| Some(self.branches[at].number)).into_iter().collect()
            }
            None if parties.label.is_some() => {
                let labelled =
                    self.labels().iter().filter(|(_, l)| Some(l) == parties.label.as_ref());
                labelled.map(|(party, _)| *party).collect()
            }
            None => everyone(),
        }
    }

    /// Keeps the name that an offer or answer gives its sender.
    pub fn note_label(&mut self, parties: &Parties, way: Way) {
        let Some(label) = &parties.label else { return };
        let sender = match way.direction {
            Direction::FromCaller => None,
            Direction::FromCallee => Some(way.branch),
        };
        let labels = &mut self.more.get_or_insert_default().labels;
        labels.retain(|(party, _)| *party != sender);
        labels.push((sender, label.clone()));
    }

    /// The name of a party.
    pub fn label_of(&self, party: Option<u32>) -> Option<String> {
        let label = self.labels().iter().find(|(p, _)| *p == party);
        label.map(|(_, label)| String::from_utf8_lossy(label).into_owned())
    }

    /// The party of a tag: the caller as `None` inside.
    pub fn party_of(&self, tag: &Bytes) -> Option<Option<u32>> {
        if *tag == self.caller_tag {
            return Some(None);
        }
        self.branch_of_tag(tag).map(|at| Some(self.branches[at].number))
    }

    /// The tag of a party: the caller's, a branch's, or the branch's Via while it has none.
    pub fn tag_of(&self, party: Option<u32>) -> Bytes {
        let Some(number) = party else { return self.caller_tag.clone() };
        let branch = self.branches.iter().find(|b| b.number == number);
        branch.and_then(|b| b.tag.clone().or_else(|| b.via_branch.clone())).unwrap_or_default()
    }

    fn labels(&self) -> &[(Option<u32>, Bytes)] {
        self.more.as_ref().map(|more| &more.labels[..]).unwrap_or_default()
    }

    /// Third parties: the tag and the number of each.
    pub fn subscriptions(&self) -> &[(Bytes, u32)] {
        self.more.as_ref().map(|more| &more.subscriptions[..]).unwrap_or_default()
    }

    /// The number of a third party.
    pub fn subscription(&self, tag: &Bytes) -> Option<u32> {
        self.subscriptions().iter().find(|(t, _)| t == tag).map(|(_, number)| *number)
    }

    /// A third party is there.
    pub fn add_subscription(&mut self, tag: Bytes, number: u32) {
        self.more.get_or_insert_default().subscriptions.push((tag, number));
    }

    /// A third party is gone.
    pub fn remove_subscription(&mut self, number: u32) {
        if let Some(more) = &mut self.more {
            more.subscriptions.retain(|(_, n)| *n != number);
        }
    }

    fn untagged(&self, parties: &Parties) -> Option<usize> {
        let fits = |b: &Branch| {
            b.tag.is_none() && (parties.via_branch.is_none() || b.via_branch.is_none())
        };
        self.branches.iter().rposition(fits)
    }

    fn add(&mut self, via: Option<&Bytes>) -> usize {
        let branch = Branch { number: self.next_branch, via_branch: via.cloned(), tag: None };
        self.next_branch += 1;
        self.branches.push(branch);
        self.branches.len() - 1
    }
}

/// All calls of one relay.
#[derive(Debug, Default)]
pub struct Calls {
    calls: HashMap<Bytes, Call>,
    /// Calls that end, by when.
    ending: BTreeMap<(Instant, u64), Bytes>,
    /// Calls that nobody answered yet, by when they end.
    unanswered: BTreeMap<(Instant, u64), Bytes>,
    next_session: u64,
}

impl Calls {
    /// The call of a Call-ID, made if there is none. It ends unless it is answered in time.
    pub fn open(&mut self, parties: &Parties, (now, unix): (Instant, Duration)) -> &mut Call {
        let (next, unanswered) = (&mut self.next_session, &mut self.unanswered);
        self.calls.entry(parties.call_id.clone()).or_insert_with(|| {
            *next += 1;
            let caller = parties.from_tag.clone().unwrap_or_default();
            let mut call = Call::new(SessionId(*next), caller, unix);
            let end = now + UNANSWERED_MAX;
            call.answer_by = Some(end);
            unanswered.insert((end, *next), parties.call_id.clone());
            call
        })
    }

    /// A call is answered: it lasts.
    pub fn note_answer(&mut self, call_id: &Bytes) {
        if let Some(call) = self.calls.get_mut(call_id)
            && let Some(end) = call.answer_by.take()
        {
            self.unanswered.remove(&(end, call.session.0));
        }
    }

    /// The call of a Call-ID.
    pub fn get(&self, call_id: &Bytes) -> Option<&Call> {
        self.calls.get(call_id)
    }

    /// The call of a Call-ID, to change.
    pub fn get_mut(&mut self, call_id: &Bytes) -> Option<&mut Call> {
        self.calls.get_mut(call_id)
    }

    /// Forgets a call.
    pub fn remove(&mut self, call_id: &Bytes) -> Option<Call> {
        let call = self.calls.remove(call_id)?;
        if let Some(at) = call.ends {
            self.ending.remove(&(at, call.session.0));
        }
        if let Some(at) = call.answer_by {
            self.unanswered.remove(&(at, call.session.0));
        }
        Some(call)
    }

    /// Lets a call end at `at`; a new offer for it before then changes nothing of that.
    pub fn end_at(&mut self, call_id: &Bytes, at: Instant) {
        let Some(call) = self.calls.get_mut(call_id) else { return };
        if call.ends.is_none() {
            call.ends = Some(at);
            self.ending.insert((at, call.session.0), call_id.clone());
        }
    }

    /// When the next call ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = |calls: &BTreeMap<(Instant, u64), Bytes>| {
            calls.first_key_value().map(|((at, _), _)| *at)
        };
        first(&self.ending).into_iter().chain(first(&self.unanswered)).min()
    }

    /// A call whose end is due. Its `ends` is `None` if nobody answered it in time.
    pub fn take_due(&mut self, now: Instant) -> Option<Call> {
        let due = [&self.ending, &self.unanswered].into_iter().find_map(|calls| {
            let ((at, _), call_id) = calls.first_key_value()?;
            (*at <= now).then(|| call_id.clone())
        });
        self.remove(&due?)
    }

    /// Some Call-IDs, in no order.
    pub fn names(&self, limit: usize) -> impl Iterator<Item = &Bytes> {
        self.calls.keys().take(limit)
    }

    /// How many calls there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Finds the call of a session that ended by itself.
    pub fn call_id_of(&self, session: SessionId) -> Option<Bytes> {
        let found = self.calls.iter().find(|(_, call)| call.session == session);
        found.map(|(call_id, _)| call_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties(from: &str, to: &str, via: &str) -> Parties {
        let some = |text: &str| (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()));
        Parties {
            from_tag: some(from),
            to_tag: some(to),
            via_branch: some(via),
            ..Parties::default()
        }
    }

    fn call() -> Call {
        Call::new(SessionId(7), Bytes::from("A"), Duration::ZERO)
    }

    #[test]
    fn forked_branches_are_told_apart_by_via_and_then_by_tag() {
        let mut call = call();
        let branch = |way: Way| (way.branch, way.direction);
        assert_eq!(branch(call.offer(&parties("A", "", "x"))), (1, Direction::FromCaller));
        assert_eq!(branch(call.offer(&parties("A", "", "y"))), (2, Direction::FromCaller));
        assert_eq!(branch(call.offer(&parties("A", "", "x"))), (1, Direction::FromCaller), "again");
        let answered = call.answer(&parties("A", "B", "y")).unwrap();
        assert_eq!(branch(answered), (2, Direction::FromCallee));
        assert_eq!(branch(call.offer(&parties("B", "A", ""))), (2, Direction::FromCallee));
        let back = call.answer(&parties("B", "A", "")).unwrap();
        assert_eq!(branch(back), (2, Direction::FromCaller));
        assert_eq!(branch(call.offer(&parties("A", "B", "z"))), (2, Direction::FromCaller));
        assert_eq!(call.one_branch(&parties("A", "B", "")), Some(1));
        assert_eq!(call.one_branch(&parties("A", "", "")), None);
    }

    #[test]
    fn without_branches_the_newest_untagged_one_answers() {
        let mut call = call();
        call.offer(&parties("A", "", ""));
        assert_eq!(call.answer(&parties("A", "B", "")).unwrap().branch, 1);
        assert_eq!(call.answer(&parties("A", "C", "")).unwrap().branch, 1, "forked further on");
        assert_eq!(call.branches[0].tag.as_deref(), Some(&b"C"[..]));
        assert!(call.answer(&parties("A", "", "")).is_none(), "an answer has a tag");
    }

    #[test]
    fn switches_reach_one_party_or_all() {
        let mut call = call();
        call.offer(&parties("A", "", ""));
        call.answer(&parties("A", "B", ""));
        assert_eq!(call.meant(&parties("A", "", "")), [None]);
        assert_eq!(call.meant(&parties("B", "", "")), [Some(1)]);
        assert_eq!(call.meant(&parties("", "", "")), [None, Some(1)]);
        assert!(call.meant(&parties("Z", "", "")).is_empty());
    }

    #[test]
    fn a_call_that_nobody_answers_ends_in_an_hour_and_an_answered_one_lasts() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let who = |id: &str| Parties { call_id: id.to_owned().into(), ..parties("A", "", "") };
        for id in ["rings", "talks", "gone"] {
            calls.open(&who(id), (now, Duration::ZERO));
        }
        calls.note_answer(&"talks".into());
        calls.remove(&"gone".into());
        assert_eq!(calls.poll_timeout(), Some(now + UNANSWERED_MAX));
        assert!(calls.take_due(now + UNANSWERED_MAX - Duration::from_millis(1)).is_none());
        let call = calls.take_due(now + UNANSWERED_MAX).unwrap();
        assert_eq!((call.session, call.ends), (SessionId(1), None));
        assert!(calls.take_due(now + 9 * UNANSWERED_MAX).is_none());
        assert_eq!((calls.len(), calls.poll_timeout()), (1, None));
    }

    #[test]
    fn a_deleted_call_ends_once_its_delay_is_over() {
        let (mut calls, now) = (Calls::default(), Instant::now());
        let who = Parties { call_id: Bytes::from("c"), ..parties("A", "", "") };
        calls.open(&who, (now, Duration::ZERO));
        let at = now + std::time::Duration::from_secs(30);
        calls.end_at(&who.call_id, at);
        calls.end_at(&who.call_id, at + std::time::Duration::from_secs(9));
        assert_eq!(calls.poll_timeout(), Some(at));
        assert!(calls.take_due(now).is_none());
        assert!(calls.take_due(at).is_some());
        assert_eq!((calls.len(), calls.poll_timeout()), (0, None));
    }
}
