//! Erasure: a person who is deleted in one place is provably deleted in all.
//!
//! - [`rules`]: who is a data subject, and what each sink and the log do about one: the configuration worked out.
//! - [`cascade`]: the rules for one person: steps with their values, and what a record must hold to be the person's.
//! - [`event`]: what stands in the log's own topic, in order with the data: a case opened, a fence lifted.
//! - [`receipt`]: what one target did for one case.

pub mod cascade;
pub mod event;
pub mod receipt;
pub mod rules;
