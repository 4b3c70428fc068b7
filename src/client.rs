//! Asks a running service, through its admin API.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use connector_api::{Error, Kind, Result};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::http::views::Problem;

/// How long to look whether something listens at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The admin API of one configuration.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client when a service answers at the configured address, `None` when nothing does.
    ///
    /// # Errors
    /// When something else answers there.
    pub async fn connect(config: &Config) -> Result<Option<Client>> {
        // One process, one provider of cryptography; whoever comes second finds it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = format!("http://{}", reachable(config.admin.listen));
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy().build();
        let http = http.map_err(|error| Error::config("make HTTP client").caused_by(error))?;
        let token = config.admin.token.as_ref().map(|token| token.expose().to_owned());
        let client = Client { http, base, token };
        let asked = client.request(Method::GET, "/healthz").timeout(CONNECT_TIMEOUT).send().await;
        match asked {
            Ok(answer) if answer.status().is_success() => Ok(Some(client)),
            Ok(answer) => Err(Error::config(format!(
                "{} answers, but not as millstream ({})",
                config.admin.listen,
                answer.status()
            ))
            .with_remedy("set admin.listen to the address of the running service")),
            Err(error) if error.is_connect() => Ok(None),
            Err(error) => {
                Err(Error::transient(format!("ask the service at {}", config.admin.listen)).caused_by(error))
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `GET` of JSON.
    ///
    /// # Errors
    /// What the service answered.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        decode(self.send(self.request(Method::GET, path).query(query)).await?).await
    }

    /// `POST` with a body, answered by JSON.
    ///
    /// # Errors
    /// What the service answered.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<T> {
        decode(self.send(self.request(Method::POST, path).query(query).body(body)).await?).await
    }

    /// `POST` of JSON, answered by JSON.
    ///
    /// # Errors
    /// What the service answered.
    pub async fn post_json<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T> {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body);
        decode(self.send(request).await?).await
    }

    /// `GET` of a text.
    ///
    /// # Errors
    /// What the service answered.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self.send(self.request(Method::GET, path)).await?;
        answer.text().await.map_err(|error| Error::transient("read the service's answer").caused_by(error))
    }

    /// `GET` of a stream of lines.
    ///
    /// # Errors
    /// What the service answered.
    pub async fn stream(&self, path: &str, query: &[(&str, String)]) -> Result<Response> {
        self.send(self.request(Method::GET, path).query(query)).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer =
            request.send().await.map_err(|error| Error::transient("ask the service").caused_by(error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem = answer
            .json::<Problem>()
            .await
            .map_err(|error| Error::transient(format!("the service answered {status}")).caused_by(error))?;
        let error = Error::new(kind(&problem.kind), problem.error);
        Err(match problem.remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        })
    }
}

async fn decode<T: DeserializeOwned>(answer: Response) -> Result<T> {
    answer.json().await.map_err(|error| Error::transient("read the service's answer").caused_by(error))
}

fn kind(name: &str) -> Kind {
    [Kind::Config, Kind::Auth, Kind::Data, Kind::Corrupt, Kind::Lost]
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .unwrap_or(Kind::Transient)
}

/// A name as one segment of a path: names of tables may hold a slash, a question mark, anything.
pub fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// `0.0.0.0` is where one listens, not where one connects.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
