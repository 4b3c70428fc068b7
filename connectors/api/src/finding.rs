//! What `millstream check` finds: what is wrong, where, and the exact command that mends it.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Works, and worth knowing.
    Note,
    /// Works now, and will hurt.
    Warning,
    /// Does not work.
    Error,
}

impl Severity {
    /// Lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Stable identifier, `kebab-case`, for scripts.
    pub code: &'static str,
    /// Where: a table, a slot, a file, a setting.
    pub place: String,
    /// What is wrong, one sentence.
    pub what: String,
    /// The exact command or line of configuration that mends it, if any.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(
        severity: Severity,
        code: &'static str,
        place: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Finding { severity, code, place: place.into(), what: what.into(), remedy: None }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}: {}", self.severity.as_str(), self.code, self.place, self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  mend it with: {remedy}"),
            None => Ok(()),
        }
    }
}
