//! What lies between a host and a server, by the server's STUN (RFC 5780 §4.3, §4.4).

use ice::stun::{Builder, Message, attribute as attr};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How often a question is asked, and how long each answer is awaited.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_millis(700);

/// What was found; `None` where nothing came back at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// What the server sees.
    pub mapped: SocketAddr,
    /// `endpoint-independent`, `address-dependent` or `address-and-port-dependent`.
    pub mapping: &'static str,
    /// The same of who is let in.
    pub filtering: &'static str,
}

const NAMES: [&str; 3] =
    ["endpoint-independent", "address-dependent", "address-and-port-dependent"];

/// Measures, at the SIP port of a server that has another address and another port.
///
/// # Errors
/// No socket; a server that answers without the attributes of RFC 5780.
pub fn measure(server: SocketAddr) -> Result<Option<Behaviour>, String> {
    let socket = || UdpSocket::bind("0.0.0.0:0").map_err(|e| e.to_string());
    let first = socket()?;
    let Some(plain) = ask(&first, server, 0) else { return Ok(None) };
    let other = plain.other.ok_or("no OTHER-ADDRESS: give the server sip_alternate")?;
    if other.ip() == server.ip() {
        return Err(format!("the other address is {other}: give the server a second interface"));
    }
    // §4.3: the second address, then its other port too.
    let second = SocketAddr::new(other.ip(), server.port());
    let mapped = |answer: Option<Answer>| answer.map(|a| a.mapped).ok_or("an address is silent");
    let (there, beyond) = (mapped(ask(&first, second, 0))?, mapped(ask(&first, other, 0))?);
    let mapping = match (plain.mapped == there, there == beyond) {
        (true, _) => NAMES[0],
        (false, true) => NAMES[1],
        (false, false) => NAMES[2],
    };
    // §4.4, from a socket that has sent to one address only.
    let fresh = socket()?;
    ask(&fresh, server, 0).ok_or("silent the second time")?;
    let filtering = match (ask(&fresh, server, 6), ask(&fresh, server, 2)) {
        (Some(_), _) => NAMES[0],
        (None, Some(_)) => NAMES[1],
        (None, None) => NAMES[2],
    };
    Ok(Some(Behaviour { mapped: plain.mapped, mapping, filtering }))
}

struct Answer {
    mapped: SocketAddr,
    other: Option<SocketAddr>,
}

/// One question, from where `change` says: 0 as asked, 2 the other port, 6 address and port.
fn ask(socket: &UdpSocket, server: SocketAddr, change: u32) -> Option<Answer> {
    for number in 0..TRIES {
        // It answers only who has said something in SIP.
        let id = number * 8 + change;
        send(socket, server, options(server, id).as_bytes())?;
        let mut transaction = [0; 12];
        transaction[..4].copy_from_slice(&id.to_be_bytes());
        // Without a wish it would be a keep-alive, whose answer tells nothing more.
        let query = Builder::request(transaction)
            .attribute(attr::CHANGE_REQUEST, &change.to_be_bytes())
            .attribute(attr::SOFTWARE, &[b'x'; 80])
            .finish_bare();
        // Once the OPTIONS is answered, or was lost.
        receive(socket, |bytes, _| bytes.starts_with(b"SIP/2.0").then_some(()));
        send(socket, server, &query)?;
        let answer = receive(socket, |bytes, _| {
            let message =
                Message::parse(bytes).ok().filter(|m| m.transaction_id() == transaction)?;
            let mapped = message.xor_mapped_address()?;
            Some(Answer { mapped, other: message.address(attr::OTHER_ADDRESS) })
        });
        if answer.is_some() {
            return answer;
        }
    }
    None
}

fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> Option<usize> {
    socket.send_to(bytes, to).ok()
}

fn receive<T>(socket: &UdpSocket, read: impl Fn(&[u8], SocketAddr) -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    let mut buffer = [0; 2_048];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).ok()?;
        let (n, from) = socket.recv_from(&mut buffer).ok()?;
        if let Some(found) = read(&buffer[..n], from) {
            return Some(found);
        }
    }
}

fn options(to: SocketAddr, id: u32) -> String {
    let (ip, port) = (to.ip(), to.port());
    format!(
        "OPTIONS sip:{ip} SIP/2.0\r\nVia: SIP/2.0/UDP lab.invalid;branch=z9hG4bKlab{port}{id};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:lab@lab.invalid>;tag=lab\r\nTo: <sip:{ip}>\r\n\
         Call-ID: lab-{ip}-{port}-{id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}
