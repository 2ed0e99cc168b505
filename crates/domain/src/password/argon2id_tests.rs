use argon2::{AssociatedData, ParamsBuilder};
use proptest::prelude::*;

use super::*;
use crate::{
    password::{self, MEMORY_KIB, Password, PasswordMatch, SALT_BYTES, current_params},
    text::ParsedText,
};

const IMPLEMENTATIONS: [Argon2Implementation; 2] = [
    Argon2Implementation::RustCrypto,
    Argon2Implementation::Argon2Rust,
];

/// The Argon2id test vector of RFC 9106 section 5.3.
const RFC_9106_TAG: [u8; 32] = [
    0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
    0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
];

#[test]
fn rfc_9106_test_vector_is_reproduced() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .output_len(32)
        .build()
        .unwrap();
    let (password, salt, secret, data) = ([1; 32], [2; 16], [3; 8], [4; 12]);
    let mut output = [0; 32];
    let argon2 = build_argon2(&params, output.len()).unwrap();
    argon2
        .hash_into_with_ad(&password, &salt, &secret, &data, &mut output)
        .unwrap();
    assert_eq!(output, RFC_9106_TAG);
}

#[test]
fn both_implementations_return_expected_self_test_hash() {
    for implementation in IMPLEMENTATIONS {
        assert_eq!(implementation.after_self_test(), implementation);
        let (mut output, params) = ([0; DUMMY_OUTPUT.len()], current_params());
        let buffer = &mut HashBuffer::new(implementation);
        derive(b"", &[0; SALT_BYTES], &params, &mut output, buffer).unwrap();
        assert_eq!(output, DUMMY_OUTPUT, "{implementation:?}");
    }
}

#[test]
fn hash_of_each_implementation_verifies_with_other() {
    let parse = |text| Password::parse(text).ok().unwrap();
    for (hashing, verifying) in [(0, 1), (1, 0)] {
        let [hashing, verifying] = [hashing, verifying].map(|index| IMPLEMENTATIONS[index]);
        let salt = &[7; SALT_BYTES];
        let phc = password::hash(&parse("secret123"), salt, &mut HashBuffer::new(hashing)).unwrap();
        let buffer = &mut HashBuffer::new(verifying);
        for (text, expected) in [
            ("secret123", PasswordMatch::Match),
            ("secret124", PasswordMatch::NoMatch),
        ] {
            let outcome = password::verify(&parse(text), &phc, buffer).unwrap();
            assert_eq!(outcome, expected, "{hashing:?}, {text}");
        }
    }
}

/// Hashes with these memory sizes and lanes in one buffer. Calls `check` with it after each hash.
fn hash_with_sizes(
    implementation: Argon2Implementation,
    sizes: &[(u32, u32)],
    mut check: impl FnMut(&Memory),
) {
    let (buffer, mut output) = (&mut HashBuffer::new(implementation), [0; 32]);
    for &(memory_kib, lanes) in sizes {
        let params = Params::new(memory_kib, 1, lanes, Some(32)).unwrap();
        derive(b"password", b"somesalt", &params, &mut output, buffer).unwrap();
        check(&buffer.0);
    }
}

#[test]
fn larger_memory_is_not_kept() {
    for implementation in IMPLEMENTATIONS {
        let sizes = [
            (64, 1),
            (MEMORY_KIB, 1),
            (64, 4),
            (2 * MEMORY_KIB, 1),
            (2 * MEMORY_KIB, 4),
            (MEMORY_KIB, 1),
        ];
        let mut kept_blocks = Vec::new();
        hash_with_sizes(implementation, &sizes, |memory| {
            kept_blocks.push(match memory {
                Memory::RustCrypto(blocks) => blocks.capacity(),
                Memory::Argon2Rust(hasher) => hasher.reserved_blocks(),
            });
        });
        let current = MEMORY_KIB as usize;
        assert_eq!(
            kept_blocks,
            [64, current, current, current, current, current],
            "{implementation:?}"
        );
    }
}

#[test]
fn kept_memory_is_zeroed_after_each_hash() {
    let sizes = [(MEMORY_KIB, 1), (64, 1), (64, 4)];
    hash_with_sizes(Argon2Implementation::RustCrypto, &sizes, |memory| {
        let Memory::RustCrypto(blocks) = memory else {
            panic!("the implementation is fixed");
        };
        assert_eq!(blocks.len(), MEMORY_KIB as usize);
        assert!(blocks.iter().flat_map(Block::as_ref).all(|word| *word == 0));
    });
}

#[test]
fn short_salt_and_output_are_rejected() {
    let params = Params::new(64, 1, 1, Some(32)).unwrap();
    for implementation in IMPLEMENTATIONS {
        let buffer = &mut HashBuffer::new(implementation);
        let mut derive_with = |salt: &[u8], length: usize| {
            derive(b"password", salt, &params, &mut vec![0; length], buffer)
        };
        assert!(derive_with(b"somesalt", 32).is_ok());
        assert!(derive_with(b"short", 32).is_err());
        assert!(derive_with(b"somesalt", 3).is_err());
    }
}

prop_compose! {
    /// Generates parameters that cost little and include all kinds that occur in practice.
    fn parameters()(
        lanes in 1_u32..=6,
        extra in 0_u32..=700,
        passes in 1_u32..=4,
        length in 4_usize..=80,
        data in proptest::collection::vec(any::<u8>(), 0..=32),
    ) -> Params {
        let data = AssociatedData::new(&data).unwrap();
        let builder = &mut ParamsBuilder::new();
        builder
            .m_cost(8 * lanes + extra)
            .t_cost(passes)
            .p_cost(lanes)
            .output_len(length)
            .data(data)
            .build()
            .unwrap()
    }
}

proptest! {
    /// All hashes use one buffer per implementation, as in a hashing thread, so that no hash can
    /// influence the next.
    #[test]
    fn both_implementations_agree(
        hashes in proptest::collection::vec(
            (
                parameters(),
                proptest::collection::vec(any::<u8>(), 0..=1100),
                proptest::collection::vec(any::<u8>(), 8..=64),
            ),
            1..=4,
        )
    ) {
        let (mut hasher, mut blocks) = (new_argon2_rust_hasher(), Vec::new());
        for (params, password, salt) in hashes {
            let length = params.output_len().unwrap();
            let (mut fast, mut expected) = (vec![0; length], vec![0; length]);
            derive_with_argon2_rust(&password, &salt, &params, &mut fast, &mut hasher).unwrap();
            derive_with_rustcrypto(&password, &salt, &params, &mut expected, &mut blocks).unwrap();
            prop_assert_eq!(fast, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_implementations_agree_on_current_parameters(password in "\\PC{0,256}", salt: [u8; 16]) {
        let (params, password) = (current_params(), password.as_bytes());
        let (mut hasher, mut blocks) = (new_argon2_rust_hasher(), Vec::new());
        let (mut fast, mut expected) = ([0; 32], [0; 32]);
        derive_with_argon2_rust(password, &salt, &params, &mut fast, &mut hasher).unwrap();
        derive_with_rustcrypto(password, &salt, &params, &mut expected, &mut blocks).unwrap();
        prop_assert_eq!(fast, expected);
    }
}
