//! The path of a field in a document, as in `spec.services[0].databaseMySQL.port`.
//!
//! It owns how a path is printed and extended. It never looks into a document: `yaml` does that.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The field of a mapping.
    Field(String),
    /// The item of a list, from 0.
    Item(usize),
}

/// The path of a field; empty for the document as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// This path and a field.
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    /// This path and an item of a list, from 0.
    pub fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    /// The steps from the top of the document.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Field(name) if is_plain(name) && position > 0 => write!(f, ".{name}")?,
                Step::Field(name) if is_plain(name) => f.write_str(name)?,
                Step::Field(name) => write!(f, "[{name:?}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a field name needs no quotes in a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_people_write_them() {
        let path = FieldPath::default()
            .field("spec")
            .field("services")
            .item(0)
            .field("name");
        assert_eq!(path.to_string(), "spec.services[0].name");
        let path = FieldPath::default()
            .field("metadata")
            .field("database-mesh.io/role");
        assert_eq!(path.to_string(), r#"metadata["database-mesh.io/role"]"#);
        assert_eq!(FieldPath::default().to_string(), "");
    }
}
