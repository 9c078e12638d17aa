//! What is wrong with a configuration: one value per fault, all of them at once.
//!
//! A defect says where (file, line, column, path of the field), what, and what to do about it. It
//! never holds the value of a field that may be a secret. Its input is `load`, `shape` and `resolve`.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Whether a defect stops the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused; the last good one, if any, stays.
    Error,
    /// The configuration is used; the operator should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One fault of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// Whether it stops the configuration.
    pub severity: Severity,
    /// The file it is in.
    pub file: PathBuf,
    /// Line in the file, from 1; 0 when the defect is about the file as a whole.
    pub line: usize,
    /// Column in the line, in characters from 1; 0 when the defect is about the file as a whole.
    pub column: usize,
    /// The field, as in `spec.services[0].databaseMySQL.port`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, one sentence without a full stop.
    pub reason: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

/// All faults of a configuration, at least one of them an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Defects(pub Vec<Defect>);

impl Defects {
    /// How many of them are errors.
    pub fn errors(&self) -> usize {
        self.0
            .iter()
            .filter(|defect| defect.severity == Severity::Error)
            .count()
    }
}

impl fmt::Display for Defects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, defect) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{defect}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Defects {}
