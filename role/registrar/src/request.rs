//! A REGISTER as the registrar needs it.

use std::net::SocketAddr;

use sansio::{FlowId, Transport};
use sip::{HeaderName, Message};

use crate::refusal::{Refusal, RefusalReason};

/// Most Contact values looked at.
const CONTACTS_MAX: usize = 32;
/// Longest Contact URI, instance, or joined Path kept.
const TEXT_MAX: usize = 2048;
/// Longest Call-ID kept whole.
const CALL_ID_MAX: usize = 256;
/// A longer User-Agent is cut.
const USER_AGENT_MAX: usize = 128;

/// The question: bind these contacts to this address of record.
#[derive(Debug, Clone)]
pub struct RegisterRequest {
    /// The address of record in its normal form, already authenticated.
    pub aor: String,
    /// What to do.
    pub contacts: Contacts,
    /// The Expires header, seconds.
    pub expires: Option<u32>,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// Path values (RFC 3327), outermost first.
    pub path: Vec<String>,
    /// User-Agent.
    pub user_agent: String,
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
pub enum Contacts {
    /// None: tell the bindings.
    Query,
    /// `*`: remove all (RFC 3261 §10.2.2).
    All,
    /// Bind or remove these.
    List(Vec<Contact>),
}

/// One Contact value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The URI, byte-exact.
    pub uri: String,
    /// Preference in thousandths.
    pub q: u16,
    /// Seconds asked for here.
    pub expires: Option<u32>,
    /// `+sip.instance`, brackets kept.
    pub instance: Option<String>,
    /// `reg-id`; 0 for none.
    pub reg_id: u32,
}

impl Contact {
    /// One without parameters.
    pub fn new(uri: &str) -> Self {
        Self { uri: uri.to_owned(), q: 1000, expires: None, instance: None, reg_id: 0 }
    }
}

impl RegisterRequest {
    /// A query without contacts: fill in the rest.
    pub fn new(aor: &str, call_id: &str, cseq: u32, origin: Origin) -> Self {
        Self {
            aor: aor.to_owned(),
            contacts: Contacts::Query,
            expires: None,
            call_id: call_id.to_owned(),
            cseq,
            path: Vec::new(),
            user_agent: String::new(),
            origin,
        }
    }

    /// Reads a REGISTER whose sender is authenticated as `aor`.
    ///
    /// # Errors
    /// A [`Refusal`] with 400 for what RFC 3261 §10.3 forbids.
    pub fn read(aor: &str, message: &Message, origin: Origin) -> Result<Self, Refusal> {
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
        let agent = String::from_utf8_lossy(agent);
        request.user_agent = agent.chars().take(USER_AGENT_MAX).collect();
        Ok(request)
    }
}

fn read_contacts(message: &Message) -> Result<Contacts, Refusal> {
    let bad = Refusal::new(RefusalReason::Malformed("Contact"));
    let star = message.values(HeaderName::CONTACT).any(|v| v == b"*");
    let mut list = Vec::new();
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

fn read_path(message: &Message) -> Result<Vec<String>, Refusal> {
    let bad = || Refusal::new(RefusalReason::Malformed("Path"));
    let path: Option<Vec<String>> = message.values(HeaderName::PATH).map(text).collect();
    let path = path.ok_or_else(bad)?;
    let total: usize = path.iter().map(|p| p.len() + 1).sum();
    if total > TEXT_MAX { Err(bad()) } else { Ok(path) }
}

/// Text that fits a binding and has no control characters.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fits = text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
