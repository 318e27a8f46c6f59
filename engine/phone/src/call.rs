//! One call of the phone: state, dialog, media, and the commands that work on any call.
//!
//! ```text
//!   out:  Calling ──1xx──► Early ──2xx──► Active ──BYE──► Ended
//!            └──CANCEL──► Cancelling ──487──────────────► Ended
//!   in:   Ringing ──answer──► Active        Ringing ──CANCEL, reject──► Ended
//! ```

use crate::acks::Acks;
use crate::early::EarlyDialogs;
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::extensions::Peer;
use crate::phone::{Phone, Timer};
use crate::redirect::Redirections;
use crate::referred::Referral;
use crate::replaces::Takeover;
use crate::requests::Purpose;
use crate::session_timer::SessionClock;
use crate::transfer::Transfer;
use crate::trickle::Trickling;
use crate::ways::Pending;
use sip::body::Description;
use sip::dialog::{
    Answer, AnswerOutcome, Dialog, DialogId, DialogSet, OfferAnswer, ReliableSender, SessionTimer,
};
use sip::transaction::{ClientKey, ServerKey};
use sip::{HeaderName, Message, Method};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// RFC 3261 Table 4, for what the transaction layer does not repeat for us.
pub(crate) const T1: Duration = Duration::from_millis(500);
pub(crate) const T2: Duration = Duration::from_secs(4);

/// How long the media session waits before it tells silence, when nobody hangs up for it.
const SILENCE_TOLD: Duration = Duration::from_secs(10);

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Our INVITE is out.
    Calling,
    /// The other side rings.
    Early,
    /// We gave up; the INVITE's final is awaited.
    Cancelling,
    /// Their INVITE is in.
    Ringing,
    /// Answered.
    Active,
    /// Over; kept until its BYE is answered.
    Ended,
}

/// One call.
pub(crate) struct Call {
    pub state: State,
    pub media: Option<media::Session>,
    /// What waits for candidates.
    pub pending: Option<Pending>,
    /// An ICE restart is to be offered.
    pub restarts: bool,
    /// The dialogs our INVITE makes.
    pub set: Option<DialogSet>,
    /// The confirmed dialog.
    pub dialog: Option<Dialog>,
    /// Our INVITE's transaction.
    pub client: Option<ClientKey>,
    /// Their INVITE and its transaction, until answered.
    pub server: Option<(ServerKey, Message)>,
    /// Our 2xx, sent again until its ACK comes.
    pub answer: Option<Answer>,
    /// The ACKs we sent, for when a 2xx comes again.
    pub acks: Acks,
    /// Offer and answer: of our INVITE until a dialog is confirmed, of that dialog from then on.
    pub offers: OfferAnswer,
    /// The early dialogs of our INVITE.
    pub early: EarlyDialogs,
    /// Our reliable provisionals to their INVITE.
    pub reliable: Option<ReliableSender>,
    /// What we said of media before our 2xx.
    pub answer_sdp: Option<Vec<u8>>,
    /// The 2xx waits for a PRACK.
    pub held_back: bool,
    pub hold: Hold,
    /// A re-INVITE of ours is under way: what it says of holding.
    pub offering: Option<bool>,
    /// Which progress the application heard of.
    pub told: Told,
    /// What the other side can do.
    pub peer: Peer,
    /// A transfer of ours.
    pub transfer: Option<Transfer>,
    /// A transfer the other side wants.
    pub referral: Option<Referral>,
    /// The call whose other side had us place this one.
    pub referrer: Option<CallHandle>,
    /// What it does to a call there is.
    pub takeover: Takeover,
    /// Where our INVITE was sent on to.
    pub redirections: Redirections,
    pub clock: SessionClock,
    /// How its packets are marked, and how often that was told.
    pub marks: rtp::rtcp::Marks,
    pub marks_told: u8,
    /// RFC 7989.
    pub session_id: String,
    /// Whom we call, or who calls.
    pub peer_uri: String,
    pub trickling: Trickling,
}

/// Who holds whom.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// We hold, and the other side knows.
    pub held: bool,
    /// What the application asked for last.
    pub wanted: bool,
    /// The other side holds us.
    pub by_peer: bool,
}

/// Progress of an outgoing call that is told once.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub ringing: bool,
    pub early_media: bool,
}

impl State {
    pub(crate) fn has_media(self) -> bool {
        matches!(self, Self::Active | Self::Early | Self::Ringing)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calling => "calling",
            Self::Early => "ringing",
            Self::Cancelling => "being cancelled",
            Self::Ringing => "ringing here",
            Self::Active => "active",
            Self::Ended => "over",
        }
    }
}

impl Call {
    pub(crate) fn new(state: State, session_id: String, clock: SessionClock) -> Self {
        Self {
            state,
            media: None,
            pending: None,
            restarts: false,
            set: None,
            dialog: None,
            client: None,
            server: None,
            answer: None,
            acks: Acks::default(),
            offers: OfferAnswer::default(),
            early: EarlyDialogs::default(),
            reliable: None,
            answer_sdp: None,
            held_back: false,
            hold: Hold::default(),
            offering: None,
            told: Told::default(),
            peer: Peer::default(),
            transfer: None,
            referral: None,
            referrer: None,
            takeover: Takeover::None,
            redirections: Redirections::default(),
            clock,
            marks: rtp::rtcp::Marks::default(),
            marks_told: 0,
            session_id,
            peer_uri: String::new(),
            trickling: Trickling::default(),
        }
    }

    /// Its dialog of that name: the confirmed one, or an early one of our INVITE.
    pub(crate) fn dialog_mut(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        match self.dialog.as_mut() {
            Some(dialog) => (dialog.id() == id).then_some(dialog),
            None => self.set.as_mut()?.dialog(id),
        }
    }

    /// Offer and answer in that dialog.
    pub(crate) fn offers_mut(&mut self, id: &DialogId) -> &mut OfferAnswer {
        match self.dialog.is_none() {
            true => self.early.find(id).map_or(&mut self.offers, |early| &mut early.offers),
            false => &mut self.offers,
        }
    }

    /// The dialog that requests of ours go in now: the one there is, or the early one that we hear.
    pub(crate) fn current(&self) -> Option<DialogId> {
        let confirmed = self.dialog.as_ref().map(|d| d.id().clone());
        confirmed.or_else(|| self.early.selected().cloned())
    }

    /// Whether the other side of that dialog takes UPDATE.
    pub(crate) fn takes_update(&mut self, id: &DialogId) -> bool {
        match self.dialog.is_none() {
            true => self.early.find(id).is_some_and(|early| early.peer.update),
            false => self.peer.update,
        }
    }

    /// Whether what was agreed can be changed: once answered, and before where an UPDATE can.
    pub(crate) fn can_change(&mut self) -> bool {
        let (state, current) = (self.state, self.current());
        match (state, current) {
            (State::Active, _) => true,
            (State::Early | State::Ringing, Some(id)) => {
                self.offers_mut(&id).has_agreed() && self.takes_update(&id)
            }
            _ => false,
        }
    }

    /// Our tag in the one dialog that their INVITE made.
    pub(crate) fn local_tag(&self) -> String {
        let tag = self.dialog.as_ref().map(|d| d.id().local_tag.clone()).unwrap_or_default();
        String::from_utf8_lossy(&tag).into_owned()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let media = self.media.as_ref().and_then(media::Session::poll_timeout);
        let answer = self.answer.as_ref().and_then(Answer::poll_timeout);
        let active = self.state == State::Active;
        let session = self.clock.timer.as_ref().filter(|_| active).map(SessionTimer::poll_timeout);
        let reliable = self.reliable.as_ref().and_then(ReliableSender::poll_timeout);
        let transfer = self.transfer.as_ref().and_then(Transfer::poll_timeout);
        let referral = self.referral.as_ref().and_then(Referral::poll_timeout);
        [media, answer, session, reliable, transfer, referral].into_iter().flatten().min()
    }
}

impl Phone {
    /// Ends a call, whatever its state: BYE, CANCEL, or a refusal.
    ///
    /// # Errors
    /// [`PhoneError::NoSuchCall`].
    pub fn hang_up(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        match self.call_mut(call)?.state {
            State::Calling | State::Early => self.cancel(now, call),
            State::Ringing => return self.reject(now, call),
            State::Active => {
                self.send_bye(now, call);
                self.end(now, call, Cause::HungUp, None, "");
            }
            State::Cancelling | State::Ended => {}
        }
        self.drain(now);
        Ok(())
    }

    /// Holds the other side, or takes it back: before the answer too, where there is media already
    /// and the other side takes UPDATE.
    ///
    /// # Errors
    /// [`PhoneError::NoSuchCall`], or [`PhoneError::WrongState`] too early in the call.
    pub fn set_hold(
        &mut self,
        now: Instant,
        call: CallHandle,
        held: bool,
    ) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        if !entry.can_change() {
            return Err(PhoneError::WrongState(entry.state.name()));
        }
        if std::mem::replace(&mut entry.hold.wanted, held) != held {
            self.send_offer(now, call);
        }
        self.drain(now);
        Ok(())
    }

    /// Sends a DTMF digit as an RFC 4733 event.
    ///
    /// # Errors
    /// [`PhoneError::NoSuchCall`], or [`PhoneError::Media`] when the other side takes no events.
    pub fn dtmf(&mut self, now: Instant, call: CallHandle, digit: char) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        let state = entry.state;
        let media = entry.media.as_mut().ok_or(PhoneError::WrongState(state.name()))?;
        media.send_dtmf(now, digit, 160).map_err(|e| PhoneError::Media(e.to_string()))?;
        self.drain(now);
        Ok(())
    }

    /// How media is keyed: as configured, else as the link asks.
    pub(crate) fn security(&self) -> media::Security {
        self.config.security.unwrap_or_else(|| {
            match self.link.is_some_and(|l| l.transport.is_secure()) {
                true => media::Security::Sdes,
                false => media::Security::Plain,
            }
        })
    }

    /// A new media session on `local`, keyed as the link asks.
    pub(crate) fn new_media(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer_uri: &str,
    ) -> media::Session {
        let security = self.security();
        let config = media::Config {
            codecs: self.config.codecs.clone(),
            security,
            zrtp: self.config.zrtp.clone(),
            wall: self.config.wall_at(now),
            silence_after: self.config.silence_max.unwrap_or(SILENCE_TOLD),
            ..media::Config::new(local)
        };
        let mut media = media::Session::new(config, now, &mut *self.entropy);
        self.give_ways(now, &mut media, local, peer_uri);
        media
    }

    /// Tells the end of a call and lets its media go.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        call: CallHandle,
        cause: Cause,
        status: Option<u16>,
        reason: &str,
    ) {
        self.drain_media(now, call);
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if std::mem::replace(&mut entry.state, State::Ended) == State::Ended {
            return;
        }
        entry.offering = None;
        let referrer = entry.referrer.take();
        let transferring = entry.transfer.take().is_some();
        entry.referral = None;
        entry.pending = None;
        let mut media = entry.media.take();
        let stats = media.as_ref().map(|m| Box::new(m.stats()));
        entry.answer = None;
        let waits_for_bye = self.requests.values().any(|s| s.purpose == Purpose::Bye(call));
        self.timers.clear(&Timer::Ring(call));
        self.timers.clear(&Timer::Glare(call));
        if transferring {
            self.tell(PhoneEvent::TransferEnded { call, status: 487 });
        }
        if let Some(media) = &mut media {
            self.keep_ways(now, media);
        }
        self.tell(PhoneEvent::Ended { call, cause, status, reason: reason.into(), stats });
        if let Some(referrer) = referrer {
            self.tell_referrer(now, referrer, status.filter(|s| *s >= 300).unwrap_or(487));
        }
        if !waits_for_bye {
            self.forget(call);
        }
    }

    pub(crate) fn forget(&mut self, call: CallHandle) {
        if self.calls.get(&call).is_some_and(|c| c.state == State::Ended) {
            self.calls.remove(&call);
        }
    }

    pub(crate) fn send_bye(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog.as_mut() else { return };
        let bye = dialog.request(Method::BYE);
        dialog.terminate();
        let bye = bye.header(HeaderName::SESSION_ID, &entry.session_id).build();
        // Without a link the other side learns by session expiry or silence.
        let _ = self.send(now, &bye, Purpose::Bye(call));
    }

    /// The next CSeq of the call's dialog, for a request that is sent again with credentials.
    pub(crate) fn dialog_cseq(&mut self, call: CallHandle, request: &Message, sent: u32) -> u32 {
        // A request of ours names its dialog as a response to it would.
        let id = DialogId::of_response(request).ok();
        let entry = self.calls.get_mut(&call);
        let dialog = entry.zip(id).and_then(|(entry, id)| entry.dialog_mut(&id));
        match dialog {
            Some(dialog) => {
                // Building a request is what moves the dialog's own count on.
                let _ = dialog.request(Method::OPTIONS);
                dialog.local_seq()
            }
            None => sent + 1,
        }
    }

    /// The call's own timers: its session's, its media's, and the 2xx that waits for its ACK.
    pub(crate) fn call_timeout(&mut self, now: Instant, handle: CallHandle) {
        self.session_timeout(now, handle);
        self.reliable_timeout(now, handle);
        self.transfer_timeout(now, handle);
        self.referral_timeout(now, handle);
        let Some(call) = self.calls.get_mut(&handle) else { return };
        if let Some(media) = call.media.as_mut() {
            media.handle_timeout(now);
        }
        let Some(answer) = call.answer.as_mut() else { return };
        answer.handle_timeout(now);
        let again = answer.poll_transmit();
        let outcome = answer.outcome();
        if let Some(bytes) = again {
            self.send_again(bytes);
        }
        match outcome {
            Some(AnswerOutcome::Acknowledged) => {
                if let Some(call) = self.calls.get_mut(&handle) {
                    call.answer = None;
                }
            }
            Some(_) => {
                self.send_bye(now, handle);
                self.end(now, handle, Cause::Network, Some(408), "No ACK");
            }
            None => {}
        }
    }
}

/// The session description of a message, alone or a part of its body.
pub(crate) fn sdp_of(message: &Message) -> Option<&[u8]> {
    match sip::body::description(message) {
        Description::Sdp(sdp) => Some(sdp),
        Description::Absent | Description::Hidden => None,
    }
}

/// The name of the codec we send with; empty before an answer.
pub(crate) fn codec_name(media: &media::Session) -> String {
    media.stats().codec.map(|c| c.encoding_name().to_owned()).unwrap_or_default()
}
