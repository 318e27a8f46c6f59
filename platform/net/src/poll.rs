//! epoll for threads with many sockets, and a bell to wake them: a safe face.
//!
//! One of the files of this crate with `unsafe`. Sockets are level-triggered: what is left in a
//! queue is told again, so a pause delays and never deafens. A socket that is closed is forgotten by
//! the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Sockets told by one [`Poller::wait`].
pub const READY_MAX: usize = 256;
/// The bell's own token.
const BELL: u64 = u64::MAX;

/// Waits for sockets, and for [`Poller::ring`].
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    bell: OwnedFd,
}

impl Poller {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: neither call takes pointers.
        let (epoll, bell) = unsafe {
            (owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?, {
                owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?
            })
        };
        let poller = Self { epoll, bell };
        poller.add(&poller.bell, BELL)?;
        Ok(poller)
    }

    /// Watches a socket; `token`, any but the largest number, names it in [`Poller::wait`].
    ///
    /// # Errors
    /// The limit of `fs.epoll.max_user_watches` is reached.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        let (epoll, fd) = (self.epoll.as_raw_fd(), socket.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open and `event` lives through the call.
        let added = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if added == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts the tokens of sockets that have something into `ready`, which is cleared first. Waits
    /// at most `timeout`, rounded up to milliseconds.
    pub fn wait(&self, timeout: Duration, ready: &mut Vec<u64>) {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY_MAX];
        let timeout_ms = timeout.as_micros().div_ceil(1000).min(60_000) as libc::c_int;
        // SAFETY: `events` has room for READY_MAX entries and lives through the call.
        let n = unsafe {
            let max = READY_MAX as libc::c_int;
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), max, timeout_ms)
        };
        // A negative count is EINTR: as if nothing was ready.
        let told = events.iter().take(usize::try_from(n).unwrap_or(0)).map(|event| event.u64);
        ready.extend(told.filter(|token| *token != BELL || !self.silence()));
    }

    /// Wakes the thread that waits, or the next that does.
    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open and `one` has eight bytes. It fails only when the counter
        // is full: the thread is told already.
        let _ = unsafe { libc::write(self.bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Always true.
    fn silence(&self) -> bool {
        let mut count = [0_u8; 8];
        // SAFETY: the descriptor is open and does not block, `count` has eight bytes.
        let _ = unsafe { libc::read(self.bell.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        true
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller just got it from the kernel.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Instant;

    #[test]
    fn sockets_with_something_are_told_until_it_is_read_and_the_bell_wakes_once() {
        let poller = Poller::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        poller.add(&socket, 7).unwrap();
        let mut ready = vec![1];
        poller.wait(Duration::ZERO, &mut ready);
        assert_eq!(ready, []);
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        for _ in 0..2 {
            poller.wait(Duration::from_secs(5), &mut ready);
            assert_eq!(ready, [7]);
        }
        socket.recv(&mut [0; 2]).unwrap();
        poller.ring();
        let began = Instant::now();
        poller.wait(Duration::from_secs(30), &mut ready);
        assert!(ready.is_empty() && began.elapsed() < Duration::from_secs(10));
        poller.wait(Duration::from_millis(2), &mut ready);
        assert!(began.elapsed() >= Duration::from_millis(2), "the bell is silent again");
    }
}
