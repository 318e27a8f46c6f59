//! Sessions to be resumed (RFC 8446 §2.2, RFC 5077): tickets sealed with keys that all shards share
//! and that rotate every six hours, and for clients without tickets a memory of TLS 1.2 sessions.
//! A new certificate starts anew: who resumes never sees the certificate, and one is replaced for
//! a reason.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};

/// TLS 1.2 sessions the server remembers; everyone else brings a ticket.
const SESSIONS_MAX: usize = 20_000;

/// The tickets and sessions of one server configuration, to be forgotten at once.
#[derive(Debug)]
pub(crate) struct Sessions(RwLock<Held>);

#[derive(Debug, Clone)]
struct Held {
    tickets: Arc<dyn ProducesTickets>,
    memory: Arc<dyn StoresServerSessions>,
}

impl Held {
    fn new() -> Result<Self, rustls::Error> {
        let memory = ServerSessionMemoryCache::new(SESSIONS_MAX);
        Ok(Self { tickets: aws_lc_rs::Ticketer::new()?, memory })
    }
}

impl Sessions {
    pub(crate) fn new() -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self(RwLock::new(Held::new()?))))
    }

    /// From now on nothing that was begun before is resumed.
    pub(crate) fn forget(&self) {
        match Held::new() {
            Ok(held) => *self.0.write().unwrap_or_else(PoisonError::into_inner) = held,
            // The system has no randomness: old keys are then the smaller evil.
            Err(error) => tracing::error!(%error, "TLS sessions are resumed as before"),
        }
    }

    fn held(&self) -> Held {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProducesTickets for Sessions {
    fn enabled(&self) -> bool {
        self.held().tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.held().tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.held().tickets.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.held().tickets.decrypt(cipher)
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.held().memory.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held().memory.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.held().memory.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
