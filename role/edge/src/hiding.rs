//! What the outside does not see of the inside (RFC 5853 §3.1, RFC 3323 §5): no address, host name,
//! route, software or error text of ours or of whoever is behind us.
//!
//! ```text
//!   request out:  Vias, Record-Routes, Path .. off · Contact, Call-ID veiled · software, texts off
//!   response back: the Vias, From, To, Call-ID, CSeq of the request it answers put back as they were
//! ```
//!
//! Each side speaks its own language: what a transaction is answered with comes from its own
//! request, and whatever crosses is translated once, here.

mod dialogs;
mod plain;

use crate::branch::BranchId;
use crate::config::HideFromPhones;
use crate::core::EdgeCore;
use crate::dialog_made::foreign_routes;
use crate::dialog_made::without_tag;
use crate::dialog_track::Seen;
use crate::forward::{Branch, Forward};
use crate::hygiene::AMONG_TRUSTED;
use crate::onward::Onward;
use crate::ports::MediaProfile;
use crate::veil::{Kind, Veils};
use crate::zones::Zone;
use plain::{is_identifying, is_private_extension, is_urn, reasons, warning};
pub(crate) use plain::{plain_description, with_plain_phrase};
use sansio::Transport;
use sip::body::replace_description;
use sip::transaction::{ClientKey, ServerKey};
use sip::{Edit, HeaderName, Message, Method, NameAddr, split_list};
use std::borrow::Cow;

/// Headers that tell about networks and software behind us; nobody outside needs them.
const INNER: [HeaderName<'static>; 14] = [
    HeaderName::USER_AGENT,
    HeaderName::SERVER,
    HeaderName::ORGANIZATION,
    HeaderName::PATH,
    HeaderName::SERVICE_ROUTE,
    HeaderName::HISTORY_INFO,
    HeaderName::CALL_INFO,
    HeaderName::ERROR_INFO,
    HeaderName::P_ACCESS_NETWORK_INFO,
    HeaderName::P_VISITED_NETWORK_ID,
    HeaderName::P_CHARGING_VECTOR,
    HeaderName::P_CHARGING_FUNCTION_ADDRESSES,
    HeaderName::P_SERVED_USER,
    HeaderName::P_PROFILE_KEY,
];

/// One end of a request's way through us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A phone.
    Phone,
    /// A service of ours, on this machine.
    Service,
    /// A `[[peer]]`.
    Peer(u16),
}

/// What became of a request's words on a branch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    /// The caller's Vias, routes and Contact are not in it.
    pub hidden: bool,
    /// Something is to be translated back in responses.
    pub changed: bool,
    /// What the callee's side reads, where that differs.
    pub seen: Option<Box<Seen>>,
    /// The Request-URI as sent, for digests.
    pub uri: String,
}

impl Words {
    /// What `sent` says differently than `request`.
    pub(crate) fn of(request: &Message, sent: &Message, hidden: bool, uri: String) -> Self {
        let words = |message: &Message| Seen {
            call_id: String::from_utf8_lossy(message.call_id().unwrap_or_default()).into_owned(),
            caller: without_tag(message, HeaderName::FROM),
            callee: without_tag(message, HeaderName::TO),
        };
        let seen = words(sent);
        let seen = (seen != words(request)).then(|| Box::new(seen));
        Self { hidden, changed: true, seen, uri }
    }
}

impl Forward {
    pub(crate) fn caller_end(&self) -> End {
        self.caller_peer.map_or(End::Phone, End::Peer)
    }
}

impl Branch {
    pub(crate) fn end(&self) -> End {
        match self.peering.peer {
            Some(peer) => End::Peer(peer),
            None if self.target.media == MediaProfile::Internal => End::Service,
            None => End::Phone,
        }
    }
}

impl EdgeCore {
    /// Whether `from` sees nothing of `what`.
    pub(crate) fn hides(&self, what: End, from: End) -> bool {
        match from {
            End::Service => false,
            End::Peer(number) => self.peers.get(number).is_some_and(|peer| peer.hides),
            End::Phone => match self.config.hide_from_phones {
                HideFromPhones::Off => false,
                HideFromPhones::Inner => what != End::Phone,
                HideFromPhones::All => true,
            },
        }
    }

    /// Whether whom a branch leads to sees nothing of the caller's side.
    pub(crate) fn hides_caller(&self, forward: &Forward, branch: &Branch) -> bool {
        self.hides(forward.caller_end(), branch.end()) || self.hides_private(forward, branch)
    }

    /// Whether the caller asked that nothing leads to it (RFC 3323 §5.1): only our own servers see.
    pub(crate) fn hides_private(&self, forward: &Forward, branch: &Branch) -> bool {
        let inner = match branch.end() {
            End::Service => true,
            End::Peer(n) => self.peers.get(n).is_some_and(|p| p.zone == Zone::Internal),
            End::Phone => false,
        };
        forward.claims.hidden && !inner
    }

    /// A request without what tells about its sender: Vias, routes, Contact, Call-ID and the rest.
    /// Our own Via and Record-Route go on top afterwards.
    pub(crate) fn hide_sender<'m>(
        &self,
        edit: Edit<'m>,
        request: &'m Message,
        (own, transport): (&str, Transport),
    ) -> Edit<'m> {
        let routes: Vec<String> = request
            .values(HeaderName::RECORD_ROUTE)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        let call_id = self.call_id_across(request.call_id().unwrap_or_default(), true);
        let mut edit = self.hide(edit, request);
        edit = edit.remove_all(HeaderName::VIA).remove_all(HeaderName::RECORD_ROUTE);
        edit = edit.set(HeaderName::CALL_ID, &call_id);
        match self.veiled_contact(request, &routes, (own, transport.uri_token())) {
            Some(contact) => edit.set(HeaderName::CONTACT, contact),
            None => edit.remove_all(HeaderName::CONTACT),
        }
    }

    /// A request of a dialog in the words of the side it goes to.
    pub(crate) fn in_other_words<'m>(
        &mut self,
        mut edit: Edit<'m>,
        request: &'m Message,
        way: &Onward,
    ) -> Edit<'m> {
        let call_id = request.call_id().unwrap_or_default();
        let across = self.call_id_across(call_id, way.hides);
        if across != call_id {
            edit = edit.set(HeaderName::CALL_ID, &across);
        }
        edit = self.dialogs_across(edit, request, way.hides);
        if way.hides {
            let own = self.place.advertise(way.reach.transport, Some(way.reach.local)).to_string();
            edit = self.hide_sender(edit, request, (&own, way.reach.transport));
        }
        let to = way.from.other();
        let Some(dialog) = self.dialog(way) else { return edit };
        if dialog.seen.is_none() {
            return edit;
        }
        let (from_name, to_name, _) = dialog.words_for(to);
        let from = format!("{from_name};tag={}", dialog.party(way.from).tag);
        let to = format!("{to_name};tag={}", dialog.party(to).tag);
        edit.set(HeaderName::FROM, from).set(HeaderName::TO, to)
    }

    /// A request whose Request-URI is a veil of ours, with the target and routes behind it in the
    /// place of its first `ours` Routes.
    pub(crate) fn unveiled(&self, request: &Message, ours: usize) -> Option<Message> {
        let (target, routes) = self.unveiled_target(request)?;
        let mut edit = Edit::new(request).replace_request_uri(target);
        for _ in 0..ours {
            edit = edit.remove_first(HeaderName::ROUTE);
        }
        for route in routes.iter().rev() {
            edit = edit.prepend(HeaderName::ROUTE, route);
        }
        Some(edit.finish())
    }

    /// A response of a branch in the caller's words, and without what the caller is not to see.
    pub(crate) fn in_callers_words(
        &self,
        mut edit: Edit<'_>,
        (key, id): (ServerKey, BranchId),
        response: &Message,
        routes: &[String],
    ) -> Message {
        let Some(forward) = self.forwards.get(&key) else { return finished(edit, false) };
        let Some(branch) = forward.branches.get(id) else { return finished(edit, false) };
        let registers = forward.request.method() == Some(Method::REGISTER);
        if registers {
            // Its Path leads to us; who registers needs to read its own Contacts.
            edit = edit.remove_all(HeaderName::PATH);
        }
        let hides = !registers && self.hides(branch.end(), forward.caller_end());
        if branch.words.changed {
            edit = in_words_of(edit, response, &forward.request);
        }
        if hides {
            let reach = forward.caller_reach;
            let own = self.place.advertise(reach.transport, Some(reach.local));
            edit = self.hide_answerer(edit, response, routes, (own, reach.transport));
        }
        finished(edit, hides)
    }

    /// The routes a callee's side put into a response, where the caller is not to see them: they go
    /// behind the veil of its Contact.
    pub(crate) fn routes_behind(&self, key: ServerKey, id: BranchId, it: &Message) -> Vec<String> {
        let Some(forward) = self.forwards.get(&key) else { return Vec::new() };
        let Some(branch) = forward.branches.get(id) else { return Vec::new() };
        if !self.hides(branch.end(), forward.caller_end()) {
            return Vec::new();
        }
        let below = match branch.words.hidden {
            true => 0,
            false => forward.request.values(HeaderName::RECORD_ROUTE).count(),
        };
        foreign_routes(it, below)
    }

    /// A response in a dialog in the words of whoever sent the request.
    pub(crate) fn in_requesters_words<'m>(
        &self,
        key: &ClientKey,
        response: &'m Message,
        mut edit: Edit<'m>,
    ) -> Message {
        let Some(passing) = self.passing.get(key) else { return edit.finish() };
        let way = &passing.route;
        let seen = way.call.and_then(|call| self.calls.get(&call));
        let seen = seen.is_some_and(|call| call.dialogs.iter().any(|d| d.seen.is_some()));
        let call_id = passing.request.call_id() != response.call_id();
        if way.hides || seen || call_id {
            edit = in_words_of(edit, response, &passing.request);
        }
        if way.hides_back {
            let reach = way.back;
            let own = self.place.advertise(reach.transport, Some(reach.local));
            // The route set stands since the dialog does (RFC 3261 §12.2).
            edit = edit.remove_all(HeaderName::RECORD_ROUTE);
            edit = self.hide_answerer(edit, response, &[], (own, reach.transport));
        }
        finished(edit, way.hides_back)
    }

    /// A response without what tells about whoever answers.
    fn hide_answerer<'m>(
        &self,
        edit: Edit<'m>,
        response: &Message,
        routes: &[String],
        (own, transport): (&str, Transport),
    ) -> Edit<'m> {
        let mut edit = self.hide(edit, response);
        let status = response.status().unwrap_or_default();
        if status >= 300 {
            // A failure makes no dialog: its routes serve nobody, and lead inside.
            edit = edit.remove_all(HeaderName::RECORD_ROUTE);
        }
        if response.header(HeaderName::CONTACT).is_none() {
            return edit;
        }
        if status >= 300 {
            // Where a redirect leads is for the caller to know, unless it leads inside.
            let outside: Vec<&[u8]> = response
                .values(HeaderName::CONTACT)
                .filter(|value| self.leads_outside(value))
                .collect();
            edit = edit.remove_all(HeaderName::CONTACT);
            return match outside.is_empty() {
                true => edit,
                false => edit.append(HeaderName::CONTACT, outside.join(b", ".as_slice())),
            };
        }
        match self.veiled_contact(response, routes, (own, transport.uri_token())) {
            Some(contact) => edit.set(HeaderName::CONTACT, contact),
            None => edit.remove_all(HeaderName::CONTACT),
        }
    }

    fn leads_outside(&self, contact: &[u8]) -> bool {
        let Ok(contact) = NameAddr::parse(contact) else { return false };
        match contact.sip_uri() {
            Ok(uri) => uri.ip().is_none() && self.directory.is_local(uri.host()),
            Err(_) => contact.uri().get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"tel:")),
        }
    }

    /// Whether a transfer would have the other side call an address, not a name: it is not to see
    /// it, and would hardly reach it.
    pub(crate) fn refers_inside(&self, refer: &Message) -> bool {
        refer.values(HeaderName::REFER_TO).any(|target| self.is_address(target))
    }

    /// Whether a header names a host by an address that is not ours.
    fn is_address(&self, value: &[u8]) -> bool {
        let Ok(named) = NameAddr::parse(value) else { return false };
        named.sip_uri().is_ok_and(|uri| uri.ip().is_some() && !self.directory.is_local(uri.host()))
    }

    /// A Call-ID as the other side knows it: a veil is opened, an inner one veiled where the other
    /// side is not to see it.
    pub(crate) fn call_id_across<'c>(&self, call_id: &'c [u8], hides: bool) -> Cow<'c, [u8]> {
        if Veils::looks_like(Kind::CallId, call_id)
            && let Some(inner) = self.veils.open(Kind::CallId, call_id, b"")
        {
            return Cow::Owned(inner);
        }
        // Without a host there is nothing to hide (RFC 3261 §25.1: callid = word ["@" word]).
        let names_host = call_id.iter().any(|b| matches!(b, b'@' | b'.' | b':'));
        if hides
            && names_host
            && let Some(veil) = self.veils.seal(Kind::CallId, call_id, b"")
        {
            return Cow::Owned(veil.into_bytes());
        }
        Cow::Borrowed(call_id)
    }

    /// The Call-ID of the one who began the dialog, whichever side a message comes from: what route
    /// tokens and Contact veils are bound to.
    pub(crate) fn real_call_id<'m>(&self, message: &'m Message) -> Cow<'m, [u8]> {
        self.call_id_across(message.call_id().unwrap_or_default(), false)
    }

    /// Takes off a message whatever tells about the side it comes from. Via and routes are the
    /// caller's of this function.
    pub(crate) fn hide<'m>(&self, mut edit: Edit<'m>, message: &Message) -> Edit<'m> {
        for (name, value) in message.header_lines() {
            // Of requests the identities were dealt with where they are asserted.
            let connected = !message.is_request() && AMONG_TRUSTED.contains(&name);
            if connected || INNER.contains(&name) || is_private_extension(name.as_str()) {
                edit = edit.remove_all(name);
            } else if name == HeaderName::WARNING {
                edit = edit.set(name, warning(value));
            } else if name == HeaderName::REASON {
                edit = edit.set(name, reasons(message));
            } else if (name == HeaderName::ALERT_INFO && !is_urn(value))
                || (name == HeaderName::REFERRED_BY && self.is_address(value))
            {
                edit = edit.remove_all(name);
            }
        }
        edit
    }

    /// The Contact a hidden party is reached by from outside: the veil of its URI and of the routes
    /// to it, at our address.
    pub(crate) fn veiled_contact(
        &self,
        message: &Message,
        routes: &[String],
        (own, transport): (&str, &str),
    ) -> Option<String> {
        let value = message.header(HeaderName::CONTACT)?;
        let contact = NameAddr::parse(split_list(value).next()?).ok()?;
        let mut text = contact.uri().to_vec();
        for route in routes {
            text.push(b'\n');
            text.extend_from_slice(route.as_bytes());
        }
        let bound = self.real_call_id(message);
        let veil = self.veils.seal(Kind::Contact, &text, &bound)?;
        let mut made = format!("<sip:{veil}@{own};transport={transport}>");
        for (name, value) in contact.params().iter() {
            let name = String::from_utf8_lossy(name);
            if is_identifying(&name) {
                continue;
            }
            made.push(';');
            made.push_str(&name);
            if let Some(value) = value {
                made.push('=');
                made.push_str(&String::from_utf8_lossy(value));
            }
        }
        Some(made)
    }

    /// The target and routes behind a Request-URI of ours, if it is a veil of this dialog.
    pub(crate) fn unveiled_target(&self, request: &Message) -> Option<(String, Vec<String>)> {
        let uri = sip::SipUri::parse(request.request_uri()).ok()?;
        let user = uri.user().filter(|user| Veils::looks_like(Kind::Contact, user))?;
        let bound = self.real_call_id(request);
        let text = String::from_utf8(self.veils.open(Kind::Contact, user, &bound)?).ok()?;
        let mut lines = text.split('\n').map(str::to_owned);
        let target = lines.next()?;
        Some((target, lines.collect()))
    }
}

/// The edited message; hidden, with plain words in its description and reason phrase.
pub(crate) fn finished(edit: Edit<'_>, hides: bool) -> Message {
    let message = edit.ensure_content_length().finish();
    if !hides {
        return message;
    }
    let message = match crate::call::sdp_of(&message) {
        Some(sdp) => {
            let plain = plain_description(&sdp);
            replace_description(Edit::new(&message), &message, &plain).finish()
        }
        None => message,
    };
    with_plain_phrase(&message).unwrap_or(message)
}

/// A response in the words of the request it answers: its Vias, From, To, Call-ID and CSeq as they
/// came, and the tag the other side gave itself.
pub(crate) fn in_words_of<'m>(
    mut edit: Edit<'m>,
    response: &Message,
    request: &Message,
) -> Edit<'m> {
    edit = edit.remove_all(HeaderName::VIA);
    for via in request.headers(HeaderName::VIA).collect::<Vec<_>>().into_iter().rev() {
        edit = edit.prepend(HeaderName::VIA, via);
    }
    for name in [HeaderName::FROM, HeaderName::CALL_ID, HeaderName::CSEQ] {
        edit = edit.set(name, request.header(name).unwrap_or_default());
    }
    let mut to = request.header(HeaderName::TO).unwrap_or_default().to_vec();
    if let (None, Some(tag)) = (request.to_tag(), response.to_tag()) {
        to.extend_from_slice(b";tag=");
        to.extend_from_slice(tag);
    }
    edit.set(HeaderName::TO, to)
}
