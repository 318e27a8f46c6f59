//! Bans over a restart: `DATA/bans.json`, written within a second of each ban and at once when one is
//! lifted. It is a memory of convenience: without it, or with one that cannot be read, scanners are
//! banned again at their next message.

use sansio::WallTime;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The largest file that is read: ten thousand bans take a tenth of it.
const FILE_MAX: u64 = 16 << 20;

/// Where the bans of a server are kept.
#[derive(Debug, Clone)]
pub struct KeptBans(PathBuf);

impl KeptBans {
    /// In this data folder.
    pub fn of(data: &Path) -> Self {
        Self(data.join("bans.json"))
    }

    /// Goes on with the bans of the last run.
    pub fn resume(&self, gate: &net::Gate, wall: WallTime) {
        let small = std::fs::metadata(&self.0).is_ok_and(|file| file.len() <= FILE_MAX);
        let Some(text) = small.then(|| std::fs::read(&self.0).ok()).flatten() else { return };
        let rows = match serde_json::from_slice::<Vec<Value>>(&text) {
            Ok(rows) => rows,
            Err(error) => {
                let file = self.0.display();
                return tracing::warn!(%file, %error, "bans of before are forgotten");
            }
        };
        let bans: Vec<net::Ban> = rows.iter().filter_map(|row| ban(row, wall)).collect();
        for ban in &bans {
            gate.resume(Instant::now(), *ban);
        }
        tracing::debug!(bans = bans.len(), "bans of before go on");
    }

    /// Writes down the bans in force: whole, or not at all.
    pub fn write(&self, gate: &net::Gate, wall: WallTime) {
        let row = |ban: &net::Ban| {
            json!({
                "source": ban.source.to_string(),
                "sign": ban.sign.word(),
                "until_s": (wall + ban.left).as_secs(),
                "count": ban.count,
            })
        };
        let rows: Vec<Value> = gate.bans(Instant::now()).iter().map(row).collect();
        let fresh = self.0.with_extension("json.new");
        let text = Value::from(rows).to_string();
        let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.0));
        if let Err(error) = written {
            tracing::warn!(file = %self.0.display(), %error, "bans will not survive a restart");
        }
    }
}

fn ban(row: &Value, wall: WallTime) -> Option<net::Ban> {
    let source: IpAddr = row["source"].as_str()?.parse().ok()?;
    let sign = net::Sign::of_word(row["sign"].as_str()?)?;
    let left = row["until_s"].as_u64()?.saturating_sub(wall.as_secs());
    let count = u32::try_from(row["count"].as_u64()?).ok()?;
    (left > 0).then(|| net::Ban::new(source, sign, Duration::from_secs(left), count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::{Gate, GatePolicy, Sign};
    use sansio::SeededEntropy;

    fn gate() -> Gate {
        Gate::new(GatePolicy::default(), Instant::now(), &mut SeededEntropy::new(1))
    }

    #[test]
    fn r2_7_bans_go_on_after_a_restart_for_what_is_left_of_them() {
        let folder = std::env::temp_dir().join(format!("whimbrel-bans-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (kept, wall) = (KeptBans::of(&folder), WallTime::from_secs(1_800_000_000));
        let (scanner, other) = ("192.0.2.66".parse().unwrap(), "192.0.2.7".parse().unwrap());
        let before = gate();
        before.blame(Instant::now(), scanner, Sign::Scanner).expect("a ban of a minute");
        kept.write(&before, wall);

        let after = gate();
        kept.resume(&after, wall + Duration::from_secs(20));
        let bans = after.bans(Instant::now());
        let left = bans[0].left.as_secs();
        assert_eq!((bans.len(), bans[0].source, bans[0].count), (1, scanner, 1));
        assert!((38..=40).contains(&left), "{left} s");
        assert_ne!(after.accept(Instant::now(), scanner), net::Verdict::Pass);
        assert_eq!(after.accept(Instant::now(), other), net::Verdict::Pass);

        let late = gate();
        kept.resume(&late, wall + Duration::from_secs(61));
        assert!(late.bans(Instant::now()).is_empty(), "it is over");
        std::fs::write(folder.join("bans.json"), "[{\"source\":3}, 7").unwrap();
        kept.resume(&late, wall);
        assert!(late.bans(Instant::now()).is_empty(), "a broken file is no reason not to start");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
