//! The phone's connection to its server, in a task of its own: a slow send or a new handshake must
//! not hold up the sound of a call.
//!
//! ```text
//!   driver ◄── Up{send, ..} │ Message │ Down ── task ── ClientTransport
//!      └────── send ────────────────────────────►┘   lost: again after 0.5 s, 1 s, .. 30 s
//! ```

use super::servers::Servers;
use ::phone::Link;
use bytes::Bytes;
use net::NetError;
use net::client::{ClientTransport, Endpoint};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long after a broken link the first attempt is made, and the longest wait.
const RECONNECT_MIN: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// A link that stood this long is trusted again: its end does not lengthen the wait.
const STABLE: Duration = Duration::from_secs(10);
/// Messages that may wait for the link, or from it.
const QUEUE: usize = 64;
/// How long one message may take to go out.
const SEND_MAX: Duration = Duration::from_secs(10);
/// How long what is queued may take to go out at the end.
const FLUSH: Duration = Duration::from_millis(1500);

/// What the link's task says.
pub enum LinkEvent {
    /// Connected. What goes into `send` goes out; dropping it closes this connection.
    Up { facts: Link, send: mpsc::Sender<Bytes> },
    /// One message.
    Message(Bytes),
    /// Not connected, and why; the task tries again by itself.
    Down(String),
}

/// The task's handle.
pub struct LinkTask {
    events: mpsc::Receiver<LinkEvent>,
    task: JoinHandle<()>,
}

impl LinkTask {
    /// Runs on from a first connection.
    pub fn start(servers: Servers, first: ClientTransport) -> Self {
        let (tell, events) = mpsc::channel(QUEUE);
        Self { events, task: tokio::spawn(run(servers, first, tell)) }
    }

    /// What happens next. Safe to cancel.
    pub async fn next(&mut self) -> LinkEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only after we let go of it.
            None => std::future::pending().await,
        }
    }

    /// Lets what is queued go out, and closes. The sender must have been dropped.
    pub async fn finish(self) {
        drop(self.events);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FLUSH, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Connects to the first of `endpoints` that answers.
///
/// # Errors
/// The last one's.
pub async fn connect_any(endpoints: &[Endpoint]) -> Result<(Endpoint, ClientTransport), NetError> {
    let mut last = None;
    for endpoint in endpoints {
        match ClientTransport::connect(endpoint.clone()).await {
            Ok(link) => return Ok((endpoint.clone(), link)),
            Err(error) => last = Some(last.filter(is_telling).unwrap_or(error)),
        }
    }
    Err(last.unwrap_or(NetError::Missing {
        path: "--server".into(),
        expected: "an address",
        remedy: "give --server HOST[:PORT]",
    }))
}

/// A certificate that is not trusted says more than another address that does not answer.
fn is_telling(error: &NetError) -> bool {
    matches!(error, NetError::Untrusted { .. } | NetError::WebSocketRefused { .. })
}

async fn run(servers: Servers, first: ClientTransport, tell: mpsc::Sender<LinkEvent>) {
    let mut failures = 0;
    let mut link = Some(first);
    loop {
        let why = match link.take() {
            Some(link) => {
                let since = tokio::time::Instant::now();
                let Some(why) = serve(link, &tell).await else { return };
                if since.elapsed() >= STABLE {
                    failures = 0;
                }
                why
            }
            None => match servers.connect().await {
                Ok((_, fresh)) => {
                    link = Some(fresh);
                    continue;
                }
                Err(error) => error.to_string(),
            },
        };
        tracing::info!(why, "link down");
        if tell.send(LinkEvent::Down(why)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait(failures)) => {}
            () = tell.closed() => return,
        }
        failures += 1;
    }
}

/// Carries messages until the link breaks (why), or the driver is gone (nothing).
async fn serve(mut link: ClientTransport, tell: &mpsc::Sender<LinkEvent>) -> Option<String> {
    let facts =
        Link { transport: link.transport(), local: link.local_addr(), server: link.peer_addr() };
    let (send, mut to_send) = mpsc::channel(QUEUE);
    tell.send(LinkEvent::Up { facts, send }).await.ok()?;
    loop {
        tokio::select! {
            queued = to_send.recv() => match queued {
                Some(bytes) => match tokio::time::timeout(SEND_MAX, link.send(bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Some(error.to_string()),
                    Err(_) => return Some("the server takes nothing any more".into()),
                },
                None => {
                    link.close().await;
                    return (!tell.is_closed()).then(|| "the link did not keep up".into());
                }
            },
            received = link.recv() => match received {
                // After the driver let go, what is still queued goes out: no early return here.
                Ok(Some(bytes)) => drop(tell.send(LinkEvent::Message(bytes)).await),
                Ok(None) => return Some("the server closed the connection".into()),
                Err(error) => return Some(error.to_string()),
            },
        }
    }
}

fn wait(failures: u32) -> Duration {
    (RECONNECT_MIN * 2_u32.pow(failures.min(6))).min(RECONNECT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Transport;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    async fn up(task: &mut LinkTask) -> mpsc::Sender<Bytes> {
        loop {
            if let LinkEvent::Up { send, .. } = task.next().await {
                return send;
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_broken_link_is_made_again_and_the_last_words_go_out() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(Transport::Tcp, server.local_addr().unwrap());
        let servers = Servers::Fixed(vec![endpoint]);
        let (_, first) = servers.connect().await.unwrap();
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut task = LinkTask::start(servers, first);
        let _send = up(&mut task).await;
        accepted.write_all(OPTIONS).await.unwrap();
        assert!(matches!(task.next().await, LinkEvent::Message(m) if m == OPTIONS));
        drop(accepted);
        assert!(matches!(task.next().await, LinkEvent::Down(why) if why.contains("closed")));
        let (mut accepted, _) = server.accept().await.unwrap();
        let send = up(&mut task).await;
        send.try_send(Bytes::from_static(OPTIONS)).unwrap();
        drop(send);
        task.finish().await;
        let mut heard = Vec::new();
        accepted.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, OPTIONS);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_refused_connection_names_the_address() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        drop(server);
        let error = connect_any(&[Endpoint::new(Transport::Tcp, addr)]).await.unwrap_err();
        assert!(error.to_string().contains(&format!("cannot reach {addr}")), "{error}");
    }

    #[test]
    fn waits_double_up_to_half_a_minute() {
        assert_eq!((wait(0), wait(1)), (RECONNECT_MIN, RECONNECT_MIN * 2));
        assert_eq!((wait(6), wait(1000)), (RECONNECT_MAX, RECONNECT_MAX));
    }
}
