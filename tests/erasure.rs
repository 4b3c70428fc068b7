//! Erasure from end to end: real servers, the real binary, and what is left of a person afterwards.

mod back;
mod everywhere;
mod kills;
mod kinds;
mod person;
