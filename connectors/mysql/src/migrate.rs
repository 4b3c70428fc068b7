//! The bookkeeping tables of the sink, by numbered migrations that are recorded with their checksum.

use connector_api::{Error, Result};

use crate::error::Failure;
use crate::session::Session;
use crate::sql::literal;

/// A migration. Its text never changes once it shipped, and each of its statements can be run twice.
#[derive(Debug, Clone, Copy)]
struct Migration {
    version: u64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "bookkeeping",
    sql: include_str!("../../../migrations/mysql/0001_bookkeeping.sql"),
}];

const REGISTER: &str = "CREATE TABLE IF NOT EXISTS _millstream_migrations (
    version    INT UNSIGNED  NOT NULL PRIMARY KEY,
    name       VARBINARY(64) NOT NULL,
    checksum   VARBINARY(16) NOT NULL,
    applied_at DATETIME(6)   NOT NULL
) ENGINE = InnoDB";

/// Runs what is missing.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the database was migrated by a newer version or by another text (I9).
pub async fn migrate(session: &mut Session) -> Result<()> {
    let known = match recorded(session).await {
        Ok(known) => known,
        Err(Failure::Server(refusal)) if refusal.number == 1146 => {
            run(session, REGISTER.to_owned()).await?;
            Vec::new()
        }
        Err(failure) => return Err(failure.into_error("read bookkeeping tables")),
    };
    for migration in MIGRATIONS {
        let found = known.iter().find(|(version, _)| *version == migration.version);
        match found {
            None => {
                run(session, migration.sql.to_owned()).await?;
                run(session, record(migration)).await?;
            }
            Some((_, found)) if *found != checksum(migration.sql) => {
                return Err(Error::config(format!(
                    "check bookkeeping tables: migration {} ({}) was another text when this database was prepared",
                    migration.version, migration.name
                ))
                .with_remedy("run the version of millstream that prepared this database"));
            }
            Some(_) => {}
        }
    }
    let newest = known.iter().map(|(version, _)| *version).max().unwrap_or_default();
    match MIGRATIONS.last() {
        Some(last) if newest > last.version => Err(Error::config(format!(
            "check bookkeeping tables: this database has migration {newest}, and this version knows {}",
            last.version
        ))
        .with_remedy("run the newer version of millstream that prepared this database")),
        _ => Ok(()),
    }
}

async fn run(session: &mut Session, sql: String) -> Result<()> {
    session.run(sql).await.map(drop).map_err(|failure| failure.into_error("create bookkeeping tables"))
}

async fn recorded(session: &mut Session) -> Result<Vec<(u64, String)>, Failure> {
    let rows = session.rows("SELECT version, checksum FROM _millstream_migrations".to_owned()).await?;
    let read = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let version = cells.next().and_then(|text| text.parse().ok());
        (version.unwrap_or(u64::MAX), cells.next().unwrap_or_default())
    };
    Ok(rows.into_iter().map(read).collect())
}

fn record(migration: &Migration) -> String {
    format!(
        "INSERT INTO _millstream_migrations VALUES ({}, {}, {}, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE version = version",
        migration.version,
        literal(migration.name),
        literal(&checksum(migration.sql))
    )
}

/// FNV-1a: this guards against an edited migration, not against an adversary.
fn checksum(sql: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", sql.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
