//! Erasure: a person who is deleted in one place is provably deleted in all.
//!
//! - [`rules`]: who is a data subject, and what each sink and the log do about one: the configuration worked out.
//! - [`event`]: what stands in the log's own topic, in order with the data: a case opened, a fence lifted.
//! - [`receipt`]: what one target did for one case.
//! - [`secret`]: the key file, and what is hashed, sealed and signed with it.
//! - [`ledger`]: the cases and receipts, and the hash chain over all that happened to them.
//! - [`certificate`], [`page`]: what the ledger says of one case, signed; and the same for people to read.
//! - [`view`]: a case as the admin API and the command line show it.

pub mod certificate;
pub mod event;
pub mod ledger;
pub mod page;
pub mod receipt;
pub mod rules;
pub mod secret;
pub mod view;
