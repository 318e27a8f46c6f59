//! The ICE-lite agent for one component (RFC 8445 §2.5, §7.3, RFC 7675).

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::stun::{BINDING, Builder, Class, Message};

/// Consent ends this long after the last good check (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Addresses of the peer that are remembered; the longest silent makes room.
pub const MAX_PATHS: usize = 16;

/// A nominated path of lower priority takes over when the selected one was not nominated again for
/// this long. Below it, aggressive nomination is still sorting its pairs by priority.
const RENOMINATION: Duration = Duration::from_millis(500);

/// Answers connectivity checks and knows which of the peer's addresses is the one to send to.
/// Always controlled: a full agent that faces a lite one controls (RFC 8445 §6.1.1).
#[derive(Debug)]
pub struct Lite {
    local: Credentials,
    /// Still valid during an ICE restart, until the new ones were used (RFC 8445 §2.4).
    previous: Option<Credentials>,
    remote_ufrag: Option<String>,
    paths: Vec<Path>,
    selected: Option<SocketAddr>,
    last_check: Option<Instant>,
}

impl Lite {
    /// An agent with its own credentials: a ufrag of 4 and a password of 22 characters at least
    /// (RFC 8839 §5.4).
    pub fn new(ufrag: &str, pwd: &str) -> Self {
        Self {
            local: Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() },
            previous: None,
            remote_ufrag: None,
            paths: Vec::new(),
            selected: None,
            last_check: None,
        }
    }

    /// The peer's credentials from its SDP. A lite agent sends no checks, so only the ufrag is
    /// kept; before it is known, checks with any are answered (they may overtake the SDP).
    pub fn set_remote(&mut self, ufrag: &str, _pwd: &str) {
        self.remote_ufrag = Some(ufrag.to_owned());
    }

    /// New credentials for an ICE restart. The selected path goes on until another is nominated.
    pub fn restart(&mut self, ufrag: &str, pwd: &str) {
        let new = Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
        self.previous = Some(std::mem::replace(&mut self.local, new));
        self.remote_ufrag = None;
    }

    /// Takes one STUN datagram. `out` is replaced by the bytes to send back to `from`, or emptied.
    pub fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) -> LiteEvent {
        out.clear();
        let Ok(message) = Message::parse(datagram) else { return LiteEvent::Ignored };
        if message.method() != BINDING || message.class() != Class::Request {
            return LiteEvent::Ignored;
        }
        match self.judge(&message) {
            Verdict::Drop => LiteEvent::Ignored,
            Verdict::Refuse { code, key } => {
                *out = refusal(std::mem::take(out), &message, code, key);
                LiteEvent::Respond
            }
            Verdict::Accept { key } => {
                let buf = std::mem::take(out);
                *out = Builder::reuse(buf, Class::Success, message.transaction_id())
                    .xor_mapped_address(from)
                    .finish(key.as_bytes());
                self.note_check(now, from, &message)
            }
        }
    }

    /// Where to send media: the nominated path, else the first that was checked.
    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected.or_else(|| self.paths.first().map(|p| p.addr))
    }

    /// Whether `addr` answered for itself with a good check.
    pub fn is_checked(&self, addr: SocketAddr) -> bool {
        self.paths.iter().any(|p| p.addr == addr)
    }

    /// Whether the peer still wants to hear from us (RFC 7675). False before the first check.
    pub fn has_consent(&self, now: Instant) -> bool {
        self.consent_deadline().is_some_and(|end| now < end)
    }

    /// When consent will end unless another check comes.
    pub fn consent_deadline(&self) -> Option<Instant> {
        self.last_check.map(|at| at + CONSENT_TIMEOUT)
    }

    /// Our ufrag and password.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.local.ufrag, &self.local.pwd)
    }

    fn judge(&self, message: &Message<'_>) -> Verdict {
        // RFC 8445 §7.3: a check carries FINGERPRINT; without it, it may be anyone's STUN.
        if !message.has_fingerprint() {
            return Verdict::Drop;
        }
        // RFC 8489 §9.1.3: no credentials at all is 400, wrong ones are 401, both unsigned.
        let (Some(username), true) = (message.username(), message.has_integrity()) else {
            return Verdict::Refuse { code: 400, key: None };
        };
        let Some(credentials) = self.credentials_for(username) else {
            return Verdict::Refuse { code: 401, key: None };
        };
        if !message.verify_integrity(credentials.pwd.as_bytes()) {
            return Verdict::Refuse { code: 401, key: None };
        }
        let key = credentials.pwd.clone();
        if !message.unknown_required().is_empty() {
            return Verdict::Refuse { code: 420, key: Some(key) };
        }
        if message.ice_controlled().is_some() {
            return Verdict::Refuse { code: 487, key: Some(key) };
        }
        Verdict::Accept { key }
    }

    fn credentials_for(&self, username: &str) -> Option<&Credentials> {
        let (local, remote) = username.split_once(':')?;
        if local == self.local.ufrag {
            let fits = self.remote_ufrag.as_deref().is_none_or(|known| known == remote);
            return fits.then_some(&self.local);
        }
        self.previous.as_ref().filter(|p| p.ufrag == local)
    }

    fn note_check(&mut self, now: Instant, from: SocketAddr, message: &Message<'_>) -> LiteEvent {
        self.last_check = Some(now);
        let is_new = !self.is_checked(from);
        let nominated = message.use_candidate();
        let priority = message.priority().unwrap_or(0);
        let current_ufrag = message.username().and_then(|u| u.split(':').next());
        if nominated && current_ufrag == Some(self.local.ufrag.as_str()) {
            self.previous = None;
        }
        self.touch(now, from, priority, nominated);
        if nominated && self.should_select(now, from, priority) {
            let changed = self.selected.replace(from) != Some(from);
            return if changed { LiteEvent::Nominated(from) } else { LiteEvent::Respond };
        }
        if is_new { LiteEvent::Checked(from) } else { LiteEvent::Respond }
    }

    fn should_select(&self, now: Instant, from: SocketAddr, priority: u32) -> bool {
        let current = self.selected.and_then(|s| self.paths.iter().find(|p| p.addr == s));
        current.is_none_or(|current| {
            let stale = current.nominated.is_none_or(|at| now >= at + RENOMINATION);
            current.addr == from || priority > current.priority || stale
        })
    }

    fn touch(&mut self, now: Instant, addr: SocketAddr, priority: u32, nominated: bool) {
        let nominated = nominated.then_some(now);
        if let Some(path) = self.paths.iter_mut().find(|p| p.addr == addr) {
            (path.seen, path.priority) = (now, priority);
            path.nominated = nominated.or(path.nominated);
            return;
        }
        if self.paths.len() >= MAX_PATHS {
            let selected = self.selected;
            let others = self.paths.iter().enumerate().filter(|(_, p)| Some(p.addr) != selected);
            if let Some((oldest, _)) = others.min_by_key(|(_, p)| p.seen) {
                self.paths.swap_remove(oldest);
            }
        }
        self.paths.push(Path { addr, priority, seen: now, nominated });
    }
}

/// What a datagram meant. In all cases but `Ignored` there is a response to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiteEvent {
    /// A check on a known path, or one that was refused: only the response matters.
    Respond,
    /// A first good check from this address.
    Checked(SocketAddr),
    /// Media goes to this address from now on.
    Nominated(SocketAddr),
    /// Not a check: nothing to send.
    Ignored,
}

#[derive(Debug, Clone)]
struct Credentials {
    ufrag: String,
    pwd: String,
}

#[derive(Debug, Clone)]
struct Path {
    addr: SocketAddr,
    priority: u32,
    seen: Instant,
    nominated: Option<Instant>,
}

enum Verdict {
    Drop,
    Refuse { code: u16, key: Option<String> },
    Accept { key: String },
}

fn refusal(buf: Vec<u8>, request: &Message<'_>, code: u16, key: Option<String>) -> Vec<u8> {
    let reason = match code {
        400 => "Bad Request",
        401 => "Unauthenticated",
        420 => "Unknown Attribute",
        _ => "Role Conflict",
    };
    let mut builder =
        Builder::reuse(buf, Class::Error, request.transaction_id()).error(code, reason);
    if code == 420 {
        builder = builder.unknown_attributes(&request.unknown_required());
    }
    match key {
        Some(key) => builder.finish(key.as_bytes()),
        None => builder.finish_unsigned(),
    }
}
