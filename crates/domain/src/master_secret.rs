//! The master secret, and every key that is derived from it (HKDF-SHA-256, RFC 5869; one label
//! each).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

/// Bytes of a derived key.
const KEY_BYTES: usize = 32;

/// The fewest bytes of a master secret: 256 bits.
const MIN_BYTES: usize = 32;

/// Words of examples and templates. A random text holds one of them less than once in a million.
const PLACEHOLDERS: [&str; 6] = [
    "change",
    "replace",
    "example",
    "secret",
    "please",
    "placeholder",
];

const PLACEHOLDER: &str = "looks like a placeholder; generate one with `openssl rand -base64 32`";

/// So many bytes in ascending order, each one more than the one before, are nobody's random choice.
const RUN: usize = 6;

/// The secret that the operator gives to every replica. It has neither `Debug` nor `Display`.
pub struct MasterSecret(Zeroizing<Vec<u8>>);

/// The master secret; while it is exchanged for another one, both. The first makes, both verify and
/// unseal: so replicas that have them in either order accept what the others made. It has neither
/// `Debug` nor `Display`.
pub struct MasterSecrets {
    first: MasterSecret,
    second: Option<MasterSecret>,
}

/// Keys for messages that only gateways with the same secret can have made.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

/// The same for messages that gateways with either secret can have made.
pub struct MacKeys {
    first: MacKey,
    second: Option<MacKey>,
}

/// The key under which private signing keys rest in the record.
pub struct SealingKey(RandomizedNonceKey);

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl MasterSecret {
    /// Reads a secret written in hexadecimal or base64. What is too short, or so regular that it
    /// must be a placeholder, is refused (OWASP ASVS 5.0, 13.2.3).
    pub fn parse(text: &str) -> Result<MasterSecret, &'static str> {
        let text = text.trim();
        if PLACEHOLDERS
            .iter()
            .any(|word| text.to_ascii_lowercase().contains(word))
        {
            return Err(PLACEHOLDER);
        }
        let bytes = decode(text)
            .ok_or("must be hexadecimal or base64; generate one with `openssl rand -base64 32`")?;
        if bytes.len() < MIN_BYTES {
            return Err(
                "must have at least 32 random bytes; generate one with `openssl rand -base64 32`",
            );
        }
        if distinct(&bytes) < 16 || has_run(&bytes) || has_run(text.as_bytes()) {
            return Err(PLACEHOLDER);
        }
        Ok(MasterSecret(bytes))
    }

    /// The key for messages of one purpose.
    pub fn mac_key(&self, label: &'static str) -> MacKey {
        MacKey(hmac::Key::new(
            hmac::HMAC_SHA256,
            self.derive(label).as_slice(),
        ))
    }

    /// The key that seals signing keys.
    pub fn sealing_key(&self) -> SealingKey {
        let key = self.derive("latchkey signing keys");
        SealingKey(
            RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
                .expect("AES-256 takes any 32 bytes"),
        )
    }

    fn derive(&self, label: &'static str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let info = [label.as_bytes()];
        Salt::new(HKDF_SHA256, b"latchkey")
            .extract(&self.0)
            .expand(&info, Bytes(KEY_BYTES))
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .expect("HKDF-SHA-256 gives up to 8,160 bytes");
        key
    }
}

impl MasterSecrets {
    /// Reads one secret, or two with a comma between them.
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
            .is_some_and(|second| *second.0 == *secrets.first.0);
        if is_repeated {
            Err("contains the same secret twice; separate the new and the previous one by a comma")
        } else {
            Ok(secrets)
        }
    }

    /// The one that makes.
    pub fn first(&self) -> &MasterSecret {
        &self.first
    }

    /// The one beside it.
    pub fn second(&self) -> Option<&MasterSecret> {
        self.second.as_ref()
    }

    /// The keys for messages of one purpose.
    pub fn mac_keys(&self, label: &'static str) -> MacKeys {
        MacKeys {
            first: self.first.mac_key(label),
            second: self.second().map(|second| second.mac_key(label)),
        }
    }

    /// What was sealed under either secret in this context, and whether it was the first.
    pub fn unseal(&self, sealed: &[u8], context: &str) -> Option<(Zeroizing<Vec<u8>>, bool)> {
        let by_first = self
            .first
            .sealing_key()
            .unseal(sealed, context)
            .map(|found| (found, true));
        by_first.or_else(|| Some((self.second()?.sealing_key().unseal(sealed, context)?, false)))
    }
}

impl MacKeys {
    /// HMAC-SHA-256 under the first; see [`MacKey::sign`].
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.first.sign(parts)
    }

    /// Whether either made it; compares in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.first.verify(message, tag)
            || self
                .second
                .as_ref()
                .is_some_and(|second| second.verify(message, tag))
    }
}

impl MacKey {
    /// HMAC-SHA-256 of the parts. Only the last may vary in length, or two messages could look the
    /// same.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context
            .sign()
            .as_ref()
            .try_into()
            .expect("HMAC-SHA-256 gives 32 bytes")
    }

    /// Compares in constant time.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl SealingKey {
    /// Encrypts with AES-256-GCM and a fresh nonce, which is put in front; `context` is bound to
    /// the result.
    pub fn seal(&self, secret: &[u8], context: &str) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed)
            .expect("a private key is far below the limit of AES-GCM");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// The secret, if it was sealed under this key in this context.
    pub fn unseal(&self, sealed: &[u8], context: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(length);
        Some(buffer)
    }
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let hexadecimal = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes = if hexadecimal {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
            .collect::<Option<Vec<u8>>>()
    } else {
        STANDARD
            .decode(text)
            .or_else(|_| URL_SAFE_NO_PAD.decode(text))
            .ok()
    };
    bytes.map(Zeroizing::new)
}

fn has_run(bytes: &[u8]) -> bool {
    bytes.windows(RUN).any(|run| {
        run.windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1))
    })
}

fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    bytes
        .iter()
        .for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> String {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    #[test]
    fn placeholders_and_short_secrets_are_refused() {
        for bad in [
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
            &random()[..20],
        ] {
            assert!(MasterSecret::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MasterSecret::parse(&random()).is_ok());
    }

    #[test]
    fn what_is_sealed_opens_only_under_its_key_and_context() {
        let ours = MasterSecret::parse(&random()).ok().unwrap().sealing_key();
        let sealed = ours.seal(b"private", "kid-1");
        assert_eq!(
            ours.unseal(&sealed, "kid-1").unwrap().as_slice(),
            b"private"
        );
        assert!(ours.unseal(&sealed, "kid-2").is_none());
        assert!(ours.unseal(&sealed[..8], "kid-1").is_none());
        assert!(
            MasterSecret::parse(&random())
                .ok()
                .unwrap()
                .sealing_key()
                .unseal(&sealed, "kid-1")
                .is_none()
        );
    }

    #[test]
    fn two_secrets_are_read_and_anything_else_is_refused() {
        let (one, other) = (random(), random());
        for good in [
            one.clone(),
            format!("{one},{other}"),
            format!(" {one} , {other} "),
        ] {
            assert!(MasterSecrets::parse(&good).is_ok());
        }
        for bad in [
            "",
            ",",
            &format!("{one},"),
            &format!(",{one}"),
            &format!("{one},{one}"),
            &format!("{one},secret"),
        ] {
            assert!(MasterSecrets::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MasterSecrets::parse(&format!("{one},{other},{}", random())).is_err());
    }

    #[test]
    fn the_first_makes_and_both_accept() {
        let (old, new) = (random(), random());
        let read = |text: &str| MasterSecrets::parse(text).ok().unwrap();
        let (before, after) = (read(&format!("{old},{new}")), read(&format!("{new},{old}")));
        let label = "a";
        for (maker, only) in [(&before, &old), (&after, &new)] {
            let (tag, sealed) = (
                maker.mac_keys(label).sign(&[b"x"]),
                maker.first().sealing_key().seal(b"x", "kid"),
            );
            for secrets in [&before, &after, &read(only)] {
                assert!(secrets.mac_keys(label).verify(b"x", &tag));
                let (found, by_first) = secrets.unseal(&sealed, "kid").unwrap();
                let its_first_made_it = secrets.mac_keys(label).sign(&[b"x"]) == tag;
                assert_eq!(
                    (found.as_slice(), by_first),
                    (b"x".as_slice(), its_first_made_it)
                );
            }
            let other = read(if *only == old { &new } else { &old });
            assert!(
                !other.mac_keys(label).verify(b"x", &tag) && other.unseal(&sealed, "kid").is_none()
            );
        }
    }

    #[test]
    fn each_label_has_a_key_of_its_own() {
        let secret = MasterSecret::parse(&random()).ok().unwrap();
        assert_ne!(
            secret.mac_key("a").sign(&[b"x"]),
            secret.mac_key("b").sign(&[b"x"])
        );
    }
}
