//! Where in a document one is, and what was found there.

use crate::defect::{Defect, Severity};
use crate::load::Document;
use crate::path::FieldPath;

/// A field of a document, present or not.
#[derive(Clone)]
pub struct At<'a> {
    pub document: &'a Document,
    path: FieldPath,
}

impl<'a> At<'a> {
    /// The document as a whole.
    pub fn top(document: &'a Document) -> Self {
        Self {
            document,
            path: FieldPath::default(),
        }
    }

    /// A field of this mapping.
    pub fn field(&self, name: &str) -> Self {
        Self {
            document: self.document,
            path: self.path.field(name),
        }
    }

    /// An item of this list, from 0.
    pub fn item(&self, index: usize) -> Self {
        Self {
            document: self.document,
            path: self.path.item(index),
        }
    }

    /// As people name it in another place: `file:line`.
    pub fn place(&self) -> String {
        let line = self.document.value.locate(&self.path).line;
        format!("{}:{line}", self.document.file.display())
    }
}

/// What was found so far.
pub struct Findings {
    defects: Vec<Defect>,
}

impl Findings {
    pub fn new(defects: Vec<Defect>) -> Self {
        Self { defects }
    }

    pub fn extend(&mut self, defects: Vec<Defect>) {
        self.defects.extend(defects);
    }

    pub fn into_defects(self) -> Vec<Defect> {
        self.defects
    }

    pub fn error(&mut self, at: &At<'_>, reason: impl Into<String>) {
        self.add(Severity::Error, at, reason.into(), None);
    }

    pub fn error_with(
        &mut self,
        at: &At<'_>,
        reason: impl Into<String>,
        suggestion: impl Into<Option<String>>,
    ) {
        self.add(Severity::Error, at, reason.into(), suggestion.into());
    }

    pub fn warning(&mut self, at: &At<'_>, reason: impl Into<String>) {
        self.add(Severity::Warning, at, reason.into(), None);
    }

    pub fn warning_with(
        &mut self,
        at: &At<'_>,
        reason: impl Into<String>,
        suggestion: impl Into<Option<String>>,
    ) {
        self.add(Severity::Warning, at, reason.into(), suggestion.into());
    }

    fn add(&mut self, severity: Severity, at: &At<'_>, reason: String, suggestion: Option<String>) {
        let position = at.document.value.locate(&at.path);
        self.defects.push(Defect {
            severity,
            file: at.document.file.clone(),
            line: position.line,
            column: position.column,
            path: at.path.to_string(),
            reason,
            suggestion,
        });
    }
}
