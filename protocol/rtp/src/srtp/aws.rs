//! The primitives, by the C interface of aws-lc. Its safe one, aws-lc-rs, keeps for each key of AES
//! the schedule of decryption, for each of HMAC three contexts of 400 bytes, asks the allocator for
//! each key of GCM, and copies 1.2 kB for each code: too much for a relay with four contexts a call
//! (docs/design/0095-srtp-on-the-c-interface.md). All `unsafe` of this crate is here and
//! in `zrtp/group.rs`.

use std::mem::MaybeUninit;

use aws_lc_sys::{
    AES_KEY, AES_ctr128_encrypt, AES_set_encrypt_key, EVP_AEAD_CTX, EVP_AEAD_CTX_init,
    EVP_AEAD_CTX_open_gather, EVP_AEAD_CTX_seal_scatter, EVP_aead_aes_128_gcm,
    EVP_aead_aes_256_gcm, OPENSSL_cleanse, SHA_CTX, SHA1_Transform,
};

use crate::Error;

/// The tag of AES-GCM (RFC 7714 §13.2).
pub(super) const GCM_TAG: usize = 16;

/// AES in counter mode (RFC 3711 §4.1.1): a key's schedule, 244 bytes.
pub(super) struct AesCtr(AES_KEY);

impl AesCtr {
    /// A key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Result<Self, Error> {
        let mut schedule = AES_KEY { rd_key: [0; 60], rounds: 0 };
        let bits = u32::try_from(8 * key.len()).map_err(|_| Error::BadKey)?;
        // SAFETY: `key` can be read for `bits / 8` bytes, and the schedule is ours to write.
        let refused = unsafe { AES_set_encrypt_key(key.as_ptr(), bits, &raw mut schedule) };
        if refused == 0 { Ok(Self(schedule)) } else { Err(Error::BadKey) }
    }

    /// XORs `data` with the key stream that starts at `iv`.
    pub(super) fn apply(&self, mut iv: [u8; 16], data: &mut [u8]) {
        let (mut block, mut used) = ([0; 16], 0);
        let (at, len) = (data.as_mut_ptr(), data.len());
        // SAFETY: `at` can be read and written for `len` bytes, and the function works in place
        // (openssl/aes.h: `in` and `out` may be the same). `iv` and `block` are 16 bytes of ours,
        // `used` is below 16, and the key is only read.
        unsafe {
            let (iv, block) = (iv.as_mut_ptr(), block.as_mut_ptr());
            AES_ctr128_encrypt(at, at, len, &raw const self.0, iv, block, &raw mut used);
        }
    }
}

impl Drop for AesCtr {
    fn drop(&mut self) {
        // SAFETY: the schedule is ours, and all zeros is one of its values.
        unsafe { OPENSSL_cleanse((&raw mut self.0).cast(), size_of::<AES_KEY>()) }
    }
}

/// AES-GCM (RFC 7714): a key's schedule and its table for GHASH, 584 bytes.
pub(super) struct GcmKey(EVP_AEAD_CTX);

// SAFETY: the pointers inside are to functions and to constants of the library; sealing and
// opening only read the context (openssl/aead.h, "thread-safe").
unsafe impl Send for GcmKey {}
// SAFETY: as above.
unsafe impl Sync for GcmKey {}

impl GcmKey {
    /// A key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Result<Self, Error> {
        let mut context = MaybeUninit::uninit();
        // SAFETY: `key` can be read for its length, which the function checks; it writes the
        // context whole and keeps no reference into it: the AES-GCM state may be moved.
        let done = unsafe {
            let aead =
                if key.len() == 32 { EVP_aead_aes_256_gcm() } else { EVP_aead_aes_128_gcm() };
            let (at, engine) = (context.as_mut_ptr(), std::ptr::null_mut());
            EVP_AEAD_CTX_init(at, aead, key.as_ptr(), key.len(), GCM_TAG, engine)
        };
        // SAFETY: written by the call that succeeded.
        if done == 1 { Ok(Self(unsafe { context.assume_init() })) } else { Err(Error::BadKey) }
    }

    /// Encrypts `body` in place; gives the tag.
    pub(super) fn seal(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; GCM_TAG], Error> {
        let (mut tag, mut tag_len) = ([0; GCM_TAG], 0);
        let (at, len) = (body.as_mut_ptr(), body.len());
        // SAFETY: every pointer goes with the length of what it points at; `in` and `out` may be
        // the same; there is no extra input; the context is only read.
        let done = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                &raw const self.0,
                at,
                tag.as_mut_ptr(),
                &raw mut tag_len,
                GCM_TAG,
                nonce.as_ptr(),
                nonce.len(),
                at,
                len,
                std::ptr::null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        if done == 1 { Ok(tag) } else { Err(Error::Authentication) }
    }

    /// Checks `tag` and decrypts `body` in place. Of what fails, `body` holds zeros or garbage.
    pub(super) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Error> {
        let (at, len) = (body.as_mut_ptr(), body.len());
        // SAFETY: as for `seal`.
        let done = unsafe {
            EVP_AEAD_CTX_open_gather(
                &raw const self.0,
                at,
                nonce.as_ptr(),
                nonce.len(),
                at,
                len,
                tag.as_ptr(),
                tag.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        if done == 1 { Ok(()) } else { Err(Error::Authentication) }
    }
}

impl Drop for GcmKey {
    fn drop(&mut self) {
        // SAFETY: the context is ours, owns no memory of its own, and is not used any more.
        unsafe { OPENSSL_cleanse((&raw mut self.0).cast(), size_of::<EVP_AEAD_CTX>()) }
    }
}

/// Takes whole blocks into a state of SHA-1.
pub(super) fn sha1(state: &mut [u32; 5], blocks: &[[u8; 64]]) {
    let mut context = SHA_CTX { h: *state, Nl: 0, Nh: 0, data: [0; 64], num: 0 };
    for block in blocks {
        // SAFETY: a context and 64 bytes; of the context only `h` is touched.
        unsafe { SHA1_Transform(&raw mut context, block.as_ptr()) }
    }
    *state = context.h;
}
