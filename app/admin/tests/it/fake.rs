//! A backend in memory. Also drives the pages while they are developed (`examples/pages.rs`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use admin::{
    Answer, Backend, BackendError, EventStream, Health, LiveCall, LiveEvent, Page, PageRequest,
    PhoneAccount, Record, Registration, Role, Scope, Session, Tenant, User,
};
use futures_util::stream;
use sansio::Redacted;
use tokio::sync::broadcast;

/// The password of every user there is from the start.
pub const PASSWORD: &str = "correct horse";
/// The one-time link that is there from the start.
pub const LINK: &str = "one-time-link";
const HOUR_MS: u64 = 3_600_000;

/// Everything behind one lock, changed by the tests at will.
pub struct Fake {
    pub state: Mutex<State>,
    events: broadcast::Sender<LiveEvent>,
}

pub struct State {
    pub passwords: BTreeMap<String, String>,
    pub users: BTreeMap<String, User>,
    pub links: Vec<String>,
    pub sessions: BTreeMap<String, Session>,
    pub registrations: Vec<Registration>,
    pub calls: Vec<LiveCall>,
    pub records: Vec<Record>,
    /// Call, whether paused, by whom.
    pub pauses: Vec<(String, bool, String)>,
    pub wss_url: Option<String>,
    /// Ignores the scope it is told, as a backend with a mistake would.
    pub leaky: bool,
    minted: u64,
}

impl Fake {
    /// Two users, alice and bob, and one link.
    pub fn new() -> Self {
        let mut state = State {
            passwords: BTreeMap::new(),
            users: BTreeMap::new(),
            links: vec![LINK.to_owned()],
            sessions: BTreeMap::new(),
            registrations: Vec::new(),
            calls: Vec::new(),
            records: Vec::new(),
            pauses: Vec::new(),
            wss_url: None,
            leaky: false,
            minted: 0,
        };
        for name in ["alice@example.com", "bob@example.com"] {
            state.passwords.insert(name.to_owned(), PASSWORD.to_owned());
            state.users.insert(name.to_owned(), user(name));
        }
        Self { state: Mutex::new(state), events: broadcast::channel(64).0 }
    }

    /// Tells everyone who listens; the state itself is the caller's to change.
    pub fn tell(&self, event: LiveEvent) {
        let _ = self.events.send(event);
    }

    /// How many streams are open.
    #[allow(dead_code)] // the pages' example does not ask
    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }
}

impl State {
    fn open(&mut self, account: &str, role: Role) -> Session {
        self.minted += 1;
        let token = format!("token-{}-{account}", self.minted);
        let session = Session {
            token: Redacted::new(token.clone()),
            account: account.to_owned(),
            roles: vec![role],
            expires_at_ms: now_ms() + HOUR_MS,
        };
        self.sessions.insert(token, session.clone());
        session
    }

    fn drop_sessions(&mut self, account: &str) {
        self.sessions.retain(|_, session| session.account != account);
    }
}

impl Backend for Fake {
    fn sign_in<'a>(&'a self, login: &'a str, password: &'a str) -> Answer<'a, Session> {
        ready(self.with(|state| match state.passwords.get(login) {
            Some(right) if right == password => Ok(state.open(login, Role::User)),
            _ => Err(BackendError::Refused),
        }))
    }

    fn redeem_link<'a>(&'a self, token: &'a str) -> Answer<'a, Session> {
        ready(self.with(|state| {
            let at = state.links.iter().position(|link| link == token);
            state.links.remove(at.ok_or(BackendError::Refused)?);
            Ok(state.open("admin", Role::Admin))
        }))
    }

    fn session<'a>(&'a self, token: &'a str) -> Answer<'a, Option<Session>> {
        ready(Ok(self.with(|state| state.sessions.get(token).cloned())))
    }

    fn sign_out<'a>(&'a self, token: &'a str) -> Answer<'a, ()> {
        self.with(|state| state.sessions.remove(token));
        ready(Ok(()))
    }

    fn tenants(&self) -> Answer<'_, Vec<Tenant>> {
        let users = self.with(|state| state.users.len() as u64);
        ready(Ok(vec![Tenant { domain: "example.com".to_owned(), users }]))
    }

    fn users(&self, page: PageRequest) -> Answer<'_, Page<User>> {
        let all = self.with(|state| state.users.values().cloned().collect::<Vec<_>>());
        let wanted = page.search.clone().unwrap_or_default();
        let all = all.into_iter().filter(|user| user.account.starts_with(&wanted)).collect();
        ready(Ok(cut(all, &page)))
    }

    fn add_user<'a>(&'a self, account: &'a str, password: &'a str) -> Answer<'a, User> {
        ready(self.with(|state| {
            if !account.ends_with("@example.com") {
                return Err(BackendError::NotFound("tenant"));
            }
            if state.users.contains_key(account) {
                return Err(BackendError::Exists("user"));
            }
            let user = user(account);
            state.users.insert(account.to_owned(), user.clone());
            state.passwords.insert(account.to_owned(), password.to_owned());
            Ok(user)
        }))
    }

    fn remove_user<'a>(&'a self, account: &'a str) -> Answer<'a, ()> {
        ready(self.with(|state| {
            state.users.remove(account).ok_or(BackendError::NotFound("user"))?;
            state.passwords.remove(account);
            state.drop_sessions(account);
            Ok(())
        }))
    }

    fn set_password<'a>(&'a self, account: &'a str, password: &'a str) -> Answer<'a, ()> {
        ready(self.with(|state| {
            let found = state.passwords.get_mut(account).ok_or(BackendError::NotFound("user"))?;
            *found = password.to_owned();
            state.drop_sessions(account);
            Ok(())
        }))
    }

    fn registrations(&self, scope: Scope) -> Answer<'_, Vec<Registration>> {
        ready(Ok(self.with(|state| {
            let seen = |r: &&Registration| state.leaky || scope.covers(&r.aor);
            state.registrations.iter().filter(seen).cloned().collect()
        })))
    }

    fn calls(&self, scope: Scope) -> Answer<'_, Vec<LiveCall>> {
        ready(Ok(self.with(|state| {
            let seen = |c: &&LiveCall| state.leaky || scope.covers(&c.from) || scope.covers(&c.to);
            state.calls.iter().filter(seen).cloned().collect()
        })))
    }

    fn pause_recording<'a>(&'a self, call: &'a str, paused: bool, by: &'a str) -> Answer<'a, ()> {
        let done = self.with(|state| {
            let known = state.calls.iter().any(|live| live.id == call);
            known.then(|| state.pauses.push((call.to_owned(), paused, by.to_owned())))
        });
        ready(done.ok_or(BackendError::NotFound("recorded call")))
    }

    fn hang_up<'a>(&'a self, call: &'a str) -> Answer<'a, ()> {
        let ended = self.with(|state| {
            let at = state.calls.iter().position(|live| live.id == call);
            at.map(|at| state.calls.remove(at))
        });
        let Some(call) = ended else { return ready(Err(BackendError::NotFound("call"))) };
        self.tell(LiveEvent::CallEnded {
            id: call.id,
            from: call.from,
            to: call.to,
            cause: "administrator".to_owned(),
            ended_at_ms: now_ms(),
            caller_media: None,
            callee_media: None,
        });
        ready(Ok(()))
    }

    fn records(&self, scope: Scope, page: PageRequest) -> Answer<'_, Page<Record>> {
        let wanted = page.search.clone().unwrap_or_default();
        let all = self.with(|state| {
            let seen = |r: &&Record| {
                (state.leaky || scope.covers(&r.from) || scope.covers(&r.to))
                    && (r.from.contains(&wanted) || r.to.contains(&wanted))
            };
            state.records.iter().filter(seen).cloned().collect()
        });
        ready(Ok(cut(all, &page)))
    }

    fn subscribe(&self) -> EventStream {
        let receiver = self.events.subscribe();
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((LiveEvent::Lagged, receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        }))
    }

    fn phone_account<'a>(&'a self, session: &'a Session) -> Answer<'a, PhoneAccount> {
        if session.is_admin() {
            return ready(Err(BackendError::NotFound("phone account")));
        }
        let name = session.account.split('@').next().unwrap_or_default().to_owned();
        ready(Ok(PhoneAccount {
            aor: format!("sip:{}", session.account),
            wss_url: self.with(|state| state.wss_url.clone()),
            token: Redacted::new(format!("sip-token-{name}")),
            expires_at_ms: now_ms() + HOUR_MS,
            display_name: name,
        }))
    }

    fn health(&self) -> Answer<'_, Health> {
        ready(Ok(Health { ready: true, version: "0.0.0-fake".to_owned() }))
    }
}

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

fn ready<'a, T: Send + 'a>(result: Result<T, BackendError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(result))
}

fn user(account: &str) -> User {
    User { account: account.to_owned(), created_at_ms: now_ms() }
}

/// The cursor is the index of the next entry.
fn cut<T: Clone>(all: Vec<T>, page: &PageRequest) -> Page<T> {
    let from = page.after.as_deref().and_then(|after| after.parse().ok()).unwrap_or(0);
    let items: Vec<T> = all.iter().skip(from).take(page.limit).cloned().collect();
    let until = from + items.len();
    Page { items, next: (until < all.len()).then(|| until.to_string()) }
}
