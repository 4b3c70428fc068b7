//! Erasure from end to end: real servers, the real binary, and what is left of a person afterwards.

mod everywhere;
mod person;
