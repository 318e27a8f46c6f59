//! [`OfferAnswer`]: which description is an offer, which an answer, and which may not be sent now
//! (RFC 3264, RFC 6337 Table 1).
//!
//! ```text
//!   offer in            answer in
//!   INVITE              2xx, reliable 1xx (and, to look at beforehand, unreliable 1xx)
//!   2xx                 ACK
//!   reliable 1xx        PRACK
//!   PRACK               2xx of PRACK
//!   UPDATE              2xx of UPDATE
//! ```

/// The message a description travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// INVITE, the first or a later one.
    Invite,
    /// A 1xx to INVITE that no PRACK acknowledges.
    Provisional,
    /// A 1xx to INVITE with RSeq.
    Reliable,
    /// A 2xx to INVITE.
    Success,
    /// The ACK of a 2xx.
    Ack,
    /// PRACK.
    Prack,
    /// Its 2xx.
    PrackOk,
    /// UPDATE.
    Update,
    /// Its 2xx.
    UpdateOk,
}

/// What a description is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// There is none, and none is owed.
    Nothing,
    /// An offer: it wants an answer.
    Offer,
    /// The answer to the open offer.
    Answer,
    /// The answer, seen early in an unreliable 1xx: it may be used, and comes again in the 2xx.
    Preview,
    /// The 2xx says nothing more: the preview was the answer. Against RFC 3261 §13.2.1, and common.
    AnswerWasPreviewed,
    /// It says again what was agreed, or stands where none may: not to be looked at.
    Ignored,
}

/// Why a description, or its absence, does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// An offer of the receiver's is open: 491, or for our own sending: wait.
    #[error("an offer of the other side's view is open")]
    Pending,
    /// An offer of the sender's is open already: 500 with Retry-After.
    #[error("the sender's last offer is not answered yet")]
    Unanswered,
    /// The message had to carry the answer and does not.
    #[error("the answer is missing")]
    NoAnswer,
}

/// Offer and answer in one dialog, seen from one of its ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfferAnswer {
    open: Option<Open>,
    /// The INVITE under way: whose it is, and what became of descriptions in its transaction.
    invite: Option<(bool, InviteUse)>,
    agreed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    ours: bool,
    carrier: Carrier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InviteUse {
    /// Nothing was offered in it yet.
    Unused,
    /// Its offer is open.
    Offered,
    /// Its offer is open, and its answer was seen in an unreliable 1xx.
    Previewed,
    /// Its exchange is done.
    Done,
}

impl OfferAnswer {
    /// We send a message, with or without a description.
    ///
    /// # Errors
    /// [`OfferError`]: the message must not be sent so, or not now.
    pub fn send(&mut self, carrier: Carrier, described: bool) -> Result<Meaning, OfferError> {
        self.pass(true, carrier, described)
    }

    /// A message came. On an error nothing has changed.
    ///
    /// # Errors
    /// [`OfferError`], with [`OfferError::status`] for a request.
    pub fn receive(&mut self, carrier: Carrier, described: bool) -> Result<Meaning, OfferError> {
        self.pass(false, carrier, described)
    }

    /// The request that carried an open offer failed: what was agreed before holds.
    pub fn roll_back(&mut self, carrier: Carrier) {
        if self.open.is_some_and(|open| open.carrier == carrier) {
            self.open = None;
        }
        if carrier == Carrier::Invite {
            self.invite = None;
            // What was offered in its responses ends with it.
            self.open = self.open.filter(|o| o.carrier == Carrier::Update);
        }
    }

    /// Whether we may send an offer now, in an UPDATE or re-INVITE.
    pub fn may_offer(&self) -> bool {
        self.check_free(true).is_ok()
    }

    /// An offer of ours waits for its answer.
    pub fn is_ours_open(&self) -> bool {
        self.open.is_some_and(|open| open.ours)
    }

    /// An offer of theirs waits for our answer.
    pub fn is_theirs_open(&self) -> bool {
        self.open.is_some_and(|open| !open.ours)
    }

    /// Whether anything was ever agreed in this dialog.
    pub fn has_agreed(&self) -> bool {
        self.agreed
    }

    fn pass(
        &mut self,
        ours: bool,
        carrier: Carrier,
        described: bool,
    ) -> Result<Meaning, OfferError> {
        match carrier {
            Carrier::Invite => self.invite(ours, described),
            Carrier::Update if described => self.offer(ours, carrier),
            Carrier::Prack => self.prack(ours, described),
            Carrier::Provisional if described => Ok(self.preview(ours)),
            Carrier::Reliable if described => self.respond(ours, carrier),
            Carrier::Success => self.success(ours, described),
            Carrier::Ack => self.answer(ours, Carrier::Success, described),
            Carrier::PrackOk => self.answer(ours, Carrier::Prack, described),
            Carrier::UpdateOk => self.answer(ours, Carrier::Update, described),
            Carrier::Update | Carrier::Provisional | Carrier::Reliable => Ok(Meaning::Nothing),
        }
    }

    fn invite(&mut self, ours: bool, described: bool) -> Result<Meaning, OfferError> {
        // Without a description too: its 2xx would be an offer that meets the open one.
        self.check_free(ours)?;
        match self.invite {
            Some((whose, _)) if whose == ours => return Err(OfferError::Unanswered),
            Some(_) => return Err(OfferError::Pending),
            None => {}
        }
        if !described {
            self.invite = Some((ours, InviteUse::Unused));
            return Ok(Meaning::Nothing);
        }
        let meaning = self.offer(ours, Carrier::Invite)?;
        self.invite = Some((ours, InviteUse::Offered));
        Ok(meaning)
    }

    fn offer(&mut self, ours: bool, carrier: Carrier) -> Result<Meaning, OfferError> {
        self.check_free(ours)?;
        self.open = Some(Open { ours, carrier });
        Ok(Meaning::Offer)
    }

    fn check_free(&self, ours: bool) -> Result<(), OfferError> {
        // An INVITE that has not said yet whose offer it will carry counts as an open one.
        let unused = self.invite.filter(|(_, used)| *used == InviteUse::Unused);
        match self.open.map(|open| open.ours).or(unused.map(|(whose, _)| whose)) {
            None => Ok(()),
            Some(whose) if whose == ours => Err(OfferError::Unanswered),
            Some(_) => Err(OfferError::Pending),
        }
    }

    fn preview(&mut self, ours: bool) -> Meaning {
        let offered = Open { ours: !ours, carrier: Carrier::Invite };
        if self.open != Some(offered) {
            return Meaning::Ignored;
        }
        self.invite = Some((!ours, InviteUse::Previewed));
        Meaning::Preview
    }

    /// A description in a reliable response to INVITE.
    fn respond(&mut self, ours: bool, carrier: Carrier) -> Result<Meaning, OfferError> {
        let Some((whose, used)) = self.invite.filter(|(whose, _)| *whose != ours) else {
            return Ok(Meaning::Ignored);
        };
        match used {
            InviteUse::Offered | InviteUse::Previewed => {
                self.invite = Some((whose, InviteUse::Done));
                self.answer(ours, Carrier::Invite, true)
            }
            InviteUse::Unused if self.open.is_none() => {
                self.invite = Some((whose, InviteUse::Done));
                self.offer(ours, carrier)
            }
            InviteUse::Unused | InviteUse::Done => Ok(Meaning::Ignored),
        }
    }

    fn success(&mut self, ours: bool, described: bool) -> Result<Meaning, OfferError> {
        let meaning = match (described, self.invite.map(|(_, used)| used)) {
            (true, _) => self.respond(ours, Carrier::Success)?,
            (false, Some(InviteUse::Previewed)) => {
                self.open = None;
                self.agreed = true;
                Meaning::AnswerWasPreviewed
            }
            (false, Some(InviteUse::Offered | InviteUse::Unused)) => {
                return Err(OfferError::NoAnswer);
            }
            (false, _) => Meaning::Nothing,
        };
        self.invite = None;
        Ok(meaning)
    }

    fn prack(&mut self, ours: bool, described: bool) -> Result<Meaning, OfferError> {
        let answers = Open { ours: !ours, carrier: Carrier::Reliable };
        if self.open == Some(answers) {
            return self.answer(ours, Carrier::Reliable, described);
        }
        if described { self.offer(ours, Carrier::Prack) } else { Ok(Meaning::Nothing) }
    }

    /// An answer to the other side's offer in `offered`, or none where one may be owed.
    fn answer(
        &mut self,
        ours: bool,
        offered: Carrier,
        described: bool,
    ) -> Result<Meaning, OfferError> {
        let open = Open { ours: !ours, carrier: offered };
        match (self.open == Some(open), described) {
            (true, true) => {
                self.open = None;
                self.agreed = true;
                Ok(Meaning::Answer)
            }
            (true, false) => Err(OfferError::NoAnswer),
            (false, true) => Ok(Meaning::Ignored),
            (false, false) => Ok(Meaning::Nothing),
        }
    }
}

impl OfferError {
    /// With what to answer a request that met this error (RFC 3311 §5.2, RFC 3261 §14.2).
    pub fn status(self) -> u16 {
        match self {
            Self::Pending => 491,
            Self::Unanswered => 500,
            Self::NoAnswer => 400,
        }
    }
}
