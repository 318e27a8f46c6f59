//! The pairs that carried calls (R6.5), in a file beside the phone's instance: without whom they led to.
//! Without a place for it, or with a file that cannot be read, a call begins with what it gathers.

use super::instance::state_dir;
use super::kept::write_whole;
use super::transports::{TransportList, word};
use super::trust::hex;
use ::phone::{NetworkId, RememberedPair};
use aws_lc_rs::digest::{SHA256, digest};
use media::traversal::KnownPair;
use sansio::WallTime;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The largest file that is read; the 64 pairs that are kept take a quarter of it.
const FILE_MAX: u64 = 64 << 10;

/// Where the pairs of an instance are kept.
pub struct PairsFile(Option<PathBuf>);

impl PairsFile {
    /// `pairs-HASH.json` in the state folder.
    pub fn of(instance: &str) -> Self {
        Self(state_dir().map(|dir| Self::file(&dir, instance)))
    }

    fn file(dir: &Path, instance: &str) -> PathBuf {
        let hash = digest(&SHA256, instance.as_bytes());
        dir.join(format!("pairs-{}.json", hex(&hash.as_ref()[..8])))
    }

    /// What was kept.
    pub fn load(&self) -> Vec<RememberedPair> {
        let Some(path) = &self.0 else { return Vec::new() };
        let small = fs::metadata(path).is_ok_and(|file| file.len() <= FILE_MAX);
        let text = small.then(|| fs::read(path).ok()).flatten().unwrap_or_default();
        let rows = serde_json::from_slice::<Vec<Value>>(&text).unwrap_or_default();
        rows.iter().filter_map(pair).collect()
    }

    /// Keeps this instead: whole, or not at all.
    pub fn save(&self, known: &[RememberedPair]) {
        let Some(path) = &self.0 else { return };
        let rows: Vec<Value> = known.iter().map(row).collect();
        if let Err(error) = write_whole(path, &Value::from(rows).to_string()) {
            tracing::info!(file = %path.display(), %error, "good ways are not remembered");
        }
    }
}

fn row(one: &RememberedPair) -> Value {
    let by = one.pair.by.map(
        |(server, transport)| json!({ "server": server.to_string(), "transport": word(transport) }),
    );
    json!({
        "network": one.network.0,
        "by": by,
        "remote": one.pair.remote.to_string(),
        "lite": one.pair.lite,
        "until_s": one.until.as_secs(),
    })
}

fn pair(row: &Value) -> Option<RememberedPair> {
    let network = NetworkId(row["network"].as_str().filter(|id| id.len() <= 64)?.into());
    let by = match &row["by"] {
        Value::Null => None,
        by => {
            let list: TransportList = by["transport"].as_str()?.parse().ok()?;
            Some((by["server"].as_str()?.parse().ok()?, list.ways()[0].transport))
        }
    };
    let remote = row["remote"].as_str()?.parse().ok()?;
    let pair = KnownPair { by, remote, lite: row["lite"].as_bool()? };
    let until = WallTime::from_secs(row["until_s"].as_u64()?);
    Some(RememberedPair { network, pair, until })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Transport;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn r6_5_good_ways_outlive_the_process_and_a_broken_file_is_no_harm() {
        let dir = std::env::temp_dir().join(format!("whimbrel-pairs-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let of = |instance: &str| PairsFile(Some(PairsFile::file(&dir, instance)));
        let server = Some(("198.51.100.1:443".parse().unwrap(), Transport::Tls));
        let known = [None, server].map(|by| RememberedPair {
            network: NetworkId("n".into()),
            pair: KnownPair { by, remote: [203, 0, 113, 7].into(), lite: by.is_none() },
            until: WallTime::from_secs(86_400),
        });
        of("urn:uuid:1").save(&known);
        assert_eq!(of("urn:uuid:1").load(), known);
        assert!(of("urn:uuid:2").load().is_empty());
        let path = of("urn:uuid:1").0.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path, "[{\"network\": \"n\", \"by\": 7}, ").unwrap();
        assert!(of("urn:uuid:1").load().is_empty());
        PairsFile(None).save(&known);
        fs::remove_dir_all(&dir).unwrap();
    }
}
