//! Peers as routing sees them: which numbers and domains lie behind each.

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerRoute {
    /// Its name.
    pub name: String,
    /// The host in URIs sent to it.
    pub host: String,
    /// Domains whose users are behind it, in lower case.
    pub domains: Vec<String>,
    /// Numbers it takes.
    pub prefixes: Vec<PrefixRoute>,
    /// The lowest is tried first.
    pub priority: u16,
    /// A server of ours, not somebody else's.
    pub internal: bool,
}

/// Numbers a peer takes, and how they are dialled there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrefixRoute {
    /// What a number begins with.
    pub prefix: String,
    /// Characters taken off its beginning.
    pub strip: usize,
    /// What is put there instead.
    pub add: String,
}

/// A peer that takes a call, and what is dialled there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way<'p> {
    pub(crate) number: usize,
    pub(crate) peer: &'p PeerRoute,
    pub(crate) rule: Option<&'p PrefixRoute>,
}

/// Peers that take this number: the longest prefix of all wins, then the lowest priority; those of
/// shorter prefixes follow, for when it fails.
pub(crate) fn by_number<'p>(peers: &'p [PeerRoute], number: &str) -> Vec<Way<'p>> {
    let longest = |peer: &'p PeerRoute| {
        let fits = peer.prefixes.iter().filter(|rule| number.starts_with(&rule.prefix));
        fits.max_by_key(|rule| rule.prefix.len())
    };
    let mut ways: Vec<Way<'p>> = peers
        .iter()
        .enumerate()
        .filter_map(|(number, peer)| {
            longest(peer).map(|rule| Way { number, peer, rule: Some(rule) })
        })
        .collect();
    let length = |way: &Way<'p>| way.rule.map_or(0, |rule| rule.prefix.len());
    ways.sort_by_key(|way| (std::cmp::Reverse(length(way)), way.peer.priority));
    ways
}

/// Peers that this domain lies behind.
pub(crate) fn by_domain<'p>(peers: &'p [PeerRoute], domain: &str) -> Vec<Way<'p>> {
    let mut ways: Vec<Way<'p>> = peers
        .iter()
        .enumerate()
        .filter(|(_, peer)| peer.domains.iter().any(|d| d == domain))
        .map(|(number, peer)| Way { number, peer, rule: None })
        .collect();
    ways.sort_by_key(|way| way.peer.priority);
    ways
}

/// Of these ways, those open to a call from a peer: a carrier's goes to servers of ours and nowhere
/// else, one of ours may call everybody but itself. To users all are open.
pub(crate) fn open_to<'p>(
    mut ways: Vec<Way<'p>>,
    peers: &[PeerRoute],
    from_peer: Option<&str>,
) -> Vec<Way<'p>> {
    if let Some(from) = from_peer {
        let is_ours = peers.iter().any(|peer| peer.internal && peer.name == from);
        ways.retain(|way| way.peer.name != from && (is_ours || way.peer.internal));
    }
    ways
}

impl Way<'_> {
    /// The user and host to ask for at the peer.
    pub(crate) fn dialled(&self, user: &str, domain: &str) -> (String, String) {
        match self.rule {
            Some(rule) => {
                let rest = user.get(rule.strip..).unwrap_or_default();
                (format!("{}{rest}", rule.add), self.peer.host.clone())
            }
            None => (user.to_owned(), domain.to_owned()),
        }
    }
}
