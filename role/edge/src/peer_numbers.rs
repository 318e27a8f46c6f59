//! Peers keep their numbers while a server runs: calls under way know them by number.
//!
//! ```text
//!   running:  0 carrier   1 gateway            2 pbx
//!   wanted:   carrier', fax, pbx
//!   numbered: 0 carrier'  1 gateway (retired)  2 pbx  3 fax
//! ```

use crate::peer::PeerConfig;

impl PeerConfig {
    /// `wanted`, numbered so that whoever is in `running` keeps its place. Who is no longer wanted
    /// is retired: it gets no new calls and its requests are a stranger's, and the calls it has end
    /// as they began.
    pub fn in_place_of(running: &[Self], mut wanted: Vec<Self>) -> Vec<Self> {
        let mut numbered = Vec::with_capacity(running.len().max(wanted.len()));
        for old in running {
            let found = wanted.iter().position(|new| new.name == old.name);
            numbered.push(match found {
                Some(at) => wanted.remove(at),
                None => Self { retired: true, ..old.clone() },
            });
        }
        numbered.append(&mut wanted);
        numbered
    }
}
