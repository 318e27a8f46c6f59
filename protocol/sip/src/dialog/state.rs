//! [`Dialog`].

use std::fmt;

use super::{DialogError, DialogId};
use crate::{HeaderName, Message, Method, NameAddr, RequestBuilder, SipUri};

/// One dialog, seen from one side. `Debug` shows its id and phase, not who talks.
#[derive(Clone)]
pub struct Dialog {
    id: DialogId,
    role: Role,
    phase: Phase,
    secure: bool,
    /// Our From value of in-dialog requests, tag included.
    local: Box<[u8]>,
    /// Our To value of in-dialog requests, tag included.
    remote: Box<[u8]>,
    remote_target: Box<[u8]>,
    /// Route values, next hop first.
    route_set: Vec<Box<[u8]>>,
    local_seq: u32,
    remote_seq: Option<u32>,
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialog({:?} {:?} {:?})", self.id, self.role, self.phase)
    }
}

/// Who sent the request that created the dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We did.
    Uac,
    /// The peer did.
    Uas,
}

/// How far a dialog has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Made by a provisional.
    Early,
    /// A 2xx came or went.
    Confirmed,
    /// Over.
    Terminated,
}

impl Dialog {
    /// The dialog that a response to our `request` creates (RFC 3261 §12.1.2).
    pub fn from_response(request: &Message, response: &Message) -> Result<Self, DialogError> {
        let status = response.status().unwrap_or_default();
        let id = DialogId::of_response(response)?;
        if !(101..300).contains(&status) || (status < 200 && id.remote_tag.is_empty()) {
            return Err(DialogError::NotDialogForming);
        }
        let cseq = request.cseq().map_err(|_| DialogError::Missing("CSeq"))?;
        let local = request.header(HeaderName::FROM).ok_or(DialogError::Missing("From"))?;
        let remote = response.header(HeaderName::TO).ok_or(DialogError::Missing("To"))?;
        // A provisional without Contact makes a dialog too (it must not, but they do): the target
        // stays the one we called until the 2xx says better.
        let target = contact(response);
        if target.is_none() && status >= 200 {
            return Err(DialogError::Missing("Contact"));
        }
        Ok(Self {
            id,
            role: Role::Uac,
            phase: phase_of(status),
            secure: is_sips(request.request_uri()),
            local: local.into(),
            remote: remote.into(),
            remote_target: target.unwrap_or_else(|| request.request_uri().into()),
            route_set: reversed_record_routes(response),
            local_seq: cseq.number,
            remote_seq: None,
        })
    }

    /// The dialog that our response with `local_tag` to a received `request` creates (§12.1.1).
    /// Early until [`Dialog::confirm`].
    pub fn from_request(request: &Message, local_tag: &str) -> Result<Self, DialogError> {
        let to = request.header(HeaderName::TO).ok_or(DialogError::Missing("To"))?;
        let from = request.header(HeaderName::FROM).ok_or(DialogError::Missing("From"))?;
        let peer = request.from_().map_err(|_| DialogError::Missing("From"))?;
        let cseq = request.cseq().map_err(|_| DialogError::Missing("CSeq"))?;
        let call_id = request.call_id().ok_or(DialogError::Missing("Call-ID"))?;
        let target = contact(request).ok_or(DialogError::Missing("Contact"))?;
        let local = [to, b";tag=", local_tag.as_bytes()].concat();
        Ok(Self {
            id: DialogId {
                call_id: call_id.into(),
                local_tag: local_tag.as_bytes().into(),
                remote_tag: peer.tag().unwrap_or_default().into(),
            },
            role: Role::Uas,
            phase: Phase::Early,
            secure: is_sips(request.request_uri()),
            local: local.into(),
            remote: from.into(),
            remote_target: target,
            route_set: request.values(HeaderName::RECORD_ROUTE).map(Into::into).collect(),
            local_seq: 0,
            remote_seq: Some(cseq.number),
        })
    }

    /// A UAS sends its 2xx.
    pub fn confirm(&mut self) {
        if self.phase == Phase::Early {
            self.phase = Phase::Confirmed;
        }
    }

    /// The dialog is over: BYE was sent, the INVITE failed, or the peer is gone.
    pub fn terminate(&mut self) {
        self.phase = Phase::Terminated;
    }

    /// A request arrived in this dialog (§12.2.2). On success a target refresh has taken effect and
    /// a BYE has ended the dialog; answer it. On error answer [`DialogError::status`].
    pub fn handle_request(&mut self, request: &Message) -> Result<(), DialogError> {
        let method = request.method().ok_or(DialogError::Missing("method"))?;
        let cseq = request.cseq().map_err(|_| DialogError::Missing("CSeq"))?;
        // ACK and CANCEL carry the number of their INVITE.
        if method == Method::ACK || method == Method::CANCEL {
            return Ok(());
        }
        if self.phase == Phase::Terminated {
            return Err(DialogError::Terminated);
        }
        if self.remote_seq.is_some_and(|last| cseq.number <= last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_seq = Some(cseq.number);
        if refreshes_target(method)
            && let Some(target) = contact(request)
        {
            self.remote_target = target;
        }
        if method == Method::BYE {
            self.phase = Phase::Terminated;
        }
        Ok(())
    }

    /// A response arrived to a request we sent in this dialog, or a further one to the request that
    /// created it (§12.2.1.2, §13.2.2.4).
    pub fn handle_response(&mut self, response: &Message) {
        let (Some(status), Ok(cseq)) = (response.status(), response.cseq()) else { return };
        match status {
            200..=299 if cseq.method == Method::BYE => self.phase = Phase::Terminated,
            101..=299 => {
                if self.phase == Phase::Early && cseq.method == Method::INVITE {
                    self.handle_early(status, response);
                }
                if refreshes_target(cseq.method)
                    && (status >= 200 || self.phase == Phase::Early)
                    && let Some(target) = contact(response)
                {
                    self.remote_target = target;
                }
            }
            // The peer knows no such dialog, or is gone (§12.2.1.2). A BYE ends it in any case.
            408 | 481 => self.phase = Phase::Terminated,
            300.. if cseq.method == Method::BYE => self.phase = Phase::Terminated,
            300.. if self.phase == Phase::Early && cseq.method == Method::INVITE => {
                self.phase = Phase::Terminated;
            }
            _ => {}
        }
    }

    /// A new request in this dialog (§12.2.1.1): Request-URI and Route from the route set, CSeq one
    /// higher. Still to be added: Via, and Contact where the method wants it.
    pub fn request(&mut self, method: Method<'_>) -> RequestBuilder {
        self.local_seq += 1;
        self.build(method, self.local_seq)
    }

    /// The ACK for a 2xx to the INVITE with this CSeq number (§13.2.2.4). Via, and the credentials
    /// the INVITE carried, are still to be added; it is sent outside any transaction, again for
    /// every 2xx that comes.
    pub fn ack(&self, invite_seq: u32) -> RequestBuilder {
        self.build(Method::ACK, invite_seq)
    }

    /// What names it.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Whether we called.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// It was made by a request to a `sips` URI.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Where the peer is: its last Contact URI.
    pub fn remote_target(&self) -> &[u8] {
        &self.remote_target
    }

    /// The peer as our requests name it: the To value, its tag included.
    pub fn remote(&self) -> &[u8] {
        &self.remote
    }

    /// The Route values of our requests, next hop first.
    pub fn route_set(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.route_set.iter().map(|r| &**r)
    }

    /// The CSeq number of our last request.
    pub fn local_seq(&self) -> u32 {
        self.local_seq
    }

    /// The CSeq number of the peer's last request.
    pub fn remote_seq(&self) -> Option<u32> {
        self.remote_seq
    }

    /// While early the route set may still change: that of the 2xx counts (§13.2.2.4).
    fn handle_early(&mut self, status: u16, response: &Message) {
        if status >= 200 {
            self.route_set = reversed_record_routes(response);
            self.phase = Phase::Confirmed;
        } else if self.route_set.is_empty() {
            self.route_set = reversed_record_routes(response);
        }
    }

    fn build(&self, method: Method<'_>, seq: u32) -> RequestBuilder {
        let first = self.route_set.first().and_then(|r| NameAddr::parse(r).ok());
        let strict = first.filter(|r| r.sip_uri().is_ok_and(|uri| !uri.has_param("lr")));
        let mut builder = match &strict {
            Some(router) => RequestBuilder::new(method, router.uri()),
            None => RequestBuilder::new(method, &*self.remote_target),
        };
        for route in self.route_set.iter().skip(usize::from(strict.is_some())) {
            builder = builder.header(HeaderName::ROUTE, &**route);
        }
        if strict.is_some() {
            let target = [b"<", &*self.remote_target, b">"].concat();
            builder = builder.header(HeaderName::ROUTE, target);
        }
        builder
            .header(HeaderName::MAX_FORWARDS, "70")
            .header(HeaderName::FROM, &*self.local)
            .header(HeaderName::TO, &*self.remote)
            .header(HeaderName::CALL_ID, &*self.id.call_id)
            .header(HeaderName::CSEQ, format!("{seq} {method}"))
    }
}

/// Methods whose Contact moves the remote target (RFC 3261 §12.2, RFC 3311, RFC 6665).
fn refreshes_target(method: Method<'_>) -> bool {
    let refreshing = [Method::INVITE, Method::UPDATE, Method::SUBSCRIBE, Method::NOTIFY];
    refreshing.contains(&method) || method == Method::REFER
}

fn phase_of(status: u16) -> Phase {
    if status >= 200 { Phase::Confirmed } else { Phase::Early }
}

fn contact(message: &Message) -> Option<Box<[u8]>> {
    let value = message.values(HeaderName::CONTACT).next()?;
    Some(NameAddr::parse(value).ok()?.uri().into())
}

fn is_sips(uri: &[u8]) -> bool {
    SipUri::parse(uri).is_ok_and(|uri| uri.is_sips())
}

fn reversed_record_routes(response: &Message) -> Vec<Box<[u8]>> {
    let mut routes: Vec<Box<[u8]>> =
        response.values(HeaderName::RECORD_ROUTE).map(Into::into).collect();
    routes.reverse();
    routes
}
