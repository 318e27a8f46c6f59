//! Who has which HA1, in memory, for the path every request takes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::error::StoreError;
use crate::ha1::Ha1Set;
use crate::repository::Users;

const STRIPES: usize = 256;

/// Every user's HA1, looked up without I/O. Shared by all shards behind an `Arc`.
///
/// Readers take a read lock on one stripe of 256; a reload writes stripe by stripe what changed,
/// so 100,000 unchanged users cost it nothing.
#[derive(Debug)]
pub struct Credentials {
    stripes: Vec<RwLock<HashMap<Key, Ha1Set>>>,
    hasher: RandomState,
    version: AtomicU64,
    reloading: Mutex<()>,
}

impl Credentials {
    /// Empty: call [`Self::reload`].
    pub fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            version: AtomicU64::new(0),
            reloading: Mutex::new(()),
        }
    }

    /// The HA1 values of `user` in `realm`, if there is such a user.
    pub fn lookup(&self, realm: &str, user: &str) -> Option<Ha1Set> {
        let key = Key::new(realm, user);
        self.stripe(&key).read().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// Whether there is such a user.
    pub fn contains(&self, realm: &str, user: &str) -> bool {
        self.lookup(realm, user).is_some()
    }

    /// How many users are known.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|s| s.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether no user is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over what changed in the store since the last time.
    ///
    /// # Errors
    /// Whatever the store reports; the snapshot is then as before.
    pub async fn reload(&self, users: &(impl Users + ?Sized)) -> Result<Reloaded, StoreError> {
        let changes = users.credentials_since(self.version.load(Ordering::Acquire)).await?;
        Ok(self.apply(changes))
    }

    /// Takes over changes. Older ones than those known are ignored.
    pub fn apply(&self, changes: CredentialChanges) -> Reloaded {
        let _one_at_a_time = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.version.load(Ordering::Acquire);
        let mut done = Reloaded::default();
        if changes.version <= known {
            return done;
        }
        for (realm, user, _) in changes.removed.iter().filter(|(_, _, at)| *at > known) {
            let key = Key::new(realm, user);
            done.removed += u64::from(self.write(&key, None));
        }
        for entry in changes.changed.into_iter().filter(|entry| entry.version > known) {
            self.write(&Key::new(&entry.realm, &entry.user), Some(entry.ha1));
            done.changed += 1;
        }
        self.version.store(changes.version, Ordering::Release);
        done
    }

    fn write(&self, key: &Key, value: Option<Ha1Set>) -> bool {
        let mut map = self.stripe(key).write().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(ha1) => map.insert(key.clone(), ha1).is_some(),
            None => map.remove(key).is_some(),
        }
    }

    fn stripe(&self, key: &Key) -> &RwLock<HashMap<Key, Ha1Set>> {
        let hash = self.hasher.hash_one(key) as usize;
        &self.stripes[hash % STRIPES]
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::new()
    }
}

/// What changed in a store's users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialChanges {
    /// The store's version these lead to.
    pub version: u64,
    /// New users and new passwords.
    pub changed: Vec<CredentialEntry>,
    /// Realm, user and version of those removed. Removals come before additions of the same name.
    pub removed: Vec<(String, String, u64)>,
}

/// One user's HA1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialEntry {
    /// The tenant's domain.
    pub realm: String,
    /// The user's name.
    pub user: String,
    /// What the password hashes to.
    pub ha1: Ha1Set,
    /// The version that brought it.
    pub version: u64,
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Users added or with a new password.
    pub changed: u64,
    /// Users gone.
    pub removed: u64,
}

/// `user@realm`, the realm in lower case: one allocation per entry and per lookup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(Box<str>);

impl Key {
    fn new(realm: &str, user: &str) -> Self {
        let mut key = String::with_capacity(realm.len() + user.len() + 1);
        key.push_str(realm);
        key.make_ascii_lowercase();
        key.push('\n');
        key.push_str(user);
        Self(key.into_boxed_str())
    }
}
