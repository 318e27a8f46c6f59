use super::*;
use crate::frame::push_frame;

const HEADER: &[u8; HEADER_LEN] = b"test log v1\n\0\0\0\0";

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("wb-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn frames(payloads: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for p in payloads {
        assert!(push_frame(&mut out, |out| out.extend_from_slice(p.as_bytes())));
    }
    out
}

fn open(path: &Path) -> (LogFile, Vec<String>, u64) {
    let mut seen = Vec::new();
    let (log, found) =
        LogFile::open(path, HEADER, |e| seen.push(String::from_utf8_lossy(e).into_owned()))
            .unwrap();
    (log, seen, found.cut_bytes)
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on() {
    let dir = Dir::new("torn");
    let path = dir.0.join("a.log");
    let (mut log, seen, _) = open(&path);
    assert!(seen.is_empty() && log.is_empty());
    log.append(&frames(&["one", "two"])).unwrap();
    log.sync().unwrap();
    drop(log);
    let whole = fs::read(&path).unwrap();
    for cut in HEADER_LEN..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut log, seen, _) = open(&path);
        let kept = seen.len();
        assert_eq!(seen, ["one", "two"][..kept]);
        log.append(&frames(&["three"])).unwrap();
        let (_, seen, cut_bytes) = open(&path);
        assert_eq!((seen.last().map(String::as_str), seen.len()), (Some("three"), kept + 1));
        assert_eq!(cut_bytes, 0);
    }
}

#[test]
fn a_torn_header_is_written_again_and_a_foreign_file_is_left_alone() {
    let dir = Dir::new("header");
    let path = dir.0.join("a.log");
    fs::write(&path, &HEADER[..7]).unwrap();
    let (mut log, seen, _) = open(&path);
    assert!(seen.is_empty());
    log.append(&frames(&["x"])).unwrap();
    assert_eq!(open(&path).1, ["x"]);
    fs::write(&path, b"PNG, not a log, long enough").unwrap();
    let foreign = LogFile::open(&path, HEADER, |_| ());
    assert!(matches!(foreign, Err(LogError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"PNG, not a log, long enough");
    assert!(LogFile::read(&dir.0.join("none"), HEADER, |_| ()).unwrap().entries == 0);
}

#[test]
fn what_could_not_be_forced_to_disk_is_taken_back() {
    let dir = Dir::new("back");
    let path = dir.0.join("a.log");
    let (mut log, ..) = open(&path);
    log.append(&frames(&["kept"])).unwrap();
    let len = log.len();
    log.append(&frames(&["not kept"])).unwrap();
    log.roll_back(len).unwrap();
    log.append(&frames(&["next"])).unwrap();
    assert_eq!(open(&path).1, ["kept", "next"]);
}

#[test]
fn one_process_at_a_time() {
    let dir = Dir::new("lock");
    let lock = DirLock::take(&dir.0).unwrap();
    assert!(matches!(DirLock::take(&dir.0), Err(LogError::InUse { .. })));
    drop(lock);
    DirLock::take(&dir.0).unwrap();
}

#[test]
fn a_failed_replacement_leaves_the_old_file() {
    let dir = Dir::new("replace");
    let path = dir.0.join("snapshot");
    replace_file(&path, |w| w.write_all(b"old")).unwrap();
    let failed = replace_file(&path, |w| {
        w.write_all(b"half")?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    });
    assert_eq!(failed, Err(LogError::DiskFull { path: path.clone() }));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
}
