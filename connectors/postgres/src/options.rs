//! What the configuration says about a Postgres source.

use crate::target::Target;
use connector_api::options::{Secret, Span};
use connector_api::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A Postgres source, as the configuration has it.
#[derive(Clone, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=ca.pem`; `?host=/run/postgresql`
    /// names the directory of a Unix socket.
    #[schemars(with = "Secret")]
    pub url: String,
    /// The tables to capture: `schema.table`, or a pattern with `*` and `?`. A name without a schema means `public`.
    pub tables: Vec<String>,
    /// The publication; made when it is missing and the role may. Default: `millstream_{source}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<String>,
    /// The replication slot; made at the first start. Default: `millstream_{source}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Whether rows that exist at the first start are copied.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// How many connections copy tables at a time.
    #[serde(default = "default_workers")]
    pub snapshot_workers: u16,
    /// How often the source writes a message into the WAL, so that a quiet database does not keep old WAL; `0s` never.
    #[serde(default = "default_heartbeat")]
    pub heartbeat: Span,
    /// Whether changes of partitions appear as changes of the partitioned table.
    #[serde(default = "yes")]
    pub publish_via_partition_root: bool,
    /// Whether the source may create the publication and add tables to it.
    #[serde(default = "yes")]
    pub manage_publication: bool,
}

/// What happens to rows that exist at the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Snapshot {
    /// They are copied, consistent with the stream that follows.
    #[default]
    Initial,
    /// Only changes after the first start are captured; a slot that exists is used from where it stands.
    Never,
}

fn default_workers() -> u16 {
    2
}

fn default_heartbeat() -> Span {
    Span::secs(10)
}

fn yes() -> bool {
    true
}

impl Options {
    /// Options with every default, for `url` and `tables`.
    pub fn new(url: impl Into<String>, tables: &[&str]) -> Options {
        Options {
            url: url.into(),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            publication: None,
            slot: None,
            snapshot: Snapshot::Initial,
            snapshot_workers: default_workers(),
            heartbeat: default_heartbeat(),
            publish_via_partition_root: true,
            manage_publication: true,
        }
    }

    /// Checks what can be checked without a server; `source` is the source's name, the prefix of its topics.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, source: &str) -> Result<Checked> {
        let target = Target::parse(&self.url)?;
        if self.tables.is_empty() {
            return Err(Error::config("check option tables: name at least one table"));
        }
        let patterns = self.tables.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>>>()?;
        let default = format!("millstream_{}", source.replace(['-', '.'], "_").to_lowercase());
        let slot = self.slot.clone().unwrap_or_else(|| default.clone());
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if slot.is_empty() || slot.len() > 63 || !slot.bytes().all(legal) {
            return Err(Error::config(format!(
                "check option slot: {slot:?} is not a slot's name (lower-case letters, digits and _, at most 63)"
            )));
        }
        let publication = self.publication.clone().unwrap_or(default);
        if publication.is_empty() || publication.len() > 63 || publication.contains('\0') {
            return Err(Error::config("check option publication: between 1 and 63 bytes"));
        }
        if self.snapshot_workers == 0 || self.snapshot_workers > 64 {
            return Err(Error::config("check option snapshot_workers: between 1 and 64"));
        }
        Ok(Checked {
            source: source.to_owned(),
            target,
            patterns,
            publication,
            slot,
            snapshot: self.snapshot,
            snapshot_workers: usize::from(self.snapshot_workers),
            heartbeat: self.heartbeat.duration(),
            via_root: self.publish_via_partition_root,
            manage_publication: self.manage_publication,
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        write!(f, "postgres tables {:?} slot {:?} publication {:?}", self.tables, self.slot, self.publication)
    }
}

/// [`Options`] that were checked, with every default filled in.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The source's name: the first part of its topics.
    pub source: String,
    pub(crate) target: Target,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) publication: String,
    pub(crate) slot: String,
    pub(crate) snapshot: Snapshot,
    pub(crate) snapshot_workers: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) via_root: bool,
    pub(crate) manage_publication: bool,
}

/// `schema.table` with `*` for any run of characters and `?` for one. A part in double quotes is taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    schema: Vec<Glob>,
    table: Vec<Glob>,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glob {
    Char(char),
    One,
    Any,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern> {
        let wrong =
            || Error::config(format!("check option tables: {text:?} is not schema.table or a pattern of it"));
        let mut parts = vec![Vec::new()];
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let part = parts.last_mut().ok_or_else(wrong)?;
            match char {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    part.push(Glob::Char('"'));
                }
                '"' => quoted = !quoted,
                '.' if !quoted => parts.push(Vec::new()),
                '*' if !quoted => part.push(Glob::Any),
                '?' if !quoted => part.push(Glob::One),
                char => part.push(Glob::Char(char)),
            }
        }
        let table = parts.pop().filter(|part| !part.is_empty() && !quoted).ok_or_else(wrong)?;
        let schema = parts.pop().unwrap_or_else(|| "public".chars().map(Glob::Char).collect());
        if !parts.is_empty() || schema.is_empty() {
            return Err(wrong());
        }
        Ok(Pattern { schema, table, text: text.to_owned() })
    }

    pub(crate) fn matches(&self, schema: &str, table: &str) -> bool {
        glob(&self.schema, schema) && glob(&self.table, table)
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// True when one table is meant, so that its absence is an error.
    pub(crate) fn is_exact(&self) -> bool {
        self.schema.iter().chain(&self.table).all(|glob| matches!(glob, Glob::Char(_)))
    }
}

/// Iterative matching with one point to return to, so that no pattern is slow.
fn glob(pattern: &[Glob], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(Glob::Any) => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some(Glob::One) => (at, from) = (at + 1, from + 1),
            Some(Glob::Char(char)) if Some(char) == text.get(from) => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (at, from) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|glob| *glob == Glob::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        let pattern = |text: &str| Pattern::parse(text).unwrap();
        assert!(pattern("users").matches("public", "users"));
        assert!(!pattern("users").matches("shop", "users"));
        assert!(pattern("public.order*").matches("public", "orders"));
        assert!(pattern("*.*").matches("any", "thing"));
        assert!(pattern("a?c.*x*y").matches("abc", "xxzy"));
        assert!(!pattern("a?c.*x*y").matches("abc", "xxz"));
        assert!(pattern(r#"shop."Odd.*""#).matches("shop", "Odd.*"));
        assert!(!pattern(r#"shop."Odd.*""#).matches("shop", "Odd.x"));
        assert!(pattern("shop.größe").is_exact() && !pattern("shop.g*").is_exact());
        for wrong in ["", "a.", ".b", "a.b.c", "\"a"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_are_checked() {
        let good = Options::new("postgres://me:secret@h/x", &["users"]);
        let checked = good.check("my-shop").unwrap();
        assert_eq!(
            (checked.slot.as_str(), checked.publication.as_str()),
            ("millstream_my_shop", "millstream_my_shop")
        );
        assert!(!format!("{good:?}{checked:?}").contains("secret"));
        for change in [
            (|o| o.tables.clear()) as fn(&mut Options),
            |o| o.slot = Some("Bad Name".into()),
            |o| o.publication = Some(String::new()),
            |o| o.snapshot_workers = 0,
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(bad.check("shop").is_err());
        }
    }

    #[test]
    fn durations_and_unknown_keys() {
        let parse = |json: &str| serde_json::from_str::<Options>(json);
        let options = parse(r#"{"url":"postgres://h","tables":["a"],"heartbeat":"500ms"}"#).unwrap();
        assert_eq!(options.heartbeat, Span::millis(500));
        assert!(parse(r#"{"url":"postgres://h","tables":["a"],"heartbeat":"5 parsecs"}"#).is_err());
        assert!(parse(r#"{"url":"postgres://h","tables":["a"],"heartbeat":10}"#).is_err());
        assert!(parse(r#"{"url":"postgres://h","tables":["a"],"colour":1}"#).is_err());
    }
}
