//! What a scalar means: the core schema of YAML 1.2, section 10.3.
//!
//! Unlike YAML 1.1, `yes`, `no`, `on`, `off` and `1:30` are text.

use zeroize::Zeroizing;

use super::Value;

/// The meaning of a plain scalar.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| quoted(text)),
    }
}

/// The meaning of a quoted or block scalar.
pub fn quoted(text: &str) -> Value {
    Value::Text(Zeroizing::new(text.to_owned()))
}

/// The meaning of a scalar tagged with a type of the core schema, if it is of that type.
pub fn tagged(suffix: &str, text: &str) -> Option<Value> {
    let value = if suffix == "str" {
        quoted(text)
    } else {
        plain(text)
    };
    let fits = match suffix {
        "str" => true,
        "null" => matches!(value, Value::Null),
        "bool" => matches!(value, Value::Bool(_)),
        "int" => matches!(value, Value::Integer(_)),
        "float" => matches!(value, Value::Float(_) | Value::Integer(_)),
        _ => false,
    };
    fits.then_some(value)
}

fn number(text: &str) -> Option<Value> {
    if let Some(digits) = text.strip_prefix("0x") {
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        return hexadecimal.then(|| i128::from_str_radix(digits, 16).ok().map(Value::Integer))?;
    }
    if let Some(digits) = text.strip_prefix("0o") {
        let octal = digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
        return octal.then(|| i128::from_str_radix(digits, 8).ok().map(Value::Integer))?;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(integer) => Some(Value::Integer(integer)),
            Err(_) => text.parse().ok().map(Value::Float),
        };
    }
    float(text, unsigned)
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinities and not-a-number.
fn float(text: &str, unsigned: &str) -> Option<Value> {
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => {
            return Some(Value::Float(f64::NEG_INFINITY));
        }
        ".inf" | ".Inf" | ".INF" => return Some(Value::Float(f64::INFINITY)),
        _ if matches!(text, ".nan" | ".NaN" | ".NAN") => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || unsigned
            .strip_prefix('.')?
            .starts_with(|c: char| c.is_ascii_digit());
    let allowed = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    if !starts || !unsigned.bytes().all(allowed) {
        return None;
    }
    text.parse().ok().map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> &'static str {
        match plain(text) {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Integer(_) => "integer",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::List(_) | Value::Map(_) => "tree",
        }
    }

    #[test]
    fn the_core_schema() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("true", "bool"),
            ("yes", "text"),
            ("on", "text"),
            ("0", "integer"),
            ("-12", "integer"),
            ("0x1F", "integer"),
            ("0o17", "integer"),
            ("0o18", "text"),
            ("0x", "text"),
            ("0x+1", "text"),
            ("1.5", "float"),
            (".5", "float"),
            ("5.", "float"),
            ("1e3", "float"),
            ("-.inf", "float"),
            (".nan", "float"),
            ("8.0.36", "text"),
            ("5.7.37", "text"),
            ("1e", "text"),
            ("+", "text"),
            (".", "text"),
            ("1:30", "text"),
            ("127.0.0.1", "text"),
            ("99999999999999999999999999999999999999999", "float"),
            ("infinity", "text"),
            ("nan", "text"),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }
}
