//! Datagrams with a number and a time in them, from one host to another: what a path does to them.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Number and time.
const HEAD: usize = 16;

/// Sends `count` datagrams of `size` bytes of payload, one each `every`.
///
/// # Errors
/// No socket, or nobody can be sent to.
pub fn send(to: SocketAddr, count: u64, every: Duration, size: usize) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut bytes = vec![0; size.max(HEAD)];
    let began = Instant::now();
    for number in 0..count {
        let due = every * u32::try_from(number).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..HEAD].copy_from_slice(&now_us().to_be_bytes());
        socket.send_to(&bytes, to)?;
    }
    Ok(())
}

/// Receives until nothing has come for `patience`; each as number and delay in microseconds, in the
/// order they came. Both ends are on one machine, so that their clocks are one.
///
/// # Errors
/// No such port.
pub fn receive(
    port: u16,
    patience: Duration,
    mut each: impl FnMut(u64, u64),
) -> std::io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    socket.set_read_timeout(Some(patience))?;
    let mut buffer = [0; 10_000];
    while let Ok(n) = socket.recv(&mut buffer) {
        let word = |at: usize| buffer[..n].get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        if let (Some(number), Some(sent)) = (word(0), word(8)) {
            each(number, now_us().saturating_sub(sent));
        }
    }
    Ok(())
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
