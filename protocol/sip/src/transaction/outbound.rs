//! Commands of the transaction user.

use std::time::Instant;

use super::client::Client;
use super::client_invite::{self, ClientInvite};
use super::key::{self, Side};
use super::layer::Happening;
use super::machine::{ServerEvent, Timer};
use super::table::{Cancel, Entry, Machine};
use super::{Cancelled, ClientKey, Layer, Output, SendError, SendVia, ServerKey, compose};
use crate::{Message, Method};

impl Layer {
    /// Sends `request`, whose top Via is ours with a fresh branch, and keeps at it.
    pub fn send_request(
        &mut self,
        now: Instant,
        via: SendVia,
        request: Message,
    ) -> Result<ClientKey, SendError> {
        let method = request.method().ok_or(SendError::NotARequest)?;
        if method == Method::ACK || method == Method::CANCEL {
            return Err(SendError::NotARequest);
        }
        if self.table.clients() >= self.config.limits.clients_max {
            return Err(SendError::TooManyTransactions);
        }
        let slot = self.start_client(now, via, &request, false)?;
        Ok(self.client_key(slot))
    }

    /// Cancels an INVITE, with the value of a Reason header (RFC 3326). The CANCEL goes once a
    /// provisional has come; should a final come first, it never goes. The response to the INVITE
    /// still comes, or [`Output::TimedOut`] 64*T1 after the CANCEL.
    pub fn cancel(&mut self, now: Instant, key: &ClientKey, reason: Option<&str>) -> Cancelled {
        let Some(slot) = self.table.resolve(key.0) else { return Cancelled::TooLate };
        let Some(entry) = self.table.entry_mut(slot) else { return Cancelled::TooLate };
        let Machine::ClientInvite(ClientInvite { state }) = entry.machine else {
            return Cancelled::TooLate;
        };
        match (&entry.cancel, state) {
            (Cancel::Waiting(_) | Cancel::Sent, _) => Cancelled::Already,
            (_, client_invite::State::Calling(_)) => {
                entry.cancel = Cancel::Waiting(reason.map(Into::into));
                Cancelled::Waiting
            }
            (_, client_invite::State::Proceeding) => {
                self.send_cancel(now, slot, reason);
                Cancelled::Sent
            }
            _ => Cancelled::TooLate,
        }
    }

    /// Answers a request. Retransmitting is the layer's. False when the transaction is gone: then a
    /// late 2xx to INVITE must be sent by the flow without it (RFC 3261 §16.7 step 9).
    pub fn respond(&mut self, now: Instant, key: &ServerKey, response: Message) -> bool {
        let Some(slot) = self.table.resolve(key.0) else { return false };
        let Some(entry) = self.table.entry(slot) else { return false };
        let is_invite = matches!(entry.machine, Machine::ServerInvite(_));
        debug_assert!(response.status().is_some(), "respond is for responses");
        let event = match response.status().unwrap_or(500) {
            0..=100 => ServerEvent::Provisional,
            // RFC 4320 §4.1: no other provisional to a non-INVITE.
            101..=199 if !is_invite => return true,
            101..=199 => ServerEvent::Provisional,
            200..=299 => ServerEvent::Success,
            408 if !is_invite => ServerEvent::Suppressed,
            _ => ServerEvent::Failure,
        };
        if let Some(step) = self.step_server(slot, event) {
            self.run(now, slot, Happening { step, up: None, response: Some(response) });
        }
        true
    }

    /// Gives a server transaction another flow for what it still sends, because its client has
    /// moved. Timers already running go on; later states follow the new transport. False when it is
    /// gone.
    pub fn reroute(&mut self, key: &ServerKey, via: SendVia) -> bool {
        let Some(entry) = self.table.resolve(key.0).and_then(|s| self.table.entry_mut(s)) else {
            return false;
        };
        (entry.flow, entry.transport) = (via.flow, via.transport);
        true
    }

    /// Sends the CANCEL of the INVITE in `slot` as a transaction of the layer's own (§9.1).
    pub(super) fn send_cancel(&mut self, now: Instant, slot: u32, reason: Option<&str>) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        entry.cancel = Cancel::Sent;
        let via = SendVia { flow: entry.flow, transport: entry.transport };
        let invite = Message::parse(entry.kept.clone()).ok();
        let Some(cancel) = invite.and_then(|invite| compose::cancel(&invite, reason)) else {
            return;
        };
        let long = self.timing(via.transport.is_reliable()).long();
        if let Some(entry) = self.table.entry_mut(slot) {
            entry.arm(now, (Timer::Cancelled, long));
        }
        self.schedule(now, slot);
        // The branch is the INVITE's own and its method differs: the key cannot be in use.
        let _ = self.start_client(now, via, &cancel, true);
    }

    fn start_client(
        &mut self,
        now: Instant,
        via: SendVia,
        request: &Message,
        internal: bool,
    ) -> Result<u32, SendError> {
        let method = request.method().ok_or(SendError::NotARequest)?;
        key::write(&mut self.scratch, Side::Client, request, method).ok_or(SendError::NoVia)?;
        if self.table.find(&self.scratch).is_some() {
            return Err(SendError::DuplicateBranch);
        }
        let timing = self.timing(via.transport.is_reliable());
        let (machine, step) = if method == Method::INVITE {
            let (machine, step) = ClientInvite::start(&timing);
            (Machine::ClientInvite(machine), step)
        } else {
            let (machine, step) = Client::start(&timing);
            (Machine::Client(machine), step)
        };
        let message = request.bytes().clone();
        let SendVia { flow, transport } = via;
        self.outputs.push_back(Output::Transmit { flow, transport, message: message.clone() });
        let mut entry = Entry::new(&self.scratch, machine, (flow, transport), message);
        entry.internal = internal;
        Ok(self.start(now, entry, step.into()))
    }
}
