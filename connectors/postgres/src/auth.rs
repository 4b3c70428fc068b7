//! Authentication: cleartext, MD5, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::error::malformed;
use crate::target::{ChannelBinding, Target};
use crate::wire::Fields;
use bytes::BytesMut;
use connector_api::{Error, Kind, Result};
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;

/// What to do after one AuthenticationRequest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send what was written, and wait for the next request.
    Send,
    /// Nothing to send; another request follows.
    Wait,
    /// We are in.
    Done,
}

/// The client's side of one authentication.
pub(crate) struct Login<'a> {
    target: &'a Target,
    /// The binding to the server's certificate; `None` without TLS.
    binding: Option<Vec<u8>>,
    encrypted: bool,
    scram: Option<sasl::ScramSha256>,
    /// The server has proved that it knows the password.
    proved: bool,
    bound: bool,
}

impl<'a> Login<'a> {
    pub(crate) fn new(target: &'a Target, encrypted: bool, binding: Option<Vec<u8>>) -> Self {
        Login { target, binding, encrypted, scram: None, proved: false, bound: false }
    }

    /// Answers the AuthenticationRequest in `body`; what is to be sent is appended to `out`.
    ///
    /// # Errors
    /// [`Kind::Auth`] when the password is missing or the server does not prove what it has to.
    pub(crate) fn step(&mut self, body: &[u8], out: &mut BytesMut) -> Result<Step> {
        let mut fields = Fields::new(body);
        match fields.u32() {
            _ if fields.is_bad() => Err(malformed("authentication request")),
            0 => self.accept(),
            3 => {
                self.refuse_unbound()?;
                frontend::password_message(self.password()?, out).map_err(|error| self.wrong(error))?;
                Ok(Step::Send)
            }
            5 => {
                self.refuse_unbound()?;
                let salt = fields.u32().to_be_bytes();
                let hash = md5_hash(self.target.user.as_bytes(), self.password()?, salt);
                frontend::password_message(hash.as_bytes(), out).map_err(|error| self.wrong(error))?;
                Ok(Step::Send)
            }
            10 => self.begin(fields, out),
            11 => {
                let mut scram = self.scram.take().ok_or_else(|| malformed("authentication request"))?;
                scram.update(fields.rest()).map_err(|error| self.wrong(error))?;
                frontend::sasl_response(scram.message(), out).map_err(|error| self.wrong(error))?;
                self.scram = Some(scram);
                Ok(Step::Send)
            }
            12 => {
                let mut scram = self.scram.take().ok_or_else(|| malformed("authentication request"))?;
                scram.finish(fields.rest()).map_err(|error| self.wrong(error))?;
                self.proved = true;
                Ok(Step::Wait)
            }
            method => {
                let text = format!("log in as {}: method {method} is not supported", self.target.user);
                Err(Error::new(Kind::Auth, text).with_remedy(
                    "let pg_hba.conf use scram-sha-256 (or md5, password, cert, trust) for this role",
                ))
            }
        }
    }

    /// AuthenticationOk counts only when SCRAM, once begun, was finished: a server in between could skip it.
    fn accept(&self) -> Result<Step> {
        if self.scram.is_some() && !self.proved {
            return Err(self.refuse("the server did not prove that it knows the password"));
        }
        if self.target.channel_binding == ChannelBinding::Require && !self.bound {
            return Err(self.refuse("channel_binding=require, and the server used none"));
        }
        Ok(Step::Done)
    }

    fn begin(&mut self, mut fields: Fields<'_>, out: &mut BytesMut) -> Result<Step> {
        let (mut plain, mut plus) = (false, false);
        loop {
            match fields.text() {
                "" => break,
                sasl::SCRAM_SHA_256 => plain = true,
                sasl::SCRAM_SHA_256_PLUS => plus = true,
                _ => {}
            }
        }
        let wanted = self.target.channel_binding != ChannelBinding::Disable;
        let binding = self.binding.take().filter(|_| wanted && self.encrypted);
        let (mechanism, binding) = match binding {
            Some(hash) if plus => {
                self.bound = true;
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            // "I could have": a server that did offer PLUS notices that somebody took it away.
            Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        self.refuse_unbound()?;
        if !plain && !self.bound {
            return Err(self.refuse("the server offers no SCRAM-SHA-256"));
        }
        let scram = sasl::ScramSha256::new(self.password()?, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), out)
            .map_err(|error| self.wrong(error))?;
        self.scram = Some(scram);
        Ok(Step::Send)
    }

    /// With `channel_binding=require` no password leaves before the server agreed to be bound.
    fn refuse_unbound(&self) -> Result<()> {
        match self.target.channel_binding == ChannelBinding::Require && !self.bound {
            true => Err(self.refuse("channel_binding=require, and the server or the session has none")),
            false => Ok(()),
        }
    }

    fn password(&self) -> Result<&'a [u8]> {
        match &self.target.password {
            Some(password) => Ok(password.as_bytes()),
            None => Err(self
                .refuse("the server asks for a password and the url has none")
                .with_remedy("write it as postgres://role:${PASSWORD}@host/database")),
        }
    }

    fn refuse(&self, why: &str) -> Error {
        Error::new(Kind::Auth, format!("log in as {}: {why}", self.target.user))
    }

    fn wrong(&self, error: std::io::Error) -> Error {
        Error::new(Kind::Auth, format!("log in as {}", self.target.user)).caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn md5_is_answered() {
        let target = target("postgres://me:pw@h/x");
        let mut out = BytesMut::new();
        let mut login = Login::new(&target, false, None);
        assert_eq!(login.step(&[0, 0, 0, 5, 1, 2, 3, 4], &mut out).unwrap(), Step::Send);
        assert!(out[5..].starts_with(b"md5"));
        assert_eq!(login.step(&[0, 0, 0, 0], &mut out).unwrap(), Step::Done);
    }

    #[test]
    fn ok_in_the_middle_of_scram_is_refused() {
        let target = target("postgres://me:pw@h/x");
        let mut out = BytesMut::new();
        let mut login = Login::new(&target, false, None);
        assert_eq!(login.step(b"\0\0\0\x0aSCRAM-SHA-256\0\0", &mut out).unwrap(), Step::Send);
        assert_eq!(login.step(&[0, 0, 0, 0], &mut out).unwrap_err().kind(), Kind::Auth);
    }

    #[test]
    fn plus_is_used_when_the_session_can() {
        let target = target("postgres://me:pw@h/x");
        let mut out = BytesMut::new();
        let mut login = Login::new(&target, true, Some(vec![1; 32]));
        login.step(b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", &mut out).unwrap();
        assert!(out[5..].starts_with(b"SCRAM-SHA-256-PLUS\0"));
    }

    #[test]
    fn required_binding_sends_no_password_without_it() {
        let target = target("postgres://me:pw@h/x?channel_binding=require&sslmode=require");
        for request in
            [&b"\0\0\0\x03"[..], b"\0\0\0\x05\x01\x02\x03\x04", b"\0\0\0\x0aSCRAM-SHA-256\0\0", b"\0\0\0\0"]
        {
            let mut out = BytesMut::new();
            let mut login = Login::new(&target, true, Some(vec![1; 32]));
            assert_eq!(login.step(request, &mut out).unwrap_err().kind(), Kind::Auth);
            assert!(out.is_empty());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_requests_never_panic(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
            let target = target("postgres://me:pw@h/x");
            let mut login = Login::new(&target, false, None);
            for body in bodies {
                let mut request = vec![0, 0, 0, body.first().copied().unwrap_or(0) % 14];
                request.extend(body);
                let _ = login.step(&request, &mut BytesMut::new());
            }
        }
    }
}
