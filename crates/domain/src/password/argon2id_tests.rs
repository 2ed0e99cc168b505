use argon2::{AssociatedData, ParamsBuilder};
use proptest::prelude::*;

use super::*;

/// RFC 9106 section 5.3.
const RFC_9106: [u8; 32] = [
    0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
    0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
];

#[test]
fn the_answer_of_the_standard_is_given() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .output_len(32)
        .build()
        .unwrap();
    let (password, salt, secret, data) = ([1; 32], [2; 16], [3; 8], [4; 12]);
    let mut output = [0; 32];
    let argon2 = with_costs(&params, output.len()).unwrap();
    argon2
        .hash_into_with_ad(&password, &salt, &secret, &data, &mut output)
        .unwrap();
    assert_eq!(output, RFC_9106);
}

#[test]
fn this_processor_gives_the_known_answer_by_either_implementation() {
    assert!(simd_self_test_passed());
    let mut output = [0; DUMMY_OUTPUT.len()];
    portable(b"", &[0; 16], &crate::password::policy(), &mut output).unwrap();
    assert_eq!(output, DUMMY_OUTPUT);
}

#[test]
fn memory_is_kept_for_our_own_hashes_and_given_back_after_larger_ones() {
    let (memory, mut output) = (&mut HashBuffer::default(), [0; 32]);
    let mut kept_after = |memory_kib, lanes| {
        let params = Params::new(memory_kib, 1, lanes, Some(32)).unwrap();
        simd(b"password", b"somesalt", &params, &mut output, memory).unwrap();
        memory.0.reserved_blocks()
    };
    let ours = crate::password::MEMORY_KIB;
    assert_eq!(kept_after(64, 1), 64);
    for (memory_kib, lanes) in [(ours, 1), (64, 4), (2 * ours, 1), (2 * ours, 4), (ours, 1)] {
        assert_eq!(kept_after(memory_kib, lanes), ours as usize);
    }
}

#[test]
fn what_no_argon2_allows_is_refused() {
    let params = Params::new(64, 1, 1, Some(32)).unwrap();
    let derived = |salt: &[u8], length: usize| {
        derive(
            b"password",
            salt,
            &params,
            &mut vec![0; length],
            &mut HashBuffer::default(),
        )
    };
    assert!(derived(b"somesalt", 32).is_ok());
    assert!(derived(b"short", 32).is_err());
    assert!(derived(b"somesalt", 3).is_err());
}

prop_compose! {
    /// Costs in the range of those that are in use, small enough to be computed often.
    fn costs()(
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
    /// One memory for all of them, as a hashing thread has it: what one hash leaves must not change
    /// the next.
    #[test]
    fn both_implementations_agree(
        hashes in proptest::collection::vec(
            (
                costs(),
                proptest::collection::vec(any::<u8>(), 0..=1100),
                proptest::collection::vec(any::<u8>(), 8..=64),
            ),
            1..=4,
        )
    ) {
        let memory = &mut HashBuffer::default();
        for (params, password, salt) in hashes {
            let length = params.output_len().unwrap();
            let (mut fast, mut plain) = (vec![0; length], vec![0; length]);
            simd(&password, &salt, &params, &mut fast, memory).unwrap();
            portable(&password, &salt, &params, &mut plain).unwrap();
            prop_assert_eq!(fast, plain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_implementations_agree_on_todays_hashes(password in "\\PC{0,256}", salt: [u8; 16]) {
        let (params, memory) = (crate::password::policy(), &mut HashBuffer::default());
        let (mut fast, mut plain) = ([0; 32], [0; 32]);
        simd(password.as_bytes(), &salt, &params, &mut fast, memory).unwrap();
        portable(password.as_bytes(), &salt, &params, &mut plain).unwrap();
        prop_assert_eq!(fast, plain);
    }
}
