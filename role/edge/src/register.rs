//! REGISTER: authenticated here, decided by the registrar (RFC 3261 §10.3).

use crate::authenticate::Face;
use crate::core::{EdgeCore, Pending, Present};
use crate::ports::{ContactLine, Question, Refusal, RegisterAsk};
use sansio::{FlowId, Transport};
use sip::transaction::{Arrival, ServerKey};
use sip::{Aor, HeaderName, Message, response_to};

/// A REGISTER whose bindings are on their way to the journal.
#[derive(Debug)]
pub(crate) struct PendingRegister {
    key: ServerKey,
    request: Message,
    aor: String,
    flow: FlowId,
    transport: Transport,
}

impl EdgeCore {
    /// Takes up a REGISTER.
    pub(crate) fn handle_register(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
    ) {
        let aor = request.to().ok().and_then(|to| to.sip_uri().ok()).map(|u| Aor::from_uri(&u));
        let Some(aor) = aor else {
            self.reply(at, key, &request, (400, "Bad To: A SIP URI Is Needed"), &[]);
            return;
        };
        // A phone that registers at our address means the tenant served there.
        let aor = match self.directory.realm(aor.host()) {
            Some(realm) => Aor::new(aor.user(), &realm),
            None => aor,
        };
        let claim = (&aor, Face::Registrar);
        if self.authenticate(at, key, arrival, &request, claim).is_none() {
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
            key,
            request,
            aor: aor.as_str().to_string(),
            flow: arrival.flow,
            transport: arrival.transport,
        };
        self.ask(question, Pending::Register(Box::new(waiting)));
    }

    /// The journal has it, or the registrar refused.
    pub(crate) fn finish_register(
        &mut self,
        at: Present,
        waiting: PendingRegister,
        result: Result<Vec<ContactLine>, Refusal>,
    ) {
        let PendingRegister { key, request, aor, flow, transport } = waiting;
        match result {
            Ok(contacts) => {
                if transport.is_reliable() && !contacts.is_empty() {
                    self.proven.insert(flow, aor);
                }
                let tag = self.entropy.token(10);
                let mut builder = response_to(&request, 200, "OK").to_tag(&tag);
                for ContactLine(contact) in contacts {
                    builder = builder.header(HeaderName::CONTACT, contact);
                }
                self.layer.respond(at.now, &key, builder.build());
            }
            Err(refusal) => {
                let headers = refusal.headers;
                self.reply(at, key, &request, (refusal.status, &refusal.reason), &headers);
            }
        }
    }
}
