//! What the API speaks of, as it stands in its JSON. Times are Unix time in milliseconds
//! (`_at_ms`), lengths of time milliseconds (`_ms`); an absent value is `null`.

use sansio::Redacted;
use serde::{Deserialize, Serialize};

/// What a signed-in party may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the server: sees and changes everything.
    Admin,
    /// Has a phone account: sees its own calls and uses the web phone.
    User,
}

/// A signed-in party.
#[derive(Debug, Clone)]
pub struct Session {
    /// The bearer token; the cookie carries the same.
    pub token: Redacted<String>,
    /// `user@domain`, or the name of the administrator.
    pub account: String,
    /// What it may do; never empty.
    pub roles: Vec<Role>,
    /// When it ends by itself.
    pub expires_at_ms: u64,
}

impl Session {
    /// Whether the session is the administrator's.
    pub fn is_admin(&self) -> bool {
        self.roles.contains(&Role::Admin)
    }

    /// What the session may see.
    pub fn scope(&self) -> Scope {
        if self.is_admin() { Scope::All } else { Scope::Account(self.account.clone()) }
    }
}

/// Whose calls and registrations are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everyone's.
    All,
    /// Only those in which this `user@domain` takes part.
    Account(String),
}

impl Scope {
    /// Whether `uri` (`sip:user@domain`, with or without scheme, port and parameters) belongs to
    /// the scope.
    pub fn covers(&self, uri: &str) -> bool {
        match self {
            Self::All => true,
            Self::Account(account) => same_account(account, uri),
        }
    }
}

/// The facts a web phone needs to register.
#[derive(Debug, Clone)]
pub struct PhoneAccount {
    /// Address of record, `sip:user@domain`.
    pub aor: String,
    /// Where to connect; `None`: `/sip` on the host the page came from.
    pub wss_url: Option<String>,
    /// Short-lived bearer token, sent as `Authorization: Bearer` in REGISTER and INVITE.
    pub token: Redacted<String>,
    /// When the token ends.
    pub expires_at_ms: u64,
    /// Name shown to the far side.
    pub display_name: String,
}

/// A domain served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// The domain, lower case.
    pub domain: String,
    /// Number of users in it.
    pub users: u64,
}

/// A phone account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// `user@domain`.
    pub account: String,
    /// When it was made.
    pub created_at_ms: u64,
}

/// One binding of an address of record (RFC 3261 §10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// Identifies the binding for as long as it lasts.
    pub id: String,
    /// Address of record, `sip:user@domain`.
    pub aor: String,
    /// The Contact URI.
    pub contact: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    pub transport: String,
    /// Where it came from, `address:port`.
    pub source: String,
    /// The phone's own description.
    pub user_agent: Option<String>,
    /// When it was first made.
    pub registered_at_ms: u64,
    /// When it ends unless refreshed.
    pub expires_at_ms: u64,
}

/// How far a live call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// The INVITE arrived.
    Started,
    /// A phone rings.
    Ringing,
    /// Both talk.
    Answered,
}

/// A call that is going on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveCall {
    /// Identifies the call; the path of `DELETE /api/calls/{id}`.
    pub id: String,
    /// RFC 7989 Session-ID.
    pub session_id: String,
    /// Call-ID of the caller's dialog.
    pub call_id: String,
    /// The caller, `sip:user@domain`.
    pub from: String,
    /// The party called.
    pub to: String,
    /// How far it has come.
    pub state: CallState,
    /// When the INVITE arrived.
    pub started_at_ms: u64,
    /// When it was answered.
    pub answered_at_ms: Option<u64>,
    /// The codecs agreed on, caller's side first.
    pub codecs: Vec<String>,
}

/// What one party received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaQuality {
    /// RTP packets received.
    pub packets: u64,
    /// RTP packets missing.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Round trip by RTCP.
    pub rtt_ms: Option<f64>,
}

/// A call that is over, or was cut short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// RFC 7989 Session-ID.
    pub session_id: String,
    /// Call-ID of the caller's dialog.
    pub call_id: String,
    /// The caller, `sip:user@domain`.
    pub from: String,
    /// The party called.
    pub to: String,
    /// Whether someone answered.
    pub answered: bool,
    /// When the INVITE arrived.
    pub started_at_ms: u64,
    /// When it was answered.
    pub answered_at_ms: Option<u64>,
    /// When it ended; absent while it goes on.
    pub ended_at_ms: Option<u64>,
    /// Talking time; absent when not answered.
    pub duration_ms: Option<u64>,
    /// Why it ended: `bye`, `busy`, `server-restart`, ...
    pub cause: Option<String>,
    /// The final SIP status of the INVITE.
    pub status: Option<u16>,
    /// The Q.850 cause that was named, or that the status stands for.
    pub q850: Option<u8>,
    /// Whose doing the end was: `caller`, `callee` or `server`.
    pub ended_by: Option<String>,
    /// The codecs agreed on, caller's side first.
    pub codecs: Vec<String>,
    /// Where the caller came from, `address:port`.
    pub source: String,
    /// The caller's user agent.
    pub user_agent: Option<String>,
    /// What came from the caller.
    pub caller_media: Option<MediaQuality>,
    /// What came from the party called.
    pub callee_media: Option<MediaQuality>,
}

/// Which part of a long list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most so many, 1 to 200.
    pub limit: usize,
    /// The `next` of the page before; opaque to everyone but the backend.
    pub after: Option<String>,
    /// Only users whose account begins with this; only calls from or to this `user@domain`.
    pub search: Option<String>,
}

/// A part of a long list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The entries, newest or alphabetically first.
    pub items: Vec<T>,
    /// Ask for the rest with `after` set to this; absent on the last page.
    pub next: Option<String>,
}

/// How the server does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it takes calls.
    pub ready: bool,
    /// Its version.
    pub version: String,
}

/// Compares `user@domain` with a SIP URI: the user by its case, the domain without (RFC 3261
/// §19.1.4).
fn same_account(account: &str, uri: &str) -> bool {
    let bare = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:")).unwrap_or(uri);
    let bare = bare.split([';', '?', '>']).next().unwrap_or_default();
    let (Some((user_a, host_a)), Some((user_b, host_b))) =
        (account.rsplit_once('@'), bare.rsplit_once('@'))
    else {
        return false;
    };
    user_a == user_b && host_a.eq_ignore_ascii_case(without_port(host_b))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_compares_accounts_with_uris() {
        let own = Scope::Account("alice@example.com".into());
        for uri in [
            "sip:alice@example.com",
            "alice@EXAMPLE.com",
            "sips:alice@example.com:5061;ob",
            "sip:alice@example.com?x=y",
        ] {
            assert!(own.covers(uri), "{uri}");
        }
        for uri in [
            "sip:alice@example.org",
            "sip:malice@example.com",
            "sip:Alice@example.com",
            "sip:example.com",
            "",
            "sip:bob@x;alice@example.com",
        ] {
            assert!(!own.covers(uri), "{uri}");
        }
        assert!(Scope::All.covers("anything"));
    }
}
