//! Which address is the peer's: learned from packets (symmetric RTP, RFC 4961), held against
//! strangers (RFC 7362 §5).
//!
//! ```text
//!            first valid packet                    an address that fits SDP better
//!   Open ──────────────────────► Locked(addr, match) ───────────────► Locked(addr', better)
//!    ▲                             │  plain: same IP, same SSRC, sequence goes on,
//!    │ SDP names a new address     │         and the old path is silent
//!    └─────────────────────────────┤  authenticated: newest packet from a new address
//!                                  └────────────────────────────────► Locked(addr'', same match)
//! ```
//!
//! Everything else from elsewhere is an injection: dropped and counted.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtp::sequence_distance;

/// How long after locking the exact address of the SDP may take over from another port of its
/// host. An address that signalling never named yields to one it named at any time.
pub const LEARNING: Duration = Duration::from_secs(5);
/// A plain stream may move when its old path was silent for this long.
pub const MOVE_AFTER: Duration = Duration::from_millis(500);
/// A moved stream goes on within this many packets (20 s at 50 packets a second).
const MOVE_GAP: i32 = 1000;
/// An RTCP path is silent after this long: reports come every five seconds or so.
pub const RTCP_SILENT: Duration = Duration::from_secs(15);

/// The path of one component of one leg.
#[derive(Debug, Clone, Default)]
pub struct Latch {
    hint: Option<SocketAddr>,
    signalled_from: Option<IpAddr>,
    locked: Option<Locked>,
}

impl Latch {
    /// What signalling says: the address in SDP, and the address the SDP came from (which differs
    /// behind a NAT). A changed SDP address opens the latch: the phone moved and said so.
    pub fn set_hint(&mut self, hint: Option<SocketAddr>, signalled_from: Option<IpAddr>) {
        if hint != self.hint {
            self.locked = None;
        }
        self.hint = hint;
        self.signalled_from = signalled_from.or(self.signalled_from);
    }

    /// Where to send: the learned address, before that the one in SDP.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.locked.as_ref().map(|l| l.addr).or(self.hint)
    }

    /// The learned address.
    pub fn locked(&self) -> Option<SocketAddr> {
        self.locked.as_ref().map(|l| l.addr)
    }

    /// The learned address, and its newest packet's place.
    pub fn position(&self) -> Option<(SocketAddr, Position)> {
        self.locked.as_ref().map(|l| (l.addr, l.at))
    }

    /// A packet from the learned address went by elsewhere.
    pub fn note(&mut self, now: Instant, at: Position) {
        if let Some(locked) = &mut self.locked {
            locked.note(now, at);
        }
    }

    /// Judges a plain RTP packet.
    pub fn judge_plain(&mut self, now: Instant, from: SocketAddr, at: Position) -> Judgement {
        let quality = self.quality(from);
        let Some(locked) = &mut self.locked else {
            self.locked = Some(Locked::new(now, from, quality, at));
            return Judgement::Learned;
        };
        if locked.addr == from {
            locked.note(now, at);
            return Judgement::Known;
        }
        // A stranger that came first may not stay because the phone is late; between addresses
        // that both fit, the question is closed after a while.
        let open = locked.quality == Match::Any || now < locked.since + LEARNING;
        let better = quality > locked.quality && open;
        if better || locked.continues_from(now, from, at) {
            let since = locked.since;
            *locked = Locked { since, ..Locked::new(now, from, quality, at) };
            return Judgement::Moved;
        }
        Judgement::Foreign
    }

    /// Judges an RTP packet whose authentication held; `newest` unless it was overtaken.
    pub fn judge_authenticated(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: Position,
        newest: bool,
    ) -> Judgement {
        let quality = self.quality(from);
        match &mut self.locked {
            None => {
                self.locked = Some(Locked::new(now, from, quality, at));
                Judgement::Learned
            }
            Some(locked) if locked.addr == from => {
                locked.note(now, at);
                Judgement::Known
            }
            Some(locked) if newest => {
                *locked = Locked::new(now, from, quality, at);
                Judgement::Moved
            }
            Some(_) => Judgement::Known,
        }
    }

    /// Judges a plain RTCP packet. `rtp` is where the leg's RTP comes from.
    pub fn judge_rtcp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        rtp: Option<SocketAddr>,
    ) -> Judgement {
        let quality = self.quality(from);
        let beside_rtp = rtp.map_or(quality > Match::Any, |rtp| rtp.ip() == from.ip());
        match &mut self.locked {
            Some(locked) if locked.addr == from => {
                locked.last = now;
                Judgement::Known
            }
            None if beside_rtp => {
                self.locked = Some(Locked::new(now, from, quality, Position::default()));
                Judgement::Learned
            }
            Some(locked) if beside_rtp && now >= locked.last + RTCP_SILENT => {
                *locked = Locked::new(now, from, quality, Position::default());
                Judgement::Moved
            }
            _ => Judgement::Foreign,
        }
    }

    /// Forgets the learned address: the leg's RTP has moved, its RTCP will follow.
    pub fn reopen(&mut self) {
        self.locked = None;
    }

    fn quality(&self, from: SocketAddr) -> Match {
        match self.hint {
            Some(hint) if hint == from => Match::Exact,
            Some(hint) if hint.ip() == from.ip() => Match::Ip,
            _ if self.signalled_from == Some(from.ip()) => Match::Ip,
            _ => Match::Any,
        }
    }
}

/// What became of a packet's source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The first: it is the peer's address now.
    Learned,
    /// The peer's address, as before.
    Known,
    /// The peer has moved here.
    Moved,
    /// Someone else: drop it.
    Foreign,
}

/// A packet's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
}

#[derive(Debug, Clone)]
struct Locked {
    addr: SocketAddr,
    quality: Match,
    since: Instant,
    last: Instant,
    at: Position,
}

impl Locked {
    fn new(now: Instant, addr: SocketAddr, quality: Match, at: Position) -> Self {
        Self { addr, quality, since: now, last: now, at }
    }

    fn note(&mut self, now: Instant, at: Position) {
        self.last = now;
        let newer = at.ssrc != self.at.ssrc || rtp::is_newer(at.sequence, self.at.sequence);
        if newer {
            self.at = at;
        }
    }

    fn continues_from(&self, now: Instant, from: SocketAddr, at: Position) -> bool {
        let step = sequence_distance(self.at.sequence, at.sequence);
        self.addr.ip() == from.ip()
            && now >= self.last + MOVE_AFTER
            && self.at.ssrc == at.ssrc
            && (1..=MOVE_GAP).contains(&step)
    }
}

/// How well an address fits what signalling said, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Any,
    Ip,
    Exact,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(sequence: u16) -> Position {
        Position { ssrc: 7, sequence }
    }

    fn locked_at(from: &str) -> (Latch, Instant) {
        let (mut latch, now) = (Latch::default(), Instant::now());
        latch.set_hint(Some(addr("10.0.0.1:4000")), None);
        assert_eq!(latch.judge_plain(now, addr(from), at(1)), Judgement::Learned);
        (latch, now)
    }

    #[test]
    fn the_first_packet_is_learned_and_the_hint_serves_before_it() {
        let mut latch = Latch::default();
        latch.set_hint(Some(addr("10.0.0.1:4000")), None);
        assert_eq!(latch.destination(), Some(addr("10.0.0.1:4000")));
        let (latch, _) = locked_at("198.51.100.2:9");
        assert_eq!(latch.destination(), Some(addr("198.51.100.2:9")));
    }

    #[test]
    fn an_address_that_signalling_named_takes_over_from_one_it_did_not() {
        let (mut latch, now) = locked_at("198.51.100.2:9");
        let late = now + 2 * LEARNING;
        assert_eq!(latch.judge_plain(late, addr("10.0.0.1:4000"), at(5)), Judgement::Moved);
        assert_eq!(latch.judge_plain(late, addr("198.51.100.2:9"), at(2)), Judgement::Foreign);
    }

    #[test]
    fn the_exact_address_takes_over_from_its_host_while_learning_only() {
        let (mut latch, now) = locked_at("10.0.0.1:9");
        let mut late = latch.clone();
        assert_eq!(latch.judge_plain(now, addr("10.0.0.1:4000"), at(5)), Judgement::Moved);
        let after = now + LEARNING;
        late.judge_plain(after, addr("10.0.0.1:9"), at(4));
        assert_eq!(late.judge_plain(after, addr("10.0.0.1:4000"), at(5)), Judgement::Foreign);
    }

    #[test]
    fn the_signalling_address_is_a_hint_behind_a_nat() {
        let (mut latch, now) = (Latch::default(), Instant::now());
        latch.set_hint(Some(addr("192.168.1.5:4000")), Some("198.51.100.2".parse().unwrap()));
        latch.judge_plain(now, addr("203.0.113.9:1"), at(1));
        assert_eq!(latch.judge_plain(now, addr("198.51.100.2:77"), at(1)), Judgement::Moved);
    }

    /// R5.13: nobody off the path takes the stream over, nobody injects into it.
    #[test]
    fn a_plain_stream_moves_only_on_the_same_ip_in_sequence_after_silence() {
        let (latch, now) = locked_at("10.0.0.1:4000");
        let (soon, late) = (now + Duration::from_millis(400), now + MOVE_AFTER);
        let judge =
            |when, from: &str, position| latch.clone().judge_plain(when, addr(from), position);
        assert_eq!(judge(soon, "10.0.0.1:5000", at(2)), Judgement::Foreign, "old path not silent");
        assert_eq!(judge(late, "10.0.0.2:4000", at(2)), Judgement::Foreign, "another host");
        assert_eq!(judge(late, "10.0.0.1:5000", at(1)), Judgement::Foreign, "not newer");
        assert_eq!(judge(late, "10.0.0.1:5000", at(5000)), Judgement::Foreign, "a jump");
        let other = Position { ssrc: 8, sequence: 2 };
        assert_eq!(judge(late, "10.0.0.1:5000", other), Judgement::Foreign, "another source");
        assert_eq!(judge(late, "10.0.0.1:5000", at(26)), Judgement::Moved);
    }

    #[test]
    fn authenticated_packets_move_at_once_but_not_overtaken_ones() {
        let (mut latch, now) = locked_at("10.0.0.1:4000");
        let new = addr("203.0.113.7:1");
        assert_eq!(latch.judge_authenticated(now, new, at(2), true), Judgement::Moved);
        let old = addr("10.0.0.1:4000");
        assert_eq!(latch.judge_authenticated(now, old, at(1), false), Judgement::Known);
        assert_eq!(latch.destination(), Some(new));
    }

    #[test]
    fn a_new_address_in_sdp_opens_the_latch() {
        let (mut latch, now) = locked_at("10.0.0.1:4000");
        latch.set_hint(Some(addr("10.0.0.1:4000")), None);
        assert!(latch.locked().is_some(), "an unchanged SDP changes nothing");
        latch.set_hint(Some(addr("10.9.9.9:4000")), None);
        assert_eq!(latch.destination(), Some(addr("10.9.9.9:4000")));
        assert_eq!(latch.judge_plain(now, addr("10.9.9.9:4000"), at(3)), Judgement::Learned);
    }

    #[test]
    fn rtcp_is_taken_from_beside_rtp() {
        let (now, mut latch) = (Instant::now(), Latch::default());
        let rtp = Some(addr("10.0.0.1:4000"));
        let mut judge =
            |ms, from: &str| latch.judge_rtcp(now + Duration::from_millis(ms), addr(from), rtp);
        assert_eq!(judge(0, "10.0.0.2:4001"), Judgement::Foreign);
        assert_eq!(judge(0, "10.0.0.1:4001"), Judgement::Learned);
        assert_eq!(judge(0, "10.0.0.1:9"), Judgement::Foreign);
        assert_eq!(judge(15_000, "10.0.0.1:9"), Judgement::Moved);
    }
}
