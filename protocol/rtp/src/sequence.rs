//! Arithmetic on 16-bit sequence numbers that wrap (RFC 3550 §5.1, RFC 1982).

/// How far `b` is ahead of `a`, -32768..=32767, across the wrap.
pub fn sequence_distance(a: u16, b: u16) -> i32 {
    i32::from(b.wrapping_sub(a).cast_signed())
}

/// Whether `candidate` comes after `reference`.
pub fn is_newer(candidate: u16, reference: u16) -> bool {
    sequence_distance(reference, candidate) > 0
}

/// The number nearest to `highest` whose low 16 bits are `sequence`: the index estimate of
/// RFC 3711 Appendix A and the extended sequence number of RFC 3550 A.1. Never below zero.
pub fn extend(highest: u64, sequence: u16) -> u64 {
    let low = (highest & 0xffff) as u16;
    let near = highest.wrapping_add_signed(i64::from(sequence_distance(low, sequence)));
    // Only a first cycle can go negative; then the packet belongs to cycle zero.
    if near > highest && near - highest > 0x8000 { u64::from(sequence) } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(is_newer(0, 65535) && !is_newer(65535, 0));
        assert_eq!(sequence_distance(65530, 4), 10);
        assert_eq!(sequence_distance(4, 65530), -10);
    }

    #[test]
    fn extension_picks_the_nearest_cycle() {
        assert_eq!(extend(65535, 0), 65536);
        assert_eq!(extend(65536, 65535), 65535);
        assert_eq!(extend(0x2_0005, 0xfff0), 0x1_fff0);
        assert_eq!(extend(3, 65535), 65535, "there is no cycle before the first");
    }
}
