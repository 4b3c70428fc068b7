//! What sinks that speak SQL have in common.
