//! One TCP or TLS connection: framing in, bounded queue out, every wait bounded.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use sansio::FlowId;
use sip::{Frame, FrameError, StreamFramer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::admission::Permit;
use super::engine::{Engine, Origin};
use super::halves::{Reader, Writer, split};
use super::outbox::{Ending, Outbox};
use crate::config::Limits;
use crate::core::{CloseReason, ShardCore};

/// How long closing in order may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(crate) async fn serve<C, S>(engine: Rc<Engine<C>>, stream: S, origin: Origin, permit: Permit)
where
    C: ShardCore,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (flow, outbox) = engine.open_stream();
    run(engine, stream, origin, (flow, outbox), None).await;
    drop(permit);
}

/// The same for a client that proved these names by its certificate.
pub(crate) async fn serve_proved<C, S>(
    engine: Rc<Engine<C>>,
    stream: S,
    origin: Origin,
    permit: Permit,
    names: Arc<[String]>,
) where
    C: ShardCore,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (flow, outbox) = engine.open_stream();
    engine.proof.flows.insert(flow, names);
    run(engine, stream, origin, (flow, outbox), None).await;
    drop(permit);
}

/// Serves a connection to a next hop to its end.
pub(crate) async fn serve_dialled<C, S>(
    engine: Rc<Engine<C>>,
    stream: S,
    origin: Origin,
    flow: FlowId,
    outbox: Rc<Outbox>,
) where
    C: ShardCore,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let upkeep = Upkeep::new(Instant::now());
    run(engine, stream, origin, (flow, outbox), Some(upkeep)).await;
}

async fn run<C, S>(
    engine: Rc<Engine<C>>,
    stream: S,
    origin: Origin,
    (flow, outbox): (FlowId, Rc<Outbox>),
    upkeep: Option<Upkeep>,
) where
    C: ShardCore,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = RefCell::new(stream);
    let (reader, writer) = split(&stream);
    let limits =
        sip::Limits { message_bytes_max: engine.limits.max_message, ..sip::Limits::default() };
    let now = Instant::now();
    let mut connection = Connection {
        engine: &engine,
        origin,
        flow,
        outbox: &outbox,
        writer,
        pending: Bytes::new(),
        unflushed: false,
        // Who was called needs not speak first.
        clock: Clock { heard: now, begun: upkeep.is_none().then_some(now), writing: None },
        upkeep,
        framer: StreamFramer::new(limits),
    };
    let why = connection.run(reader).await;
    let ours = connection.upkeep.is_some() && why == CloseReason::Idle;
    if ours || matches!(why, CloseReason::PeerClosed | CloseReason::Shutdown) {
        // A courtesy (FIN, TLS close_notify); whoever broke a limit does not get it.
        let _ = tokio::time::timeout(GOODBYE, connection.writer.shutdown()).await;
    }
    engine.note_end(connection.origin.peer.ip(), why);
    engine.stream_ended(flow, why);
}

struct Connection<'a, C: ShardCore, S> {
    engine: &'a Engine<C>,
    origin: Origin,
    flow: FlowId,
    outbox: &'a Outbox,
    writer: Writer<'a, S>,
    pending: Bytes,
    unflushed: bool,
    clock: Clock,
    /// For a connection to a next hop.
    upkeep: Option<Upkeep>,
    framer: StreamFramer,
}

impl<C: ShardCore, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, C, S> {
    async fn run(&mut self, mut reader: Reader<'_, S>) -> CloseReason {
        let limits = &self.engine.limits;
        let mut alarm = pin!(tokio::time::sleep_until(self.next(limits).0.into()));
        loop {
            if let Some(why) = self.prepare_write() {
                return why;
            }
            let (deadline, verdict) = self.next(limits);
            if deadline < alarm.deadline().into_std() {
                alarm.as_mut().reset(deadline.into());
            }
            let writing = self.clock.writing.is_some();
            tokio::select! {
                read = poll_fn(|cx| poll_read(cx, &mut reader, self.engine, &mut self.framer)) => {
                    match read {
                        Ok(0) => return CloseReason::PeerClosed,
                        Ok(_) => if let Err(why) = self.handle_bytes() { return why },
                        Err(_) => return CloseReason::Broken,
                    }
                }
                wrote = write_some(&mut self.writer, &self.pending), if writing => match wrote {
                    Ok(n) => self.advance(n),
                    Err(_) => return CloseReason::Broken,
                },
                () = poll_fn(|cx| self.outbox.poll_wanted(cx, writing)) => {}
                () = alarm.as_mut() => {
                    if Instant::now() >= deadline {
                        match verdict {
                            Due::End(why) => return why,
                            Due::Ping => self.ping(),
                        }
                    }
                    let (deadline, _) = self.next(limits);
                    alarm.as_mut().reset(deadline.into());
                }
            }
        }
    }

    /// Takes the next bytes to write; `Some` if the connection is to end now.
    fn prepare_write(&mut self) -> Option<CloseReason> {
        if let Some(Ending::Now(why)) = self.outbox.ending() {
            return Some(why);
        }
        if self.pending.is_empty() {
            self.pending = self.outbox.take();
            if let Some(upkeep) = self.upkeep.as_mut().filter(|_| self.pending.len() > PING.len()) {
                upkeep.busy = Instant::now();
            }
        }
        if self.pending.is_empty() && !self.unflushed {
            self.clock.writing = None;
            return self.outbox.ending().map(|_| CloseReason::Shutdown);
        }
        self.clock.writing.get_or_insert_with(Instant::now);
        None
    }

    /// `n` bytes of `pending` went; 0 means a flush did.
    fn advance(&mut self, n: usize) {
        self.unflushed = n > 0;
        self.pending.advance(n);
        self.outbox.written(n);
        self.clock.writing = Some(Instant::now());
    }

    fn handle_bytes(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        self.clock.heard = now;
        let mut whole = false;
        while let Some(frame) = self.framer.next_frame().map_err(reason)? {
            whole = true;
            if let Some(upkeep) = &mut self.upkeep {
                upkeep.hear(&frame, now);
            }
            match frame {
                Frame::Message(message) => {
                    let answer = |response| self.outbox.push(response);
                    // Whom we connected to is no stranger.
                    let is_stranger = self.upkeep.is_none();
                    if is_stranger
                        && !self.engine.admits_on_stream(&self.origin, &message, answer)?
                    {
                        continue;
                    }
                    self.engine.receive(self.origin.received(self.flow, message));
                }
                Frame::Ping if !self.outbox.push(Bytes::from_static(b"\r\n")) => {
                    return Err(CloseReason::SlowReader);
                }
                Frame::Ping | Frame::Pong => {}
            }
            if let Some(Ending::Now(why)) = self.outbox.ending() {
                return Err(why);
            }
        }
        self.engine.flush();
        match (self.framer.buffered() > 0, whole) {
            (false, _) if whole || self.clock.begun.is_none() => self.clock.begun = None,
            (true, true) => self.clock.begun = Some(now),
            _ => {
                self.clock.begun.get_or_insert(now);
            }
        }
        Ok(())
    }

    /// The nearest deadline and what is due then.
    fn next(&self, limits: &Limits) -> (Instant, Due) {
        let (at, why) = self.clock.next(limits);
        let upkeep = self.upkeep.as_ref().map(|upkeep| upkeep.next(limits));
        upkeep.filter(|(due, _)| *due < at).unwrap_or((at, Due::End(why)))
    }

    fn ping(&mut self) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.pinged = Instant::now();
            upkeep.unanswered.get_or_insert(upkeep.pinged);
            // A full queue is a sign of life, or of a slow reader, which has its own limit.
            self.outbox.push(Bytes::from_static(PING));
        }
    }
}

/// RFC 5626 §4.4.1.
const PING: &[u8] = b"\r\n\r\n";

/// What is due at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    End(CloseReason),
    Ping,
}

/// How a connection to a next hop is kept, and when it is given up.
#[derive(Debug, Clone, Copy)]
struct Upkeep {
    /// When the last message went or came.
    busy: Instant,
    pinged: Instant,
    /// Since when a ping waits for its answer.
    unanswered: Option<Instant>,
    /// Whether the peer ever answered one: from others no answer may be expected.
    answers: bool,
}

impl Upkeep {
    fn new(now: Instant) -> Self {
        Self { busy: now, pinged: now, unanswered: None, answers: false }
    }

    fn hear(&mut self, frame: &Frame, now: Instant) {
        self.unanswered = None;
        match frame {
            Frame::Message(_) => self.busy = now,
            Frame::Pong => self.answers = true,
            Frame::Ping => {}
        }
    }

    fn next(&self, limits: &Limits) -> (Instant, Due) {
        let idle = (self.busy + limits.dialled_idle, Due::End(CloseReason::Idle));
        let ping = (self.pinged + limits.dialled_ping, Due::Ping);
        let dead = self.unanswered.filter(|_| self.answers);
        let dead = dead.map(|at| (at + limits.pong, Due::End(CloseReason::Broken)));
        [Some(ping), dead].into_iter().flatten().fold(idle, |a, b| if b.0 < a.0 { b } else { a })
    }
}

/// What a connection is waiting for, and since when.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// When the last byte came.
    heard: Instant,
    /// When the message under way began; from the start until the first message.
    begun: Option<Instant>,
    /// When writing last made progress, while there is something to write.
    writing: Option<Instant>,
}

impl Clock {
    /// The nearest deadline and what it means to miss it.
    fn next(&self, limits: &Limits) -> (Instant, CloseReason) {
        let idle = (self.heard + limits.idle, CloseReason::Idle);
        let begun = self.begun.map(|at| (at + limits.message, CloseReason::Dribble));
        let stall = self.writing.map(|at| (at + limits.write_stall, CloseReason::SlowReader));
        [begun, stall].into_iter().flatten().fold(idle, |a, b| if b.0 < a.0 { b } else { a })
    }
}

/// Reads into the shard's scratch buffer, so that an idle connection holds none of its own.
fn poll_read<C: ShardCore, S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut Reader<'_, S>,
    engine: &Engine<C>,
    framer: &mut StreamFramer,
) -> Poll<io::Result<usize>> {
    let mut scratch = engine.scratch.borrow_mut();
    let mut buffer = ReadBuf::new(&mut scratch);
    ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
    framer.push(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

async fn write_some<S: AsyncWrite + Unpin>(
    writer: &mut Writer<'_, S>,
    pending: &[u8],
) -> io::Result<usize> {
    if pending.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(pending).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        n => Ok(n),
    }
}

fn reason(error: FrameError) -> CloseReason {
    match error {
        FrameError::TooLarge => CloseReason::TooLarge,
        _ => CloseReason::Framing,
    }
}
