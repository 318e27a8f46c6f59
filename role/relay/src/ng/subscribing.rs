//! `subscribe request`, `subscribe answer` and `unsubscribe`: a third party hears what parties of a
//! call send. It is named by the to-tag it is given.

use std::time::Instant;

use bytes::Bytes;

use super::calls::Call;
use super::request::{NAME_MAX, Request, RequestError};
use super::value::Value;
use super::{Controlled, Entries, named, reason};
use crate::Protocol;
use crate::api::{LegProfile, SessionId};
use crate::control::{Control, Wanted};
use crate::dialect::{Dialect, DtlsWish, IceWish};
use crate::ports::Ports;

/// Third parties of one call.
const SUBSCRIBERS_MAX: usize = 16;

impl Controlled {
    pub(super) fn subscribe<P: Ports>(
        &mut self,
        now: Instant,
        control: &mut Control<P>,
        (request, message): (&Request, &Value),
    ) -> Result<Entries, String> {
        let call = self.calls.get_mut(named(request)?).ok_or("Unknown call-id")?;
        let sources = sources(call, request, message)?;
        let first = sources.first().copied().ok_or("No monologues matched")?;
        let tag = match &request.parties.to_tag {
            Some(tag) => tag.clone(),
            None => Bytes::from(control.token()),
        };
        // Asked again under the same tag: what was offered before is void.
        if let Some(number) = call.subscription(&tag) {
            control.unsubscribe(call.session, number);
            call.remove_subscription(number);
        }
        if call.subscriptions().len() >= SUBSCRIBERS_MAX {
            return Err(format!("{SUBSCRIBERS_MAX} parties subscribe to the call, the limit"));
        }
        let label = message.get("set-label").and_then(Value::str);
        let wanted: Vec<Wanted> = sources
            .iter()
            .map(|source| Wanted {
                source: *source,
                label: label.map(str::to_owned).or_else(|| call.label_of(*source)),
            })
            .collect();
        let profile = profile(control, request, message, (call.session, first));
        let offered = control.subscribe(now, call.session, &wanted, &profile);
        let (number, sdp) = offered.map_err(|why| reason(&why))?;
        call.add_subscription(tag.clone(), number);
        let tags: Vec<Value> =
            sources.iter().map(|source| Value::String(call.tag_of(*source))).collect();
        let mut entries = vec![("sdp", Value::String(sdp))];
        if let [tag] = &tags[..] {
            entries.push(("from-tag", tag.clone()));
        }
        entries.push(("from-tags", Value::List(tags)));
        entries.push(("to-tag", Value::String(tag)));
        Ok(entries)
    }

    pub(super) fn subscribe_answer<P: Ports>(
        &mut self,
        now: Instant,
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        let (session, number) = self.subscription(request)?;
        let number = number.ok_or("To-tag not found")?;
        let sdp = request.sdp.as_ref().ok_or_else(|| RequestError::NoSdp.to_string())?;
        let taken = control.subscribe_answer(now, session, number, sdp);
        taken.map(|()| Vec::new()).map_err(|why| reason(&why))
    }

    pub(super) fn unsubscribe<P: Ports>(
        &mut self,
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        // Gone already: so be it.
        if let (session, Some(number)) = self.subscription(request)? {
            control.unsubscribe(session, number);
            if let Some(call) = self.calls.get_mut(&request.parties.call_id) {
                call.remove_subscription(number);
            }
        }
        Ok(Vec::new())
    }

    /// The session, and the number of the subscription that a request is about.
    fn subscription(&self, request: &Request) -> Result<(SessionId, Option<u32>), String> {
        let call = self.calls.get(named(request)?).ok_or("Unknown call-id")?;
        let tag = request.parties.to_tag.as_ref();
        let tag = tag.ok_or_else(|| RequestError::NoToTag.to_string())?;
        Ok((call.session, call.subscription(tag)))
    }
}

/// Whose streams: those of `from-tags`, else of the party that is named, else of everyone.
fn sources(call: &Call, request: &Request, message: &Value) -> Result<Vec<Option<u32>>, String> {
    let unknown = || "From-tag given, but no such tag exists".to_owned();
    let listed = message.get("from-tags").map(Value::members).unwrap_or_default();
    if !listed.is_empty() {
        let tags = listed.iter().filter_map(Value::bytes).take(SUBSCRIBERS_MAX);
        let party = |tag: &Bytes| call.party_of(tag).ok_or_else(unknown);
        return tags.filter(|tag| tag.len() <= NAME_MAX).map(party).collect();
    }
    let parties = &request.parties;
    match call.meant(parties) {
        _ if parties.from_tag.is_none() && parties.label.is_none() && !parties.all => {
            Ok(Vec::new())
        }
        meant if meant.is_empty() && parties.from_tag.is_some() => Err(unknown()),
        meant => Ok(meant),
    }
}

/// How the third party is offered media: as the controller says, else keyed as the source is.
fn profile<P: Ports>(
    control: &Control<P>,
    request: &Request,
    message: &Value,
    (session, source): (SessionId, Option<u32>),
) -> LegProfile {
    let wishes = &request.wishes;
    let keyed = control.protocol_of(session, source).unwrap_or(Protocol::Rtp);
    let protocol = match wishes.protocol(keyed) {
        Protocol::WebRtc if wishes.dtls == DtlsWish::Off => Protocol::Srtp,
        protocol => protocol,
    };
    let ice = match wishes.ice {
        // Nobody offered: whom we take for a browser is offered what browsers need.
        IceWish::AsOffered => IceWish::WithWebRtc,
        wish => wish,
    };
    let interface = message.get("interface").and_then(Value::str).map(str::to_owned);
    LegProfile {
        interface: interface.or_else(|| wishes.direction.as_ref().map(|(_, to)| to.clone())),
        dialect: Dialect {
            // Its INFO are not seen by us.
            trickle: false,
            each_stream: false,
            transport: wishes.transport.clone(),
            ice,
            mux: wishes.mux,
            dtls: wishes.dtls,
            rtcp_attribute: !wishes.no_rtcp_attribute,
            keep_origin: false,
        },
        ..LegProfile::new(protocol)
    }
}
