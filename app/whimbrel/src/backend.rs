//! The console's API on the running server.

use crate::present;
use crate::serve::Shared;
use admin::{
    Answer, Backend, BackendError, CallState, EventStream, Health, LiveCall, LiveEvent,
    MediaQuality, Page, PageRequest, PhoneAccount, Record, Registration, Role, Scope, Session,
    Tenant, User,
};
use cluster::{Event, Subscription};
use edge::Note;
use records::OpenCall;
use sansio::{Redacted, WallTime};
use std::time::Duration;
use store::{
    Admins, CallRecord, Ha1Set, RecordFilter, Records, SessionKind, StoreError, Subject, Tenants,
    Token, TokenHash, Users,
};

/// How long a sign-in lasts.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// How long a web phone's SIP token lasts; the page renews it.
const SIP_TOKEN: Duration = Duration::from_secs(3600);
const REGISTRATIONS_MAX: usize = 10_000;

/// The running server, as the API sees it.
pub struct ServerBackend {
    shared: Shared,
}

impl ServerBackend {
    /// Of a server.
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }

    async fn begin(&self, subject: Subject, account: String) -> Result<Session, BackendError> {
        let now = present::wall();
        let token = Token::generate(&mut net::OsEntropy);
        let expires_at = now + SESSION;
        let session = store::Session {
            hash: token.hash,
            subject,
            kind: SessionKind::Cookie,
            created_at: now,
            expires_at,
        };
        self.shared.store.add_session(session).await.map_err(failed)?;
        let expires_at_ms = expires_at.as_millis();
        Ok(Session { token: token.secret, account, roles: roles(subject), expires_at_ms })
    }

    async fn check_user(&self, account: &str, password: &str) -> Result<Session, BackendError> {
        let (name, domain) = account.split_once('@').unwrap_or((account, ""));
        let found = match self.shared.store.tenant(domain).await.map_err(failed)? {
            Some(tenant) => self.shared.store.user(tenant.id, name).await.map_err(failed)?,
            None => None,
        };
        // An unknown user costs the same hashing as a wrong password.
        let nobody = Ha1Set::from_password(name, domain, "");
        let ha1 = found.as_ref().map_or(&nobody, |user| &user.ha1);
        let right = ha1.matches(name, domain, password);
        match found {
            Some(user) if right => self.begin(Subject::User(user.id), account.into()).await,
            _ => Err(BackendError::Refused),
        }
    }

    async fn check_admin(&self, name: &str, password: &str) -> Result<Session, BackendError> {
        let found = self.shared.store.admin(name).await.map_err(failed)?;
        let hash = found.as_ref().and_then(|a| a.password_hash.clone()).unwrap_or_default();
        let password = password.to_string();
        let right = tokio::task::spawn_blocking(move || store::password::verify(&hash, &password))
            .await
            .unwrap_or(false);
        match found {
            Some(admin) if right => self.begin(Subject::Admin(admin.id), name.into()).await,
            _ => Err(BackendError::Refused),
        }
    }

    async fn account_of(&self, subject: Subject) -> Result<Option<String>, BackendError> {
        let store = &self.shared.store;
        match subject {
            Subject::Admin(id) => {
                let admins = store.admins().await.map_err(failed)?;
                Ok(admins.into_iter().find(|a| a.id == id).map(|a| a.name))
            }
            Subject::User(id) => {
                let Some(user) = store.user_by_id(id).await.map_err(failed)? else {
                    return Ok(None);
                };
                let tenants = store.tenants().await.map_err(failed)?;
                let tenant = tenants.into_iter().find(|t| t.id == user.tenant);
                Ok(tenant.map(|t| format!("{}@{}", user.name, t.domain)))
            }
        }
    }

    async fn split(&self, account: &str) -> Result<(String, store::Tenant), BackendError> {
        let invalid = |reason: String| BackendError::Invalid { field: "account", reason };
        let (name, domain) =
            account.split_once('@').ok_or_else(|| invalid("write it as user@domain".into()))?;
        let tenant = self.shared.store.tenant(domain).await.map_err(failed)?;
        let tenant = tenant.ok_or_else(|| invalid(format!("{domain} is not served here")))?;
        Ok((name.into(), tenant))
    }

    /// Users changed: in force at the next request.
    async fn reload(&self) -> Result<(), BackendError> {
        self.shared.credentials.reload(&self.shared.store).await.map_err(failed)?;
        self.shared.domains.numbers.reload(&self.shared.store).await.map_err(failed)?;
        Ok(())
    }

    async fn user_page(&self, page: PageRequest) -> Result<Page<User>, BackendError> {
        let mut items = Vec::new();
        let limit = page.limit.clamp(1, 1_000);
        for tenant in self.shared.store.tenants().await.map_err(failed)? {
            let mut after: Option<String> = None;
            loop {
                let users = self.shared.store.users(tenant.id, after.as_deref(), 1_000);
                let users = users.await.map_err(failed)?;
                let Some(last) = users.last() else { break };
                after = Some(last.name.clone());
                for user in users {
                    let account = format!("{}@{}", user.name, tenant.domain);
                    let behind = page.after.as_ref().is_none_or(|a| account > *a);
                    let fits = page.search.as_ref().is_none_or(|s| account.starts_with(s.as_str()));
                    if behind && fits {
                        let created_at_ms = user.created_at.as_millis();
                        items.push(User { account, created_at_ms });
                    }
                    if items.len() > limit {
                        items.truncate(limit);
                        let next = items.last().map(|u: &User| u.account.clone());
                        return Ok(Page { items, next });
                    }
                }
            }
        }
        Ok(Page { items, next: None })
    }

    async fn record_page(
        &self,
        scope: Scope,
        page: PageRequest,
    ) -> Result<Page<Record>, BackendError> {
        let own = match scope {
            Scope::All => None,
            Scope::Account(account) => Some(format!("sip:{account}")),
        };
        let searched = page.search.map(|s| format!("sip:{}", s.trim_start_matches("sip:")));
        let limit = u32::try_from(page.limit.clamp(1, 1_000)).unwrap_or(1_000);
        let before = page.after.and_then(|a| a.parse().ok()).map(WallTime::from_millis);
        let filter = RecordFilter { party: own.clone().or(searched), ..RecordFilter::default() };
        let found = Records::list(&self.shared.store, &filter, limit, before);
        let found = found.await.map_err(failed)?;
        let full = found.len() == limit as usize;
        let next = found.last().filter(|_| full).map(|r| r.started_at.as_millis().to_string());
        Ok(Page { items: found.iter().map(record).collect(), next })
    }
}

impl Backend for ServerBackend {
    fn sign_in<'a>(&'a self, login: &'a str, password: &'a str) -> Answer<'a, Session> {
        Box::pin(async move {
            let login = login.strip_prefix("sip:").unwrap_or(login);
            match login.contains('@') {
                true => self.check_user(login, password).await,
                false => self.check_admin(login, password).await,
            }
        })
    }

    fn redeem_link<'a>(&'a self, token: &'a str) -> Answer<'a, Session> {
        Box::pin(async move {
            let taken = self.shared.store.take_link(TokenHash::of(token), present::wall());
            let Some(id) = taken.await.map_err(failed)? else { return Err(BackendError::Refused) };
            let account = self.account_of(Subject::Admin(id)).await?.unwrap_or_default();
            self.begin(Subject::Admin(id), account).await
        })
    }

    fn session<'a>(&'a self, token: &'a str) -> Answer<'a, Option<Session>> {
        Box::pin(async move {
            let found = self.shared.store.session(TokenHash::of(token), present::wall());
            let Some(session) = found.await.map_err(failed)? else { return Ok(None) };
            let Some(account) = self.account_of(session.subject).await? else { return Ok(None) };
            Ok(Some(Session {
                token: Redacted::new(token.to_string()),
                account,
                roles: roles(session.subject),
                expires_at_ms: session.expires_at.as_millis(),
            }))
        })
    }

    fn sign_out<'a>(&'a self, token: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.shared.store.remove_session(TokenHash::of(token)).await.map_err(failed)?;
            Ok(())
        })
    }

    fn tenants(&self) -> Answer<'_, Vec<Tenant>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for tenant in self.shared.store.tenants().await.map_err(failed)? {
                let users = self.shared.store.count_users(tenant.id).await.map_err(failed)?;
                all.push(Tenant { domain: tenant.domain, users });
            }
            Ok(all)
        })
    }

    fn users(&self, page: PageRequest) -> Answer<'_, Page<User>> {
        Box::pin(self.user_page(page))
    }

    fn add_user<'a>(&'a self, account: &'a str, password: &'a str) -> Answer<'a, User> {
        Box::pin(async move {
            let (name, tenant) = self.split(account).await?;
            let now = present::wall();
            let ha1 = Ha1Set::from_password(&name, &tenant.domain, password);
            let added = self.shared.store.add_user(tenant.id, &name, ha1, now);
            added.await.map_err(failed)?;
            self.reload().await?;
            Ok(User { account: account.into(), created_at_ms: now.as_millis() })
        })
    }

    fn remove_user<'a>(&'a self, account: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (name, tenant) = self.split(account).await?;
            let user = self.shared.store.user(tenant.id, &name).await.map_err(failed)?;
            let Some(user) = user else { return Err(BackendError::NotFound("user")) };
            self.shared.store.remove_sessions_of(Subject::User(user.id)).await.map_err(failed)?;
            self.shared.store.remove_user(tenant.id, &name).await.map_err(failed)?;
            self.reload().await?;
            crate::serve::forget_removed(&self.shared);
            Ok(())
        })
    }

    fn set_password<'a>(&'a self, account: &'a str, password: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let (name, tenant) = self.split(account).await?;
            let user = self.shared.store.user(tenant.id, &name).await.map_err(failed)?;
            let Some(user) = user else { return Err(BackendError::NotFound("user")) };
            let ha1 = Ha1Set::from_password(&name, &tenant.domain, password);
            let set = self.shared.store.set_ha1(tenant.id, &name, ha1, present::wall());
            set.await.map_err(failed)?;
            self.shared.store.remove_sessions_of(Subject::User(user.id)).await.map_err(failed)?;
            self.reload().await
        })
    }

    fn registrations(&self, scope: Scope) -> Answer<'_, Vec<Registration>> {
        Box::pin(async move {
            let all = self.shared.location.list(present::wall(), REGISTRATIONS_MAX);
            let own = all.iter().filter(|b| scope.covers(b.aor()));
            Ok(own.map(registration).collect())
        })
    }

    fn calls(&self, scope: Scope) -> Answer<'_, Vec<LiveCall>> {
        Box::pin(async move {
            let all = self.shared.calls.list();
            let own = all.iter().filter(|c| scope.covers(&c.from) || scope.covers(&c.to));
            Ok(own.map(live_call).collect())
        })
    }

    fn hang_up<'a>(&'a self, call: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let known = call.parse().ok().filter(|id| self.shared.calls.call(*id).is_some());
            let Some(id) = known else { return Err(BackendError::NotFound("call")) };
            for shard in self.shared.shards.iter() {
                // The other shards know no such call.
                let _ = shard.notify(Note::HangUp(id));
            }
            Ok(())
        })
    }

    fn pause_recording<'a>(&'a self, call: &'a str, paused: bool, by: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let done = crate::serve::pause_recording(&self.shared, call, paused, by);
            done.map_err(|_| BackendError::NotFound("recorded call"))
        })
    }

    fn records(&self, scope: Scope, page: PageRequest) -> Answer<'_, Page<Record>> {
        Box::pin(self.record_page(scope, page))
    }

    fn subscribe(&self) -> EventStream {
        let state = (self.shared.spine.subscribe(), self.shared.clone(), 0_u64);
        Box::pin(futures_util::stream::unfold(state, |(mut events, shared, mut seen)| async move {
            loop {
                let event = next_live(&mut events, &shared, &mut seen).await?;
                if let Some(event) = event {
                    return Some((event, (events, shared, seen)));
                }
            }
        }))
    }

    fn phone_account<'a>(&'a self, session: &'a Session) -> Answer<'a, PhoneAccount> {
        Box::pin(async move {
            let Some((name, domain)) = session.account.split_once('@') else {
                return Err(BackendError::Invalid {
                    field: "account",
                    reason: "an administrator has no phone; sign in as a user".into(),
                });
            };
            let aor = format!("sip:{name}@{domain}");
            let now = present::wall();
            let until = now + SIP_TOKEN;
            let token = Token::generate(&mut net::OsEntropy).secret;
            self.shared.domains.issue_bearer(token.reveal(), &aor, until, now);
            Ok(PhoneAccount {
                aor,
                wss_url: None,
                token,
                expires_at_ms: until.as_millis(),
                display_name: name.into(),
            })
        })
    }

    fn health(&self) -> Answer<'_, Health> {
        Box::pin(async move {
            let version = env!("CARGO_PKG_VERSION").to_string();
            Ok(Health { ready: true, version })
        })
    }
}

/// The next event of the spine as the console sees it; `Some(None)` for one it does not see, `None`
/// when the server stops.
async fn next_live(
    events: &mut Subscription,
    shared: &Shared,
    seen_lag: &mut u64,
) -> Option<Option<LiveEvent>> {
    let envelope = events.next().await?;
    if events.lagged() > *seen_lag {
        *seen_lag = events.lagged();
        return Some(Some(LiveEvent::Lagged));
    }
    let at = envelope.at;
    Some(match &envelope.event {
        Event::Registered { aor, binding, .. } => {
            let found = shared.location.by_key(registrar::BindingKey(*binding), at);
            found
                .filter(|b| b.aor() == aor)
                .map(|b| LiveEvent::Registered { registration: registration(&b) })
        }
        Event::Unregistered { aor, binding, .. } => {
            Some(LiveEvent::Unregistered { id: binding.to_string(), aor: aor.clone() })
        }
        Event::CallStarted { call, session_id, call_id, from, to, .. } => Some(LiveEvent::Call {
            call: LiveCall {
                id: call.to_string(),
                session_id: session_id.clone(),
                call_id: call_id.clone(),
                from: from.clone(),
                to: to.clone(),
                state: CallState::Started,
                started_at_ms: at.as_millis(),
                answered_at_ms: None,
                codecs: Vec::new(),
            },
        }),
        Event::CallRinging { call } => {
            changed(shared, *call, |c| c.state = CallState::Ringing).await
        }
        Event::CallAnswered { call, codecs } => {
            changed(shared, *call, |c| {
                c.state = CallState::Answered;
                c.answered_at_ms = Some(at.as_millis());
                c.codecs.clone_from(codecs);
            })
            .await
        }
        Event::CallEnded { call, cause, caller, callee, .. } => {
            let record = Records::record(&shared.store, *call).await.ok().flatten();
            let (from, to) = record.map(|r| (r.from, r.to)).unwrap_or_default();
            Some(LiveEvent::CallEnded {
                id: call.to_string(),
                from,
                to,
                cause: cause.clone(),
                ended_at_ms: at.as_millis(),
                caller_media: quality(caller.packets, caller.lost, caller.jitter_ms, rtt(caller)),
                callee_media: quality(callee.packets, callee.lost, callee.jitter_ms, rtt(callee)),
            })
        }
        _ => None,
    })
}

/// A call as it stands, with the news an event brought: the view may be a moment behind it.
async fn changed(
    shared: &Shared,
    call: u64,
    news: impl FnOnce(&mut LiveCall),
) -> Option<LiveEvent> {
    let known = match shared.calls.call(call) {
        Some(open) => live_call(&open),
        None => {
            let record = Records::record(&shared.store, call).await.ok().flatten()?;
            live_call_of(&record)
        }
    };
    let mut call = known;
    news(&mut call);
    Some(LiveEvent::Call { call })
}

fn roles(subject: Subject) -> Vec<Role> {
    match subject {
        Subject::Admin(_) => vec![Role::Admin],
        Subject::User(_) => vec![Role::User],
    }
}

fn registration(b: &registrar::Binding) -> Registration {
    Registration {
        id: b.key().0.to_string(),
        aor: b.aor().into(),
        contact: b.contact().into(),
        transport: b.transport().to_string(),
        source: b.source().to_string(),
        user_agent: Some(b.user_agent().to_string()).filter(|ua| !ua.is_empty()),
        registered_at_ms: b.registered_at().as_millis(),
        expires_at_ms: b.expires_at().as_millis(),
    }
}

fn live_call(c: &OpenCall) -> LiveCall {
    LiveCall {
        id: c.call.to_string(),
        session_id: c.session_id.clone(),
        call_id: c.call_id.clone(),
        from: c.from.clone(),
        to: c.to.clone(),
        state: match c.state {
            records::CallState::Trying => CallState::Started,
            records::CallState::Ringing => CallState::Ringing,
            records::CallState::Answered => CallState::Answered,
        },
        started_at_ms: c.started_at.as_millis(),
        answered_at_ms: c.answered_at.map(WallTime::as_millis),
        codecs: c.codecs.clone(),
    }
}

fn live_call_of(r: &CallRecord) -> LiveCall {
    LiveCall {
        id: r.call.to_string(),
        session_id: r.session_id.clone(),
        call_id: r.call_id.clone(),
        from: r.from.clone(),
        to: r.to.clone(),
        state: CallState::Started,
        started_at_ms: r.started_at.as_millis(),
        answered_at_ms: r.answered_at.map(WallTime::as_millis),
        codecs: r.codecs.clone(),
    }
}

fn record(r: &CallRecord) -> Record {
    let media = |m: &store::MediaStats| {
        quality(m.packets, m.lost, m.jitter_ms, m.way.as_ref().and_then(|way| way.rtt_ms))
    };
    Record {
        session_id: r.session_id.clone(),
        call_id: r.call_id.clone(),
        from: r.from.clone(),
        to: r.to.clone(),
        answered: r.answered,
        started_at_ms: r.started_at.as_millis(),
        answered_at_ms: r.answered_at.map(WallTime::as_millis),
        ended_at_ms: r.ended_at.map(WallTime::as_millis),
        duration_ms: r.talked_secs().map(|s| (s * 1000.0) as u64),
        cause: (!r.is_open()).then(|| r.cause.clone()),
        status: (r.status != 0).then_some(r.status),
        q850: (r.q850 != 0).then_some(r.q850),
        ended_by: Some(r.ended_by.clone()).filter(|by| !by.is_empty()),
        codecs: r.codecs.clone(),
        source: r.source.clone(),
        user_agent: Some(r.user_agent.clone()).filter(|ua| !ua.is_empty()),
        caller_media: media(&r.caller),
        callee_media: media(&r.callee),
    }
}

fn quality(packets: u64, lost: u64, jitter_ms: f64, rtt_ms: Option<f64>) -> Option<MediaQuality> {
    (packets > 0).then_some(MediaQuality { packets, lost, jitter_ms, rtt_ms })
}

fn rtt(side: &cluster::MediaSummary) -> Option<f64> {
    side.way.as_ref().and_then(|way| way.rtt_ms)
}

fn failed(error: StoreError) -> BackendError {
    match error {
        StoreError::Exists { .. } => BackendError::Exists("user"),
        StoreError::Missing { .. } => BackendError::NotFound("user"),
        other => {
            tracing::error!(error = %other, "store");
            BackendError::Unavailable("the database; see the server's log".into())
        }
    }
}
