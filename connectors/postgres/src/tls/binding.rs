//! `tls-server-end-point` (RFC 5929): the hash of the server's certificate, which SCRAM-SHA-256-PLUS binds to.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use sha2::{Digest, Sha256, Sha384, Sha512};

/// OIDs of signature algorithms and of hash functions, by the hash that the certificate is to be hashed with.
/// MD5 and SHA-1 are replaced by SHA-256, as the RFC says.
const SHA256: &[&[u8]] = &[
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], // md5WithRSA
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], // sha1WithRSA
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],             // ecdsa-with-SHA1
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], // sha256WithRSA
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],       // ecdsa-with-SHA256
];
const SHA384: &[&[u8]] = &[
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
];
const SHA512: &[&[u8]] = &[
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
];

/// The binding of a certificate in DER; `None` for an algorithm that has none (EdDSA, PSS).
pub(crate) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, … }, signature }
    let (body, _) = element(0x30, certificate)?;
    let (_, after) = element(0x30, body)?;
    let (algorithm, _) = element(0x30, after)?;
    let (oid, _) = element(0x06, algorithm)?;
    if SHA256.contains(&oid) {
        Some(Sha256::digest(certificate).to_vec())
    } else if SHA384.contains(&oid) {
        Some(Sha384::digest(certificate).to_vec())
    } else if SHA512.contains(&oid) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

/// The content of the element with `tag` at the front of `bytes`, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0usize, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// A certificate's outline with the given signature algorithm.
    fn certificate(oid: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, body: &[u8]| [&[tag, body.len() as u8], body].concat();
        let algorithm = wrap(0x30, &wrap(0x06, oid));
        wrap(0x30, &[wrap(0x30, b"tbs"), algorithm, wrap(0x03, b"sig")].concat())
    }

    #[test]
    fn the_hash_follows_the_signature() {
        for (oid, len) in [(SHA256[1], 32), (SHA256[4], 32), (SHA384[0], 48), (SHA512[1], 64)] {
            assert_eq!(server_end_point(&certificate(oid)).map(|hash| hash.len()), Some(len));
        }
        assert_eq!(server_end_point(&certificate(&[0x2b, 0x65, 0x70])), None);
    }

    #[test]
    fn cut_certificates_have_none() {
        let whole = certificate(SHA256[4]);
        for len in 0..whole.len() {
            assert_eq!(server_end_point(&whole[..len]), None);
        }
    }
}
