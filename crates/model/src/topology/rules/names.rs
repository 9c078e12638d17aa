//! Patterns of tables and columns.
//!
//! Owns how names are compared: the case of letters never counts, so that no spelling passes a rule.

/// A name with `*` for any letters; the case of letters does not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    written: String,
    /// What stands between the stars, in lower case.
    parts: Vec<String>,
}

impl Glob {
    /// Reads a name with stars.
    #[must_use]
    pub fn new(written: &str) -> Self {
        let lower = written.to_lowercase();
        Self {
            written: written.to_owned(),
            parts: lower.split('*').map(str::to_owned).collect(),
        }
    }

    /// Whether a name in lower case matches.
    #[must_use]
    pub fn matches(&self, lower: &str) -> bool {
        let [first, rest @ ..] = self.parts.as_slice() else {
            return false;
        };
        let Some(mut left) = lower.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return left.is_empty();
        };
        for part in middle {
            match left.split_once(part.as_str()) {
                Some((_, after)) => left = after,
                None => return false,
            }
        }
        left.ends_with(last.as_str())
    }

    /// As it was written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// Tables by schema and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TablePattern {
    /// Schemas.
    pub schema: Glob,
    /// Tables.
    pub table: Glob,
}

impl TablePattern {
    /// Reads `schema.table`, or `table` of any schema.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let (schema, table) = match parts.as_slice() {
            [table] => ("*", *table),
            [schema, table] => (*schema, *table),
            _ => return None,
        };
        (!schema.is_empty() && !table.is_empty()).then(|| Self {
            schema: Glob::new(schema),
            table: Glob::new(table),
        })
    }

    /// Whether a table, in lower case, is meant.
    #[must_use]
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.table.matches(table) && self.schema.matches(schema)
    }

    /// As it was written.
    #[must_use]
    pub fn written(&self) -> String {
        format!("{}.{}", self.schema.written(), self.table.written())
    }
}

/// Columns by table and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnPattern {
    /// Their tables.
    pub table: TablePattern,
    /// Columns.
    pub column: Glob,
}

impl ColumnPattern {
    /// Reads `schema.table.column` or `table.column`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (table, column) = text.rsplit_once('.')?;
        (!column.is_empty()).then_some(())?;
        Some(Self {
            table: TablePattern::parse(table)?,
            column: Glob::new(column),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name) in [
            ("Orders", "orders"),
            ("*", ""),
            ("log_*", "log_2024"),
            ("*_log", "a_log"),
            ("a*b*c", "axxbyyc"),
            ("a*b*c", "abc"),
            ("**", "x"),
        ] {
            assert!(Glob::new(pattern).matches(name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("orders", "orders2"),
            ("log_*", "log"),
            ("*_log", "log"),
            ("a*b*c", "acb"),
            ("ab*ba", "aba"),
        ] {
            assert!(!Glob::new(pattern).matches(name), "{pattern} {name}");
        }
    }
}
