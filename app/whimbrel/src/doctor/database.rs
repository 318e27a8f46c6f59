//! The store: opens, is intact, holds tenants.
//!
//! Opening brings a database to this version's schema, which the doctor must not do to the real
//! one. So it opens the real one only beside a running server of the same version, which has
//! brought it there already, and a private copy otherwise.

use super::report::Report;
use sansio::Entropy;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use store::Tenants;
use store_sql::{DATABASE_FILE, KEY_FILE, SqlStore};

const NAME: &str = "store";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// More is not copied.
const COPY_MAX: u64 = 2 << 30;

/// Looks at the store; `running` is the version of the server that has it open. The domains, if
/// they could be read.
pub(super) async fn check(
    report: &mut Report,
    data: &Path,
    running: Option<&str>,
) -> Option<Vec<String>> {
    let database = crate::serve::database(data);
    if !database.exists() {
        report.ok(NAME, "nothing there yet, serve will make it");
        return None;
    }
    match running {
        Some(VERSION) => look(report, data, data).await,
        Some(version) => {
            let detail = format!("not opened: the server is version {version}, this is {VERSION}");
            report.warn(NAME, detail, "use that version's doctor, or start this version's server");
            None
        }
        None => match Copy::of(data, &database) {
            Ok(copy) => look(report, &copy.0, data).await,
            Err(error) => {
                let detail = format!("{} cannot be copied to look at: {error}", database.display());
                report.warn(NAME, detail, "start the server and ask again");
                None
            }
        },
    }
}

async fn look(report: &mut Report, dir: &Path, data: &Path) -> Option<Vec<String>> {
    // Errors name the copy; the operator knows only the original.
    let named = |text: String| text.replace(&*dir.to_string_lossy(), &data.to_string_lossy());
    let restore = "restore the data folder from a backup, or choose another with --data";
    let store = match SqlStore::open(dir).await {
        Ok(store) => store,
        Err(error) => {
            report.fail(NAME, named(error.to_string()), restore);
            return None;
        }
    };
    let (damage, tenants) = (store.check().await, store.tenants().await);
    store.close().await;
    match (damage, tenants) {
        (Ok(damage), Ok(tenants)) if damage.is_empty() => {
            report.ok(NAME, format!("opens, is intact, tenants: {}", tenants.len()));
            // Without any, serve adds the first one.
            let domains: Vec<String> = tenants.into_iter().map(|t| t.domain).collect();
            (!domains.is_empty()).then_some(domains)
        }
        (Ok(damage), Ok(_)) => {
            report.fail(NAME, format!("it is damaged: {}", damage.join("; ")), restore);
            None
        }
        (Err(error), _) | (_, Err(error)) => {
            report.fail(NAME, named(error.to_string()), restore);
            None
        }
    }
}

/// A copy of the database in a folder of its own, gone when dropped. The key is only linked.
struct Copy(PathBuf);

impl Copy {
    fn of(data: &Path, database: &Path) -> io::Result<Self> {
        if std::fs::metadata(database)?.len() > COPY_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 2 GB"));
        }
        let name = format!("whimbrel-doctor-{}", net::OsEntropy.token(12));
        let dir = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let copy = Self(dir);
        for suffix in ["", "-wal"] {
            let file = format!("{DATABASE_FILE}{suffix}");
            match std::fs::copy(data.join(&file), copy.0.join(&file)) {
                Err(error) if suffix.is_empty() || error.kind() != io::ErrorKind::NotFound => {
                    return Err(error);
                }
                _ => {}
            }
        }
        let key = std::path::absolute(data.join(KEY_FILE))?;
        if key.exists() {
            std::os::unix::fs::symlink(key, copy.0.join(KEY_FILE))?;
        }
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What stays behind is private, and in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
