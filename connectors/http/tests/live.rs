//! The sink against real servers on this machine: axum for what it says and when, a bare socket for what no framework
//! would do.

#[path = "live/certificates.rs"]
mod certificates;
#[path = "live/check.rs"]
mod check;
#[path = "live/endpoint.rs"]
mod endpoint;
#[path = "live/erase.rs"]
mod erase;
#[path = "live/feed.rs"]
mod feed;
#[path = "live/formats.rs"]
mod formats;
#[path = "live/order.rs"]
mod order;
#[path = "live/outage.rs"]
mod outage;
#[path = "live/raw.rs"]
mod raw;
#[path = "live/refusals.rs"]
mod refusals;
#[path = "live/speed.rs"]
mod speed;
#[path = "live/tls.rs"]
mod tls;
