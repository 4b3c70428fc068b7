//! What the tests of connectors share: a feed that builds what the log would deliver, and the suite that every sink
//! passes. Behind the feature `testing`; it panics, as tests do.

pub mod erasures;
pub mod feed;
pub mod model;
pub mod sinks;
