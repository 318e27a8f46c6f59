//! A layer with a clock, and messages to feed it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sansio::{FlowId, SeededEntropy, Transport};

use crate::transaction::{Arrival, ClientKey, Config, Layer, Output, SendVia, ServerKey};
use crate::{HeaderName, Message, RequestBuilder, response_to};

pub(super) const FLOW: FlowId = FlowId { node: 0, shard: 0, id: 7 };

/// A layer in virtual time.
pub(super) struct Bench {
    pub(super) layer: Layer,
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) transport: Transport,
}

impl Bench {
    pub(super) fn new(transport: Transport) -> Self {
        Self::with(transport, Config::default())
    }

    pub(super) fn with(transport: Transport, config: Config) -> Self {
        let now = sansio::testing::epoch();
        let layer = Layer::new(config, &mut SeededEntropy::new(1));
        Self { layer, start: now, now, transport }
    }

    pub(super) fn send(&mut self, request: &Message) -> ClientKey {
        let via = SendVia { flow: FLOW, transport: self.transport };
        self.layer.send_request(self.now, via, request.clone()).expect("sent")
    }

    pub(super) fn receive(&mut self, message: &Message) {
        self.layer.handle_message(self.now, self.arrival(), message.clone());
    }

    pub(super) fn arrival(&self) -> Arrival {
        let peer: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
        Arrival { flow: FLOW, transport: self.transport, peer }
    }

    /// Receives a request and gives the key the TU got.
    pub(super) fn serve(&mut self, request: &Message) -> ServerKey {
        self.receive(request);
        let key = self.outputs().into_iter().find_map(|o| match o {
            Output::Request { key, .. } => key,
            _ => None,
        });
        key.expect("the request reached the TU with a key")
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.layer.poll_output()).collect()
    }

    /// What came out, one word each: `>INVITE`, `>200` for bytes sent, lower case for the TU.
    pub(super) fn drain(&mut self) -> Vec<String> {
        self.outputs().iter().map(word).collect()
    }

    /// Runs the timers for `ms` and notes what came out when, in milliseconds since the start.
    pub(super) fn run(&mut self, ms: u64) -> Vec<(u128, String)> {
        let end = self.now + Duration::from_millis(ms);
        let mut seen = Vec::new();
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.layer.handle_timeout(at);
            let ms = (at - self.start).as_millis();
            seen.extend(self.drain().into_iter().map(|w| (ms, w)));
        }
        self.now = end;
        seen
    }

    /// When `what` came out within `ms`.
    pub(super) fn times(&mut self, ms: u64, what: &str) -> Vec<u128> {
        self.run(ms).into_iter().filter(|(_, w)| w == what).map(|(at, _)| at).collect()
    }
}

pub(super) fn word(output: &Output) -> String {
    let of = |message: &Message| match message.method() {
        Some(method) => method.as_str().to_owned(),
        None => message.status().unwrap_or_default().to_string(),
    };
    match output {
        Output::Transmit { message, .. } => format!(">{}", of(&parse(message.clone()))),
        Output::Request { key: Some(_), message, .. } => format!("request {}", of(message)),
        Output::Request { key: None, message, .. } => format!("loose {}", of(message)),
        Output::Cancel { .. } => "cancel".into(),
        Output::Ack { .. } => "ack".into(),
        Output::Response { message, .. } => format!("response {}", of(message)),
        Output::TimedOut { .. } => "timed out".into(),
        Output::FlowFailed { .. } => "flow failed".into(),
        Output::StrayResponse { message, .. } => format!("stray {}", of(message)),
        Output::Terminated { ending, .. } => format!("end {ending:?}"),
    }
}

pub(super) fn parse(bytes: impl Into<bytes::Bytes>) -> Message {
    Message::parse(bytes.into()).expect("what the layer writes parses")
}

pub(super) fn request(method: &str, branch: &str) -> Message {
    call(method, branch, "call-1", 1)
}

pub(super) fn call(method: &str, branch: &str, call_id: &str, seq: u32) -> Message {
    let method = crate::Method::new(method.as_bytes()).expect("a method");
    RequestBuilder::new(method, "sip:bob@example.com")
        .header(HeaderName::VIA, format!("SIP/2.0/UDP client.example.com;branch={branch}"))
        .header(HeaderName::ROUTE, "<sip:p1.example.com;lr>")
        .header(HeaderName::MAX_FORWARDS, "70")
        .header(HeaderName::FROM, "Alice <sip:alice@example.com>;tag=a1")
        .header(HeaderName::TO, "<sip:bob@example.com>")
        .header(HeaderName::CALL_ID, call_id)
        .header(HeaderName::CSEQ, format!("{seq} {method}"))
        .build()
}

pub(super) fn response(request: &Message, code: u16) -> Message {
    response_to(request, code, "").to_tag("b1").build()
}

pub(super) fn sent(outputs: &[Output]) -> Vec<Message> {
    let message = |o: &Output| match o {
        Output::Transmit { message, .. } => Some(parse(message.clone())),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}
