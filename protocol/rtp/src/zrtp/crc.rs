//! CRC-32C (RFC 4960 Appendix B): what guards a packet of ZRTP against the network (RFC 6189 §5).

/// The polynomial, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The four bytes as they stand behind a packet: as SCTP sends them, the lowest first.
pub(super) fn crc32c(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32, byte: &u8| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)];
    (!bytes.iter().fold(!0, step)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 §B.4: 32 bytes of zeros, of ones, counting up.
    #[test]
    fn rfc_3720_vectors() {
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(crc32c(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
        assert_eq!(crc32c(&up), [0x4e, 0x79, 0xdd, 0x46]);
    }
}
