//! A REGISTER as the registrar needs it.

use std::borrow::Cow;
use std::net::SocketAddr;

use sansio::{FlowId, Transport};
use sip::{HeaderName, Message, Plain};
use smallvec::{SmallVec, smallvec};

use crate::refusal::{Refusal, RefusalReason};

/// Most Contact values looked at.
const CONTACTS_MAX: usize = 32;
/// Longest Contact URI, instance, or joined Path kept.
const TEXT_MAX: usize = 2048;
/// Longest Call-ID kept whole.
const CALL_ID_MAX: usize = 256;
/// A longer User-Agent is cut.
const USER_AGENT_MAX: usize = 128;

/// The question: bind these contacts to this address of record. Its texts are the message's own.
#[derive(Debug, Clone)]
pub struct RegisterRequest<'a> {
    /// The address of record in its normal form, already authenticated.
    pub aor: Cow<'a, str>,
    /// What to do.
    pub contacts: Contacts<'a>,
    /// The Expires header, seconds.
    pub expires: Option<u32>,
    /// Call-ID.
    pub call_id: Cow<'a, str>,
    /// CSeq number.
    pub cseq: u32,
    /// Path values (RFC 3327), outermost first.
    pub path: Vec<Cow<'a, str>>,
    /// User-Agent.
    pub user_agent: Cow<'a, str>,
    /// Where it came from.
    pub origin: Origin,
}

/// By which flow a REGISTER came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The flow.
    pub flow: FlowId,
    /// Its transport.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The phone's address as we see it.
    pub source: SocketAddr,
}

/// What the Contact fields ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts<'a> {
    /// None: tell the bindings.
    Query,
    /// `*`: remove all (RFC 3261 §10.2.2).
    All,
    /// Bind or remove these.
    List(SmallVec<[Contact<'a>; 1]>),
}

/// One Contact value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The URI, byte-exact.
    pub uri: Cow<'a, str>,
    /// Preference in thousandths.
    pub q: u16,
    /// Seconds asked for here.
    pub expires: Option<u32>,
    /// `+sip.instance`, brackets kept.
    pub instance: Option<Cow<'a, str>>,
    /// `reg-id`; 0 for none.
    pub reg_id: u32,
}

impl<'a> Contact<'a> {
    /// One without parameters.
    pub fn new(uri: impl Into<Cow<'a, str>>) -> Self {
        Self { uri: uri.into(), q: 1000, expires: None, instance: None, reg_id: 0 }
    }
}

impl<'a> RegisterRequest<'a> {
    /// A query without contacts: fill in the rest.
    pub fn new(
        aor: impl Into<Cow<'a, str>>,
        call_id: impl Into<Cow<'a, str>>,
        cseq: u32,
        origin: Origin,
    ) -> Self {
        Self {
            aor: aor.into(),
            contacts: Contacts::Query,
            expires: None,
            call_id: call_id.into(),
            cseq,
            path: Vec::new(),
            user_agent: Cow::Borrowed(""),
            origin,
        }
    }

    /// What [`Self::read`] reads of a plain REGISTER, whose To is the address of record.
    pub fn of_plain(plain: &Plain<'a>, origin: Origin) -> Self {
        let mut request = Self::new(plain.aor(), plain.call_id(), plain.cseq(), origin);
        request.expires = plain.expires();
        if let Some(contact) = plain.contact() {
            let instance = contact.instance.map(Cow::Borrowed);
            let (uri, expires, reg_id) = (contact.uri.into(), contact.expires, contact.reg_id);
            let contact = Contact { uri, q: 1000, expires, instance, reg_id };
            request.contacts = Contacts::List(smallvec![contact]);
        }
        request.user_agent = cut(Cow::Borrowed(plain.user_agent()));
        request
    }

    /// Reads a REGISTER whose sender is authenticated as `aor`.
    ///
    /// # Errors
    /// A [`Refusal`] with 400 for what RFC 3261 §10.3 forbids.
    pub fn read(aor: &'a str, message: &'a Message, origin: Origin) -> Result<Self, Refusal> {
        let bad = |_| Refusal::new(RefusalReason::Malformed("CSeq"));
        let cseq = message.cseq().map_err(bad)?.number;
        let call_id = message.call_id().and_then(|c| std::str::from_utf8(c).ok());
        let call_id = call_id.filter(|c| c.len() <= CALL_ID_MAX);
        let call_id = call_id.ok_or(Refusal::new(RefusalReason::Malformed("Call-ID")))?;
        let mut request = Self::new(aor, call_id, cseq, origin);
        request.expires = message.expires();
        request.contacts = read_contacts(message)?;
        request.path = read_path(message)?;
        let agent = message.header(HeaderName::USER_AGENT).unwrap_or_default();
        request.user_agent = cut(String::from_utf8_lossy(agent));
        Ok(request)
    }
}

/// At most [`USER_AGENT_MAX`] characters of it.
fn cut(agent: Cow<'_, str>) -> Cow<'_, str> {
    if agent.len() <= USER_AGENT_MAX {
        return agent;
    }
    Cow::Owned(agent.chars().take(USER_AGENT_MAX).collect())
}

fn read_contacts(message: &Message) -> Result<Contacts<'_>, Refusal> {
    let bad = Refusal::new(RefusalReason::Malformed("Contact"));
    let star = message.values(HeaderName::CONTACT).any(|v| v == b"*");
    let mut list = SmallVec::new();
    for contact in message.contacts() {
        let contact = contact.map_err(|_| bad.clone())?;
        contact.sip_uri().map_err(|_| bad.clone())?;
        let uri = text(contact.uri()).ok_or_else(|| bad.clone())?;
        let instance = contact.instance().map(|i| text(i).ok_or_else(|| bad.clone()));
        let instance = instance.transpose()?;
        // A reg-id without instance says nothing (RFC 5626 §6).
        let reg_id = if instance.is_some() { contact.reg_id().unwrap_or(0) } else { 0 };
        let q = contact.q().unwrap_or(1000);
        list.push(Contact { uri, q, expires: contact.expires(), instance, reg_id });
        if list.len() > CONTACTS_MAX {
            return Err(Refusal::new(RefusalReason::TooManyContacts));
        }
    }
    match (star, list.is_empty()) {
        (true, true) => Ok(Contacts::All),
        (true, false) => Err(Refusal::new(RefusalReason::StarNotAlone)),
        (false, true) => Ok(Contacts::Query),
        (false, false) => Ok(Contacts::List(list)),
    }
}

fn read_path(message: &Message) -> Result<Vec<Cow<'_, str>>, Refusal> {
    let bad = || Refusal::new(RefusalReason::Malformed("Path"));
    let path: Option<Vec<Cow<'_, str>>> = message.values(HeaderName::PATH).map(text).collect();
    let path = path.ok_or_else(bad)?;
    let total: usize = path.iter().map(|p| p.len() + 1).sum();
    if total > TEXT_MAX { Err(bad()) } else { Ok(path) }
}

/// Text that fits a binding and has no control characters.
fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = |text: &str| match text.is_ascii() {
        true => !text.bytes().any(|b| b.is_ascii_control()),
        false => !text.chars().any(char::is_control),
    };
    (text.len() <= TEXT_MAX && plain(text)).then_some(Cow::Borrowed(text))
}
