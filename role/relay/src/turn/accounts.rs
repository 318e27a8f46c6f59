//! Who may allocate: long-term credentials, and time-limited ones made from a secret.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sansio::WallTime;

/// Who has credentials. Asked once for each request, never for packets.
pub trait Accounts: Send + Sync {
    /// Who `username` is in `realm`, if anybody.
    fn find(&self, username: &str, realm: &str) -> Option<Account>;
}

/// Somebody with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The key of MESSAGE-INTEGRITY: see [`long_term_key`].
    pub key: [u8; 16],
    /// Who it is, the same for all credentials of one user: for quotas.
    pub user: String,
    /// Whose user it is.
    pub tenant: String,
    /// From when on no allocation can be made with it. What is allocated may be refreshed still: a
    /// call must not end because its credentials grew old.
    pub expires: Option<WallTime>,
}

/// The key of the long-term mechanism (RFC 8489 §9.2.2): MD5 of user, realm and password.
pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

/// Credentials made by whoever knows a secret and handed to phones and browsers
/// (draft-uberti-behave-turn-rest-00): the user name is `EXPIRY` or `EXPIRY:USER`, the password
/// Base64 of HMAC-SHA1 of it. Several secrets, so that one can be replaced.
pub struct SharedSecret {
    keys: Vec<hmac::Key>,
}

impl SharedSecret {
    /// Of secrets as the two sides write them.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let key = |s: &str| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, s.as_bytes());
        Self { keys: secrets.into_iter().map(key).collect() }
    }

    /// User name and password for `user`, good until `expires`.
    pub fn issue(&self, user: &str, expires: WallTime) -> Option<(String, String)> {
        let username = format!("{}:{user}", expires.as_secs());
        let password = self.keys.first().map(|key| password(key, &username))?;
        Some((username, password))
    }

    /// The accounts that a user name may stand for, one for each secret.
    fn all(&self, username: &str, realm: &str) -> Vec<Account> {
        let (expiry, user) = username.split_once(':').unwrap_or((username, ""));
        let Some(expires) = expiry.parse().ok().filter(|s| *s < u64::MAX / 1000) else {
            return Vec::new();
        };
        let tenant = user.rsplit_once('@').map_or(realm, |(_, tenant)| tenant);
        let account = |key: &hmac::Key| Account {
            key: long_term_key(username, realm, &password(key, username)),
            user: user.to_owned(),
            tenant: tenant.to_owned(),
            expires: Some(WallTime::from_secs(expires)),
        };
        self.keys.iter().map(account).collect()
    }
}

fn password(key: &hmac::Key, username: &str) -> String {
    STANDARD.encode(hmac::sign(key, username.as_bytes()))
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedSecret").field("keys", &self.keys.len()).finish()
    }
}

/// A few users by name, each with a key: of the command line, and of tests.
#[derive(Debug, Clone, Default)]
pub struct NamedUsers(BTreeMap<String, [u8; 16]>);

impl NamedUsers {
    /// Adds a user.
    #[must_use]
    pub fn with(mut self, username: &str, realm: &str, password: &str) -> Self {
        self.0.insert(username.to_owned(), long_term_key(username, realm, password));
        self
    }
}

impl Accounts for NamedUsers {
    fn find(&self, username: &str, realm: &str) -> Option<Account> {
        let key = *self.0.get(username)?;
        let tenant = username.rsplit_once('@').map_or(realm, |(_, tenant)| tenant).to_owned();
        Some(Account { key, user: username.to_owned(), tenant, expires: None })
    }
}

/// Everybody a user name may be: of a secret where it begins with a time, else of the accounts.
pub(super) fn candidates(
    (secret, accounts): (Option<&SharedSecret>, &dyn Accounts),
    username: &str,
    realm: &str,
) -> Vec<Account> {
    let timed = secret.into_iter().flat_map(|secret| secret.all(username, realm));
    timed.chain(accounts.find(username, realm)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limited_credentials_are_what_others_compute() {
        // printf '1700000000:alice' | openssl dgst -sha1 -hmac north -binary | base64
        let secret = SharedSecret::new(["north", "south"]);
        let (user, pass) = secret.issue("alice", WallTime::from_secs(1_700_000_000)).unwrap();
        assert_eq!(user, "1700000000:alice");
        assert_eq!(pass, "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
        let found = secret.all(&user, "r");
        assert_eq!(found.len(), 2, "one for each secret");
        assert_eq!(found[0].key, long_term_key(&user, "r", &pass));
        assert_ne!(found[1].key, found[0].key);
        assert_eq!(found[0].expires, Some(WallTime::from_secs(1_700_000_000)));
        assert_eq!((found[0].user.as_str(), found[0].tenant.as_str()), ("alice", "r"));
        let of = |name: &str| secret.all(name, "r").into_iter().next();
        assert_eq!(of("1:bob@example.com").unwrap().tenant, "example.com");
        assert_eq!(of("1700000000").unwrap().user, "");
        assert_eq!((of("alice"), of("99999999999999999999:x"), of("")), (None, None, None));
    }

    #[test]
    fn rfc_8489_9_2_2_the_key_is_the_one_of_its_example() {
        // The example of RFC 8489 §9.2.2 (and 5389 §15.4): user, realm, SASLprep(pass).
        let expected: Vec<u8> = (0..16)
            .map(|n| u8::from_str_radix(&"8493fbc53ba582fb4c044c456bdc40eb"[n * 2..][..2], 16))
            .map(Result::unwrap)
            .collect();
        assert_eq!(long_term_key("user", "realm", "pass").to_vec(), expected);
    }
}
