//! The master secret and the keys that are derived from it (HKDF-SHA-256, RFC 5869), one per label.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

/// Length of a derived key.
const KEY_BYTES: usize = 32;

/// Minimum length of a master secret: 256 bits.
const MIN_SECRET_BYTES: usize = 32;

/// Words that occur in examples and templates.
///
/// The probability that a random secret contains one of them is below one in a million.
const PLACEHOLDERS: [&str; 6] = [
    "change",
    "replace",
    "example",
    "secret",
    "please",
    "placeholder",
];

/// The error text for a secret that is not random.
const PLACEHOLDER_ERROR: &str =
    "looks like a placeholder; generate one with `openssl rand -base64 32`";

/// Number of consecutive ascending bytes (such as `abcdef`) that a random secret does not contain.
const ASCENDING_RUN_BYTES: usize = 6;

/// The secret that all replicas share.
///
/// The type does not implement `Debug` or `Display`, so that the secret cannot be logged.
#[derive(Clone)]
pub struct MasterSecret(SecretSlice<u8>);

/// The master secret, or two of them during a rotation.
///
/// The first secret signs and seals, and both verify and unseal. Replicas with the secrets in
/// either order therefore accept the output of each other. The type does not implement `Debug` or
/// `Display`, so that the secrets cannot be logged.
#[derive(Clone)]
pub struct MasterSecrets {
    first: MasterSecret,
    second: Option<MasterSecret>,
}

/// A key for messages that only servers with the same master secret can create (HMAC-SHA-256).
#[derive(Clone)]
pub struct MacKey(hmac::Key);

/// The keys for messages that servers with either master secret can create.
pub struct MacKeys {
    first: MacKey,
    second: Option<MacKey>,
}

/// The key that encrypts the private signing keys in PostgreSQL (AES-256-GCM).
pub struct SealingKey(RandomizedNonceKey);

/// The output length of HKDF, in bytes.
struct OutputBytes(usize);

impl KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl MasterSecret {
    /// Parses a secret in hexadecimal or base64.
    ///
    /// # Errors
    /// If the secret is malformed, shorter than 32 bytes, or apparently a placeholder (OWASP ASVS
    /// 5.0, 13.2.3). The text describes the fix.
    pub fn parse(text: &str) -> Result<MasterSecret, &'static str> {
        let text = text.trim();
        if PLACEHOLDERS
            .iter()
            .any(|word| text.to_ascii_lowercase().contains(word))
        {
            return Err(PLACEHOLDER_ERROR);
        }
        let bytes = decode_secret(text)
            .ok_or("must be hexadecimal or base64; generate one with `openssl rand -base64 32`")?;
        if bytes.expose_secret().len() < MIN_SECRET_BYTES {
            return Err(
                "must have at least 32 random bytes; generate one with `openssl rand -base64 32`",
            );
        }
        if count_distinct(bytes.expose_secret()) < 16
            || has_ascending_run(bytes.expose_secret())
            || has_ascending_run(text.as_bytes())
        {
            return Err(PLACEHOLDER_ERROR);
        }
        Ok(MasterSecret(bytes))
    }

    /// Derives the key for messages of one purpose. Each purpose has its own label.
    pub fn mac_key(&self, label: &'static str) -> MacKey {
        MacKey(hmac::Key::new(
            hmac::HMAC_SHA256,
            self.derive(label).as_slice(),
        ))
    }

    /// Derives the key that encrypts signing keys.
    pub fn sealing_key(&self) -> SealingKey {
        let key = self.derive("latchkey signing keys");
        SealingKey(
            RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).expect("a key of 32 bytes"),
        )
    }

    fn derive(&self, label: &'static str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let info = [label.as_bytes()];
        Salt::new(HKDF_SHA256, b"latchkey")
            .extract(self.0.expose_secret())
            .expand(&info, OutputBytes(KEY_BYTES))
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .expect("an output of at most 8,160 bytes");
        key
    }
}

impl MasterSecrets {
    /// Parses one secret, or two secrets separated by a comma.
    ///
    /// # Errors
    /// If a secret is invalid, or both are equal. The text describes the fix.
    pub fn parse(text: &str) -> Result<MasterSecrets, &'static str> {
        let (first, second) = text
            .split_once(',')
            .map_or((text, None), |(first, second)| (first, Some(second)));
        let second = second.map(MasterSecret::parse).transpose()?;
        let secrets = MasterSecrets {
            first: MasterSecret::parse(first)?,
            second,
        };
        let is_repeated = secrets
            .second
            .as_ref()
            .is_some_and(|second| second.0.expose_secret() == secrets.first.0.expose_secret());
        if is_repeated {
            Err("contains the same secret twice; separate the new and the previous one by a comma")
        } else {
            Ok(secrets)
        }
    }

    /// Returns the secret that signs and seals.
    pub fn first(&self) -> &MasterSecret {
        &self.first
    }

    /// Returns the other secret during a rotation.
    pub fn second(&self) -> Option<&MasterSecret> {
        self.second.as_ref()
    }

    /// Derives the keys for messages of one purpose. Each purpose has its own label.
    pub fn mac_keys(&self, label: &'static str) -> MacKeys {
        MacKeys {
            first: self.first.mac_key(label),
            second: self.second().map(|second| second.mac_key(label)),
        }
    }

    /// Decrypts a message of either secret. Also returns whether the first secret sealed it.
    pub fn unseal(&self, sealed: &[u8], context: &str) -> Option<(SecretSlice<u8>, bool)> {
        let by_first = self
            .first
            .sealing_key()
            .unseal(sealed, context)
            .map(|private| (private, true));
        by_first.or_else(|| Some((self.second()?.sealing_key().unseal(sealed, context)?, false)))
    }
}

impl MacKeys {
    /// Signs the parts with the first key; see [`MacKey::sign`].
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.first.sign(parts)
    }

    /// Verifies the tag with both keys, in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.first.verify(message, tag)
            || self
                .second
                .as_ref()
                .is_some_and(|second| second.verify(message, tag))
    }
}

impl MacKey {
    /// Returns the HMAC-SHA-256 tag of the concatenated parts.
    ///
    /// Only the last part can have a variable length. Otherwise, two messages could have the same
    /// concatenation.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context
            .sign()
            .as_ref()
            .try_into()
            .expect("a tag of 32 bytes")
    }

    /// Verifies the tag of a message in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl SealingKey {
    /// Encrypts a secret with AES-256-GCM. The random nonce precedes the ciphertext.
    ///
    /// `context` is authenticated data, so that the result cannot be used in another context.
    pub fn seal(&self, secret: &[u8], context: &str) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed)
            .expect("a secret below the limit of AES-GCM");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Decrypts a secret. Returns `None` if the key or the context is another one.
    pub fn unseal(&self, sealed: &[u8], context: &str) -> Option<SecretSlice<u8>> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let secret = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut buffer)
            .ok()?;
        Some(secret.to_vec().into())
    }
}

fn decode_secret(text: &str) -> Option<SecretSlice<u8>> {
    let is_hexadecimal =
        text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = if is_hexadecimal {
        (0..text.len())
            .step_by(2)
            .map(|index| u8::from_str_radix(&text[index..index + 2], 16).ok())
            .collect::<Option<Vec<u8>>>()
    } else {
        STANDARD
            .decode(text)
            .or_else(|_| URL_SAFE_NO_PAD.decode(text))
            .ok()
    };
    // The copy has no spare capacity. Otherwise, its conversion would leave bytes that are not
    // erased.
    bytes.map(|bytes| Zeroizing::new(bytes).to_vec().into())
}

fn has_ascending_run(bytes: &[u8]) -> bool {
    bytes.windows(ASCENDING_RUN_BYTES).any(|run| {
        run.windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
    })
}

fn count_distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes
        .iter()
        .for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_secret() -> String {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    #[test]
    fn placeholders_and_short_secrets_are_rejected() {
        for invalid in [
            "",
            "changeme",
            "secret",
            &"0".repeat(64),
            &"ab".repeat(40),
            &STANDARD.encode([7; 40]),
            "changeme-changeme-changeme-changeme-changeme",
            "replaceXmeXwithXaXrandomXvalueXofXatXleastX32",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL",
            &random_secret()[..20],
        ] {
            assert!(MasterSecret::parse(invalid).is_err(), "{invalid:?}");
        }
        assert!(MasterSecret::parse(&random_secret()).is_ok());
    }

    #[test]
    fn unseal_requires_same_key_and_context() {
        let key = MasterSecret::parse(&random_secret())
            .ok()
            .unwrap()
            .sealing_key();
        let sealed = key.seal(b"private", "kid-1");
        assert_eq!(
            key.unseal(&sealed, "kid-1").unwrap().expose_secret(),
            b"private"
        );
        assert!(key.unseal(&sealed, "kid-2").is_none());
        assert!(key.unseal(&sealed[..8], "kid-1").is_none());
        assert!(
            MasterSecret::parse(&random_secret())
                .ok()
                .unwrap()
                .sealing_key()
                .unseal(&sealed, "kid-1")
                .is_none()
        );
    }

    #[test]
    fn one_or_two_different_secrets_are_accepted() {
        let (one, other) = (random_secret(), random_secret());
        for valid in [
            one.clone(),
            format!("{one},{other}"),
            format!(" {one} , {other} "),
        ] {
            assert!(MasterSecrets::parse(&valid).is_ok());
        }
        for invalid in [
            "",
            ",",
            &format!("{one},"),
            &format!(",{one}"),
            &format!("{one},{one}"),
            &format!("{one},secret"),
        ] {
            assert!(MasterSecrets::parse(invalid).is_err(), "{invalid:?}");
        }
        assert!(MasterSecrets::parse(&format!("{one},{other},{}", random_secret())).is_err());
    }

    #[test]
    fn first_secret_signs_and_both_secrets_verify() {
        let (old, new) = (random_secret(), random_secret());
        let parse = |text: &str| MasterSecrets::parse(text).ok().unwrap();
        let (before, after) = (
            parse(&format!("{old},{new}")),
            parse(&format!("{new},{old}")),
        );
        let label = "a";
        for (signer, first) in [(&before, &old), (&after, &new)] {
            let (tag, sealed) = (
                signer.mac_keys(label).sign(&[b"x"]),
                signer.first().sealing_key().seal(b"x", "kid"),
            );
            for secrets in [&before, &after, &parse(first)] {
                assert!(secrets.mac_keys(label).verify(b"x", &tag));
                let (private, by_first) = secrets.unseal(&sealed, "kid").unwrap();
                let signed_by_first = secrets.mac_keys(label).sign(&[b"x"]) == tag;
                assert_eq!(
                    (private.expose_secret(), by_first),
                    (b"x".as_slice(), signed_by_first)
                );
            }
            let other = parse(if *first == old { &new } else { &old });
            assert!(
                !other.mac_keys(label).verify(b"x", &tag) && other.unseal(&sealed, "kid").is_none()
            );
        }
    }

    #[test]
    fn labels_derive_different_keys() {
        let secret = MasterSecret::parse(&random_secret()).ok().unwrap();
        assert_ne!(
            secret.mac_key("a").sign(&[b"x"]),
            secret.mac_key("b").sign(&[b"x"])
        );
    }
}
