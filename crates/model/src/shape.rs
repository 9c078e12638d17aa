//! Whether a document has the shape of its kind: every departure from the JSON Schema, at once.
//!
//! It owns the wording of unknown fields, missing fields, wrong types and values out of range. It
//! knows the part of JSON Schema that `schema` generates and nothing of what fields mean, and it
//! never repeats a text of the document except where a closed list of words was expected, which is
//! never a secret. Its input is a tree read by `yaml`.

use std::path::Path;

use serde_json::Value as Json;

use crate::defect::{Defect, Severity};
use crate::path::FieldPath;
use crate::suggest::suggest;
use crate::yaml::{Entry, Node, Position, Value};

/// `$ref` leads to another `$ref` at most this often.
const REFERENCES_MAX: usize = 8;

/// Every way in which `document`, a part of `file`, departs from `schema`; none if it fits.
pub fn departures(file: &Path, schema: &Json, document: &Node) -> Vec<Defect> {
    let mut shape = Shape {
        file,
        root: schema,
        found: Vec::new(),
    };
    shape.check(schema, document, &FieldPath::default());
    shape.found
}

struct Shape<'a> {
    file: &'a Path,
    root: &'a Json,
    found: Vec<Defect>,
}

impl<'a> Shape<'a> {
    /// Recursion is as deep as the document, which `yaml` bounds.
    fn check(&mut self, schema: &'a Json, node: &Node, path: &FieldPath) {
        let options = self.options(schema);
        let words: Vec<&str> = options.iter().flat_map(|option| words(option)).collect();
        if let (false, Some(text)) = (words.is_empty(), node.text()) {
            if !words.contains(&text) {
                let reason = format!("unknown value `{text}`");
                self.report(node.position, path, reason, suggest(text, words));
            }
            return;
        }
        match options.into_iter().find(|option| accepts(option, node)) {
            Some(option) => self.check_content(option, node, path),
            None => self.report_type(schema, node, path),
        }
    }

    fn check_content(&mut self, schema: &'a Json, node: &Node, path: &FieldPath) {
        match &node.value {
            Value::Map(entries) => self.check_fields(schema, node.position, entries, path),
            Value::List(items) => self.check_items(schema, node.position, items, path),
            Value::Integer(integer) => self.check_range(schema, node.position, *integer, path),
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }

    fn check_fields(
        &mut self,
        schema: &'a Json,
        position: Position,
        entries: &[Entry],
        path: &FieldPath,
    ) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema
            .get("additionalProperties")
            .filter(|others| others.is_object());
        for entry in entries {
            let field = path.field(&entry.key);
            match properties
                .and_then(|known| known.get(&entry.key))
                .or(others)
            {
                Some(schema) => self.check(schema, &entry.node, &field),
                None => {
                    let known = properties
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| name.as_str());
                    let missing = known.filter(|name| entries.iter().all(|e| e.key != *name));
                    let suggestion = suggest(&entry.key, missing);
                    let reason = format!("unknown field `{}`", entry.key);
                    self.report(entry.position, &field, reason, suggestion);
                }
            }
        }
        let required = schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        for name in required.filter_map(Json::as_str) {
            if entries.iter().all(|entry| entry.key != name) {
                let reason = format!("the field `{name}` is missing");
                self.report(position, path, reason, None);
            }
        }
    }

    fn check_items(
        &mut self,
        schema: &'a Json,
        position: Position,
        items: &[Node],
        path: &FieldPath,
    ) {
        let bound = |name| schema.get(name).and_then(Json::as_u64);
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        if let Some(least) = bound("minItems").filter(|least| count < *least) {
            self.report(position, path, format!("needs at least {least} item"), None);
        }
        if let Some(most) = bound("maxItems").filter(|most| count > *most) {
            self.report(
                position,
                path,
                format!("has {count} items, more than {most}"),
                None,
            );
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(schema, item, &path.item(index));
            }
        }
    }

    fn check_range(&mut self, schema: &Json, position: Position, value: i128, path: &FieldPath) {
        let bound = |name| schema.get(name).and_then(integer);
        let least = bound("minimum").unwrap_or(0);
        let most = bound("maximum").unwrap_or(i128::from(u64::MAX));
        if value < least || value > most {
            let reason = format!("{value} is not between {least} and {most}");
            self.report(position, path, reason, None);
        }
    }

    fn report_type(&mut self, schema: &'a Json, node: &Node, path: &FieldPath) {
        let expected: Vec<&str> = ["string", "integer", "number", "boolean", "array", "object"]
            .into_iter()
            .filter(|name| {
                self.options(schema)
                    .iter()
                    .any(|option| has_type(option, name))
            })
            .map(type_in_words)
            .collect();
        let suggestion = match (&node.value, expected.as_slice()) {
            (Value::Integer(_) | Value::Float(_) | Value::Bool(_), ["a string", ..]) => {
                Some("put the value in quotes".to_owned())
            }
            (Value::Text(text), ["a whole number"]) if text.parse::<u64>().is_ok() => {
                Some("take the quotes away".to_owned())
            }
            (Value::Text(_), ["true or false"]) => {
                Some("write `true` or `false`, without quotes".to_owned())
            }
            (Value::Text(text), ["a whole number"]) => in_unit(text, unit(path)),
            (_, ["a list"]) => Some("write `[…]`, or `- ` before each item".to_owned()),
            _ => None,
        };
        let found = kind_in_words(&node.value);
        let of_unit = match (unit(path), expected.as_slice()) {
            (Some(unit), ["a whole number" | "a number", ..]) => format!(" of {unit}"),
            _ => String::new(),
        };
        let expected = expected.join(" or ");
        let reason = format!("expected {expected}{of_unit}, found {found}");
        self.report(node.position, path, reason, suggestion);
    }

    /// The alternatives of a schema, references followed.
    fn options(&self, schema: &'a Json) -> Vec<&'a Json> {
        let mut schema = schema;
        for _ in 0..REFERENCES_MAX {
            let reference = schema.get("$ref").and_then(Json::as_str);
            match reference
                .and_then(|r| r.strip_prefix('#'))
                .and_then(|r| self.root.pointer(r))
            {
                Some(next) => schema = next,
                None => break,
            }
        }
        let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf"));
        match alternatives.and_then(Json::as_array) {
            Some(alternatives) => alternatives.iter().flat_map(|a| self.options(a)).collect(),
            None => vec![schema],
        }
    }

    fn report(
        &mut self,
        position: Position,
        path: &FieldPath,
        reason: String,
        suggestion: Option<String>,
    ) {
        self.found.push(Defect {
            severity: Severity::Error,
            file: self.file.to_owned(),
            line: position.line,
            column: position.column,
            path: path.to_string(),
            reason,
            suggestion,
        });
    }
}

/// The closed list of words that a schema allows; none if it allows any.
fn words(schema: &Json) -> impl Iterator<Item = &str> {
    let listed = schema
        .get("enum")
        .and_then(Json::as_array)
        .into_iter()
        .flatten();
    listed.chain(schema.get("const")).filter_map(Json::as_str)
}

/// The unit that a field's name ends with.
fn unit(path: &FieldPath) -> Option<&'static str> {
    let path = path.to_string();
    let name = path.rsplit('.').next().unwrap_or_default();
    let name = name.split('[').next().unwrap_or_default();
    let units = [
        ("Ms", "milliseconds"),
        ("Seconds", "seconds"),
        ("Bytes", "bytes"),
        ("Percent", "percent"),
    ];
    let mut units = units.into_iter();
    units.find_map(|(end, unit)| name.ends_with(end).then_some(unit))
}

/// What to write in place of `2s`.
fn in_unit(text: &str, unit: Option<&str>) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, given) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let factor: u64 = match (unit?, given.trim().to_ascii_lowercase().as_str()) {
        ("milliseconds", "ms") | ("seconds", "s") | ("bytes", "b") | ("percent", "%") => 1,
        ("milliseconds", "s") => 1_000,
        ("milliseconds", "m" | "min") => 60_000,
        ("seconds", "m" | "min") => 60,
        ("milliseconds", "h") => 3_600_000,
        ("seconds", "h") => 3_600,
        ("bytes", "k" | "kib" | "ki") => 1 << 10,
        ("bytes", "m" | "mib" | "mi") => 1 << 20,
        ("bytes", "g" | "gib" | "gi") => 1 << 30,
        _ => return None,
    };
    Some(format!("write {}", number.checked_mul(factor)?))
}

fn integer(value: &Json) -> Option<i128> {
    value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from))
}

fn accepts(schema: &Json, node: &Node) -> bool {
    let kinds: &[&str] = match &node.value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Integer(_) => &["integer", "number"],
        Value::Float(_) => &["number"],
        Value::Text(_) => &["string"],
        Value::List(_) => &["array"],
        Value::Map(_) => &["object"],
    };
    kinds.iter().any(|kind| has_type(schema, kind))
}

fn has_type(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(only)) => only == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

fn type_in_words(name: &str) -> &str {
    match name {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}

fn kind_in_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Text(_) => "a string",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests;
