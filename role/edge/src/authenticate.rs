//! Who is it? Digest (RFC 3261 §22, RFC 7616, RFC 8760), bearer tokens (RFC 8898), proven flows.
//!
//! An unknown user and a wrong password are answered alike, take the same work and run into the same
//! limits (`limits.rs`), so that a scanner learns nothing.

use crate::asker::Asker;
use crate::config::{Config, ConfigError};
use crate::core::{EdgeCore, Present};
use crate::limits::{Account, Attempts, Try};
use crate::nonce::{NonceCheck, Nonces};
use crate::ports::EdgeEvent;
use net::Sign;
use sansio::Redacted;
use sip::digest::{Algorithm, ChallengeBuilder, Credentials, Ha2};
use sip::transaction::Arrival;
use sip::{Aor, HeaderName, Message, Method};
use std::net::IpAddr;
use std::time::Duration;

/// The edge's means of authentication.
pub(crate) struct Authenticator {
    pub(crate) nonces: Nonces,
    pub(crate) attempts: Attempts,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) ha2: Ha2,
    md5_first: Vec<String>,
    md5_only: Vec<String>,
}

/// Which of the two digest dialects: for us as registrar, or as proxy (RFC 3261 §22.2, §22.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    Registrar,
    Proxy,
}

/// What credentials proved.
#[derive(Debug, PartialEq, Eq)]
enum Proof {
    /// This address of record.
    Is(String),
    /// Nothing yet: challenge.
    Missing,
    /// The nonce is spent: challenge with `stale`.
    Stale,
    /// The credentials were made for another Request-URI (RFC 7616 §3.4.6).
    Elsewhere,
    /// Wrong user or password, or not allowed to be who it says it is.
    Wrong,
    /// Not looked at: too many wrong ones before. Try again after this.
    TooMany(Duration),
}

impl Authenticator {
    pub(crate) fn new(config: &Config, key: &Redacted<[u8; 32]>) -> Result<Self, ConfigError> {
        Ok(Self {
            nonces: Nonces::new(key, Duration::from_secs(config.nonce_lifetime_s)),
            attempts: Attempts::new(&config.guesses, config.limit_loopback, key),
            algorithms: config.algorithms()?,
            ha2: Ha2::default(),
            md5_first: lower(&config.digest_md5_first),
            md5_only: lower(&config.digest_md5_only),
        })
    }

    /// Takes over what another configuration says; nonces given out stay good.
    pub(crate) fn configure(&mut self, config: &Config) -> Result<(), ConfigError> {
        self.algorithms = config.algorithms()?;
        self.nonces.set_lifetime(Duration::from_secs(config.nonce_lifetime_s));
        self.md5_first = lower(&config.digest_md5_first);
        self.md5_only = lower(&config.digest_md5_only);
        Ok(())
    }

    /// The algorithms to offer a user agent, in order.
    pub(crate) fn offer(&self, user_agent: &str) -> Vec<Algorithm> {
        let agent = user_agent.to_ascii_lowercase();
        let mut offer = self.algorithms.clone();
        if is_listed(&self.md5_only, &agent) && offer.contains(&Algorithm::Md5) {
            return vec![Algorithm::Md5];
        }
        let md5_first = is_listed(&self.md5_first, &agent);
        if md5_first {
            offer.sort_by_key(|a| *a != Algorithm::Md5);
        }
        offer
    }
}

impl EdgeCore {
    /// Who a request proves to be, or `None` after it was answered (challenged or refused):
    /// `Some(None)` for who it claims to be, and, as proxy, `Some(Some(..))` for another user, whose
    /// claims are then checked against it.
    pub(crate) fn authenticate(
        &mut self,
        at: Present,
        asker: impl Into<Asker>,
        arrival: &Arrival,
        request: &Message,
        claim: (&Aor, Face),
    ) -> Option<Option<Aor>> {
        let (aor, face) = claim;
        let asker = asker.into();
        let arrival = &self.behind_edge(arrival, request);
        if face == Face::Proxy
            && (self.flow_proves(arrival.flow, aor) || self.is_open(arrival, aor))
            && !self.is_challenged(at, aor, request)
        {
            return Some(None);
        }
        let Some(realm) = self.directory.realm(aor.host()) else {
            self.suspect(arrival, Sign::Astray);
            self.reply(at, asker, request, (403, "Domain Not Served Here"), &[]);
            return None;
        };
        match self.prove(at, arrival, request, (&realm, face)) {
            Proof::Is(proven) if proven == aor.as_str() => Some(None),
            Proof::Is(proven) if face == Face::Proxy => proven.parse().ok().map(Some),
            Proof::Elsewhere => {
                self.reply(at, asker, request, (400, "Digest URI Does Not Match"), &[]);
                None
            }
            Proof::Missing => {
                self.suspect_sweep(at, arrival, aor, &realm);
                self.challenge(at, asker, arrival, request, (aor, &realm, face, false));
                None
            }
            Proof::Stale => {
                self.challenge(at, asker, arrival, request, (aor, &realm, face, true));
                None
            }
            Proof::TooMany(wait) => {
                self.counters.guesses_refused += 1;
                let name = self.auth.attempts.account(&realm, aor.user()).name();
                self.suspect(arrival, Sign::WrongPassword { name });
                self.refuse_for_now(at, asker, request, wait);
                None
            }
            Proof::Is(_) | Proof::Wrong => {
                let name = self.auth.attempts.account(&realm, aor.user()).name();
                self.suspect(arrival, Sign::WrongPassword { name });
                self.counters.auth_failures += 1;
                self.emit(EdgeEvent::AuthFailed {
                    source: arrival.peer,
                    user: Redacted::new(aor.user().to_string()),
                    realm: realm.to_string(),
                    method: request.method().map_or(String::new(), |m| m.as_str().to_string()),
                });
                self.reply(at, asker, request, (403, "Wrong User Or Password"), &[]);
                None
            }
        }
    }

    /// Whether the operator takes this sender's word (`edge.open_from`).
    fn is_open(&self, arrival: &Arrival, aor: &Aor) -> bool {
        !self.config.open_from.is_empty()
            && self.config.is_open_to(arrival.peer.ip())
            && self.directory.is_local(aor.host())
    }

    /// Tells whoever keeps the gate what a source does.
    pub(crate) fn suspect(&mut self, arrival: &Arrival, sign: Sign) {
        self.emit(EdgeEvent::Suspicious { source: arrival.peer, sign });
    }

    /// A stranger asks for a user that does not exist: once is a typing error. What it is answered
    /// does not depend on it.
    fn suspect_sweep(&mut self, at: Present, arrival: &Arrival, aor: &Aor, realm: &str) {
        let account = self.auth.attempts.account(realm, aor.user());
        if !self.auth.attempts.is_stranger(at.wall, account, arrival.peer.ip()) {
            return;
        }
        let exists = self.directory.ha1(realm, aor.user(), self.auth.algorithms[0]).is_some();
        if !exists {
            self.suspect(arrival, Sign::MissingUser { name: account.name() });
        }
    }

    /// The same words whoever is meant. Those who wait are spread, so that they do not all come back
    /// at once.
    fn refuse_for_now(&mut self, at: Present, asker: Asker, request: &Message, wait: Duration) {
        let least = wait.as_secs() + 1;
        let spread = self.entropy.next_u64() % (least / 4 + 2);
        let retry = [("Retry-After", (least + spread).to_string())];
        self.reply(at, asker, request, (503, "Too Many Attempts"), &retry);
    }

    fn prove(
        &mut self,
        at: Present,
        arrival: &Arrival,
        request: &Message,
        (realm, face): (&str, Face),
    ) -> Proof {
        let name = match face {
            Face::Registrar => HeaderName::AUTHORIZATION,
            Face::Proxy => HeaderName::PROXY_AUTHORIZATION,
        };
        // JsSIP sends its bearer token as Authorization on every request.
        for value in request.headers(HeaderName::AUTHORIZATION) {
            if let Some(token) = bearer(value) {
                let aor = self.directory.bearer(token, at.wall);
                return aor.map_or(Proof::Wrong, Proof::Is);
            }
        }
        let given = request.headers(name).filter_map(Credentials::parse);
        let ours = given.filter(|c| c.is_digest() && *c.realm() == *realm.as_bytes()).last();
        match ours {
            Some(credentials) => self.verify(at, arrival, request, (realm, &credentials)),
            None => Proof::Missing,
        }
    }

    fn verify(
        &mut self,
        at: Present,
        arrival: &Arrival,
        request: &Message,
        (realm, credentials): (&str, &Credentials<'_>),
    ) -> Proof {
        let count = credentials.nc().unwrap_or(1);
        let print = self.fingerprint(arrival, request, credentials.response());
        let nonce = match self.auth.nonces.check(credentials.nonce(), (count, print), at.wall) {
            NonceCheck::Foreign | NonceCheck::Stale => return Proof::Stale,
            NonceCheck::Good(nonce) => nonce,
        };
        let algorithm = credentials.algorithm().filter(|a| self.auth.algorithms.contains(a));
        let Some(algorithm) = algorithm else { return Proof::Missing };
        // "user" or "user@domain": both are in use.
        let username = credentials.username();
        let username = String::from_utf8_lossy(&username);
        let (user, domain) = username.split_once('@').unwrap_or((&username, realm));
        let user = user.to_string();
        let known = match self.directory.realm(domain).as_deref() == Some(realm) {
            true => self.directory.ha1(realm, &user, algorithm),
            false => None,
        };
        let what = Try {
            account: self.auth.attempts.account(realm, &user),
            source: arrival.peer,
            device: &|| device(request),
        };
        let is_registered = || {
            let aor = Aor::new(&user, realm);
            self.locations.is_registered_from(aor.as_str(), what.source.ip(), at.wall)
        };
        let permit = match self.auth.attempts.permit(at.wall, &what, is_registered) {
            Ok(permit) => permit,
            Err(wait) => return Proof::TooMany(wait),
        };
        // An unknown user costs the same work and gives the same answer.
        let ha1 = known.clone().unwrap_or_else(|| Redacted::new(NOBODYS_HA1.into()));
        let method = request.method().map_or(b"".as_slice(), |m| m.as_bytes());
        let right = sip::digest::verify(credentials, method, ha1.reveal());
        if right && known.is_some() {
            let agent = request.header(HeaderName::USER_AGENT).unwrap_or_default();
            if self.auth.attempts.right(at.wall, &what, &permit, (agent, algorithm)) {
                self.emit(EdgeEvent::Authenticated { peer: arrival.peer });
            }
            if !self.is_for(request, credentials.uri()) {
                return Proof::Elsewhere;
            }
            self.auth.nonces.spend(nonce, at.wall);
            Proof::Is(Aor::new(&user, realm).as_str().to_string())
        } else {
            self.auth.attempts.wrong(at.wall, &permit);
            Proof::Wrong
        }
    }

    fn challenge(
        &mut self,
        at: Present,
        asker: Asker,
        arrival: &Arrival,
        request: &Message,
        (aor, realm, face, stale): (&Aor, &str, Face, bool),
    ) {
        let (status, reason, header) = match face {
            Face::Registrar => (401, "Unauthorized", HeaderName::WWW_AUTHENTICATE),
            Face::Proxy => (407, "Proxy Authentication Required", HeaderName::PROXY_AUTHENTICATE),
        };
        // All challenges of one response share nonce and opaque.
        let nonce = self.auth.nonces.issue(at.wall, &mut *self.entropy);
        let opaque = self.entropy.token(12);
        let challenges: Vec<String> = self
            .offer(at, arrival, request, (aor, realm))
            .into_iter()
            .map(|algorithm| {
                let opaque = Some(opaque.as_str());
                ChallengeBuilder { realm, nonce: &nonce, opaque, algorithm, stale }.build()
            })
            .collect();
        let headers = challenges.iter().map(|c| (header, c.as_str()));
        self.reply_with(at, asker, request, (status, reason), headers);
    }

    /// The algorithms to offer: what the user agent took here before, as long as policy allows it;
    /// otherwise all, in the order that is good for its kind.
    fn offer(
        &self,
        at: Present,
        arrival: &Arrival,
        request: &Message,
        (aor, realm): (&Aor, &str),
    ) -> Vec<Algorithm> {
        let agent = request.header(HeaderName::USER_AGENT).unwrap_or_default();
        let account = self.auth.attempts.account(realm, aor.user());
        match self.learned(at, (account, arrival.peer.ip()), agent) {
            Some(algorithm) => vec![algorithm],
            None => self.auth.offer(&String::from_utf8_lossy(agent)),
        }
    }

    /// The algorithm this user agent took here before, as long as policy allows it.
    pub(crate) fn learned(
        &self,
        at: Present,
        whence: (Account, IpAddr),
        agent: &[u8],
    ) -> Option<Algorithm> {
        let learned = self.auth.attempts.learned(at.wall, whence, agent);
        learned.filter(|algorithm| self.auth.algorithms.contains(algorithm))
    }
}

/// Stands for the HA1 of a user who does not exist: as long as one of SHA-256.
const NOBODYS_HA1: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What tells a device from others, wherever it is: its instance (RFC 5626 §4.1), or the Call-ID of
/// its registrations (RFC 3261 §10.2). Strangers do not hear of either.
fn device(request: &Message) -> Option<&[u8]> {
    let instance = request.contacts().find_map(|contact| contact.ok()?.instance());
    let is_register = request.method() == Some(Method::REGISTER);
    instance.or_else(|| request.call_id().filter(|_| is_register))
}

/// Whether a request shows a bearer token.
pub(crate) fn shows_bearer(request: &Message) -> bool {
    request.headers(HeaderName::AUTHORIZATION).any(|value| bearer(value).is_some())
}

fn lower(prefixes: &[String]) -> Vec<String> {
    prefixes.iter().map(|s| s.to_ascii_lowercase()).collect()
}

/// Whether a user agent begins with one of these; an empty prefix stands for no user agent.
fn is_listed(prefixes: &[String], agent: &str) -> bool {
    prefixes.iter().any(|prefix| match prefix.is_empty() {
        true => agent.is_empty(),
        false => agent.starts_with(prefix.as_str()),
    })
}

fn bearer(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticator() -> Authenticator {
        Authenticator::new(&Config::default(), &Redacted::new([0; 32])).unwrap()
    }

    #[test]
    fn sha256_stands_first_except_for_agents_that_stop_at_what_they_do_not_know() {
        let auth = authenticator();
        assert_eq!(auth.offer("Linphone/5.1")[0], Algorithm::Sha256);
        assert_eq!(auth.offer("JsSIP 3.10.1")[0], Algorithm::Md5);
        assert_eq!(auth.offer("baresip v1.0.0 (x86_64/linux)"), [Algorithm::Md5]);
        assert_eq!(auth.offer("baresip v3.10.0 (x86_64/linux)")[0], Algorithm::Sha256);
        assert_eq!(auth.offer("")[0], Algorithm::Md5);
        assert_eq!(auth.offer("JsSIP 3.10.1").len(), 2);
    }

    #[test]
    fn bearer_tokens_are_found_without_regard_to_case() {
        assert_eq!(bearer(b"Bearer abc"), Some("abc"));
        assert_eq!(bearer(b"bearer  abc "), Some("abc"));
        assert_eq!(bearer(b"Digest username=\"x\""), None);
    }
}
