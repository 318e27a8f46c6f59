//! The tenants' keys, as files.

use relay::recording::RecordingKeys;
use sansio::Entropy;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A key of 32 bytes for each tenant, made when first needed.
pub struct TenantKeys {
    pub folder: PathBuf,
}

impl RecordingKeys for TenantKeys {
    fn key(&self, tenant: &str) -> io::Result<(String, [u8; 32])> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{tenant}.key"));
        let mut key = [0; 32];
        net::OsEntropy.fill(&mut key);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(&key)?;
                file.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => key = read_key(&path)?,
            Err(error) => return Err(error),
        }
        Ok((tenant.to_owned(), key))
    }
}

pub fn read_key(path: &Path) -> io::Result<[u8; 32]> {
    let bytes = std::fs::read(path)?;
    let wrong = |_| {
        let what = format!("{}: {} bytes instead of 32", path.display(), bytes.len());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    bytes.as_slice().try_into().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_12_a_tenants_key_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("whimbrel-keys-{}", std::process::id()));
        let keys = TenantKeys { folder: folder.clone() };
        let (id, key) = keys.key("call.example").unwrap();
        assert_eq!(keys.key("call.example").unwrap(), (id, key));
        assert_ne!(keys.key("other.example").unwrap().1, key);
        let mode = std::fs::metadata(folder.join("call.example.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.join("short.key"), [1; 3]).unwrap();
        assert!(keys.key("short").unwrap_err().to_string().contains("3 bytes instead of 32"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
