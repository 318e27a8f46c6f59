//! Messages from the network.

use std::time::Instant;

use super::client_invite;
use super::key::{self, Side};
use super::layer::Happening;
use super::machine::{ClientEvent, ServerEvent, Step};
use super::server::Server;
use super::server_invite::{self, ServerInvite};
use super::table::{Cancel, Entry, Machine};
use super::{Arrival, Layer, Output, compose};
use crate::{HeaderName, Message, Method};

impl Layer {
    /// A whole message came by a flow.
    pub fn handle_message(&mut self, now: Instant, arrival: Arrival, message: Message) {
        if message.is_request() {
            self.handle_request(now, arrival, message);
        } else {
            self.handle_response(now, arrival, message);
        }
    }

    /// Whether `request` is one that already reached us by another path and is still being
    /// answered (RFC 3261 §8.2.2.2): a UAS answers it 482, a proxy lets it pass.
    pub fn is_merged(&self, request: &Message) -> bool {
        let first = key::merge_hash(self.salt, request).and_then(|m| self.table.first_merged(m));
        let (Some(first), Some(method)) = (first, request.method()) else { return false };
        let mut wire_key = Vec::new();
        key::write(&mut wire_key, Side::Server, request, method).is_some()
            && self.table.find(&wire_key) != Some(first)
    }

    fn handle_request(&mut self, now: Instant, arrival: Arrival, message: Message) {
        let Some(method) = message.method() else { return };
        if key::write(&mut self.scratch, Side::Server, &message, method).is_none() {
            self.stats.unmatchable += 1;
            return;
        }
        if method == Method::ACK {
            return self.handle_ack(now, arrival, message);
        }
        if let Some(slot) = self.table.find(&self.scratch) {
            if let Some(step) = self.step_server(slot, ServerEvent::Request) {
                self.run(now, slot, step.into());
            }
            return;
        }
        let full = self.table.servers() >= self.config.limits.servers_max;
        if method == Method::CANCEL {
            // What ends a call is let in even when the house is full: one for each INVITE.
            let invite = self.cancelled_invite(&message);
            if full && invite.is_none() {
                return self.refuse(arrival, &message);
            }
            return self.handle_cancel(now, arrival, message, invite);
        }
        if full {
            return self.refuse(arrival, &message);
        }
        self.start_server(now, arrival, message);
    }

    /// The INVITE a CANCEL is for (§9.2).
    fn cancelled_invite(&mut self, cancel: &Message) -> Option<u32> {
        let invite = key::filed_under(Method::CANCEL);
        key::write(&mut self.scratch, Side::Server, cancel, invite)?;
        self.table.find(&self.scratch)
    }

    /// `self.scratch` holds the wire key of `message`.
    fn start_server(&mut self, now: Instant, arrival: Arrival, message: Message) {
        let is_invite = message.method() == Some(Method::INVITE);
        let (machine, step) = if is_invite {
            let (machine, step) = ServerInvite::start(self.auto_trying(), &self.timing(false));
            (Machine::ServerInvite(machine), step)
        } else {
            let (machine, step) = Server::start(&self.timing(arrival.transport.is_reliable()));
            (Machine::Server(machine), step)
        };
        let via = (arrival.flow, arrival.transport);
        let mut entry = Entry::new(&self.scratch, machine, via, message.bytes().clone());
        entry.merge = key::merge_hash(self.salt, &message);
        // The key exists only once the entry does, so the request goes up by hand.
        let first = Happening { step: Step { pass: false, ..step }, up: None, response: None };
        let slot = self.start(now, entry, first);
        let key = Some(self.server_key(slot));
        self.outputs.push_back(Output::Request { key, arrival, message });
    }

    fn handle_ack(&mut self, now: Instant, arrival: Arrival, message: Message) {
        let invite = key::filed_under(Method::ACK);
        let found = key::write(&mut self.scratch, Side::Server, &message, invite)
            .and_then(|()| self.table.find(&self.scratch));
        let Some(slot) = found else {
            self.outputs.push_back(Output::Request { key: None, arrival, message });
            return;
        };
        let accepted = self.invite_state(slot) == Some(server_invite::State::Accepted);
        let up = match accepted {
            // A UAC that gives the ACK of a 2xx the branch of its INVITE, as in RFC 2543.
            true => Output::Request { key: None, arrival, message },
            false => Output::Ack { key: self.server_key(slot) },
        };
        if let Some(step) = self.step_server(slot, ServerEvent::Ack) {
            self.run(now, slot, Happening { step, up: Some(up), response: None });
        }
    }

    /// CANCEL has a transaction of its own, which the layer answers (§9.2).
    fn handle_cancel(
        &mut self,
        now: Instant,
        arrival: Arrival,
        message: Message,
        invite: Option<u32>,
    ) {
        if key::write(&mut self.scratch, Side::Server, &message, Method::CANCEL).is_none() {
            return;
        }
        let (machine, step) = Server::start(&self.timing(arrival.transport.is_reliable()));
        let via = (arrival.flow, arrival.transport);
        let bytes = message.bytes().clone();
        let mut entry = Entry::new(&self.scratch, Machine::Server(machine), via, bytes);
        entry.internal = true;
        let own = self.start(now, entry, Step { pass: false, ..step }.into());
        let tag = invite.and_then(|slot| self.sent_tag(slot));
        let tag = tag.unwrap_or_else(|| key::own_tag(self.salt, &message));
        let (code, reason, event) = match invite {
            Some(_) => (200, "OK", ServerEvent::Success),
            None => (481, "Call/Transaction Does Not Exist", ServerEvent::Failure),
        };
        let response = compose::response(&message, code, reason, &tag).build();
        if let Some(step) = self.step_server(own, event) {
            self.run(now, own, Happening { step, up: None, response: Some(response) });
        }
        if let Some(slot) = invite
            && self.invite_state(slot) == Some(server_invite::State::Proceeding)
        {
            let invite = self.server_key(slot);
            self.outputs.push_back(Output::Cancel { invite, message });
        }
    }

    fn handle_response(&mut self, now: Instant, arrival: Arrival, message: Message) {
        let (Some(code), Ok(cseq)) = (message.status(), message.cseq()) else { return };
        let written = key::write(&mut self.scratch, Side::Client, &message, cseq.method);
        if written.is_none() {
            self.stats.unmatchable += 1;
            return;
        }
        let event = match code {
            0..=199 => ClientEvent::Provisional,
            200..=299 => ClientEvent::Success,
            _ => ClientEvent::Failure,
        };
        let Some(slot) = self.table.find(&self.scratch) else {
            if cseq.method != Method::CANCEL {
                self.outputs.push_back(Output::StrayResponse { arrival, message });
            }
            return;
        };
        let Some(step) = self.step_client(slot, event) else { return };
        let internal = self.table.entry(slot).is_some_and(|e| e.internal);
        let key = self.client_key(slot);
        let up = (!internal).then(|| Output::Response { key, message: message.clone() });
        self.run(now, slot, Happening { step, up, response: Some(message) });
        if event == ClientEvent::Provisional {
            self.release_cancel(now, slot);
        }
    }

    /// 503 without a transaction, so that refusing costs no memory.
    fn refuse(&mut self, arrival: Arrival, message: &Message) {
        self.stats.refused += 1;
        let tag = key::own_tag(self.salt, message);
        let response = compose::response(message, 503, "Service Unavailable", &tag)
            .header(HeaderName::RETRY_AFTER, self.config.limits.retry_after_s.to_string())
            .build();
        self.outputs.push_back(Output::Transmit {
            flow: arrival.flow,
            transport: arrival.transport,
            message: response.bytes().clone(),
        });
    }

    fn invite_state(&self, slot: u32) -> Option<server_invite::State> {
        match self.table.entry(slot)?.machine {
            Machine::ServerInvite(machine) => Some(machine.state),
            _ => None,
        }
    }

    /// The To tag of what an INVITE was answered with: the response to its CANCEL should carry the
    /// same (§9.2).
    fn sent_tag(&self, slot: u32) -> Option<String> {
        let entry = self.table.entry(slot).filter(|e| e.answered)?;
        let response = Message::parse(entry.kept.clone()).ok()?;
        let tag = response.to().ok()?.tag()?;
        Some(String::from_utf8_lossy(tag).into_owned())
    }

    /// Sends the CANCEL that waited for a provisional.
    fn release_cancel(&mut self, now: Instant, slot: u32) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let proceeding = client_invite::State::Proceeding;
        // A provisional that comes behind the final releases nothing.
        if !matches!(entry.machine, Machine::ClientInvite(m) if m.state == proceeding) {
            return;
        }
        if let Cancel::Waiting(reason) = &mut entry.cancel {
            let reason = reason.take();
            self.send_cancel(now, slot, reason.as_deref());
        }
    }
}
