//! From Commit to Conf2ACK, in both roles (RFC 6189 §4.4.1).

use std::time::Instant;

use super::super::agreement::KeyPair;
use super::super::algorithms::Choice;
use super::super::chain::{is_coded, leads_to};
use super::super::keys::{Ingredients, Session, mac64, same, sha256};
use super::super::message::{Message, Sealed, Secrets};
use super::super::write;
use super::super::{Commit, Confirm, DhPart, Failure, Retained};
use super::resend::Resend;
use super::{Endpoint, Event, Peer, Phase, Role, Secured, Trust};

/// To be remembered for good.
const FOR_GOOD: u32 = u32::MAX;

/// The initiator's: a key that is committed to, and not shown yet.
pub(super) struct Promised {
    choice: Choice,
    pair: KeyPair,
    hvi: [u8; 32],
    commit: Vec<u8>,
    dh_part2: Vec<u8>,
}

/// The responder's: a key that is shown.
pub(super) struct Offered {
    choice: Choice,
    pair: KeyPair,
    hvi: [u8; 32],
    h2: [u8; 32],
    commit: Vec<u8>,
    dh_part1: Vec<u8>,
}

/// Both have the keys, if nobody sits between.
pub(super) struct Agreed {
    role: Role,
    session: Session,
    /// The other end's DHPart: the code in it is checked when its H0 comes.
    theirs: Vec<u8>,
    h1: [u8; 32],
    trust: Trust,
    former: Option<Retained>,
    /// Answers what comes again.
    last: Vec<u8>,
    confirmed: Option<Sealed>,
}

impl Endpoint {
    /// Both know each other: be the first to commit.
    pub(super) fn commit_if_ready(&mut self, now: Instant) {
        let ready = matches!(self.phase, Phase::Discovery { acknowledged: true });
        let Some(peer) = self.peer.clone().filter(|_| ready) else { return };
        match self.promise(&peer) {
            Ok(promised) => {
                self.transmit(&promised.commit);
                self.resend = Some(Resend::t2(now, promised.commit.clone()));
                self.phase = Phase::Committed(Box::new(promised));
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    fn promise(&mut self, peer: &Peer) -> Result<Promised, Failure> {
        let Ok(Message::Hello(hello)) = Message::parse(&peer.hello) else {
            return Err(Failure::Malformed);
        };
        let choice = Choice::best(&self.setup.agreements, &hello);
        let pair = KeyPair::new(choice.agreement, &mut self.random)?;
        let secrets = self.secrets(Role::Initiator, peer);
        let chain = &self.chain;
        let images = (&chain.h1, &chain.h0);
        let dh_part2 = write::dh_part(b"DHPart2 ", images, &secrets, pair.public_value());
        let hvi = sha256(&[&dh_part2, &peer.hello]);
        let commit = write::commit((&chain.h2, &chain.h1), self.setup.zid, &choice, &hvi);
        Ok(Promised { choice, pair, hvi, commit, dh_part2 })
    }

    pub(super) fn handle_commit(&mut self, now: Instant, commit: &Commit<'_>) {
        match &self.phase {
            Phase::Discovery { .. } => {}
            // Both committed: the greater one counts (RFC 6189 §4.2).
            Phase::Committed(ours) => match commit.hvi() {
                Some(theirs) if ours.hvi < theirs => {}
                _ => return,
            },
            Phase::DhPart1Sent(offered) if offered.commit == commit.bytes() => {
                let again = offered.dh_part1.clone();
                return self.transmit(&again);
            }
            _ => return,
        }
        let Some(peer) = self.peer.clone() else { return };
        // Whoever does not show what its Hello was made of has not sent it.
        let h2 = commit.h2();
        if !leads_to(&h2, &peer.h3) || commit.zid() != peer.zid {
            return;
        }
        match self.offer(&peer, commit, h2) {
            Ok(offered) => {
                self.resend = None;
                self.transmit(&offered.dh_part1);
                self.phase = Phase::DhPart1Sent(Box::new(offered));
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    fn offer(
        &mut self,
        peer: &Peer,
        commit: &Commit<'_>,
        h2: [u8; 32],
    ) -> Result<Offered, Failure> {
        check_hello(peer, &h2)?;
        let choice = Choice::of(&self.setup.agreements, commit)?;
        let hvi = commit.hvi().ok_or(Failure::AgreementUnsupported)?;
        let pair = KeyPair::new(choice.agreement, &mut self.random)?;
        let secrets = self.secrets(Role::Responder, peer);
        let images = (&self.chain.h1, &self.chain.h0);
        let dh_part1 = write::dh_part(b"DHPart1 ", images, &secrets, pair.public_value());
        Ok(Offered { choice, pair, hvi, h2, commit: commit.bytes().to_vec(), dh_part1 })
    }

    pub(super) fn handle_dh_part1(&mut self, now: Instant, part: &DhPart<'_>) {
        let Phase::Committed(promised) = &self.phase else { return };
        let Some(peer) = &self.peer else { return };
        let h2 = sha256(&[&part.h1()]);
        if !leads_to(&h2, &peer.h3) {
            return;
        }
        let last = promised.dh_part2.clone();
        let agreed = check_hello(peer, &h2).and_then(|()| {
            let secret = promised.pair.agree(part.public_value())?;
            let messages = [&peer.hello[..], &promised.commit, part.bytes(), &promised.dh_part2];
            Ok(self.agree(Role::Initiator, promised.choice, (&secret, messages), part))
        });
        match agreed {
            Ok(agreed) => {
                self.transmit(&last);
                self.resend = Some(Resend::t2(now, last));
                self.phase = Phase::DhPart2Sent(Box::new(agreed));
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    pub(super) fn handle_dh_part2(&mut self, now: Instant, part: &DhPart<'_>) {
        let offered = match &self.phase {
            Phase::DhPart1Sent(offered) => offered,
            Phase::Confirm1Sent(agreed) if agreed.theirs == part.bytes() => {
                let again = agreed.last.clone();
                return self.transmit(&again);
            }
            _ => return,
        };
        if !leads_to(&part.h1(), &offered.h2) {
            return;
        }
        let agreed = self.check_promise(offered, part).and_then(|()| {
            let secret = offered.pair.agree(part.public_value())?;
            let messages = [&self.hello[..], &offered.commit, &offered.dh_part1, part.bytes()];
            Ok(self.agree(Role::Responder, offered.choice, (&secret, messages), part))
        });
        let confirmed = agreed.and_then(|mut agreed| {
            agreed.last = self.confirm(b"Confirm1", &agreed)?;
            Ok(agreed)
        });
        match confirmed {
            Ok(agreed) => {
                self.transmit(&agreed.last);
                self.phase = Phase::Confirm1Sent(Box::new(agreed));
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    /// RFC 6189 §4.4.1.1: the key is the one that was committed to, by whom it was.
    fn check_promise(&self, offered: &Offered, part: &DhPart<'_>) -> Result<(), Failure> {
        let Ok(Message::Commit(commit)) = Message::parse(&offered.commit) else {
            return Err(Failure::Malformed);
        };
        let kept = same(&sha256(&[part.bytes(), &self.hello]), &offered.hvi);
        let unchanged = is_coded(&part.h1(), commit.authenticated());
        if kept && unchanged { Ok(()) } else { Err(Failure::Commitment) }
    }

    fn agree(
        &self,
        role: Role,
        choice: Choice,
        (secret, messages): (&[u8], [&[u8]; 4]),
        part: &DhPart<'_>,
    ) -> Agreed {
        let peer = self.peer.as_ref().map(|p| p.zid).unwrap_or(self.setup.zid);
        let former = self.setup.cache.find(peer, self.setup.wall).cloned();
        let s1 = former.as_ref().and_then(|f| shared(f, role, &part.secrets()));
        let trust = match (&former, s1) {
            (None, _) => Trust::FirstContact,
            (Some(_), None) => Trust::Changed,
            (Some(known), Some(_)) if known.verified => Trust::Verified,
            (Some(_), Some(_)) => Trust::Remembered,
        };
        let (initiator, responder) = match role {
            Role::Initiator => (self.setup.zid, peer),
            Role::Responder => (peer, self.setup.zid),
        };
        let from = Ingredients { secret, initiator, responder, messages, s1 };
        Agreed {
            role,
            session: Session::new(choice, &from),
            theirs: part.bytes().to_vec(),
            h1: part.h1(),
            trust,
            former,
            last: Vec::new(),
            confirmed: None,
        }
    }

    fn confirm(&mut self, kind: &[u8; 8], agreed: &Agreed) -> Result<Vec<u8>, Failure> {
        let sealed = Sealed {
            h0: self.chain.h0,
            verified: agreed.trust == Trust::Verified,
            discloses: false,
            expires_s: if self.setup.forgets { 0 } else { FOR_GOOD },
        };
        let iv = self.random.draw();
        let (mac, sealed) = agreed.session.seal(agreed.role, iv, sealed.to_bytes())?;
        Ok(write::confirm(kind, mac, iv, &sealed))
    }

    pub(super) fn handle_confirm1(&mut self, now: Instant, confirm: &Confirm<'_>) {
        if !matches!(self.phase, Phase::DhPart2Sent(_)) {
            return;
        }
        let Phase::DhPart2Sent(mut agreed) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        let answer = agreed.take(confirm).and_then(|()| self.confirm(b"Confirm2", &agreed));
        match answer {
            Ok(answer) => {
                self.transmit(&answer);
                self.resend = Some(Resend::t2(now, answer));
                self.tell(Event::Keys(agreed.session.srtp(agreed.role)));
                self.phase = Phase::Confirm2Sent(agreed);
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    pub(super) fn handle_confirm2(&mut self, now: Instant, confirm: &Confirm<'_>) {
        if let Phase::Secure(agreed) = &self.phase {
            // Conf2ACK was lost. Who has no keys cannot make this one.
            if agreed.role == Role::Responder && agreed.open(confirm).is_ok() {
                self.transmit(&write::bare(b"Conf2ACK"));
            }
            return;
        }
        if !matches!(self.phase, Phase::Confirm1Sent(_)) {
            return;
        }
        let Phase::Confirm1Sent(mut agreed) = std::mem::replace(&mut self.phase, Phase::Idle)
        else {
            return;
        };
        match agreed.take(confirm) {
            Ok(()) => {
                self.transmit(&write::bare(b"Conf2ACK"));
                self.tell(Event::Keys(agreed.session.srtp(agreed.role)));
                self.secure(agreed);
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    /// It stands: tell, and remember. A secret that somebody else has taken the place of stays until
    /// our user has compared the string (RFC 6189 §4.6.1.1).
    pub(super) fn secure(&mut self, agreed: Box<Agreed>) {
        let Some(peer) = &self.peer else { return };
        let (zid, peer_is_mitm) = (peer.zid, peer.mitm);
        let sealed = agreed.confirmed;
        // The shorter of both wishes.
        let theirs = sealed.map_or(0, |s| s.expires_s);
        let lifetime_s = if self.setup.forgets { 0 } else { theirs };
        let former = agreed.former.as_ref().filter(|_| agreed.trust != Trust::Changed);
        let kept =
            Retained::after(former, agreed.session.retained(), (self.setup.wall, lifetime_s));
        let secured = Secured {
            sas: agreed.session.sas(),
            trust: agreed.trust,
            peer_verified: sealed.is_some_and(|s| s.verified),
            peer_is_mitm,
            peer_discloses: sealed.is_some_and(|s| s.discloses),
            peer: zid,
            choice: agreed.session.choice,
            role: agreed.role,
        };
        self.resend = None;
        self.secured = Some(secured);
        self.phase = Phase::Secure(agreed);
        self.tell(Event::Secure(secured));
        if lifetime_s > 0 {
            self.retained = Some(kept.clone());
            if secured.trust != Trust::Changed {
                self.tell(Event::Retain { zid, retained: kept });
            }
        }
    }

    /// The names of what we remember, under our role; of what we do not, noise.
    fn secrets(&mut self, role: Role, peer: &Peer) -> Secrets {
        let known = self.setup.cache.find(peer.zid, self.setup.wall).cloned();
        let mut id = |secret: Option<[u8; 32]>| match secret {
            Some(secret) => mac64(&secret, &[role.name().as_bytes()]),
            None => self.random.draw(),
        };
        let rs1 = id(known.as_ref().map(|k| k.rs1));
        let rs2 = id(known.and_then(|k| k.rs2));
        Secrets { rs1, rs2, aux: id(None), pbx: id(None) }
    }
}

impl Agreed {
    /// Opens the other end's Confirm.
    fn open(&self, confirm: &Confirm<'_>) -> Result<Sealed, Failure> {
        let sealed = (confirm.mac(), confirm.sealed());
        let opened = self.session.open(self.role.other(), confirm.iv(), sealed)?;
        Sealed::parse(&opened).ok_or(Failure::Malformed)
    }

    /// The same, and whether its H0 is what all it sent was made with.
    fn take(&mut self, confirm: &Confirm<'_>) -> Result<(), Failure> {
        let sealed = self.open(confirm)?;
        let part = match Message::parse(&self.theirs) {
            Ok(Message::DhPart1(part) | Message::DhPart2(part)) => part,
            _ => return Err(Failure::Malformed),
        };
        if !leads_to(&sealed.h0, &self.h1) || !is_coded(&sealed.h0, part.authenticated()) {
            return Err(Failure::Confirm);
        }
        self.confirmed = Some(sealed);
        Ok(())
    }
}

/// RFC 6189 §9: the Hello is as it was sent, so nobody took a better algorithm out of it.
fn check_hello(peer: &Peer, h2: &[u8; 32]) -> Result<(), Failure> {
    match Message::parse(&peer.hello) {
        Ok(Message::Hello(hello)) if is_coded(h2, hello.authenticated()) => Ok(()),
        _ => Err(Failure::HelloMismatch),
    }
}

/// The first of the initiator's secrets that both have (RFC 6189 §4.3).
fn shared(ours: &Retained, role: Role, theirs: &Secrets) -> Option<[u8; 32]> {
    let of_other = role.other().name().as_bytes();
    let named = |secret: &[u8; 32], id: &[u8; 8]| same(&mac64(secret, &[of_other]), id);
    let ours = [Some(ours.rs1), ours.rs2];
    let ours = || ours.iter().flatten();
    let ids = [theirs.rs1, theirs.rs2];
    let found = match role {
        Role::Initiator => ours().find(|secret| ids.iter().any(|id| named(secret, id))),
        Role::Responder => ids.iter().find_map(|id| ours().find(|secret| named(secret, id))),
    };
    found.copied()
}
