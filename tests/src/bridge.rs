//! Carries SIPp, which speaks UDP here, over any transport to the server: TCP, TLS (through
//! `openssl s_client`), and WebSocket on either. Nothing of our own stack is in between but the
//! splitting of a stream into messages.

use crate::story::Story;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// One connection to the server, and the UDP address that leads to it.
#[derive(Debug)]
pub struct Bridge {
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    tcp: Option<TcpStream>,
    openssl: Option<Child>,
}

type Half<T> = Box<T>;
type Writer = Arc<Mutex<Half<dyn Write + Send>>>;

impl Bridge {
    /// Connects by `tcp`, `tls`, `ws` or `wss`; datagrams from `sipp` to [`Bridge::at`] cross.
    pub fn start(story: &Story, transport: &str, (port, sipp): (u16, SocketAddr)) -> Self {
        let place = &story.place;
        let server = |port| SocketAddr::new(place.server_ip(), port);
        let udp = UdpSocket::bind((place.peer_ip(), port)).expect("a port for the bridge");
        udp.set_read_timeout(Some(LOOK)).expect("a timeout");
        let (mut tcp, mut openssl) = (None, None);
        let (mut reader, mut writer): (Half<dyn Read + Send>, Half<dyn Write + Send>);
        match transport {
            "tcp" | "ws" => {
                let port = if transport == "tcp" { place.sip() } else { place.ws() };
                let stream = TcpStream::connect(server(port)).expect("the server listens");
                let clone = || stream.try_clone().expect("a second handle");
                (reader, writer) = (Box::new(clone()), Box::new(clone()));
                tcp = Some(stream);
            }
            _ => {
                let port = if transport == "tls" { place.sips() } else { place.https() };
                let mut command = place.command("openssl");
                command.args(["s_client", "-quiet", "-connect", &server(port).to_string()]);
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
                let mut child = command.spawn().expect("openssl");
                reader = Box::new(child.stdout.take().expect("piped"));
                writer = Box::new(child.stdin.take().expect("piped"));
                openssl = Some(child);
            }
        }
        let is_ws = transport.starts_with("ws");
        if is_ws {
            upgrade(&mut *reader, &mut *writer, &server(0).to_string());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writer: Writer = Arc::new(Mutex::new(writer));
        let at = udp.local_addr().expect("bound");
        let token = format!("SIP/2.0/{}", transport.to_uppercase());
        let out = {
            let (udp, stop) = (udp.try_clone().expect("a second handle"), Arc::clone(&stop));
            let writer = Arc::clone(&writer);
            std::thread::spawn(move || to_server(&udp, &writer, &stop, (is_ws, &token)))
        };
        let back = std::thread::spawn(move || match is_ws {
            true => frames(reader, &writer, |m| drop(udp.send_to(m, sipp))),
            false => stream(reader, |m| drop(udp.send_to(m, sipp))),
        });
        Self { at, stop, threads: vec![out, back], tcp, openssl }
    }

    /// Where SIPp sends.
    pub fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(tcp) = &self.tcp {
            // Fails only when it is closed already.
            let _ = tcp.shutdown(std::net::Shutdown::Both);
        }
        if let Some(child) = &mut self.openssl {
            let _ = child.kill();
            let _ = child.wait();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked shows in the messages that did not arrive.
            let _ = thread.join();
        }
    }
}

fn to_server(udp: &UdpSocket, writer: &Writer, stop: &AtomicBool, (is_ws, token): (bool, &str)) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let Ok((n, _)) = udp.recv_from(&mut buffer) else { continue };
        let mut text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        if !text.starts_with("SIP/2.0 ") {
            text = text.replacen("SIP/2.0/UDP", token, 1);
        }
        let bytes = if is_ws { frame(1, text.as_bytes()) } else { text.into_bytes() };
        let mut writer = writer.lock().expect("nobody panics with it");
        if writer.write_all(&bytes).and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
}

/// Messages of a stream, until it ends.
fn stream(mut reader: Half<dyn Read + Send>, send: impl Fn(&[u8])) {
    let (mut framer, mut buffer) = (sip::StreamFramer::default(), [0; 65_536]);
    while let Ok(n @ 1..) = reader.read(&mut buffer) {
        framer.push(&buffer[..n]);
        while let Ok(Some(frame)) = framer.next_frame() {
            if let sip::Frame::Message(message) = frame {
                send(&message);
            }
        }
    }
}

/// Messages of a WebSocket (RFC 6455 §5.2), until it ends; pings are answered.
fn frames(mut reader: Half<dyn Read + Send>, writer: &Writer, send: impl Fn(&[u8])) {
    loop {
        let mut head = [0; 2];
        if reader.read_exact(&mut head).is_err() {
            return;
        }
        let extended = match head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mut length = [0; 8];
        if reader.read_exact(&mut length[8 - extended..]).is_err() {
            return;
        }
        let length = match extended {
            0 => u64::from(head[1] & 0x7f),
            _ => u64::from_be_bytes(length),
        };
        let mut payload = vec![0; usize::try_from(length).expect("a small frame")];
        if reader.read_exact(&mut payload).is_err() {
            return;
        }
        match head[0] & 0x0f {
            1 | 2 => send(&payload),
            9 => {
                let mut writer = writer.lock().expect("nobody panics with it");
                // The next read tells when it is closed.
                let _ = writer.write_all(&frame(10, &payload)).and_then(|()| writer.flush());
            }
            _ => {}
        }
    }
}

/// A client's frame, masked as it must be.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(n).expect("a small frame").to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

fn upgrade(reader: &mut dyn Read, writer: &mut dyn Write, host: &str) {
    let request = format!(
        "GET /sip HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: sip\r\n\r\n"
    );
    writer.write_all(request.as_bytes()).and_then(|()| writer.flush()).expect("an upgrade");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        reader.read_exact(&mut byte).expect("the answer to the upgrade");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    // The sample key of RFC 6455 §1.3 and its answer.
    let accepted = head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=");
    assert!(head.starts_with("http/1.1 101") && accepted, "{head}");
}
