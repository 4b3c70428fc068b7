//! The MySQL and MariaDB sink: source transactions applied whole, with the cursor in the same transaction.
//!
//! Changes are gathered to their net effect and sent in statements for many rows ([`write`]); what the target refuses is
//! found by a second try, change by change ([`lane`]). The text protocol carries literals that this crate writes
//! ([`sql`], [`form`]). The order of calls and what an error means is [`connector_api::Sink`]'s contract.
//!
//! An erasure runs on the first lane, in one transaction with everything behind it and with the cursor; lanes beside it
//! commit first what they have applied ([`sink`]).
//!
//! What a crash does: InnoDB keeps a committed transaction, data and cursor together, or nothing of it (I3). The next
//! start takes the cursor over ([`cursor`]): it waits until no transaction of the session before can commit any more.

mod catalog;
mod check;
mod cursor;
mod ddl;
mod decode;
mod erase;
mod error;
mod evolve;
mod form;
mod gap;
mod lane;
mod migrate;
mod options;
mod plan;
mod rows;
mod session;
mod sink;
mod sql;
mod ties;
mod types;
mod write;

use connector_api::{Result, Rows};

pub use check::check;
pub use erase::REMAINS;
pub use options::Options;
pub use sink::Mysql;

/// Reads rows of a sink's tables back.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the options are wrong.
pub fn rows(name: &str, options: &Options) -> Result<Box<dyn Rows>> {
    options.check(name)?;
    Ok(Box::new(rows::Reader::new(options.clone())))
}
