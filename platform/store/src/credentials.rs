//! Who has which HA1, in memory, for the path every request takes.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

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
    stripes: Vec<RwLock<HashTable<Account>>>,
    hasher: RandomState,
    version: AtomicU64,
    reloading: Mutex<()>,
}

impl Credentials {
    /// Empty: call [`Self::reload`].
    pub fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            hasher: RandomState::default(),
            version: AtomicU64::new(0),
            reloading: Mutex::new(()),
        }
    }

    /// The HA1 values of `user` in `realm`, if there is such a user.
    pub fn lookup(&self, realm: &str, user: &str) -> Option<Ha1Set> {
        self.look(realm, user, |set| *set)
    }

    /// What `see` makes of them, without a copy. Nothing may be looked up or changed meanwhile.
    pub fn look<T>(&self, realm: &str, user: &str, see: impl FnOnce(&Ha1Set) -> T) -> Option<T> {
        if realm.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.look(&realm.to_ascii_lowercase(), user, see);
        }
        let hash = self.hash(realm, user);
        let accounts = self.stripe(hash).read().unwrap_or_else(PoisonError::into_inner);
        accounts.find(hash, |account| account.is(realm, user)).map(|account| see(&account.ha1))
    }

    /// Whether there is such a user.
    pub fn contains(&self, realm: &str, user: &str) -> bool {
        self.look(realm, user, |_| ()).is_some()
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
            done.removed += u64::from(self.write((realm, user), None));
        }
        for entry in changes.changed.into_iter().filter(|entry| entry.version > known) {
            self.write((&entry.realm, &entry.user), Some(entry.ha1));
            done.changed += 1;
        }
        self.version.store(changes.version, Ordering::Release);
        done
    }

    /// Sets or removes; whether the user was known.
    fn write(&self, (realm, user): (&str, &str), value: Option<Ha1Set>) -> bool {
        let realm = realm.to_ascii_lowercase();
        let hash = self.hash(&realm, user);
        let mut accounts = self.stripe(hash).write().unwrap_or_else(PoisonError::into_inner);
        let known = accounts.find_entry(hash, |account| account.is(&realm, user));
        match (known, value) {
            (Ok(mut known), Some(ha1)) => known.get_mut().ha1 = ha1,
            (Ok(known), None) => drop(known.remove()),
            (Err(_), Some(ha1)) => {
                let name = [realm.as_bytes(), b"\n", user.as_bytes()].concat();
                let account = Account { name: SmallVec::from_slice(&name), ha1 };
                let rehash = |account: &Account| self.hash_of(&account.name);
                accounts.insert_unique(hash, account, rehash);
                return false;
            }
            (Err(_), None) => return false,
        }
        true
    }

    /// Of a realm in lower case.
    fn hash(&self, realm: &str, user: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(realm.as_bytes());
        hasher.write_u8(b'\n');
        hasher.write(user.as_bytes());
        hasher.finish()
    }

    /// The same of both in one, as [`Account`] keeps them.
    fn hash_of(&self, name: &[u8]) -> u64 {
        let at = name.iter().position(|b| *b == b'\n').unwrap_or(name.len());
        let mut hasher = self.hasher.build_hasher();
        hasher.write(&name[..at]);
        hasher.write_u8(b'\n');
        hasher.write(name.get(at + 1..).unwrap_or_default());
        hasher.finish()
    }

    fn stripe(&self, hash: u64) -> &RwLock<HashTable<Account>> {
        // The lowest and the highest bits are the table's.
        &self.stripes[(hash >> 32) as usize % STRIPES]
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

/// A name this long lies beside its HA1: a lookup then goes to one place in memory.
const NAME_INLINE: usize = 32;

/// `realm\nuser`, the realm in lower case.
#[derive(Debug)]
struct Account {
    name: SmallVec<[u8; NAME_INLINE]>,
    ha1: Ha1Set,
}

impl Account {
    fn is(&self, realm: &str, user: &str) -> bool {
        let (name, at) = (self.name.as_slice(), realm.len());
        name.len() == at + 1 + user.len()
            && name[..at] == *realm.as_bytes()
            && name[at] == b'\n'
            && name[at + 1..] == *user.as_bytes()
    }
}
