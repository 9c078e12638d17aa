//! Values of keys: what a literal or parameter means when the server compares it with a column, and when it stores it.
//!
//! Owns the conversions. Must never convert where MySQL would do it differently in some version, mode or type: such a
//! value is unknown, which routes a read to every shard and refuses an INSERT.

use std::collections::BTreeMap;
use std::fmt;

use dbmesh_model::topology::sharding::KeyKind;
use dbmesh_model::topology::sharding::time::{self, Precision};
use dbmesh_sql::ast::LiteralKind;
use dbmesh_sql::parsed::Operand;
use dbmesh_sql::{Dialect, Flavor, Span, literal};

/// A string that is compared with an integer may be compared as a double: beyond, doubles are not exact.
const EXACT_DOUBLE_MAX: i128 = 1 << 53;

/// So many digits are a u64 for certain.
const DIGITS_OF_U64: usize = 19;

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyValue {
    /// A whole number.
    Integer(i128),
    /// A text.
    Text(Vec<u8>),
    /// Microseconds: see [`time`].
    Time(i64),
}

impl KeyValue {
    /// The value of a hint: a whole number as it is usually written, or else a text.
    #[must_use]
    pub fn of_hint(text: &str) -> Self {
        match text.parse::<i128>() {
            Ok(number) if number.to_string() == text => Self::Integer(number),
            _ => Self::Text(text.into()),
        }
    }

    /// Its place in the order of its type, where ranges are computed with.
    #[must_use]
    pub fn ordinal(&self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Time(at) => Some(i128::from(*at)),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Time(at) => write!(f, "{at}"),
        }
    }
}

/// What a statement says of one column of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// It has this value.
    Exact(KeyValue),
    /// Its ordinal is in this range, both ends included.
    Range {
        /// From here; none: no bound.
        low: Option<i128>,
        /// To here; none: no bound.
        high: Option<i128>,
    },
    /// No value satisfies it.
    Never,
    /// Anything.
    Any,
}

/// The value of a parameter, as a client binds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// NULL.
    Null,
    /// An integer type.
    Integer(i128),
    /// DECIMAL, as text.
    Decimal(String),
    /// A string or blob.
    Text(Vec<u8>),
    /// DATE or DATETIME, as `YYYY-MM-DD[ HH:MM:SS[.ffffff]]`.
    Time(String),
    /// Anything else: FLOAT, DOUBLE, TIME, JSON, data sent in pieces.
    Other,
}

/// What is known of the session's user variables.
#[derive(Debug, Clone, Copy, Default)]
pub enum Variables<'a> {
    /// One connection alone has them, or the statement changes them while it runs.
    #[default]
    Hidden,
    /// They have these values on every connection, by name in lower case; others are NULL.
    Known(&'a BTreeMap<Box<str>, Parameter>),
}

/// How texts of the statement are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The statement.
    pub sql: &'a [u8],
    /// Its dialect.
    pub dialect: &'a Dialect,
    /// Whether the client's character set is utf8mb4 or utf8mb3.
    pub utf8: bool,
    /// Bound values; none while they are not bound.
    pub parameters: Option<&'a [Parameter]>,
    /// User variables.
    pub variables: Variables<'a>,
}

/// A value as it is written; numbers as their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// NULL.
    Null,
    /// This text.
    Text(Vec<u8>),
    /// Not known.
    Unknown,
}

/// A literal or parameter without its type's peculiarities.
enum Written {
    Null,
    Number(String),
    Text(Vec<u8>),
    Unknown,
}

/// A value as the server compares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// That value.
    Value(KeyValue),
    /// Between this whole number and the next.
    After(i128),
    /// NULL: nothing is equal to it, less or greater.
    Null,
    /// Not known.
    Unknown,
}

impl Reading<'_> {
    /// What is compared with a column of that kind.
    #[must_use]
    pub fn compared(&self, kind: KeyKind, operand: Operand) -> Compared {
        let value = |value| Compared::Value(value);
        if let (KeyKind::Integer, Some(number)) = (kind, self.plain_integer(operand)) {
            return value(KeyValue::Integer(number));
        }
        match (kind, self.written(operand)) {
            (_, Written::Null) => Compared::Null,
            (KeyKind::Integer, Written::Number(text)) => match decimal(&text) {
                Some((number, false)) => value(KeyValue::Integer(number)),
                // MariaDB may compare with the value as the column would store it: 12.5 is 13 then.
                Some((_, true)) if self.dialect.flavor == Flavor::MariaDb => Compared::Unknown,
                Some((floor, true)) => Compared::After(floor),
                None => Compared::Unknown,
            },
            (KeyKind::Integer, Written::Text(text)) => match canonical_integer(&text) {
                Some(number) if number.abs() <= EXACT_DOUBLE_MAX => {
                    value(KeyValue::Integer(number))
                }
                _ => Compared::Unknown,
            },
            (KeyKind::Text, Written::Text(text)) => value(KeyValue::Text(text)),
            // Whether a variable is compared as a time or as a text is the server's to say.
            (KeyKind::Date | KeyKind::Datetime, Written::Text(_))
                if matches!(operand, Operand::UserVariable(_)) =>
            {
                Compared::Unknown
            }
            (KeyKind::Date | KeyKind::Datetime, Written::Text(text)) => match moment(&text) {
                Some((at, _)) => value(KeyValue::Time(at)),
                None => Compared::Unknown,
            },
            _ => Compared::Unknown,
        }
    }

    /// What a column of that kind holds after it was stored; NULL is `Compared::Null`.
    #[must_use]
    pub fn stored(&self, kind: KeyKind, operand: Operand) -> Compared {
        stored(kind, self.written(operand))
    }

    /// The value as it is written.
    #[must_use]
    pub fn said(&self, operand: Operand) -> Said {
        match self.written(operand) {
            Written::Null => Said::Null,
            Written::Number(text) => Said::Text(text.into_bytes()),
            Written::Text(text) => Said::Text(text),
            Written::Unknown => Said::Unknown,
        }
    }

    /// A count of LIMIT.
    #[must_use]
    pub fn count(&self, operand: Operand) -> Option<u64> {
        match self.written(operand) {
            Written::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A whole number as most are given: bound, or in few digits. What it does not know, [`Self::written`] does.
    fn plain_integer(&self, operand: Operand) -> Option<i128> {
        match operand {
            Operand::Parameter(ordinal, _) => match self.parameter(ordinal)? {
                Parameter::Integer(number) => Some(*number),
                _ => None,
            },
            Operand::Literal(LiteralKind::Number, span) => {
                let digits = span.of(self.sql);
                if digits.is_empty() || digits.len() > DIGITS_OF_U64 {
                    return None;
                }
                let number = digits.iter().try_fold(0_u64, |number, digit| {
                    let digit = digit.wrapping_sub(b'0');
                    let so_far = number.checked_mul(10)?.checked_add(u64::from(digit))?;
                    (digit <= 9).then_some(so_far)
                })?;
                Some(i128::from(number))
            }
            Operand::Literal(..) | Operand::UserVariable(_) => None,
        }
    }

    fn written(&self, operand: Operand) -> Written {
        let (kind, span) = match operand {
            Operand::Literal(kind, span) => (kind, span),
            Operand::Parameter(ordinal, _) => return self.bound(ordinal),
            Operand::UserVariable(span) => return self.variable(span),
        };
        let text = span.of(self.sql);
        match kind {
            LiteralKind::Null => Written::Null,
            LiteralKind::True => Written::Number("1".to_owned()),
            LiteralKind::False => Written::Number("0".to_owned()),
            LiteralKind::Number => match literal::decode(text, self.dialect) {
                Some(digits) => String::from_utf8(digits).map_or(Written::Unknown, Written::Number),
                None => Written::Unknown,
            },
            // An introducer gives the bytes another meaning.
            LiteralKind::String if matches!(text.first(), Some(b'\'' | b'"')) => self.text(text),
            LiteralKind::Temporal(_) => match text.iter().position(|b| matches!(b, b'\'' | b'"')) {
                Some(quote) => self.text(text.get(quote..).unwrap_or_default()),
                None => Written::Unknown,
            },
            _ => Written::Unknown,
        }
    }

    fn text(&self, literal: &[u8]) -> Written {
        match literal::decode(literal, self.dialect) {
            Some(text) if self.utf8 || text.is_ascii() => Written::Text(text),
            _ => Written::Unknown,
        }
    }

    fn variable(&self, span: Span) -> Written {
        let Variables::Known(known) = self.variables else {
            return Written::Unknown;
        };
        match dbmesh_sql::variables::user_variable(span.of(self.sql), self.dialect) {
            Some(name) => self.given(Some(known.get(&name).unwrap_or(&Parameter::Null))),
            None => Written::Unknown,
        }
    }

    fn parameter(&self, ordinal: u32) -> Option<&Parameter> {
        self.parameters?.get(usize::try_from(ordinal).ok()?)
    }

    fn bound(&self, ordinal: u32) -> Written {
        self.given(self.parameter(ordinal))
    }

    fn given(&self, value: Option<&Parameter>) -> Written {
        match value {
            Some(Parameter::Null) => Written::Null,
            Some(Parameter::Integer(number)) => Written::Number(number.to_string()),
            Some(Parameter::Decimal(text)) => Written::Number(text.clone()),
            Some(Parameter::Text(text)) if self.utf8 || text.is_ascii() => {
                Written::Text(text.clone())
            }
            Some(Parameter::Time(text)) => Written::Text(text.clone().into_bytes()),
            _ => Written::Unknown,
        }
    }
}

/// What a column of that kind holds after a field with these bytes was loaded into it.
#[must_use]
pub fn loaded(kind: KeyKind, bytes: &[u8], utf8: bool) -> Compared {
    match utf8 || bytes.is_ascii() {
        true => stored(kind, Written::Text(bytes.to_vec())),
        false => Compared::Unknown,
    }
}

fn stored(kind: KeyKind, written: Written) -> Compared {
    let value = |value| Compared::Value(value);
    let stores = |number: &i128| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(number);
    match (kind, written) {
        (_, Written::Null) => Compared::Null,
        (KeyKind::Integer, Written::Number(text)) => match decimal(&text) {
            Some((number, false)) if stores(&number) => value(KeyValue::Integer(number)),
            _ => Compared::Unknown,
        },
        (KeyKind::Integer, Written::Text(text)) => match canonical_integer(&text) {
            Some(number) if stores(&number) => value(KeyValue::Integer(number)),
            _ => Compared::Unknown,
        },
        (KeyKind::Text | KeyKind::Collated, Written::Text(text)) => value(KeyValue::Text(text)),
        (KeyKind::Text | KeyKind::Collated, Written::Number(text)) => {
            match canonical_integer(text.as_bytes()) {
                Some(_) => value(KeyValue::Text(text.into_bytes())),
                None => Compared::Unknown,
            }
        }
        (KeyKind::Date, Written::Text(text)) => match moment(&text) {
            Some((at, Precision::Day)) => value(KeyValue::Time(at)),
            _ => Compared::Unknown,
        },
        // A fraction of a second is rounded or not, by the column.
        (KeyKind::Datetime, Written::Text(text)) => match moment(&text) {
            Some((at, _)) if at % time::SECOND == 0 => value(KeyValue::Time(at)),
            _ => Compared::Unknown,
        },
        _ => Compared::Unknown,
    }
}

fn moment(text: &[u8]) -> Option<(i64, Precision)> {
    time::parse(std::str::from_utf8(text).ok()?)
}

/// `-?[1-9][0-9]*` or `0`: what every comparison reads alike.
pub(super) fn canonical_integer(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The greatest whole number not above the decimal, and whether the decimal is above it; none with an exponent.
fn decimal(text: &str) -> Option<(i128, bool)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !all(whole) || !all(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let magnitude: i128 = match whole {
        "" => 0,
        whole => whole.parse().ok()?,
    };
    let above = fraction.bytes().any(|b| b != b'0');
    Some(match (negative, above) {
        (false, above) => (magnitude, above),
        (true, false) => (-magnitude, false),
        (true, true) => (-magnitude - 1, true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_a_floor() {
        for (text, expected) in [
            ("5", Some((5, false))),
            ("-5", Some((-5, false))),
            ("5.0", Some((5, false))),
            ("5.25", Some((5, true))),
            ("-5.25", Some((-6, true))),
            (".5", Some((0, true))),
            ("-.5", Some((-1, true))),
            ("5e0", None),
            (".", None),
            ("0x5", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
    }

    #[test]
    fn a_fraction_is_between_two_numbers_on_mysql_only() {
        let sql = b"12.5";
        let compared = |flavor| {
            let dialect = Dialect {
                flavor,
                ..Dialect::default()
            };
            let reading = Reading {
                sql,
                dialect: &dialect,
                utf8: true,
                parameters: None,
                variables: Variables::Hidden,
            };
            let whole = dbmesh_sql::Span { start: 0, end: 4 };
            reading.compared(
                KeyKind::Integer,
                Operand::Literal(LiteralKind::Number, whole),
            )
        };
        assert_eq!(compared(Flavor::MySql), Compared::After(12));
        assert_eq!(compared(Flavor::MariaDb), Compared::Unknown);
    }

    #[test]
    fn only_canonical_integers_are_read() {
        for text in ["5", "0", "-5", "123456789012345678901234567890"] {
            assert!(canonical_integer(text.as_bytes()).is_some(), "{text}");
        }
        for text in ["05", "+5", " 5", "5 ", "5.0", "-0", "", "5a", "5e0"] {
            assert!(canonical_integer(text.as_bytes()).is_none(), "{text}");
        }
    }
}
