//! An append-only file of frames: whole after any crash, never half-written after an error.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::LogError;
use crate::frame::Frames;

/// Bytes at the beginning of each file that say what it is.
pub const HEADER_LEN: usize = 16;

/// A log open for appending. One owner.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
    torn: bool,
}

/// What opening a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Whole entries.
    pub entries: u64,
    /// Bytes cut off behind them: the tail of an interrupted write.
    pub cut_bytes: u64,
}

impl LogFile {
    /// Opens or creates `path`, hands every whole entry to `on_entry`, and cuts a torn tail.
    ///
    /// # Errors
    /// [`LogError::Foreign`] if the file begins with another header; the system's otherwise.
    pub fn open(
        path: &Path,
        header: &[u8; HEADER_LEN],
        mut on_entry: impl FnMut(&[u8]),
    ) -> Result<(Self, Recovered), LogError> {
        let fail = |e: &io::Error| LogError::from_io(path, e);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(|e| fail(&e))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| fail(&e))?;
        let body =
            body_of(&bytes, header).ok_or_else(|| LogError::Foreign { path: path.to_owned() })?;
        let mut frames = Frames::new(body.unwrap_or_default());
        let mut recovered = Recovered::default();
        for entry in frames.by_ref() {
            on_entry(entry);
            recovered.entries += 1;
        }
        let whole = if body.is_some() { HEADER_LEN + frames.consumed() } else { 0 };
        recovered.cut_bytes = (bytes.len() - whole) as u64;
        let mut log = Self { path: path.to_owned(), file, len: whole as u64, torn: true };
        log.restore()?;
        if body.is_none() {
            log.append(header)?;
        }
        Ok((log, recovered))
    }

    /// Reads the whole entries of a file without changing it. Nothing if it does not exist.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(
        path: &Path,
        header: &[u8; HEADER_LEN],
        mut on_entry: impl FnMut(&[u8]),
    ) -> Result<Recovered, LogError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Recovered::default()),
            Err(e) => return Err(LogError::from_io(path, &e)),
        };
        let body = body_of(&bytes, header)
            .ok_or_else(|| LogError::Foreign { path: path.to_owned() })?
            .unwrap_or_default();
        let mut frames = Frames::new(body);
        let mut entries = 0;
        for entry in frames.by_ref() {
            on_entry(entry);
            entries += 1;
        }
        Ok(Recovered { entries, cut_bytes: (body.len() - frames.consumed()) as u64 })
    }

    /// Appends whole frames. After an error the file ends where it ended before.
    ///
    /// # Errors
    /// [`LogError::DiskFull`] and the like; nothing of `frames` is then in the log.
    pub fn append(&mut self, frames: &[u8]) -> Result<(), LogError> {
        self.restore()?;
        self.torn = true;
        match self.file.write_all_at(frames, self.len) {
            Ok(()) => {
                self.len += frames.len() as u64;
                self.torn = false;
                Ok(())
            }
            Err(e) => {
                // A second failure leaves `torn` set: the next append tries again.
                let _ = self.restore();
                Err(LogError::from_io(&self.path, &e))
            }
        }
    }

    /// Forces what was appended to the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|e| LogError::from_io(&self.path, &e))
    }

    /// The file once more, to force it to disk while its owner goes on writing.
    ///
    /// # Errors
    /// The system's.
    pub fn handle(&self) -> Result<File, LogError> {
        self.file.try_clone().map_err(|e| LogError::from_io(&self.path, &e))
    }

    /// Takes back everything from `len` on: an appended group that could not be forced to disk.
    ///
    /// # Errors
    /// The system's; the next append tries again.
    pub fn roll_back(&mut self, len: u64) -> Result<(), LogError> {
        self.len = self.len.min(len);
        self.torn = true;
        self.restore()
    }

    /// Bytes of whole entries, header included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len <= HEADER_LEN as u64
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn restore(&mut self) -> Result<(), LogError> {
        if self.torn {
            self.file.set_len(self.len).map_err(|e| LogError::from_io(&self.path, &e))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Keeps other processes out of a folder; let go when dropped or when the process dies.
#[derive(Debug)]
pub struct DirLock {
    file: File,
}

impl DirLock {
    /// Makes the folder if need be and locks `DIR/lock`.
    ///
    /// # Errors
    /// [`LogError::InUse`] if another process has it.
    pub fn take(dir: &Path) -> Result<Self, LogError> {
        fs::create_dir_all(dir).map_err(|e| LogError::from_io(dir, &e))?;
        let path = dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| LogError::from_io(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse { path }),
            Err(TryLockError::Error(e)) => Err(LogError::from_io(&path, &e)),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing would do, but for a child process just being started: it has the file too until
        // it runs its program.
        let _ = self.file.unlock();
    }
}

/// Replaces a file by what `fill` writes: the old one or the new one is there at any moment.
///
/// # Errors
/// The system's; the old file is then untouched.
pub fn replace_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), LogError> {
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = io::BufWriter::with_capacity(1 << 18, File::create(&temporary)?);
        fill(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|e| {
        // Best effort: it holds nothing that counts, and would take space on a full disk.
        let _ = fs::remove_file(&temporary);
        LogError::from_io(path, &e)
    })
}

/// Behind the header; `Some(None)` if the header itself is missing or torn, `None` if it differs.
fn body_of<'a>(bytes: &'a [u8], header: &[u8; HEADER_LEN]) -> Option<Option<&'a [u8]>> {
    match bytes.strip_prefix(header) {
        Some(body) => Some(Some(body)),
        None if header.starts_with(bytes) => Some(None),
        None => None,
    }
}

#[cfg(test)]
mod tests;
