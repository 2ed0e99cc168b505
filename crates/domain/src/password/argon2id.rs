//! Argon2id (RFC 9106) with two implementations: RustCrypto's `argon2`, and `argon2-rust`.
//!
//! Both return the same hashes, keep their memory between hashes, and zero it after each hash.
//! `argon2` is the default, because many projects have used it for years. `argon2-rust` needs less
//! CPU time, but it is young and contains hundreds of `unsafe` blocks
//! (`crates/bench/README.md` contains the assessment). So its results are verified twice:
//!
//! - Tests compare both implementations with reference hashes and for random parameters.
//! - A process that uses it runs a self-test on its processor, and uses `argon2` if it fails.
//!
//! `argon2` also computes the hashes whose parameters `argon2-rust` rejects.

use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use strum::EnumString;
use zeroize::Zeroize;

/// The hash of an empty password with a salt of zeros and the current parameters.
///
/// The reference implementation computed it. It matches no user, because a password cannot be
/// empty.
pub(crate) const DUMMY_OUTPUT: [u8; Params::DEFAULT_OUTPUT_LEN] = [
    0xf8, 0x33, 0x20, 0xd0, 0x7b, 0x31, 0xc7, 0x60, 0x99, 0x18, 0xe2, 0x8b, 0xff, 0x06, 0x85, 0x16,
    0x0f, 0x36, 0xcd, 0x7c, 0x06, 0x5d, 0xd0, 0x88, 0x53, 0x93, 0x75, 0x48, 0xde, 0x97, 0x28, 0xf4,
];

/// Whether `argon2-rust` returns the expected hash on this processor.
static ARGON2_RUST_SELF_TEST_PASSED: LazyLock<bool> = LazyLock::new(|| {
    let mut output = [0; DUMMY_OUTPUT.len()];
    let result = derive_with_argon2_rust(
        b"",
        &[0; crate::password::SALT_BYTES],
        &crate::password::current_params(),
        &mut output,
        &mut new_argon2_rust_hasher(),
    );
    result.is_ok() && output == DUMMY_OUTPUT
});

/// The implementation of Argon2id that computes the hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString)]
pub enum Argon2Implementation {
    /// The crate `argon2` of RustCrypto.
    #[default]
    #[strum(serialize = "rustcrypto")]
    RustCrypto,
    /// The crate `argon2-rust`.
    #[strum(serialize = "argon2-rust")]
    Argon2Rust,
}

impl Argon2Implementation {
    /// Returns the implementation whose results are correct on this processor.
    ///
    /// For `argon2-rust`, the first call computes a hash.
    #[must_use]
    pub fn after_self_test(self) -> Argon2Implementation {
        if self == Argon2Implementation::Argon2Rust && *ARGON2_RUST_SELF_TEST_PASSED {
            Argon2Implementation::Argon2Rust
        } else {
            Argon2Implementation::RustCrypto
        }
    }
}

/// An implementation with its memory: 19 MiB after a hash with the current parameters.
///
/// Each hashing thread keeps one, so that the memory is not mapped again for each hash. The memory
/// is zeroed after each hash.
pub struct HashBuffer(Memory);

enum Memory {
    RustCrypto(Vec<Block>),
    Argon2Rust(argon2_rust::Hasher),
}

impl HashBuffer {
    /// Creates an empty buffer. It uses `argon2` if `argon2-rust` fails its self-test.
    pub fn new(implementation: Argon2Implementation) -> HashBuffer {
        HashBuffer(match implementation.after_self_test() {
            Argon2Implementation::RustCrypto => Memory::RustCrypto(Vec::new()),
            Argon2Implementation::Argon2Rust => Memory::Argon2Rust(new_argon2_rust_hasher()),
        })
    }
}

impl Default for HashBuffer {
    fn default() -> Self {
        HashBuffer::new(Argon2Implementation::default())
    }
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
    match &mut buffer.0 {
        Memory::RustCrypto(kept) => derive_with_rustcrypto(password, salt, params, output, kept),
        Memory::Argon2Rust(hasher) => {
            derive_with_argon2_rust(password, salt, params, output, hasher).or_else(|_| {
                derive_with_rustcrypto(password, salt, params, output, &mut Vec::new())
            })
        }
    }
}

fn derive_with_rustcrypto(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
    kept: &mut Vec<Block>,
) -> Result<(), argon2::Error> {
    let block_count = params.block_count();
    let mut released = Vec::new();
    // The larger memory of an imported hash is released, so that the thread does not keep it.
    let blocks = if params.m_cost() > crate::password::MEMORY_KIB {
        &mut released
    } else {
        kept
    };
    if blocks.len() < block_count {
        let missing = block_count - blocks.len();
        blocks
            .try_reserve_exact(missing)
            .map_err(|_| argon2::Error::OutOfMemory)?;
        blocks.resize(block_count, Block::new());
    }
    let blocks = &mut blocks[..block_count];
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, salt, output, &mut *blocks);
    blocks.iter_mut().zeroize();
    result
}

fn derive_with_argon2_rust(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    output: &mut [u8],
    hasher: &mut argon2_rust::Hasher,
) -> Result<(), argon2_rust::Error> {
    let argon2 = build_argon2(params, output.len())?;
    if params.m_cost() > crate::password::MEMORY_KIB {
        // The larger memory of an imported hash is released, so that the thread does not keep it.
        return argon2.hash_into_with_ad(password, salt, &[], params.data(), output);
    }
    hasher.set_argon2(argon2);
    hasher.hash_into_with_ad(password, salt, &[], params.data(), output)
}

fn new_argon2_rust_hasher() -> argon2_rust::Hasher {
    build_argon2(&crate::password::current_params(), DUMMY_OUTPUT.len())
        .expect("parameters in range")
        .hasher()
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

#[cfg(test)]
#[path = "argon2id_tests.rs"]
mod tests;
