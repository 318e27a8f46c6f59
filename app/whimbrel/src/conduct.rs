//! Accounts that call as programs do: the spine is listened to, findings are told, and
//! `whimbrel conduct` on both ends of the control socket.

use crate::cli::ConductVerb;
use crate::control::{self, Request};
use crate::present;
use crate::serve::Shared;
use anyhow::{Result, anyhow};
use cluster::{Envelope, Event};
use edge::{Conduct, ConductConfig, Standings};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long events are gathered.
const LINGER: Duration = Duration::from_millis(250);

/// The scores of all accounts. Clones share them.
#[derive(Debug, Clone)]
pub struct Watch {
    conduct: Arc<Mutex<Conduct>>,
    standings: Standings,
}

impl Watch {
    /// Nobody is known yet.
    pub fn new(config: &ConductConfig) -> Self {
        let conduct = Conduct::new(config.clone());
        let standings = conduct.standings();
        Self { conduct: Arc::new(Mutex::new(conduct)), standings }
    }

    /// What the edges ask.
    pub fn standings(&self) -> Standings {
        self.standings.clone()
    }

    /// How many accounts are held.
    pub fn held(&self) -> usize {
        self.standings.list(present::wall()).len()
    }

    /// Who is held, for the control socket.
    pub fn list(&self) -> Value {
        let action = self.standings.action().word();
        let row = |(aor, score, left): &(String, f32, std::time::Duration)| {
            json!({
                "aor": aor,
                "score": score.round(),
                "action": action,
                "minutes_left": left.as_secs() / 60,
            })
        };
        self.standings.list(present::wall()).iter().map(row).collect()
    }

    /// An operator says that an account is good: whether it was held.
    pub fn clear(&self, account: &str) -> bool {
        let bare = account.strip_prefix("sip:").unwrap_or(account);
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner).clear(&format!("sip:{bare}"))
    }
}

/// Follows the spine until the server stops.
pub async fn follow(shared: Shared) {
    let mut events = shared.spine.follow_kept();
    while events.wait().await {
        // An account is judged by minutes: no need to be woken by each event.
        tokio::time::sleep(LINGER).await;
        events.take().iter().for_each(|envelope| judge(&shared, envelope));
    }
}

fn judge(shared: &Shared, envelope: &Envelope) {
    let found = {
        let mut conduct = shared.conduct.conduct.lock().unwrap_or_else(PoisonError::into_inner);
        conduct.handle_event(envelope.at, &envelope.event)
    };
    let Some(found) = found else { return };
    let event = Event::AccountSuspected {
        aor: found.aor,
        score: f64::from(found.score.round()),
        signs: found.signs.iter().map(ToString::to_string).collect(),
        action: found.action.word().to_string(),
    };
    // Who it is stands in the event; the log says that there is one.
    let (action, signs) = (found.action.word(), found.signs);
    tracing::warn!(action, ?signs, "an account is suspected");
    shared.spine.emit(envelope.at, event);
}

/// `whimbrel conduct`. False when the account was not held.
pub fn run(data: &Path, verb: &ConductVerb) -> Result<bool> {
    match verb {
        ConductVerb::List { json } => {
            let rows = ask(data, &Request::Conduct)?.as_array().cloned().unwrap_or_default();
            let columns = [
                ("ACCOUNT", "aor"),
                ("SCORE", "score"),
                ("ACTION", "action"),
                ("MINUTES LEFT", "minutes_left"),
            ];
            present::rows(*json, rows, &columns);
            Ok(true)
        }
        ConductVerb::Clear { user, json } => {
            let answer = ask(data, &Request::Pardon { account: user.clone() })?;
            let cleared = answer["cleared"] == Value::Bool(true);
            match (json, cleared) {
                (true, _) => present::say(&answer.to_string()),
                (false, true) => present::say(&format!("{user} calls as before")),
                (false, false) => {
                    present::complain(&format!("{user} is not held; see `conduct list`"));
                }
            }
            Ok(cleared)
        }
    }
}

fn ask(data: &Path, request: &Request) -> Result<Value> {
    control::ask(data, request)?.ok_or_else(|| {
        anyhow!("no server runs on {}; start it with `whimbrel serve`", data.display())
    })
}
