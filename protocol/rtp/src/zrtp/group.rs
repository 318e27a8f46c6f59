//! The group of 3,072 bits of RFC 3526 §4, which everybody must know (RFC 6189 §5.1.5). aws-lc-rs has
//! no groups of this kind: this is the C interface of aws-lc below it, and the crate's other `unsafe`.

use std::ptr;

use aws_lc_sys::{
    BIGNUM, BN_CTX_free, BN_CTX_new, BN_MONT_CTX_free, BN_MONT_CTX_new_for_modulus, BN_bin2bn,
    BN_bn2bin_padded, BN_clear_free, BN_cmp, BN_is_one, BN_is_zero, BN_mod_exp_mont_consttime,
    BN_new, BN_sub_word,
};

/// Bytes of a number of the group.
const LEN: usize = 384;
/// Bytes of an exponent: twice the strength of the cipher it keys (RFC 6189 §5.1.5), with reserve.
const EXPONENT: usize = 64;
/// The prime of RFC 3526 §4: 2^3072 - 2^3008 - 1 + 2^64 * ([2^2942 pi] + 1690314), the highest bits
/// first.
const PRIME: [u64; LEN / 8] = [
    0xffff_ffff_ffff_ffff,
    0xc90f_daa2_2168_c234,
    0xc4c6_628b_80dc_1cd1,
    0x2902_4e08_8a67_cc74,
    0x020b_bea6_3b13_9b22,
    0x514a_0879_8e34_04dd,
    0xef95_19b3_cd3a_431b,
    0x302b_0a6d_f25f_1437,
    0x4fe1_356d_6d51_c245,
    0xe485_b576_625e_7ec6,
    0xf44c_42e9_a637_ed6b,
    0x0bff_5cb6_f406_b7ed,
    0xee38_6bfb_5a89_9fa5,
    0xae9f_2411_7c4b_1fe6,
    0x4928_6651_ece4_5b3d,
    0xc200_7cb8_a163_bf05,
    0x98da_4836_1c55_d39a,
    0x6916_3fa8_fd24_cf5f,
    0x8365_5d23_dca3_ad96,
    0x1c62_f356_2085_52bb,
    0x9ed5_2907_7096_966d,
    0x670c_354e_4abc_9804,
    0xf174_6c08_ca18_217c,
    0x3290_5e46_2e36_ce3b,
    0xe39e_772c_180e_8603,
    0x9b27_83a2_ec07_a28f,
    0xb5c5_5df0_6f4c_52c9,
    0xde2b_cbf6_9558_1718,
    0x3995_497c_ea95_6ae5,
    0x15d2_2618_98fa_0510,
    0x1572_8e5a_8aaa_c42d,
    0xad33_170d_0450_7a33,
    0xa855_21ab_df1c_ba64,
    0xecfb_8504_58db_ef0a,
    0x8aea_7157_5d06_0c7d,
    0xb397_0f85_a6e1_e4c7,
    0xabf5_ae8c_db09_33d7,
    0x1e8c_94e0_4a25_619d,
    0xcee3_d226_1ad2_ee6b,
    0xf12f_fa06_d98a_0864,
    0xd876_0273_3ec8_6a64,
    0x521f_2b18_177b_200c,
    0xbbe1_1757_7a61_5d6c,
    0x7709_88c0_bad9_46e2,
    0x08e2_4fa0_74e5_ab31,
    0x43db_5bfc_e0fd_108e,
    0x4b82_d120_a93a_d2ca,
    0xffff_ffff_ffff_ffff,
];

/// A secret exponent.
pub(super) struct Group {
    exponent: [u8; EXPONENT],
}

/// A number of the library, erased when it goes.
struct Number(*mut BIGNUM);

impl Group {
    /// Nothing for the one exponent that is none: zero.
    pub(super) fn new(exponent: [u8; EXPONENT]) -> Option<Self> {
        exponent.iter().any(|byte| *byte != 0).then_some(Self { exponent })
    }

    /// 2 to the exponent.
    pub(super) fn public_value(&self) -> Option<Vec<u8>> {
        self.raise(&Number::from_bytes(&[2])?)
    }

    /// The other's number to the exponent. Nothing for numbers out of the group, and for those whose
    /// powers are known: 0, 1 and the last (RFC 6189 §4.4.1.2).
    pub(super) fn agree(&self, theirs: &[u8]) -> Option<Vec<u8>> {
        if theirs.len() != LEN {
            return None;
        }
        let theirs = Number::from_bytes(theirs)?;
        let last = Number::prime()?;
        // SAFETY: all three are numbers of the library, alive as long as their owners.
        let in_between = unsafe {
            BN_sub_word(last.0, 1) == 1
                && BN_is_zero(theirs.0) == 0
                && BN_is_one(theirs.0) == 0
                && BN_cmp(theirs.0, last.0) < 0
        };
        if in_between { self.raise(&theirs) } else { None }
    }

    fn raise(&self, base: &Number) -> Option<Vec<u8>> {
        let (exponent, prime) = (Number::from_bytes(&self.exponent)?, Number::prime()?);
        let result = Number::new()?;
        let mut out = vec![0; LEN];
        // SAFETY: every pointer is a number or a context of the library that lives to the end of the
        // block, and is freed once; `out` can be written for its length, which the last call is told.
        // The functions take null where making one failed, and say so, but for the context of the
        // modulus, which is looked at.
        let done = unsafe {
            let context = BN_CTX_new();
            let modulus = BN_MONT_CTX_new_for_modulus(prime.0, context);
            let done = !context.is_null()
                && !modulus.is_null()
                && BN_mod_exp_mont_consttime(
                    result.0, base.0, exponent.0, prime.0, context, modulus,
                ) == 1
                && BN_bn2bin_padded(out.as_mut_ptr(), LEN, result.0) == 1;
            BN_MONT_CTX_free(modulus);
            BN_CTX_free(context);
            done
        };
        done.then_some(out)
    }
}

impl Number {
    fn new() -> Option<Self> {
        // SAFETY: the function takes nothing.
        Self::owned(unsafe { BN_new() })
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // SAFETY: the bytes can be read for their length; with null a new number is made.
        Self::owned(unsafe { BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()) })
    }

    fn prime() -> Option<Self> {
        let bytes: Vec<u8> = PRIME.iter().flat_map(|word| word.to_be_bytes()).collect();
        Self::from_bytes(&bytes)
    }

    fn owned(number: *mut BIGNUM) -> Option<Self> {
        (!number.is_null()).then_some(Self(number))
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the number is ours, and nobody uses it after us.
        unsafe { BN_clear_free(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_come_to_one_secret_and_another_does_not() {
        let [a, b, c] = [1, 2, 3].map(|n| Group::new([n; EXPONENT]).unwrap());
        let of = |group: &Group| group.public_value().unwrap();
        assert_eq!(a.agree(&of(&b)), b.agree(&of(&a)));
        assert_ne!(a.agree(&of(&b)), a.agree(&of(&c)));
        assert_eq!(of(&a).len(), LEN);
    }

    /// RFC 6189 §4.4.1.2: with these anybody could tell the secret.
    #[test]
    fn numbers_whose_powers_are_known_are_refused() {
        let group = Group::new([7; EXPONENT]).unwrap();
        let number = |last: u8| {
            let mut bytes = [0; LEN];
            bytes[LEN - 1] = last;
            bytes
        };
        let mut prime = [0; LEN];
        // SAFETY: the number lives to the end of the line, the array is as long as it says.
        unsafe { BN_bn2bin_padded(prime.as_mut_ptr(), LEN, Number::prime().unwrap().0) };
        let mut last = prime;
        last[LEN - 1] -= 1;
        for refused in [number(0), number(1), last, prime, [0xff; LEN]] {
            assert_eq!(group.agree(&refused), None);
        }
        assert!(group.agree(&number(2)).is_some());
        assert_eq!(group.agree(&[2; 32]), None);
    }
}
