//! What the phone remembers of networks: which transport worked where the first did not, in a file
//! beside the account's instance. Without a place for it, or with a file that cannot be read, the
//! phone finds out again.

use super::instance::state_dir;
use super::kept::write_whole;
use super::transports::{TransportList, word};
use ::phone::{NetworkId, Remembered};
use aws_lc_rs::digest::{SHA256, digest};
use sansio::WallTime;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The largest file that is read; 64 networks take a tenth of it.
const FILE_MAX: u64 = 64 << 10;

/// Where the memory of an account is kept.
#[derive(Debug, Clone)]
pub struct Memory(Option<PathBuf>);

impl Memory {
    /// `transports-HASH.json` in the state folder.
    pub fn of(account: &str) -> Self {
        Self(state_dir().map(|dir| Self::file(&dir, account)))
    }

    /// Nothing is kept.
    #[cfg(test)]
    pub fn nowhere() -> Self {
        Self(None)
    }

    fn file(dir: &Path, account: &str) -> PathBuf {
        let hash = digest(&SHA256, account.as_bytes());
        let name: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        dir.join(format!("transports-{name}.json"))
    }

    /// What was kept.
    pub fn load(&self) -> Vec<Remembered> {
        let Some(path) = &self.0 else { return Vec::new() };
        let small = fs::metadata(path).is_ok_and(|file| file.len() <= FILE_MAX);
        let text = small.then(|| fs::read(path).ok()).flatten().unwrap_or_default();
        let rows = serde_json::from_slice::<Vec<Value>>(&text).unwrap_or_default();
        rows.iter().filter_map(remembered).collect()
    }

    /// Keeps this instead: whole, or not at all.
    pub fn save(&self, known: &[Remembered]) {
        let Some(path) = &self.0 else { return };
        let row = |one: &Remembered| {
            json!({
                "network": one.network.0,
                "transport": word(one.transport),
                "since_s": one.since.as_secs(),
            })
        };
        let rows: Vec<Value> = known.iter().map(row).collect();
        if let Err(error) = write_whole(path, &Value::from(rows).to_string()) {
            tracing::info!(file = %path.display(), %error, "what worked here is not remembered");
        }
    }
}

fn remembered(row: &Value) -> Option<Remembered> {
    let network = NetworkId(row["network"].as_str().filter(|id| id.len() <= 64)?.into());
    let list: TransportList = row["transport"].as_str()?.parse().ok()?;
    let since = WallTime::from_secs(row["since_s"].as_u64()?);
    Some(Remembered { network, transport: list.ways()[0].transport, since })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Transport;

    #[test]
    fn r1_2_what_worked_is_kept_for_each_account_and_a_broken_file_is_no_harm() {
        let dir = std::env::temp_dir().join(format!("whimbrel-networks-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let of = |account: &str| Memory(Some(Memory::file(&dir, account)));
        let known = [(1, Transport::Tcp), (2, Transport::Wss)].map(|(n, transport)| Remembered {
            network: NetworkId(format!("n{n}")),
            transport,
            since: WallTime::from_secs(n),
        });
        of("alice@a").save(&known);
        assert_eq!(of("alice@a").load(), known);
        assert!(of("alice@b").load().is_empty());
        fs::write(of("alice@a").0.unwrap(), "[{\"network\": 3}, ").unwrap();
        assert!(of("alice@a").load().is_empty());
        Memory(None).save(&known);
        fs::remove_dir_all(&dir).unwrap();
    }
}
