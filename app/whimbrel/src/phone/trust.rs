//! What the phone remembers of the phones it agreed on keys with (ZRTP): in a file beside the account's
//! instance, which is secret. Without a place for it every other phone is a first contact each time.

use super::instance::state_dir;
use super::kept::write_whole;
use ::phone::Config;
use aws_lc_rs::digest::{SHA256, digest};
use media::ZrtpIdentity;
use rtp::zrtp::{Cache, Retained, Zid};
use sansio::WallTime;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The largest file that is read; a thousand phones take half of it.
const FILE_MAX: u64 = 1 << 20;

/// The memory of one instance.
pub struct TrustFile {
    path: Option<PathBuf>,
    identity: ZrtpIdentity,
}

impl TrustFile {
    /// `zrtp-HASH.json` in the state folder. A file that cannot be read is begun anew.
    pub fn of(instance: &str) -> Self {
        Self::at(state_dir().map(|dir| Self::file(&dir, instance)))
    }

    fn at(path: Option<PathBuf>) -> Self {
        let identity = path.as_deref().and_then(read);
        let identity = identity.unwrap_or_else(|| ZrtpIdentity::new(&mut net::OsEntropy));
        Self { path, identity }
    }

    fn file(dir: &Path, instance: &str) -> PathBuf {
        let hash = digest(&SHA256, instance.as_bytes());
        dir.join(format!("zrtp-{}.json", hex(&hash.as_ref()[..8])))
    }

    /// Gives the phone who it is and whom it knows.
    pub fn introduce(&self, config: &mut Config) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = WallTime::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        config.wall = Some((Instant::now(), wall));
        config.zrtp = Some(self.identity.clone());
    }

    /// Keeps what is new: whole, or not at all.
    pub fn keep(&mut self, zid: Zid, retained: Retained) {
        self.identity.cache.retain(zid, retained);
        let Some(path) = &self.path else { return };
        if let Err(error) = write_whole(path, &to_json(&self.identity).to_string()) {
            tracing::warn!(file = %path.display(), %error, "the other phone's key is not remembered");
        }
    }
}

fn read(path: &Path) -> Option<ZrtpIdentity> {
    let small = fs::metadata(path).is_ok_and(|file| file.len() <= FILE_MAX);
    let text = small.then(|| fs::read(path).ok()).flatten()?;
    from_json(&serde_json::from_slice(&text).ok()?)
}

fn to_json(identity: &ZrtpIdentity) -> Value {
    let row = |(zid, known): (Zid, &Retained)| {
        json!({
            "zid": hex(&zid.0),
            "rs1": hex(&known.rs1),
            "rs2": known.rs2.map(|rs2| hex(&rs2)),
            "verified": known.verified,
            "seen_ms": known.seen.as_millis(),
            "expires_ms": known.expires.map(WallTime::as_millis),
        })
    };
    let phones: Vec<Value> = identity.cache.iter().map(row).collect();
    json!({ "zid": hex(&identity.zid.0), "phones": phones })
}

fn from_json(value: &Value) -> Option<ZrtpIdentity> {
    let zid = Zid(bytes(&value["zid"])?);
    let mut cache = Cache::default();
    for row in value["phones"].as_array()? {
        let retained = Retained {
            rs1: bytes(&row["rs1"])?,
            rs2: bytes(&row["rs2"]),
            verified: row["verified"].as_bool()?,
            seen: WallTime::from_millis(row["seen_ms"].as_u64()?),
            expires: row["expires_ms"].as_u64().map(WallTime::from_millis),
        };
        cache.retain(Zid(bytes(&row["zid"])?), retained);
    }
    Some(ZrtpIdentity { zid, cache })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(value: &Value) -> Option<[u8; N]> {
    let text = value.as_str().filter(|text| text.len() == 2 * N && text.is_ascii())?;
    let mut out = [0; N];
    for (n, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn r5_4_what_is_known_of_other_phones_is_kept_in_secret_and_a_broken_file_is_begun_anew() {
        let dir = std::env::temp_dir().join(format!("whimbrel-trust-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = TrustFile::file(&dir, "urn:uuid:1");
        let open = || TrustFile::at(Some(path.clone()));
        let mut first = open();
        let known = |n: u8, verified: bool| Retained {
            rs1: [n; 32],
            rs2: verified.then_some([n + 1; 32]),
            verified,
            seen: WallTime::from_secs(5),
            expires: (!verified).then_some(WallTime::from_secs(9)),
        };
        first.keep(Zid([1; 12]), known(3, true));
        first.keep(Zid([2; 12]), known(7, false));
        assert_eq!(open().identity, first.identity);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(TrustFile::file(&dir, "urn:uuid:2"), path);
        let mut config = Config::default();
        open().introduce(&mut config);
        assert_eq!(config.zrtp.as_ref(), Some(&first.identity));
        fs::write(&path, "{\"zid\": \"12\"").unwrap();
        assert_ne!(open().identity.zid, first.identity.zid);
        assert_eq!(open().identity.cache, Cache::default());
        fs::remove_dir_all(&dir).unwrap();
    }
}
