//! The bookkeeping tables of a sink, by numbered migrations that are recorded in the target with their checksum. What is to
//! run is worked out here; running it is the sink's own.

use connector_api::{Error, Result};

/// A migration. Its text never changes once it shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1, without a gap.
    pub version: i64,
    /// What it makes, for people.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

impl Migration {
    /// What is recorded of its text. FNV-1a: this guards against an edited migration, not against an adversary.
    pub fn checksum(&self) -> String {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        format!("{:016x}", self.sql.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// The migrations that are missing, in order. `recorded` are the version and checksum of each that the target has; `place`
/// says what that is: "this file", "this database".
///
/// # Errors
/// [`connector_api::Kind::Config`] when the target was prepared by a newer version or by another text (I9).
pub fn missing<'m>(
    migrations: &'m [Migration],
    recorded: &[(i64, String)],
    place: &str,
) -> Result<Vec<&'m Migration>> {
    let mut missing = Vec::new();
    for migration in migrations {
        match recorded.iter().find(|(version, _)| *version == migration.version) {
            None => missing.push(migration),
            Some((_, checksum)) if *checksum == migration.checksum() => {}
            Some(_) => {
                return Err(Error::config(format!(
                    "check bookkeeping tables: migration {} ({}) was another text when {place} was prepared",
                    migration.version, migration.name
                ))
                .with_remedy(format!("run the version of millstream that prepared {place}")));
            }
        }
    }
    let newest = recorded.iter().map(|(version, _)| *version).max().unwrap_or_default();
    let known = migrations.last().map_or(0, |last| last.version);
    if newest > known {
        return Err(Error::config(format!(
            "check bookkeeping tables: {place} has migration {newest}, and this version knows {known}"
        ))
        .with_remedy(format!("run the newer version of millstream that prepared {place}")));
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { version: 1, name: "one", sql: "CREATE TABLE a (b)" };
    const TWO: Migration = Migration { version: 2, name: "two", sql: "CREATE TABLE c (d)" };

    #[test]
    fn what_is_not_recorded_is_missing() {
        assert_eq!(missing(&[ONE, TWO], &[], "this file").unwrap(), [&ONE, &TWO]);
        assert_eq!(missing(&[ONE, TWO], &[(1, ONE.checksum())], "this file").unwrap(), [&TWO]);
    }

    #[test]
    fn another_text_and_a_newer_target_are_refused() {
        let recorded = [(1, ONE.checksum()), (2, TWO.checksum())];
        let edited = Migration { sql: "SELECT 1", ..ONE };
        let error = missing(&[edited, TWO], &recorded, "this file").unwrap_err();
        assert!(error.to_string().contains("another text when this file was prepared"), "{error}");
        let error = missing(&[ONE], &recorded, "this file").unwrap_err();
        assert!(error.to_string().contains("this file has migration 2"), "{error}");
        assert_eq!(error.kind(), connector_api::Kind::Config);
    }
}
