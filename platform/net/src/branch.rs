//! The owner of a transaction, written into the Via branch it makes.
//!
//! `z9hG4bK` `w` `nnnn` `ssss` `...`: four hex digits of the node, four of the shard. A response
//! that lands on another shard's socket is passed to its owner before anything else reads it.

use sansio::{NodeId, ShardId, push_hex};

const COOKIE: &[u8] = b"z9hG4bKw";

/// The first 16 characters of every branch a shard makes, with room for those that follow.
pub fn branch_prefix(node: NodeId, shard: ShardId) -> String {
    let mut branch = String::with_capacity(64);
    branch.push_str("z9hG4bKw");
    push_hex(&mut branch, node.into(), 4);
    push_hex(&mut branch, shard.into(), 4);
    branch
}

/// Node and shard that made `branch`, if it is one of ours.
pub fn branch_owner(branch: &[u8]) -> Option<(NodeId, ShardId)> {
    let head = branch.get(..COOKIE.len())?;
    if !head.eq_ignore_ascii_case(COOKIE) {
        return None;
    }
    let digits = branch.get(COOKIE.len()..COOKIE.len() + 8)?;
    Some((hex4(&digits[..4])?, hex4(&digits[4..])?))
}

/// The owner of a response by its topmost Via; `None` for requests and foreign branches. A light
/// scan: what it misreads is merely handled by the shard that received it.
pub(crate) fn response_owner(message: &[u8]) -> Option<(NodeId, ShardId)> {
    if !message.starts_with(b"SIP/2.0 ") {
        return None;
    }
    let via = message.split(|b| *b == b'\n').skip(1).take(64).find_map(via_value)?;
    let top = via.split(|b| *b == b',').next()?;
    top.split(|b| *b == b';').skip(1).find_map(|param| {
        let eq = param.iter().position(|b| *b == b'=')?;
        let name = param[..eq].trim_ascii();
        name.eq_ignore_ascii_case(b"branch").then(|| branch_owner(param[eq + 1..].trim_ascii()))?
    })
}

fn via_value(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line[..colon].trim_ascii();
    (name.eq_ignore_ascii_case(b"via") || name.eq_ignore_ascii_case(b"v"))
        .then(|| &line[colon + 1..])
}

fn hex4(digits: &[u8]) -> Option<u16> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_owner_survives_the_round_trip_and_case_folding() {
        let branch = branch_prefix(0xbeef, 3) + "qrstuv";
        assert_eq!(branch_owner(branch.as_bytes()), Some((0xbeef, 3)));
        assert_eq!(branch_owner(branch.to_ascii_uppercase().as_bytes()), Some((0xbeef, 3)));
        assert_eq!(branch_owner(b"z9hG4bKw00"), None);
        assert_eq!(branch_owner(b"z9hG4bKw+00100+1abc"), None);
        assert_eq!(branch_owner(b"z9hG4bK74bf9"), None);
    }

    #[test]
    fn a_response_names_its_owner_by_the_first_via_only() {
        let ours = branch_prefix(0, 2);
        let find = |via: &str| {
            response_owner(format!("SIP/2.0 200 OK\r\nTo: <sip:a@b>\r\n{via}\r\n\r\n").as_bytes())
        };
        assert_eq!(find(&format!("Via: SIP/2.0/UDP h;rport;branch={ours}x")), Some((0, 2)));
        assert_eq!(find(&format!("v:SIP/2.0/TCP h ; Branch = {ours}x")), Some((0, 2)));
        assert_eq!(
            find(&format!("Via: SIP/2.0/UDP a;branch=z9, SIP/2.0/UDP h;branch={ours}")),
            None
        );
        assert_eq!(
            response_owner(format!("OPTIONS a\r\nVia: x;branch={ours}\r\n").as_bytes()),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut response = b"SIP/2.0 200 OK\r\nVia:".to_vec();
            response.extend(&bytes);
            response_owner(&response);
            response_owner(&bytes);
            branch_owner(&bytes);
        }
    }
}
