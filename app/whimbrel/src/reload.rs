//! `whimbrel reload` and SIGHUP: the configuration and the certificates are read again while calls
//! and connections go on. All of it is checked before any of it holds.

use crate::cli::ReloadArgs;
use crate::config::Config;
use crate::control::{self, Request};
use crate::logging::LogHandle;
use crate::present;
use crate::wiring::Domains;
use anyhow::{Context, Result, bail};
use edge::{Note, PEERS_MAX, PeerConfig};
use net::{CertificateFiles, ServerTls, ShardHandle};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Has the running server reload, and says what became of it.
pub fn run(data: &Path, args: &ReloadArgs) -> Result<()> {
    let Some(done) = control::ask(data, &Request::Configure)? else {
        bail!("no server runs on {}; a start reads the configuration anyway", data.display());
    };
    if args.json {
        present::say(&done.to_string());
        return Ok(());
    }
    let words = |field: &str| {
        let all = done[field].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let (reloaded, waiting) = (words("reloaded"), words("needs_restart"));
    match (reloaded.as_str(), waiting.as_str()) {
        ("", "") => present::say("nothing has changed"),
        ("", _) => {}
        (all, _) => present::say(&format!("reloaded: {all}")),
    }
    if !waiting.is_empty() {
        present::say(&format!("changed, and needs a restart: {waiting}"));
    }
    Ok(())
}

/// What can be changed in a running server.
#[derive(Clone)]
pub struct Reloader {
    inner: Arc<Inner>,
}

struct Inner {
    file: Option<PathBuf>,
    /// What holds now. Tables that need a restart stay as they were at the start.
    current: Mutex<Config>,
    log: LogHandle,
    tls: ServerTls,
    domains: Arc<Domains>,
    shards: Arc<Vec<ShardHandle<Note>>>,
}

impl Reloader {
    /// Of a server that was started with `config` from `file`.
    pub fn new(
        file: Option<PathBuf>,
        config: Config,
        log: LogHandle,
        (tls, domains): (ServerTls, Arc<Domains>),
        shards: Arc<Vec<ShardHandle<Note>>>,
    ) -> Self {
        let current = Mutex::new(config);
        Self { inner: Arc::new(Inner { file, current, log, tls, domains, shards }) }
    }

    /// Reads everything again. What can be changed is, all of it or nothing; what cannot is named.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed then.
    pub fn reload(&self) -> Result<Value> {
        let outcome = self.try_reload();
        match &outcome {
            Ok(done) => tracing::info!(%done, "configuration read again"),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "nothing was reloaded");
            }
        }
        outcome
    }

    fn try_reload(&self) -> Result<Value> {
        let Inner { file, current, log, tls, domains, shards } = &*self.inner;
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = match file {
            Some(file) => Config::load(file)?,
            None => current.clone(),
        };
        let peers = PeerConfig::in_place_of(&current.edge.peers, wanted.edge.peers.clone());
        if peers.len() > PEERS_MAX {
            let kept = peers.iter().filter(|peer| peer.retired).count();
            bail!("[[peer]]: {kept} that were removed still count; restart the server");
        }
        wanted.edge.peers = peers;
        // Recording begins and ends with the server.
        wanted.edge.recorded.clone_from(&current.edge.recorded);
        let filter = log.filter(&wanted.log)?;
        let files = wanted.tls.certificate.clone().zip(wanted.tls.key.clone());
        let files = files.map(|(cert, key)| CertificateFiles { cert, key });
        let prepared = tls.prepare(files, present::wall()).context("[tls]")?;
        let room = |shard: &ShardHandle<Note>| shard.has_room();
        if !shards.iter().all(room) {
            bail!("a signalling shard is too busy to be told; try again in a moment");
        }
        if wanted.edge.knows_by_certificate() {
            // Of the authorities of the running server: `[transport]` waits for a restart.
            tls.peer_certificates().ask(&current.transport.ca).context("[transport] ca")?;
        }
        // From here on nothing can fail.
        let needs_restart = waiting(&current, &wanted);
        wanted.edge.keep_fixed(&current.edge);
        let mut reloaded = Vec::new();
        if tls.take(prepared) {
            reloaded.push("certificate");
        }
        if wanted.log.level != current.log.level {
            log.set(filter);
            reloaded.push("log.level");
        }
        let edge = wanted.edge;
        if edge != current.edge {
            let told = Arc::new(edge.clone());
            for shard in shards.iter() {
                // There was room a moment ago; a refusal is counted, and the next reload says it.
                let _ = shard.notify(Note::Configure(Arc::clone(&told)));
            }
            reloaded.extend(changed_parts(&current.edge, &edge));
            if edge.peers != current.edge.peers {
                // Number and place are the same in the shards and here: nobody changes number.
                domains.replace_peers(&edge.peers);
                if !edge.knows_by_certificate() {
                    tls.peer_certificates().stop();
                }
            }
        }
        current.edge = edge;
        current.log.level = wanted.log.level;
        current.tls = wanted.tls;
        Ok(json!({ "reloaded": reloaded, "needs_restart": needs_restart }))
    }
}

/// The tables that are in the edge's configuration and changed.
fn changed_parts(current: &edge::Config, wanted: &edge::Config) -> Vec<&'static str> {
    let (mut same_peers, peer) = (wanted.clone(), current.peers != wanted.peers);
    let profile = current.profiles != wanted.profiles;
    same_peers.peers.clone_from(&current.peers);
    same_peers.profiles.clone_from(&current.profiles);
    let changed = [("edge", same_peers != *current), ("peer", peer), ("profile", profile)];
    changed.into_iter().filter_map(|(table, differs)| differs.then_some(table)).collect()
}

/// The tables whose change a running server cannot follow.
fn waiting(current: &Config, wanted: &Config) -> Vec<&'static str> {
    let changed = [
        ("domain", current.domain != wanted.domain),
        ("public_ip", current.public_ip != wanted.public_ip),
        ("shards", current.shards != wanted.shards),
        ("interface", current.interface != wanted.interface),
        ("ports", current.ports != wanted.ports),
        ("log.json", current.log.json != wanted.log.json),
        ("registrar", current.registrar != wanted.registrar),
        ("media", current.media != wanted.media),
        ("recording", current.recording != wanted.recording),
        ("turn", current.turn != wanted.turn),
        ("dns", current.dns != wanted.dns),
        ("transport", current.transport != wanted.transport),
        ("edge.limit_loopback", current.edge.limit_loopback != wanted.edge.limit_loopback),
        ("edge.guesses", current.edge.guesses != wanted.edge.guesses),
        ("edge.admission", current.edge.admission != wanted.edge.admission),
        ("edge.conduct", current.edge.conduct != wanted.edge.conduct),
    ];
    changed.into_iter().filter_map(|(table, differs)| differs.then_some(table)).collect()
}

/// Reloads at each SIGHUP, for ever.
pub async fn on_hangup(reloader: Reloader) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::warn!("SIGHUP cannot be heard: use `whimbrel reload`");
    };
    while hangup.recv().await.is_some() {
        // The log says what came of it.
        let _ = reloader.reload();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("whimbrel.toml")).unwrap()
    }

    #[test]
    fn every_table_is_either_reloaded_or_named_as_waiting() {
        let before = config("");
        // Debug names the fields of the whole configuration, so that a new table is not forgotten.
        let shown = format!("{before:?}");
        let waiting = |text: &str| super::waiting(&before, &config(text));
        for table in [
            "domain",
            "public_ip",
            "shards",
            "interface",
            "ports",
            "tls",
            "log",
            "edge",
            "peer",
            "profile",
            "registrar",
            "media",
            "dns",
            "transport",
        ] {
            assert!(shown.contains(&format!("{table}: ")), "{table}");
        }
        assert_eq!(waiting("[ports]\nsip = 5070"), ["ports"]);
        assert_eq!(waiting("shards = 3\n[media]\nsilence_s = 9"), ["shards", "media"]);
        let nothing: [&str; 0] = [];
        assert_eq!(waiting("[edge]\ncalls_max = 9\n[log]\nlevel = \"debug\""), nothing);
        let peer = "[[peer]]\nname = \"p\"\naddress = \"192.0.2.1\"\n";
        assert_eq!(waiting(peer), nothing);
        assert_eq!(changed_parts(&before.edge, &config(peer).edge), ["peer"]);
        assert_eq!(waiting("[edge.guesses]\nper_account_h = 9"), ["edge.guesses"]);
    }
}
