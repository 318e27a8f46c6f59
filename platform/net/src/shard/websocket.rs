//! One SIP WebSocket (RFC 7118): a message per frame, text or binary.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use sansio::{FlowId, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::engine::{Engine, Origin};
use super::mail::Adopted;
use super::outbox::{Ending, Outbox};
use crate::core::{CloseReason, ShardCore, begins_message};
use crate::ws;

/// How long closing in order may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves an adopted WebSocket to its end.
pub(crate) async fn serve<C: ShardCore>(engine: Rc<Engine<C>>, mut adopted: Adopted) {
    if let Err(error) = adopted.stream.move_here() {
        tracing::debug!(peer = %adopted.peer, %error, "WebSocket lost while moving");
        return;
    }
    let transport = if adopted.stream.is_secure() { Transport::Wss } else { Transport::Ws };
    let Adopted { stream, read_ahead, local, peer, permit } = adopted;
    let config = Some(ws::config(engine.limits.max_message));
    let socket =
        WebSocketStream::from_partially_read(stream, read_ahead.into(), Role::Server, config).await;
    let (flow, outbox) = engine.open_stream();
    let origin = Origin { transport, local, peer };
    run(engine, socket, origin, (flow, outbox), false).await;
    drop(permit);
}

/// Serves a WebSocket to a next hop to its end.
pub(crate) async fn serve_dialled<C, S>(
    engine: Rc<Engine<C>>,
    socket: WebSocketStream<S>,
    origin: Origin,
    flow: FlowId,
    outbox: Rc<Outbox>,
) where
    C: ShardCore,
    S: AsyncRead + AsyncWrite + Unpin,
{
    run(engine, socket, origin, (flow, outbox), true).await;
}

async fn run<C, S>(
    engine: Rc<Engine<C>>,
    socket: WebSocketStream<S>,
    origin: Origin,
    (flow, outbox): (FlowId, Rc<Outbox>),
    dialled: bool,
) where
    C: ShardCore,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    let (heard, pinged, busy) = (now, now, dialled.then_some(now));
    let begun = (!dialled).then_some(now);
    let mut connection = Connection {
        engine: &engine,
        origin,
        flow,
        outbox: &outbox,
        socket,
        unflushed: false,
        in_flight: 0,
        stalled: None,
        heard,
        pinged,
        begun,
        busy,
    };
    let why = connection.run().await;
    connection.say_goodbye(why).await;
    drop(connection);
    engine.note_end(origin.peer.ip(), why);
    engine.stream_ended(flow, why);
}

struct Connection<'a, C: ShardCore, S> {
    engine: &'a Engine<C>,
    origin: Origin,
    flow: FlowId,
    outbox: &'a Outbox,
    socket: WebSocketStream<S>,
    unflushed: bool,
    /// Bytes given to the socket and not yet flushed.
    in_flight: usize,
    /// Since when writing makes no progress.
    stalled: Option<Instant>,
    heard: Instant,
    pinged: Instant,
    /// Waiting for the first message since.
    begun: Option<Instant>,
    /// For a WebSocket to a next hop: when the last message went or came.
    busy: Option<Instant>,
}

impl<C: ShardCore, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, C, S> {
    async fn run(&mut self) -> CloseReason {
        let limits = &self.engine.limits;
        let step = limits.websocket_ping.min(limits.message);
        let mut alarm = pin!(tokio::time::sleep(step));
        loop {
            tokio::select! {
                event = poll_fn(|cx| self.poll(cx)) => match event {
                    Ok(message) => {
                        if let Err(why) = self.handle_message(message) {
                            return why;
                        }
                        self.engine.flush();
                    }
                    Err(why) => return why,
                },
                () = alarm.as_mut() => {
                    if let Some(why) = self.look_at_clock() {
                        return why;
                    }
                    alarm.as_mut().reset(tokio::time::Instant::now() + step);
                }
            }
        }
    }

    /// A Close frame (RFC 6455 §7.4.1), for those who would read it.
    async fn say_goodbye(&mut self, why: CloseReason) {
        let code = match why {
            CloseReason::PeerClosed => CloseCode::Normal,
            CloseReason::Shutdown | CloseReason::Idle => CloseCode::Away,
            CloseReason::TooLarge => CloseCode::Size,
            CloseReason::Framing => CloseCode::Protocol,
            _ => return,
        };
        let frame = CloseFrame { code, reason: "".into() };
        let _ = tokio::time::timeout(GOODBYE, self.socket.close(Some(frame))).await;
    }

    /// Writes what it can, then reads: the next message, or why it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, CloseReason>> {
        if let Err(error) = self.write(cx) {
            return Poll::Ready(Err(reason(&error)));
        }
        match self.outbox.ending() {
            Some(Ending::Now(why)) => return Poll::Ready(Err(why)),
            Some(Ending::Flushed) if self.outbox.is_empty() && !self.unflushed => {
                return Poll::Ready(Err(CloseReason::Shutdown));
            }
            _ => self.outbox.register(cx),
        }
        Pin::new(&mut self.socket).poll_next(cx).map(|next| match next {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(reason(&error)),
            None => Err(CloseReason::PeerClosed),
        })
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while !self.outbox.is_empty() {
            if Pin::new(&mut self.socket).poll_ready(cx)?.is_pending() {
                self.stalled.get_or_insert_with(Instant::now);
                return Ok(());
            }
            let Some(message) = self.outbox.pop() else { break };
            self.in_flight += message.len();
            self.busy = self.busy.map(|_| Instant::now());
            Pin::new(&mut self.socket).start_send(ws::frame(message))?;
            self.unflushed = true;
        }
        if self.unflushed {
            if Pin::new(&mut self.socket).poll_flush(cx)?.is_pending() {
                self.stalled.get_or_insert_with(Instant::now);
                return Ok(());
            }
            self.unflushed = false;
            self.outbox.written(std::mem::take(&mut self.in_flight));
        }
        self.stalled = None;
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), CloseReason> {
        self.heard = Instant::now();
        let bytes: Bytes = match message {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => bytes,
            // tungstenite answers pings itself; the next poll writes the pong.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
            Message::Close(_) => return Err(CloseReason::PeerClosed),
        };
        self.begun = None;
        self.busy = self.busy.map(|_| self.heard);
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
            let pong = Bytes::from_static(b"\r\n");
            let answered = bytes.len() < 4 || self.outbox.push(pong);
            return if answered { Ok(()) } else { Err(CloseReason::SlowReader) };
        }
        if !begins_message(&bytes) {
            return Err(CloseReason::Framing);
        }
        let answer = |response| self.outbox.push(response);
        // Whom we connected to is no stranger.
        if self.busy.is_some() || self.engine.admits_on_stream(&self.origin, &bytes, answer)? {
            self.engine.receive(self.origin.received(self.flow, bytes));
        }
        Ok(())
    }

    fn look_at_clock(&mut self) -> Option<CloseReason> {
        let limits = &self.engine.limits;
        let (now, heard) = (Instant::now(), self.heard.elapsed());
        if self.begun.is_some_and(|at| now - at >= limits.message) {
            return Some(CloseReason::Dribble);
        }
        // Two pings and half of the time to the third without any sign of life.
        let dead = limits.websocket_ping * 5 / 2;
        let idle = self.busy.is_some_and(|at| now - at >= limits.dialled_idle);
        if idle || heard >= dead.min(limits.idle) {
            return Some(CloseReason::Idle);
        }
        if self.stalled.is_some_and(|at| now - at >= limits.write_stall) {
            return Some(CloseReason::SlowReader);
        }
        if now - self.pinged >= limits.websocket_ping && !self.unflushed {
            self.pinged = now;
            self.unflushed =
                Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).is_ok();
        }
        None
    }
}

fn reason(error: &Error) -> CloseReason {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => CloseReason::PeerClosed,
        Error::Capacity(_) => CloseReason::TooLarge,
        Error::Protocol(_) | Error::Utf8(_) => CloseReason::Framing,
        _ => CloseReason::Broken,
    }
}
