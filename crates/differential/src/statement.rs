//! A statement with marked values: as text, or prepared with the values bound.
//!
//! Owns the marks: `{=5}` is the literal `5` in the text form, and `?` bound to 5 in the prepared one.

use std::fmt;

use mysql_async::Value;

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// COM_QUERY.
    Text,
    /// COM_STMT_PREPARE and COM_STMT_EXECUTE.
    Prepared,
}

/// A statement of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The family, for the report.
    pub family: String,
    /// The text with marks.
    pub marked: String,
    /// How it is sent.
    pub form: Form,
    /// Whether it changes rows.
    pub changes: bool,
}

impl Statement {
    /// The text to send.
    pub fn sql(&self) -> String {
        match self.form {
            Form::Text => pieces(&self.marked).map(Piece::text).collect(),
            Form::Prepared => pieces(&self.marked).map(Piece::parameter).collect(),
        }
    }

    /// The values to bind.
    pub fn parameters(&self) -> Vec<Value> {
        match self.form {
            Form::Text => Vec::new(),
            Form::Prepared => pieces(&self.marked).filter_map(Piece::value).collect(),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Text => "text",
            Form::Prepared => "prepared",
        };
        write!(f, "[{} {form}] {}", self.family, self.marked)
    }
}

/// A part of a marked text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Outside of marks.
    Plain(&'a str),
    /// The literal of a mark.
    Marked(&'a str),
}

impl<'a> Piece<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Plain(text) | Self::Marked(text) => text,
        }
    }

    fn parameter(self) -> &'a str {
        match self {
            Self::Plain(text) => text,
            Self::Marked(_) => "?",
        }
    }

    fn value(self) -> Option<Value> {
        match self {
            Self::Plain(_) => None,
            Self::Marked(literal) => Some(value(literal)),
        }
    }
}

/// The parts of a marked text.
pub fn pieces(marked: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = marked;
    std::iter::from_fn(move || {
        if let Some(inside) = rest.strip_prefix("{=") {
            // A text may hold braces: JSON does.
            let end = match inside.starts_with('\'') {
                true => inside.find("'}").map(|end| end + 1),
                false => inside.find('}'),
            };
            let (literal, after) = inside.split_at(end.unwrap_or(inside.len()));
            let after = after.strip_prefix('}').unwrap_or(after);
            rest = after;
            return Some(Piece::Marked(literal));
        }
        let end = rest.find("{=").unwrap_or(rest.len());
        let (plain, after) = rest.split_at(end);
        rest = after;
        (!plain.is_empty()).then_some(Piece::Plain(plain))
    })
}

fn value(literal: &str) -> Value {
    if literal.eq_ignore_ascii_case("null") {
        return Value::NULL;
    }
    if let Ok(number) = literal.parse::<i64>() {
        return Value::Int(number);
    }
    if let Ok(number) = literal.parse::<u64>() {
        return Value::UInt(number);
    }
    let unquoted = literal
        .strip_prefix('\'')
        .and_then(|l| l.strip_suffix('\''));
    match unquoted {
        Some(text) => Value::Bytes(text.replace("''", "'").into_bytes()),
        None => Value::Bytes(literal.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_literals_or_parameters() {
        let mut statement = Statement {
            family: "f".to_owned(),
            marked: "SELECT {=5}, a FROM t WHERE b = {='{x''y}'}".to_owned(),
            form: Form::Text,
            changes: false,
        };
        assert_eq!(statement.sql(), "SELECT 5, a FROM t WHERE b = '{x''y}'");
        statement.form = Form::Prepared;
        assert_eq!(statement.sql(), "SELECT ?, a FROM t WHERE b = ?");
        let bound = vec![Value::Int(5), Value::Bytes(b"{x'y}".to_vec())];
        assert_eq!(statement.parameters(), bound);
    }
}
