//! ICE in descriptions (RFC 8839).

use std::net::SocketAddr;
use std::time::Instant;

use ice::TransactionIds;
use ice::agent::{Credentials, Kind, REMOTES_MAX, Via, priority};
use sdp::{Candidate, Session};

use super::{LOCAL_PREFERENCE, Lent, Traversal};

/// What a description says of its side's ICE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteIce {
    credentials: Credentials,
    lite: bool,
    candidates: Vec<(SocketAddr, u32)>,
    /// More of them may come.
    trickles: bool,
    /// Ours may come one after the other (RFC 8838 §3).
    pub(super) takes_trickled: bool,
    /// The name of its stream.
    pub(super) mid: Option<String>,
}

impl RemoteIce {
    /// Of the m-line `index`; `None` where ICE is not spoken, or something on the way that does not
    /// know ICE changed the address (RFC 8839 §4.2.5).
    pub fn read(description: &Session, index: usize) -> Option<Self> {
        let media = description.media().get(index)?;
        let (ufrag, pwd) = description.ice_credentials_of(index)?;
        let usable = |c: &Candidate| c.component == 1 && c.is_udp();
        let all: Vec<Candidate> = media.candidates().collect();
        let address = |c: &Candidate| Some((c.socket_addr()?, c.priority));
        let candidates: Vec<(SocketAddr, u32)> =
            all.iter().filter(|c| usable(c)).filter_map(address).take(REMOTES_MAX).collect();
        let options = media.ice_options().chain(description.ice_options());
        let takes_trickled = options.into_iter().any(|o| o == "trickle");
        let ended = media.has_attribute("end-of-candidates")
            || description.has_attribute("end-of-candidates");
        let trickles = takes_trickled && !ended;
        let real = |a: &SocketAddr| !a.ip().is_unspecified() && a.port() > 9;
        let named = description.rtp_addr_of(index).filter(real);
        let is_candidate = |a: SocketAddr| all.iter().any(|c| c.socket_addr() == Some(a));
        if named.is_some_and(|named| !is_candidate(named)) && !takes_trickled {
            return None;
        }
        let credentials = Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
        let (lite, mid) = (description.ice_lite(), media.mid().map(str::to_owned));
        Some(Self { credentials, lite, candidates, trickles, takes_trickled, mid })
    }

    /// Whether its side takes candidates one after the other.
    pub fn takes_trickled(&self) -> bool {
        self.takes_trickled
    }

    /// Whether a description says so, be it of ICE or not.
    pub fn trickles_in(description: &[u8]) -> bool {
        let Ok(description) = Session::parse(description) else { return false };
        let media = description.media().iter().flat_map(|m| m.ice_options());
        media.chain(description.ice_options()).any(|o| o == "trickle")
    }
}

/// RFC 8839 §5.4 asks for 24 bits and 128 bits.
pub(super) fn credentials(ids: &mut TransactionIds) -> Credentials {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let ufrag = hex(&ids.next_id()[..4]);
    let pwd = hex(&ids.next_id()) + &hex(&ids.next_id()[..4]);
    Credentials { ufrag, pwd }
}

impl Traversal {
    /// What our description says of ICE.
    pub fn attributes(&self) -> Vec<(String, Option<String>)> {
        let Credentials { ufrag, pwd } = self.agent.credentials();
        let mut out = vec![
            ("ice-options".to_owned(), Some(self.options().to_owned())),
            ("ice-ufrag".to_owned(), Some(ufrag.clone())),
            ("ice-pwd".to_owned(), Some(pwd.clone())),
        ];
        let candidates = self.candidates().into_iter();
        out.extend(candidates.map(|c| ("candidate".to_owned(), Some(c.to_string()))));
        if self.says_all() {
            out.push(("end-of-candidates".to_owned(), None));
        }
        out
    }

    /// Our description goes out with what [`Traversal::attributes`] say now.
    pub fn note_described(&mut self) {
        let told = self.candidates().iter().filter_map(Candidate::socket_addr).collect();
        self.known.told = told;
        self.trickling.described(self.says_all());
    }

    /// Whether there are candidates that no description of ours has named.
    pub(super) fn has_untold(&self) -> bool {
        let told = |c: &Candidate| c.socket_addr().is_none_or(|at| self.known.told.contains(&at));
        !self.candidates().iter().all(told)
    }

    /// Ours, most wanted first.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut out = Vec::new();
        if !self.config.relay_only {
            let host = (Kind::Host, self.local, priority(Kind::Host, LOCAL_PREFERENCE));
            out.push(candidate("1", host, None));
            if let Some(mapped) = self.mapped.filter(|mapped| *mapped != self.local) {
                let kind = Kind::ServerReflexive;
                let seen = (kind, mapped, priority(kind, LOCAL_PREFERENCE));
                out.push(candidate("2", seen, Some(self.local)));
            }
        }
        for (at, lent) in self.lent.iter().enumerate() {
            if let Some(relayed) = lent.client.relayed() {
                let borrowed = (Kind::Relayed, relayed, lent.priority(at));
                // Where it was borrowed from says where we are: left out (RFC 8839 §5.1).
                let nowhere = SocketAddr::new([0, 0, 0, 0].into(), 9);
                let related = lent.client.mapped().filter(|_| !self.config.relay_only);
                let foundation = (3 + at).to_string();
                out.push(candidate(&foundation, borrowed, Some(related.unwrap_or(nowhere))));
            }
        }
        out
    }

    /// The address that the description names for who knows no ICE: the socket's, or a borrowed one
    /// where nothing else works or is to be known.
    pub fn default_addr(&self) -> SocketAddr {
        let lent = Lent::place(self.default_via()).and_then(|at| self.lent.get(at));
        lent.and_then(|l| l.client.relayed()).unwrap_or(self.local)
    }

    /// By what packets go to who knows no ICE.
    pub(super) fn default_via(&self) -> Via {
        if !self.config.relay_only && !self.udp_is_silent() {
            return Via(0);
        }
        let lent = self.lent.iter().enumerate().filter(|(_, l)| l.client.relayed().is_some());
        let best = lent.max_by_key(|(at, l)| l.priority(*at));
        best.map_or(Via(0), |(at, _)| Lent::via(at))
    }

    /// The far end's description was taken. `offered`: it was our offer that it answers. Where it
    /// says nothing of ICE, none is spoken.
    pub fn set_remote(&mut self, now: Instant, remote: Option<&RemoteIce>, offered: bool) {
        self.now = now;
        self.speaks = remote.is_some();
        let Some(remote) = remote else { return };
        if self.agent.remote().is_none() {
            self.agent.set_controlling(offered && !remote.lite);
        }
        self.agent.set_remote(now, remote.credentials.clone(), remote.lite);
        for (addr, priority) in &remote.candidates {
            self.agent.add_remote(now, *addr, *priority);
        }
        if !remote.trickles {
            self.agent.end_remotes();
        }
        self.trickling.agreed(remote);
        self.watch_for_miss(now);
        self.agent.handle_timeout(now);
        self.work(now);
    }

    /// Whether an offer with this restarts ICE (RFC 8839 §4.4.1.1.1).
    pub fn is_restarted_by(&self, remote: &RemoteIce) -> bool {
        self.agent.remote().is_some_and(|known| *known != remote.credentials)
    }

    /// New credentials for the next description.
    pub fn restart(&mut self) {
        let credentials = credentials(&mut self.ids);
        self.agent.restart(credentials);
    }
}

fn candidate(
    foundation: &str,
    (kind, addr, priority): (Kind, SocketAddr, u32),
    related: Option<SocketAddr>,
) -> Candidate {
    Candidate {
        priority,
        kind: kind.name().to_owned(),
        related: related.map(|r| (r.ip().to_string(), r.port())),
        ..Candidate::host(foundation, 1, addr)
    }
}
