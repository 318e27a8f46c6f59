//! ITU-T G.711: A-law and mu-law.
//!
//! Decoding is a table; encoding is the segment search of the recommendation on 16-bit samples.

const ULAW_BIAS: i32 = 0x84;
const ULAW_CLIP: i32 = 32_635;

static ULAW: [i16; 256] = build_table(true);
static ALAW: [i16; 256] = build_table(false);

/// One mu-law byte (PCMU) from a 16-bit sample.
pub fn encode_ulaw(sample: i16) -> u8 {
    let value = i32::from(sample);
    let sign = if value < 0 { 0x80 } else { 0 };
    let magnitude = value.abs().min(ULAW_CLIP) + ULAW_BIAS;
    let exponent = (31 - magnitude.leading_zeros()).saturating_sub(7).min(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// The 16-bit sample of a mu-law byte.
pub fn decode_ulaw(byte: u8) -> i16 {
    ULAW[usize::from(byte)]
}

/// One A-law byte (PCMA) from a 16-bit sample.
pub fn encode_alaw(sample: i16) -> u8 {
    let value = i32::from(sample) >> 3;
    let (mask, magnitude) = if value >= 0 { (0xd5, value) } else { (0x55, -value - 1) };
    let segment = (32 - (magnitude >> 5).leading_zeros()).min(7);
    let shift = segment.saturating_sub(1) + 1;
    let code = (segment << 4) as u8 | ((magnitude >> shift) & 0x0f) as u8;
    code ^ mask
}

/// The 16-bit sample of an A-law byte.
pub fn decode_alaw(byte: u8) -> i16 {
    ALAW[usize::from(byte)]
}

const fn build_table(ulaw: bool) -> [i16; 256] {
    let mut table = [0_i16; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = if ulaw { expand_ulaw(i as u8) } else { expand_alaw(i as u8) };
        i += 1;
    }
    table
}

const fn expand_ulaw(byte: u8) -> i16 {
    let code = !byte;
    let magnitude = ((((code & 0x0f) as i32) << 3) + ULAW_BIAS) << ((code & 0x70) >> 4);
    let value = magnitude - ULAW_BIAS;
    (if code & 0x80 != 0 { -value } else { value }) as i16
}

const fn expand_alaw(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let segment = (code & 0x70) >> 4;
    let base = ((code & 0x0f) as i32) << 4;
    let value = match segment {
        0 => base + 8,
        1 => base + 0x108,
        _ => (base + 0x108) << (segment - 1),
    };
    (if code & 0x80 != 0 { value } else { -value }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_of_the_recommendation() {
        assert_eq!((encode_ulaw(0), encode_alaw(0)), (0xff, 0xd5));
        assert_eq!((encode_ulaw(32_767), encode_ulaw(-32_768)), (0x80, 0x00));
        assert_eq!((encode_alaw(32_767), encode_alaw(-32_768)), (0xaa, 0x2a));
        assert_eq!((decode_ulaw(0x80), decode_ulaw(0x00)), (32_124, -32_124));
        assert_eq!((decode_alaw(0xaa), decode_alaw(0x2a)), (32_256, -32_256));
        assert_eq!((decode_alaw(0xd5), decode_alaw(0x55)), (8, -8));
    }

    #[test]
    fn every_code_word_survives_decoding_and_coding() {
        for byte in 0..=255_u8 {
            assert_eq!(encode_alaw(decode_alaw(byte)), byte);
            // Mu-law has two zeros; the negative one codes as the positive.
            let want = if byte == 0x7f { 0xff } else { byte };
            assert_eq!(encode_ulaw(decode_ulaw(byte)), want);
        }
    }

    #[test]
    fn every_sample_goes_to_the_nearest_step_of_its_segment() {
        for sample in i16::MIN..=i16::MAX {
            let magnitude = f64::from(sample).abs();
            for decoded in [decode_ulaw(encode_ulaw(sample)), decode_alaw(encode_alaw(sample))] {
                let error = (f64::from(decoded) - f64::from(sample)).abs();
                assert!(error <= magnitude / 16.0 + 16.0 || magnitude > 32_124.0, "{sample}");
            }
        }
    }
}
