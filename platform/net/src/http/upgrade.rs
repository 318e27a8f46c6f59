//! The WebSocket upgrade at `/sip` (RFC 6455 §4.2, RFC 7118 §4).

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{ClientAddr, Plain};
use crate::server_stream::ServerStream;
use crate::shard::{Adopted, WebSocketDoor};
use crate::ws::SUBPROTOCOL;

/// The path SIP over WebSocket is served at.
const PATH: &str = "/sip";

/// Whether a request is for the SIP WebSocket (whatever else is wrong with it).
pub(super) fn is_sip(request: &Request<Incoming>) -> bool {
    request.uri().path() == PATH && has_token(request.headers(), &UPGRADE, "websocket")
}

/// Answers an upgrade; if it succeeds the stream goes to a shard once the answer is written.
pub(super) fn answer(
    mut request: Request<Incoming>,
    door: WebSocketDoor,
    client: ClientAddr,
) -> Plain {
    let accept = match check(&request, &door) {
        Ok(accept) => accept,
        Err((status, why)) => return refusal(status, why),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => hand_over(upgraded, &door, client),
            Err(error) => tracing::debug!(peer = %client.peer, %error, "WebSocket upgrade failed"),
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn check(
    request: &Request<Incoming>,
    door: &WebSocketDoor,
) -> Result<HeaderValue, (StatusCode, &'static str)> {
    let headers = request.headers();
    if request.method() != Method::GET || !has_token(headers, &CONNECTION, "upgrade") {
        return Err((StatusCode::BAD_REQUEST, "not a WebSocket upgrade\n"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is spoken here\n"));
    }
    if !has_token(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err((StatusCode::BAD_REQUEST, "the subprotocol sip is required\n"));
    }
    if !door.is_open() {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "the server is being drained\n"));
    }
    headers
        .get(SEC_WEBSOCKET_KEY)
        .and_then(|key| derive_accept_key(key.as_bytes()).parse().ok())
        .ok_or((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing\n"))
}

fn refusal(status: StatusCode, why: &'static str) -> Plain {
    let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
    *response.status_mut() = status;
    if status == StatusCode::UPGRADE_REQUIRED {
        let version = HeaderValue::from_static("13");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, version);
    }
    response
}

fn hand_over(upgraded: hyper::upgrade::Upgraded, door: &WebSocketDoor, client: ClientAddr) {
    let Ok(parts) = upgraded.downcast::<TokioIo<ServerStream>>() else {
        return tracing::error!("an upgraded stream was not one of ours");
    };
    let adopted = Adopted {
        stream: parts.io.into_inner(),
        read_ahead: parts.read_buf,
        local: client.local,
        peer: client.peer,
        permit: None,
    };
    if door.adopt(adopted).is_none() {
        tracing::debug!(peer = %client.peer, "WebSocket refused by a limit");
    }
}

/// Whether a comma-separated header has a token, without regard to case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
}
