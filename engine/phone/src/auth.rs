//! Answering digest challenges (RFC 3261 §22, RFC 7616).

use crate::account::Account;
use sansio::Entropy;
use sip::digest::{self, Challenge};
use sip::{HeaderName, Message};

/// A server that calls every nonce stale is not answered for ever.
const TRIES_MAX: u8 = 4;

/// What was learned from challenges, so that a nonce still good saves a round trip.
#[derive(Debug, Default)]
pub(crate) struct Authenticator {
    spaces: Vec<Space>,
}

#[derive(Debug)]
struct Space {
    /// The challenge as it came.
    challenge: Box<[u8]>,
    is_proxy: bool,
    count: u32,
}

/// The challenges one exchange has answered, so that a wrong password is tried once.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tries {
    server: bool,
    proxy: bool,
    count: u8,
}

impl Tries {
    /// Counts one more challenge. False when it should not be answered.
    fn again(&mut self, is_proxy: bool, is_stale: bool) -> bool {
        let answered = if is_proxy { &mut self.proxy } else { &mut self.server };
        if self.count >= TRIES_MAX || (*answered && !is_stale) {
            return false;
        }
        *answered = true;
        self.count += 1;
        true
    }
}

/// A request's credentials: the header's name and value.
pub(crate) type Credentials = (HeaderName<'static>, String);

impl Authenticator {
    /// Takes a 401 or 407 in. False when it is none, cannot be answered, or came though this very
    /// exchange answered one already that was not stale: the password is wrong.
    pub(crate) fn learn(&mut self, response: &Message, tries: &mut Tries) -> bool {
        let is_proxy = match response.status() {
            Some(401) => false,
            Some(407) => true,
            _ => return false,
        };
        let name = match is_proxy {
            true => HeaderName::PROXY_AUTHENTICATE,
            false => HeaderName::WWW_AUTHENTICATE,
        };
        let offered = response.headers(name).flat_map(digest::challenges);
        let Some(challenge) = Challenge::choose(offered) else { return false };
        if !tries.again(is_proxy, challenge.is_stale()) {
            return false;
        }
        let Some(raw) = response
            .headers(name)
            .find(|v| digest::challenges(v).any(|c| c.algorithm() == challenge.algorithm()))
        else {
            return false;
        };
        self.spaces.retain(|s| s.is_proxy != is_proxy);
        self.spaces.push(Space { challenge: raw.into(), is_proxy, count: 0 });
        true
    }

    /// Forgets everything: the link or the server changed.
    pub(crate) fn forget(&mut self) {
        self.spaces.clear();
    }

    /// Credentials for a request, for every challenge known.
    pub(crate) fn credentials(
        &mut self,
        account: &Account,
        method: &[u8],
        uri: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Vec<Credentials> {
        let mut out = Vec::new();
        for space in &mut self.spaces {
            space.count += 1;
            let all = digest::challenges(&space.challenge);
            let Some(challenge) = Challenge::choose(all) else { continue };
            let Some(algorithm) = challenge.algorithm() else { continue };
            let realm = challenge.realm();
            let password = account.password.reveal().as_bytes();
            let ha1 = digest::ha1(algorithm, account.user.as_bytes(), &realm, password);
            let cnonce = entropy.token(16);
            let answer = digest::Answer {
                username: &account.user,
                ha1: &ha1,
                method,
                uri,
                cnonce: &cnonce,
                nc: space.count,
            };
            if let Some(value) = digest::answer(&challenge, &answer) {
                out.push((credentials_name(space.is_proxy), value));
            }
        }
        out
    }
}

fn credentials_name(is_proxy: bool) -> HeaderName<'static> {
    match is_proxy {
        true => HeaderName::PROXY_AUTHORIZATION,
        false => HeaderName::AUTHORIZATION,
    }
}
