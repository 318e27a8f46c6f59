//! CRC-32C (Castagnoli), the checksum of every frame: by the processor's own instruction where it
//! has one, eight bytes at a time by tables elsewhere.

const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut t = 1;
    while t < 8 {
        let mut i = 0;
        while i < 256 {
            let crc = tables[t - 1][i];
            tables[t][i] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            i += 1;
        }
        t += 1;
    }
    tables
}

/// The checksum of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instruction.
        return unsafe { by_instruction(bytes) };
    }
    by_tables(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn by_instruction(bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (eights, rest) = bytes.as_chunks::<8>();
    let step = |crc, eight: &[u8; 8]| _mm_crc32_u64(crc, u64::from_le_bytes(*eight));
    let crc = eights.iter().fold(u64::from(!0_u32), step);
    // The upper half is zero: it is a 32-bit checksum in a wide register.
    !rest.iter().fold(crc as u32, |crc, byte| _mm_crc32_u8(crc, *byte))
}

fn by_tables(bytes: &[u8]) -> u32 {
    let at =
        |table: usize, word: u64, byte: u32| TABLES[table][((word >> (8 * byte)) & 0xff) as usize];
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(!0_u32, |crc, eight| {
        let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
        (0..8).fold(0, |mixed, byte| mixed ^ at(7 - byte as usize, word, byte))
    });
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ at(0, u64::from(crc ^ u32::from(*byte)), 0);
    !rest.iter().fold(crc, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4.
    #[test]
    fn vectors_of_rfc_3720() {
        for crc in [crc32c, by_tables] {
            assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
            assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
            assert_eq!(crc(b"123456789"), 0xe306_9283);
        }
    }

    #[test]
    fn both_ways_agree_at_every_length() {
        let bytes: Vec<u8> = (0..100_u8).map(|n| n.wrapping_mul(37)).collect();
        for len in 0..bytes.len() {
            assert_eq!(crc32c(&bytes[..len]), by_tables(&bytes[..len]), "{len} bytes");
        }
    }
}
