//! A statement with marked values: as text, or prepared with the values bound.
//!
//! Owns the marks: `{=5}` is the literal `5` in the text form, and `?` bound to 5 in the prepared one.

use std::fmt;

use mysql_async::Value;

/// Stands between the statements of a transaction. Marks begin with `{=`, so that it is none.
pub const NEXT: &str = " {;} ";

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
    /// A statement of the harness's own.
    pub fn plain(sql: &str) -> Self {
        Self {
            family: String::new(),
            marked: sql.to_owned(),
            form: Form::Text,
            changes: false,
        }
    }

    /// The text to send.
    pub fn sql(&self) -> String {
        match self.form {
            Form::Text => pieces(&self.marked).map(Piece::text).collect(),
            Form::Prepared => pieces(&self.marked).map(Piece::parameter).collect(),
        }
    }

    /// Its statements, where it is a transaction; else itself. What begins, ends and saves is not prepared.
    pub fn steps(&self) -> Vec<Self> {
        const CONTROL: [&str; 7] = [
            "START",
            "BEGIN",
            "SET",
            "SAVEPOINT",
            "RELEASE",
            "ROLLBACK",
            "COMMIT",
        ];
        let step = |marked: &str| {
            let marked = marked.trim();
            let controls = CONTROL.iter().any(|word| marked.starts_with(word));
            Self {
                marked: marked.to_owned(),
                form: if controls { Form::Text } else { self.form },
                ..self.clone()
            }
        };
        match self.marked.contains(NEXT.trim()) {
            true => self.marked.split(NEXT.trim()).map(step).collect(),
            false => vec![self.clone()],
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
    if literal.eq_ignore_ascii_case("true") {
        return Value::Int(1);
    }
    if let Ok(number) = literal.parse::<i64>() {
        return Value::Int(number);
    }
    if let Ok(number) = literal.parse::<u64>() {
        return Value::UInt(number);
    }
    let unquoted = |literal: &str| -> Option<String> {
        let text = literal.strip_prefix('\'')?.strip_suffix('\'')?;
        Some(text.replace("''", "'"))
    };
    if let Some(text) = unquoted(literal) {
        return Value::Bytes(text.into_bytes());
    }
    if let Some(digits) = literal.strip_prefix('x').and_then(unquoted) {
        return Value::Bytes(bytes_of(&digits));
    }
    let typed = ["TIMESTAMP", "DATE", "TIME"].into_iter().find_map(|kind| {
        let text = unquoted(literal.strip_prefix(kind)?)?;
        moment(kind, &text)
    });
    if let Some(typed) = typed {
        return typed;
    }
    match literal.contains('e').then(|| literal.parse::<f64>()) {
        Some(Ok(number)) => Value::Double(number),
        // Decimal numbers are bound as text, as drivers do.
        _ => Value::Bytes(literal.as_bytes().to_vec()),
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.filter_map(byte).collect()
}

/// `2024-02-29 23:59:59.999999`, or a part of it, in the binary form that drivers bind.
fn moment(kind: &str, text: &str) -> Option<Value> {
    let (day, time) = match kind {
        "DATE" => (text, "00:00:00"),
        "TIME" => ("0000-00-00", text),
        _ => text.split_once(' ')?,
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let part = |text: &str, separator: char, at: usize| text.split(separator).nth(at)?.parse().ok();
    let micros: u32 = format!("{fraction:0<6}").parse().ok()?;
    let (hours, minutes, seconds) = (
        part(time, ':', 0)?,
        part(time, ':', 1)?,
        part(time, ':', 2)?,
    );
    Some(match kind {
        "TIME" => Value::Time(false, 0, hours, minutes, seconds, micros),
        _ => {
            let year = day.split('-').next()?.parse().ok()?;
            let (month, day) = (part(day, '-', 1)?, part(day, '-', 2)?);
            Value::Date(year, month, day, hours, minutes, seconds, micros)
        }
    })
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

    #[test]
    fn marks_of_every_type_are_bound_as_drivers_do() {
        assert_eq!(value("18446744073709551615"), Value::UInt(u64::MAX));
        assert_eq!(value("1e1"), Value::Double(10.0));
        assert_eq!(value("0.5"), Value::Bytes(b"0.5".to_vec()));
        assert_eq!(value("x'00ff'"), Value::Bytes(vec![0, 255]));
        assert_eq!(
            value("DATE'2024-02-29'"),
            Value::Date(2024, 2, 29, 0, 0, 0, 0)
        );
        let moment = value("TIMESTAMP'2024-02-29 23:59:58.25'");
        assert_eq!(moment, Value::Date(2024, 2, 29, 23, 59, 58, 250_000));
        assert_eq!(
            value("TIME'10:11:12'"),
            Value::Time(false, 0, 10, 11, 12, 0)
        );
    }

    #[test]
    fn a_transaction_has_steps() {
        let statement = Statement {
            family: "f".to_owned(),
            marked: format!("BEGIN{NEXT}SELECT {{=1}}{NEXT}COMMIT"),
            form: Form::Prepared,
            changes: true,
        };
        let steps = statement.steps();
        let sent: Vec<_> = steps.iter().map(|s| (s.sql(), s.form)).collect();
        let plain = |sql: &str, form| (sql.to_owned(), form);
        assert_eq!(
            sent,
            [
                plain("BEGIN", Form::Text),
                plain("SELECT ?", Form::Prepared),
                plain("COMMIT", Form::Text)
            ]
        );
    }
}
