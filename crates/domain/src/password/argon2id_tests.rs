use argon2::{AssociatedData, ParamsBuilder};
use proptest::prelude::*;

use super::*;

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
fn both_implementations_pass_self_test() {
    assert!(simd_self_test_passed());
    let mut output = [0; DUMMY_OUTPUT.len()];
    derive_portable(
        b"",
        &[0; 16],
        &crate::password::current_params(),
        &mut output,
    )
    .unwrap();
    assert_eq!(output, DUMMY_OUTPUT);
}

#[test]
fn larger_memory_is_not_kept() {
    let (buffer, mut output) = (&mut HashBuffer::default(), [0; 32]);
    let mut reserved_blocks_after = |memory_kib, lanes| {
        let params = Params::new(memory_kib, 1, lanes, Some(32)).unwrap();
        derive_simd(b"password", b"somesalt", &params, &mut output, buffer).unwrap();
        buffer.0.reserved_blocks()
    };
    let current_kib = crate::password::MEMORY_KIB;
    assert_eq!(reserved_blocks_after(64, 1), 64);
    for (memory_kib, lanes) in [
        (current_kib, 1),
        (64, 4),
        (2 * current_kib, 1),
        (2 * current_kib, 4),
        (current_kib, 1),
    ] {
        assert_eq!(
            reserved_blocks_after(memory_kib, lanes),
            current_kib as usize
        );
    }
}

#[test]
fn short_salt_and_output_are_rejected() {
    let params = Params::new(64, 1, 1, Some(32)).unwrap();
    let derive_with = |salt: &[u8], length: usize| {
        derive(
            b"password",
            salt,
            &params,
            &mut vec![0; length],
            &mut HashBuffer::default(),
        )
    };
    assert!(derive_with(b"somesalt", 32).is_ok());
    assert!(derive_with(b"short", 32).is_err());
    assert!(derive_with(b"somesalt", 3).is_err());
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
    /// All hashes use one buffer, as in a hashing thread, so that no hash can influence the next.
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
        let buffer = &mut HashBuffer::default();
        for (params, password, salt) in hashes {
            let length = params.output_len().unwrap();
            let (mut from_simd, mut from_portable) = (vec![0; length], vec![0; length]);
            derive_simd(&password, &salt, &params, &mut from_simd, buffer).unwrap();
            derive_portable(&password, &salt, &params, &mut from_portable).unwrap();
            prop_assert_eq!(from_simd, from_portable);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_implementations_agree_on_current_parameters(password in "\\PC{0,256}", salt: [u8; 16]) {
        let (params, buffer) = (crate::password::current_params(), &mut HashBuffer::default());
        let (mut from_simd, mut from_portable) = ([0; 32], [0; 32]);
        derive_simd(password.as_bytes(), &salt, &params, &mut from_simd, buffer).unwrap();
        derive_portable(password.as_bytes(), &salt, &params, &mut from_portable).unwrap();
        prop_assert_eq!(from_simd, from_portable);
    }
}
