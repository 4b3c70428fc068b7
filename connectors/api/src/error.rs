//! One error type for every connector and for the log: a kind that decides what happens next, what was
//! being done, the cause, and what a person can do about it.

use std::error::Error as StdError;
use std::fmt;

/// What the caller does with an [`Error`]. The kind is chosen where the driver's own error is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// May pass by itself: retried with back-off, without a limit unless the configuration sets one.
    Transient,
    /// The configuration, a grant or a setting of the peer is wrong: retrying cannot help.
    Config,
    /// The peer refused who we are.
    Auth,
    /// This one record cannot be applied: dead-letter or stop, by policy.
    Data,
    /// Bytes that are not what was written. Never skipped, never repaired in silence.
    Corrupt,
    /// The upstream, or the log, no longer has what is needed to go on.
    Lost,
}

impl Kind {
    /// Lower-case name, as it appears in logs, metrics and `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Transient => "transient",
            Kind::Config => "config",
            Kind::Auth => "auth",
            Kind::Data => "data",
            Kind::Corrupt => "corrupt",
            Kind::Lost => "lost",
        }
    }
}

/// `Result` with the [`Error`] of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. `Display` prints the context and the chain of causes on one line; [`Error::remedy`] is printed
/// apart, because it is a command to copy.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    context: String,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `context` says what was being done and to what: "create slot \"shop\"".
    pub fn new(kind: Kind, context: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, context: context.into(), remedy: None, source: None }))
    }

    /// [`Kind::Transient`] with a context.
    pub fn transient(context: impl Into<String>) -> Self {
        Self::new(Kind::Transient, context)
    }

    /// [`Kind::Config`] with a context.
    pub fn config(context: impl Into<String>) -> Self {
        Self::new(Kind::Config, context)
    }

    /// [`Kind::Data`] with a context.
    pub fn data(context: impl Into<String>) -> Self {
        Self::new(Kind::Data, context)
    }

    /// [`Kind::Corrupt`] with a context.
    pub fn corrupt(context: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, context)
    }

    /// [`Kind::Lost`] with a context.
    pub fn lost(context: impl Into<String>) -> Self {
        Self::new(Kind::Lost, context)
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds what a person can do: one or more exact commands or lines of configuration.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Puts what the caller was doing in front of the context.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.0.context = format!("{context}: {}", self.0.context);
        self
    }

    /// The same once more, for somebody else who waits for it; the causes are text in it.
    #[must_use]
    pub fn again(&self) -> Self {
        let again = Error::new(self.kind(), self.to_string());
        match self.remedy() {
            Some(remedy) => again.with_remedy(remedy),
            None => again,
        }
    }

    /// What the caller does next.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What a person can do, if anything.
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// An I/O error on a file of ours. A full disk is [`Kind::Transient`]: it resumes when there is room.
    pub fn io(context: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let full = matches!(error.kind(), Io::StorageFull | Io::QuotaExceeded);
        let kind = match error.kind() {
            Io::PermissionDenied | Io::NotFound | Io::ReadOnlyFilesystem => Kind::Config,
            _ => Kind::Transient,
        };
        let made = Error::new(kind, context).caused_by(error);
        if full { made.with_remedy("free space on this disk; work resumes by itself") } else { made }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.0.kind.as_str())?;
        match self.remedy() {
            Some(remedy) => write!(f, " (remedy: {remedy})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_prints_context_and_causes_but_not_the_remedy() {
        let cause = std::io::Error::other("socket closed");
        let error =
            Error::transient("read stream").caused_by(cause).with_remedy("wait").within("source shop");
        assert_eq!(error.to_string(), "source shop: read stream: socket closed");
        assert_eq!(error.remedy(), Some("wait"));
        assert_eq!(error.kind(), Kind::Transient);
    }
}
