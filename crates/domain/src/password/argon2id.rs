//! Argon2id (RFC 9106) with two implementations: `argon2-rust`, and `argon2` as the fallback.
//!
//! `argon2-rust` needs a third of the time of `argon2`. It selects SIMD instructions at run time
//! and keeps its memory, which it wipes after each hash. It is young and not audited
//! (`crates/bench/README.md` contains the assessment), so its results are verified twice:
//!
//! - Tests compare both implementations with reference hashes and for random parameters.
//! - Each process runs a self-test on its processor, and uses only `argon2` if it fails.
//!
//! `argon2` also computes the hashes whose parameters `argon2-rust` rejects.

use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, Version};

/// The hash of an empty password with a salt of zeros and the current parameters.
///
/// The reference implementation computed it. It matches no user, because a password cannot be
/// empty.
pub(crate) const DUMMY_OUTPUT: [u8; Params::DEFAULT_OUTPUT_LEN] = [
    0xf8, 0x33, 0x20, 0xd0, 0x7b, 0x31, 0xc7, 0x60, 0x99, 0x18, 0xe2, 0x8b, 0xff, 0x06, 0x85, 0x16,
    0x0f, 0x36, 0xcd, 0x7c, 0x06, 0x5d, 0xd0, 0x88, 0x53, 0x93, 0x75, 0x48, 0xde, 0x97, 0x28, 0xf4,
];

/// Whether the SIMD implementation returns the expected hash on this processor.
static SIMD_SELF_TEST_PASSED: LazyLock<bool> = LazyLock::new(|| {
    let mut output = [0; DUMMY_OUTPUT.len()];
    let result = derive_simd(
        b"",
        &[0; crate::password::SALT_BYTES],
        &crate::password::current_params(),
        &mut output,
        &mut HashBuffer::default(),
    );
    result.is_ok() && output == DUMMY_OUTPUT
});

/// The memory of one hash with the current parameters (19 MiB).
///
/// Each hashing thread keeps one, so that the memory is not mapped again for each hash. The memory
/// is zeroed after each hash.
pub struct HashBuffer(argon2_rust::Hasher);

impl Default for HashBuffer {
    fn default() -> Self {
        let params = crate::password::current_params();
        HashBuffer(
            build_argon2(&params, DUMMY_OUTPUT.len())
                .expect("parameters in range")
                .hasher(),
        )
    }
}

/// Returns whether the SIMD implementation is used. The first call computes a hash.
pub fn simd_self_test_passed() -> bool {
    *SIMD_SELF_TEST_PASSED
}

/// Computes a hash into `output`. If the parameters contain a length, it must be that of `output`.
///
/// # Errors
/// If the system has too little memory, or the length of the salt or of the output is not allowed.
pub(crate) fn derive(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
    buffer: &mut HashBuffer,
) -> Result<(), argon2::Error> {
    if simd_self_test_passed() && derive_simd(password, salt, params, output, buffer).is_ok() {
        return Ok(());
    }
    derive_portable(password, salt, params, output)
}

fn derive_simd(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
    buffer: &mut HashBuffer,
) -> Result<(), argon2_rust::Error> {
    let argon2 = build_argon2(params, output.len())?;
    if params.m_cost() > crate::password::MEMORY_KIB {
        // The larger memory of an imported hash is released, so that the thread does not keep it.
        return argon2.hash_into_with_ad(password, salt, &[], params.data(), output);
    }
    buffer.0.set_argon2(argon2);
    buffer
        .0
        .hash_into_with_ad(password, salt, &[], params.data(), output)
}

fn build_argon2(
    params: &Params,
    output_len: usize,
) -> Result<argon2_rust::Argon2, argon2_rust::Error> {
    use argon2_rust::params::{Memory, TagLen};
    let builder = argon2_rust::Params::builder()
        .memory(Memory::kib(params.m_cost().into()))
        .passes(params.t_cost())
        .lanes(params.p_cost())
        .threads(1)
        .tag_len(TagLen::bytes(output_len as u64));
    Ok(argon2_rust::Argon2::new(
        argon2_rust::Algorithm::Argon2id,
        argon2_rust::Version::V0x13,
        builder.build()?,
    ))
}

fn derive_portable(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
) -> Result<(), argon2::Error> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into(password, salt, output)
}

#[cfg(test)]
#[path = "argon2id_tests.rs"]
mod tests;
