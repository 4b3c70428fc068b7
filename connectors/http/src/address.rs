//! The URL of the endpoint, with its placeholders, and how much of it may be shown.

use std::fmt::Write as _;
use std::net::IpAddr;

use connector_api::{Error, Result};
use reqwest::Url;

/// A checked URL template.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    template: String,
    /// With every placeholder filled in by a letter: for host, scheme and port.
    sample: Url,
}

/// The placeholders.
const TOPIC: &str = "{topic}";
const TABLE: &str = "{table}";

impl Address {
    /// # Errors
    /// [`connector_api::Kind::Config`] when it is no URL of HTTP, or a placeholder is unknown or stands outside of path
    /// and query.
    pub fn parse(template: &str) -> Result<Address> {
        let wrong = |what: &str| Error::config(format!("check option url: {what}"));
        let filled = |by: &str| Url::parse(&template.replace(TOPIC, by).replace(TABLE, by));
        let (Ok(sample), Ok(other)) = (filled("a"), filled("b")) else {
            return Err(wrong("it is no URL").with_remedy("url: https://example.org/hooks/{topic}"));
        };
        if !matches!(sample.scheme(), "http" | "https") || sample.host_str().is_none() {
            return Err(wrong("it must begin with https:// or http://, and name a host"));
        }
        let same = sample.origin() == other.origin()
            && sample.username() == other.username()
            && sample.password() == other.password();
        if !same {
            return Err(wrong("placeholders may stand in the path and in the query only"));
        }
        if sample.fragment().is_some() {
            return Err(wrong("a fragment (#) is never sent"));
        }
        let rest = template.replace(TOPIC, "").replace(TABLE, "");
        if rest.contains(['{', '}']) {
            return Err(wrong("the placeholders are {topic} and {table}"));
        }
        Ok(Address { template: template.to_owned(), sample })
    }

    /// The URL for a topic and its table in the target.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a name would change the path's meaning.
    pub fn fill(&self, topic: &str, table: &str) -> Result<Url> {
        let mut text = self.template.clone();
        for (placeholder, name) in [(TOPIC, topic), (TABLE, table)] {
            if !text.contains(placeholder) {
                continue;
            }
            // A URL takes these for steps in its path, percent-encoded or not.
            if matches!(name, "." | ".." | "") {
                let error =
                    Error::config(format!("fill {placeholder} of url in: {name:?} cannot be part of a path"));
                return Err(
                    error.with_remedy("give the rule of this topic a `table`, or leave the placeholder out")
                );
            }
            text = text.replace(placeholder, &encode(name));
        }
        Url::parse(&text).map_err(|cause| Error::config("fill placeholders of url in").caused_by(cause))
    }

    /// A URL for a look at the endpoint.
    pub fn sample(&self) -> &Url {
        &self.sample
    }

    /// Whether what is sent can be read on the way.
    pub fn is_open(&self) -> bool {
        self.sample.scheme() == "http" && !is_loopback(&self.sample)
    }

    /// Whether the URL itself holds a user or a password.
    pub fn has_credentials(&self) -> bool {
        !self.sample.username().is_empty() || self.sample.password().is_some()
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

/// What may be shown of a URL: neither user nor query, where secrets stand.
pub(crate) fn shown(url: &Url) -> String {
    let mut text = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        let _ = write!(text, ":{port}");
    }
    text + url.path()
}

/// Percent-encodes everything that is not unreserved in a URL.
pub(crate) fn encode(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Percent-encodes what the HTTP binding of CloudEvents wants encoded in a header.
pub(crate) fn encode_header(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_graphic() && !b"\"%".contains(&byte))
}

fn encoded(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if keep(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_in_their_place() {
        let address = Address::parse("https://u:p@h:8443/x/{topic}/y?t={table}&k=secret").unwrap();
        let url = address.fill("../../admin?x=1#f", "a/b&k=ü").unwrap();
        assert_eq!(url.path(), "/x/..%2F..%2Fadmin%3Fx%3D1%23f/y");
        assert_eq!(url.query(), Some("t=a%2Fb%26k%3D%C3%BC&k=secret"));
        assert_eq!(shown(&url), "https://h:8443/x/..%2F..%2Fadmin%3Fx%3D1%23f/y");
        assert!(address.fill("..", "t").is_err() && address.fill("t", ".").is_err());
        assert!(Address::parse("https://h/").unwrap().fill("..", "t").is_ok());
    }

    #[test]
    fn a_placeholder_never_chooses_the_host() {
        for wrong in
            ["https://{table}.h/", "https://h:{topic}/", "{topic}://h/", "https://{topic}@h/", "h/x", ""]
        {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Address::parse("https://h/{tabel}").unwrap_err().to_string().contains("{table}"));
        assert!(Address::parse("https://h/#x").is_err());
    }

    #[test]
    fn plain_http_is_open_except_on_this_machine() {
        let open = |url: &str| Address::parse(url).unwrap().is_open();
        assert!(open("http://h/") && open("http://10.0.0.1/") && open("http://[2001:db8::1]/"));
        assert!(
            !open("https://h/")
                && !open("http://localhost:1/")
                && !open("http://127.0.0.9/")
                && !open("http://[::1]/")
        );
    }
}
