//! The service's one secret, and what is made of it: the keyed hash that names a subject without saying who it is, the
//! seal over a subject's key, the signature under certificates, and a mark on the ledger's newest entry.
//!
//! One file of 32 random bytes. Each use has a key of its own, derived with a label of its own (HKDF-SHA256), so that
//! nothing learned of one says anything of another.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

mod key_file;
mod key_text;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connector_api::{Error, Result};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ring::{aead, digest, hkdf, hmac};

pub use key_text::key_text;

/// How long the secret is.
pub const SECRET_BYTES: usize = 32;
/// Sealed keys are padded to a multiple of this, so that their length says little.
const SEAL_BLOCK: usize = 32;

const SALT: &[u8] = b"millstream erasure 1";
const HASHING: &[u8] = b"hash of a subject's key";
const SEALING: &[u8] = b"seal of a subject's key";
const SIGNING: &[u8] = b"signature of certificates";
const MARKING: &[u8] = b"mark on the ledger's head";

/// The secret, opened. Clones share it; its debug form shows nothing.
#[derive(Clone)]
pub struct Secret(Arc<Keys>);

struct Keys {
    hashing: hmac::Key,
    sealing: aead::LessSafeKey,
    signing: Ed25519KeyPair,
    marking: hmac::Key,
}

/// The keyed hash of a subject's key. Shown in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 16]);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads the key file, or makes one where there is none; `None` is one in memory, which ends with the process.
    ///
    /// Beside a state database use [`super::ledger::Ledger::open`]: it makes no new key where an old one is missing.
    ///
    /// # Errors
    /// When the file cannot be read or made, others may read it, or it is not a key.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) => Secret::of(&key_file::open(path)?),
            None => Secret::of(&key_file::random()?),
        }
    }

    /// Reads a key file that must be there.
    ///
    /// # Errors
    /// [`connector_api::Kind::Lost`] when there is none; as [`Secret::open`].
    pub fn existing(path: &Path) -> Result<Self> {
        match key_file::read(path)? {
            Some(bytes) => Secret::of(&bytes),
            None => Err(Error::lost(format!(
                "open key file {}: there is none, but erasures were recorded with one",
                path.display()
            ))
            .with_remedy(key_file::restore(path))),
        }
    }

    /// One that is the same in every run.
    #[cfg(test)]
    pub(crate) fn fixed(byte: u8) -> Self {
        Secret::of(&[byte; SECRET_BYTES]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn of(secret: &[u8; SECRET_BYTES]) -> Result<Self> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let derive = |label: &[u8]| -> Result<[u8; 32], ring::error::Unspecified> {
            let mut key = [0; 32];
            prk.expand(&[label], hkdf::HKDF_SHA256)?.fill(&mut key)?;
            Ok(key)
        };
        let keys = || {
            Ok(Keys {
                hashing: hmac::Key::new(hmac::HMAC_SHA256, &derive(HASHING)?),
                sealing: aead::LessSafeKey::new(aead::UnboundKey::new(
                    &aead::AES_256_GCM,
                    &derive(SEALING)?,
                )?),
                signing: Ed25519KeyPair::from_seed_unchecked(&derive(SIGNING)?)
                    .map_err(|_| ring::error::Unspecified)?,
                marking: hmac::Key::new(hmac::HMAC_SHA256, &derive(MARKING)?),
            })
        };
        let keys =
            keys().map_err(|_: ring::error::Unspecified| Error::config("derive keys of the key file"))?;
        Ok(Secret(Arc::new(keys)))
    }

    /// Names a subject without saying who it is; `text` is what [`key_text`] makes of its key. Nobody without the secret
    /// can try keys until one fits.
    pub fn hash(&self, subject: &str, text: &str) -> KeyHash {
        let mut context = hmac::Context::with_key(&self.0.hashing);
        context.update(&(subject.len() as u64).to_be_bytes());
        context.update(subject.as_bytes());
        context.update(text.as_bytes());
        let mut hash = [0; 16];
        hash.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        KeyHash(hash)
    }

    /// Encrypts a subject's key for one case.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn seal(&self, case: &str, bytes: &[u8]) -> Result<String> {
        // The cipher fails for gigabytes only.
        let failed = |_| {
            Error::transient(
                "seal a subject's key: the system gives no random numbers, or the key is too long",
            )
        };
        let mut nonce = [0; aead::NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = (bytes.len() as u64).to_be_bytes().to_vec();
        sealed.extend_from_slice(bytes);
        sealed.resize(sealed.len().next_multiple_of(SEAL_BLOCK), 0);
        self.0
            .sealing
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(case),
                &mut sealed,
            )
            .map_err(failed)?;
        Ok(BASE64.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// What was sealed for this case.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when it was sealed with another key or for another case, or was changed.
    pub fn unseal(&self, case: &str, text: &str) -> Result<Vec<u8>> {
        self.unsealed(case, text).ok_or_else(|| {
            Error::corrupt(format!(
                "unseal the subject's key of case {case}: not sealed with this key, or changed"
            ))
            .with_remedy("put the key file that it was sealed with (erasure.key) back from the backup")
        })
    }

    fn unsealed(&self, case: &str, text: &str) -> Option<Vec<u8>> {
        let sealed = BASE64.decode(text).ok()?;
        let (nonce, sealed) = sealed.split_first_chunk()?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let opened = self.0.sealing.open_in_place(nonce, aead::Aad::from(case), &mut sealed).ok()?;
        let (length, padded) = opened.split_first_chunk()?;
        padded.get(..usize::try_from(u64::from_be_bytes(*length)).ok()?).map(<[u8]>::to_vec)
    }

    /// An Ed25519 signature.
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.signing.sign(bytes).as_ref().to_vec()
    }

    /// The public key that signatures are checked with.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.signing.public_key().as_ref().to_vec()
    }

    /// What the operator publishes and a reader of a certificate compares.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.public_key())
    }

    /// Marks the ledger's newest entry.
    pub(crate) fn mark(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0.marking, bytes).as_ref().to_vec()
    }

    /// Whether a mark is of this secret.
    pub(crate) fn marked(&self, bytes: &[u8], mark: &[u8]) -> bool {
        hmac::verify(&self.0.marking, bytes, mark).is_ok()
    }
}

/// The fingerprint of a public key: its SHA-256, in hex.
pub fn fingerprint(public_key: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, public_key))
}
