//! Argon2id (RFC 9106): two implementations of it, and which of them computes.
//!
//! `argon2-rust` takes a third of the time of `argon2`: it finds the widest instructions of the
//! processor at run time, asks for pages of 2 MiB, and keeps its memory, which it wipes after each
//! hash. But it is young, and not audited (`crates/bench/README.md` has the judgement). So it has to
//! show that it is right: tests compare both, with the reference's answers and over parameters at
//! random; and each process, on the processor that it runs on, asks it for an answer that is known
//! before it trusts it. Whatever it refuses, or all where it failed, `argon2` computes.

use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, Version};

/// What the reference implementation computes with today's parameters from an empty password, which
/// nobody can have, and a salt of zeros.
pub(crate) const DUMMY_OUTPUT: [u8; Params::DEFAULT_OUTPUT_LEN] = [
    0xf8, 0x33, 0x20, 0xd0, 0x7b, 0x31, 0xc7, 0x60, 0x99, 0x18, 0xe2, 0x8b, 0xff, 0x06, 0x85, 0x16,
    0x0f, 0x36, 0xcd, 0x7c, 0x06, 0x5d, 0xd0, 0x88, 0x53, 0x93, 0x75, 0x48, 0xde, 0x97, 0x28, 0xf4,
];

/// Whether the fast implementation gives the known answer here.
static SIMD_SELF_TEST: LazyLock<bool> = LazyLock::new(|| {
    let mut output = [0; DUMMY_OUTPUT.len()];
    let computed = simd(
        b"",
        &[0; crate::password::SALT_BYTES],
        &crate::password::policy(),
        &mut output,
        &mut HashBuffer::default(),
    );
    computed.is_ok() && output == DUMMY_OUTPUT
});

/// The memory of one hash with today's parameters, kept by each hashing thread: 19 MiB that need
/// not be mapped again. Between two hashes it holds nothing but zeros.
pub struct HashBuffer(argon2_rust::Hasher);

impl Default for HashBuffer {
    fn default() -> Self {
        let today = crate::password::policy();
        HashBuffer(
            with_costs(&today, DUMMY_OUTPUT.len())
                .expect("today's parameters are in range")
                .hasher(),
        )
    }
}

/// Whether passwords are hashed by the fast implementation. The first call computes a hash.
pub fn simd_self_test_passed() -> bool {
    *SIMD_SELF_TEST
}

/// Fills the output, which must be as long as the parameters say, if they say so.
///
/// # Errors
/// Memory that the system does not give, and a salt or an output that Argon2 does not allow.
pub(crate) fn derive(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
    memory: &mut HashBuffer,
) -> Result<(), argon2::Error> {
    if simd_self_test_passed() && simd(password, salt, params, output, memory).is_ok() {
        return Ok(());
    }
    portable(password, salt, params, output)
}

fn simd(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
    memory: &mut HashBuffer,
) -> Result<(), argon2_rust::Error> {
    let argon2 = with_costs(params, output.len())?;
    if params.m_cost() > crate::password::MEMORY_KIB {
        // A hash from elsewhere, with more memory than ours: that is given back, not kept for ever.
        return argon2.hash_into_with_ad(password, salt, &[], params.data(), output);
    }
    memory.0.set_argon2(argon2);
    memory
        .0
        .hash_into_with_ad(password, salt, &[], params.data(), output)
}

fn with_costs(
    params: &Params,
    output_len: usize,
) -> Result<argon2_rust::Argon2, argon2_rust::Error> {
    use argon2_rust::params::{Memory, TagLen};
    let costs = argon2_rust::Params::builder()
        .memory(Memory::kib(params.m_cost().into()))
        .passes(params.t_cost())
        .lanes(params.p_cost())
        .threads(1)
        .tag_len(TagLen::bytes(output_len as u64));
    Ok(argon2_rust::Argon2::new(
        argon2_rust::Algorithm::Argon2id,
        argon2_rust::Version::V0x13,
        costs.build()?,
    ))
}

fn portable(
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
