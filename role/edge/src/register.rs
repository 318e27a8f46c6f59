//! REGISTER: authenticated here, decided by the registrar (RFC 3261 §10.3).

use crate::asker::Asker;
use crate::asks::Pending;
use crate::authenticate::Face;
use crate::core::{EdgeCore, Present};
use crate::ports::{ContactLine, Question, Refusal, RegisterAsk};
use sansio::{FlowId, Redacted};
use sip::digest::Algorithm;
use sip::transaction::Arrival;
use sip::{Aor, HeaderName, Message};

/// Option tags a REGISTER may require (RFC 3327, RFC 5626).
const SUPPORTED: [&str; 2] = ["path", "outbound"];

/// Accounts one connection may register; a gateway registers its lines by one.
const ACCOUNTS_PER_FLOW_MAX: usize = 1_000;

/// An address of record that registered by a stream flow.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) aor: String,
    /// Its credentials then: once they change, or the user is removed, the flow proves nothing.
    /// None for one that showed a bearer token, which it shows each time.
    pub(crate) ha1: Option<Redacted<String>>,
}

/// A REGISTER whose bindings are on their way to the journal.
#[derive(Debug)]
pub(crate) struct PendingRegister {
    asker: Asker,
    request: Message,
    aor: String,
    flow: FlowId,
    /// The connection is this user's alone, or a gateway's: it proves who sends by it later.
    proves: bool,
}

impl EdgeCore {
    /// Takes up a REGISTER.
    pub(crate) fn handle_register(
        &mut self,
        at: Present,
        asker: Asker,
        arrival: &Arrival,
        request: Message,
    ) {
        let unsupported = unsupported(&request);
        if !unsupported.is_empty() {
            let header = [("Unsupported", unsupported.join(", "))];
            self.reply(at, asker, &request, (420, "Bad Extension"), &header);
            return;
        }
        let aor = request.to().ok().and_then(|to| to.sip_uri().ok()).map(|u| Aor::from_uri(&u));
        let Some(aor) = aor else {
            self.reply(at, asker, &request, (400, "Bad To: A SIP URI Is Needed"), &[]);
            return;
        };
        let aor = self.in_its_tenant(aor);
        let from = request.from_().ok().and_then(|f| f.sip_uri().ok()).map(|u| Aor::from_uri(&u));
        if from.map(|from| self.in_its_tenant(from)).as_ref() != Some(&aor) {
            self.reply(at, asker, &request, (403, "Third-Party Registration Not Allowed"), &[]);
            return;
        }
        let by_flow = self.proven.get(&arrival.flow).map_or(0, Vec::len);
        if by_flow >= ACCOUNTS_PER_FLOW_MAX {
            self.reply(at, asker, &request, (403, "Too Many Accounts On One Connection"), &[]);
            return;
        }
        let claim = (&aor, Face::Registrar);
        if self.authenticate(at, asker, arrival, &request, claim).is_none() {
            return;
        }
        let local = self.local_of();
        let question = Question::Register(Box::new(RegisterAsk {
            aor: aor.as_str().to_string(),
            message: request.clone(),
            flow: arrival.flow,
            transport: arrival.transport,
            local,
            source: arrival.peer,
        }));
        let waiting = PendingRegister {
            asker,
            request,
            aor: aor.as_str().to_string(),
            flow: arrival.flow,
            proves: arrival.transport.is_reliable() && !self.is_by_edge(arrival),
        };
        self.ask(at, question, Pending::Register(Box::new(waiting)));
    }

    /// The journal has it, or the registrar refused.
    pub(crate) fn finish_register(
        &mut self,
        at: Present,
        waiting: PendingRegister,
        result: Result<Vec<ContactLine>, Refusal>,
    ) {
        let PendingRegister { asker, request, aor, flow, proves } = waiting;
        match result {
            Ok(contacts) => {
                if proves {
                    self.note_proof(flow, aor, &request);
                }
                let date = std::mem::take(&mut self.date).now(at.wall);
                let contacts = contacts.iter().map(|c| (HeaderName::CONTACT, c.0.as_str()));
                // RFC 3327 §5.3.
                let path = request.headers(HeaderName::PATH).filter_map(|v| str::from_utf8(v).ok());
                let path = path.map(|value| (HeaderName::PATH, value));
                let headers = contacts.chain(path).chain([(HeaderName::DATE, date.as_str())]);
                self.reply_with(at, asker, &request, (200, "OK"), headers);
                self.date = date;
            }
            Err(refusal) => {
                let headers = refusal.headers;
                self.reply(at, asker, &request, (refusal.status, &refusal.reason), &headers);
            }
        }
    }

    /// A phone that registers at our address means the tenant served there.
    fn in_its_tenant(&self, aor: Aor) -> Aor {
        match self.directory.realm(aor.host()) {
            Some(realm) if *realm != *aor.host() => Aor::new(aor.user(), &realm),
            _ => aor,
        }
    }

    /// What a registration says of its connection: it is this user's now, or no longer.
    fn note_proof(&mut self, flow: FlowId, aor: String, request: &Message) {
        let known = self.proven.entry(flow).or_default();
        known.retain(|p| p.aor != aor);
        if request.contacts().next().is_some() && !removes(request) {
            let ha1 = match crate::authenticate::shows_bearer(request) {
                true => None,
                false => aor
                    .parse::<Aor>()
                    .ok()
                    .and_then(|a| self.directory.ha1(a.host(), a.user(), Algorithm::Md5)),
            };
            known.push(Proven { aor, ha1 });
        }
        if known.is_empty() {
            self.proven.remove(&flow);
        }
    }

    /// Whether a connection proves to be `aor`: it registered so, and its credentials still hold.
    pub(crate) fn flow_proves(&self, flow: FlowId, aor: &Aor) -> bool {
        let known = self.proven.get(&flow).into_iter().flatten();
        let mut mine = known.filter(|p| p.aor == aor.as_str()).filter_map(|p| p.ha1.as_ref());
        mine.any(|then| {
            let now = self.directory.ha1(aor.host(), aor.user(), Algorithm::Md5);
            now.is_some_and(|now| now.reveal() == then.reveal())
        })
    }
}

/// Required option tags we do not know.
fn unsupported(request: &Message) -> Vec<String> {
    let tags = request.values(HeaderName::REQUIRE).map(String::from_utf8_lossy);
    let unknown = |tag: &str| !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag));
    tags.map(|tag| tag.trim().to_string()).filter(|tag| unknown(tag)).collect()
}

/// Whether a REGISTER with contacts takes all of them off.
fn removes(request: &Message) -> bool {
    let general = request.expires();
    let gone = |c: &sip::NameAddr<'_>| c.expires().or(general) == Some(0);
    request.is_contact_star() || request.contacts().all(|c| c.is_ok_and(|c| gone(&c)))
}
