//! The `admin` section.

use connector_api::options::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// The admin API with `/metrics`, `/healthz` and `/readyz`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port to listen on. On an address that is not a loopback one, `token` is required.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// What clients send as `Authorization: Bearer <token>`. Without it, everyone who reaches a loopback address may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)), token: None }
    }
}
