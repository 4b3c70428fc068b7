//! Signatures as the Standard Webhooks specification has them: HMAC-SHA256 over id, timestamp and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_api::options::Secret;
use connector_api::{Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Shorter secrets can be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// What the specification's libraries put before a secret in base64.
const PREFIX: &str = "whsec_";

/// Signs requests.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    /// # Errors
    /// [`connector_api::Kind::Config`] for a short secret, and one that claims to be base64 and is not.
    pub fn new(secret: &Secret) -> Result<Signer> {
        let text = secret.expose();
        let key = match text.strip_prefix(PREFIX) {
            None => text.as_bytes().to_vec(),
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| Error::config("check option secret: what follows whsec_ is no base64"))?,
        };
        let short = || {
            let error =
                Error::config(format!("check option secret: it has fewer than {SECRET_BYTES_MIN} bytes"));
            error.with_remedy("echo \"whsec_$(openssl rand -base64 32)\"")
        };
        if key.len() < SECRET_BYTES_MIN {
            return Err(short());
        }
        Hmac::new_from_slice(&key).map(Signer).map_err(|_| short())
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        mac.update(format!(".{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn it_is_the_specification_s() {
        let signer = Signer::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        assert_eq!(
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn text_is_its_own_bytes_and_must_be_long() {
        assert!(Signer::new(&Secret::new("0123456789abcdef")).is_ok());
        assert!(Signer::new(&Secret::new("0123456789abcde")).is_err());
        assert!(Signer::new(&Secret::new("whsec_no base64 at all")).is_err());
        assert!(Signer::new(&Secret::new("whsec_c2hvcnQ=")).is_err());
    }
}
