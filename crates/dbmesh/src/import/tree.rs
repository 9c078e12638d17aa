//! Resources as they are written out: a tree of values, and its text in YAML.
//!
//! It owns quoting: a text that YAML would take for something else stands in quotes. It must never print for debugging: a
//! text may be a password.

use std::fmt::Write as _;

/// Longest line of a mapping or list that stands in one.
const FLOW_CHARS_MAX: usize = 100;

/// A value.
#[derive(Clone, PartialEq)]
pub enum Tree {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i128),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Tree>),
    /// Fields, in order.
    Map(Fields),
}

/// Fields of a mapping, in order.
pub type Fields = Vec<(String, Tree)>;

/// A text.
pub fn text(text: impl Into<String>) -> Tree {
    Tree::Text(text.into())
}

/// A list of texts.
pub fn texts<T: Into<String>>(all: impl IntoIterator<Item = T>) -> Tree {
    Tree::List(all.into_iter().map(text).collect())
}

/// A mapping.
pub fn map<const N: usize>(fields: [(&str, Tree); N]) -> Tree {
    Tree::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

/// A field of its own.
pub fn field(name: &str, value: Tree) -> (String, Tree) {
    (name.to_owned(), value)
}

/// Resources as the documents of one text.
pub fn print(documents: &[Tree]) -> String {
    let mut out = String::new();
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            out.push_str("---\n");
        }
        if let Tree::Map(fields) = document {
            block_map(fields, 0, &mut out);
        }
    }
    out
}

fn block_map(fields: &Fields, indent: usize, out: &mut String) {
    for (name, value) in fields {
        // Writing to a String does not fail.
        let _ = write!(out, "{:indent$}{}:", "", scalar(name));
        block(value, indent, Step::Field, out);
    }
}

/// What a value stands behind.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Field,
    Item,
}

fn block(value: &Tree, indent: usize, step: Step, out: &mut String) {
    let flow = flow(value);
    // A resource begins with its lines; what is short stands in one.
    let whole = indent > 0 || matches!(value, Tree::Text(_) | Tree::Number(_) | Tree::Bool(_));
    let short = whole && indent + flow.chars().count() <= FLOW_CHARS_MAX;
    match value {
        Tree::Map(fields) if !fields.is_empty() && !short => {
            if step == Step::Field {
                out.push('\n');
                block_map(fields, indent + 2, out);
                return;
            }
            let mut inner = String::new();
            block_map(fields, indent + 2, &mut inner);
            out.push(' ');
            out.push_str(inner.trim_start());
        }
        Tree::List(items) if !items.is_empty() && !short && step == Step::Field => {
            out.push('\n');
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                block(item, indent, Step::Item, out);
            }
        }
        _ => {
            let _ = writeln!(out, " {flow}");
        }
    }
}

fn flow(value: &Tree) -> String {
    match value {
        Tree::Text(text) => scalar(text),
        Tree::Number(number) => number.to_string(),
        Tree::Bool(truth) => truth.to_string(),
        Tree::List(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Tree::Map(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", scalar(name), flow(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

/// A text, in quotes where it could be taken for anything else, by readers of YAML 1.1 too.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan",
    ];
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'));
    let rest = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'));
    let word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    match first && rest && !word {
        true => text.to_owned(),
        // JSON's escapes are YAML's.
        false => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn back(tree: &Tree) -> serde_json::Value {
        let (nodes, faults) = dbmesh_model::yaml::read(&print(std::slice::from_ref(tree)));
        assert_eq!(faults, []);
        nodes.first().unwrap().to_json()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let odd = [
            "",
            "a",
            "8.0",
            "true",
            "No",
            "a b",
            "#",
            "a: b",
            "- a",
            "'",
            "\"",
            "\\",
            "\n",
            "{",
            "*x",
            "0x1",
            "é",
            "~",
            "ds_${0..1}",
            "%",
            "\u{1}",
            "a\tb",
            "!",
            "1e3",
        ];
        let tree = map([
            ("texts", texts(odd)),
            (
                "list",
                Tree::List(odd.map(|text| map([(text, Tree::Number(1))])).into()),
            ),
            (
                "long",
                texts(["a b c d e f g h i j k l m n o p q r s t u v w x y z"; 4]),
            ),
            (
                "nested",
                Tree::List(vec![
                    map([("items", Tree::List(vec![texts(odd), map([])]))]);
                    2
                ]),
            ),
            ("no", Tree::Bool(false)),
        ]);
        let expected = serde_json::json!({
            "texts": odd,
            "list": odd.map(|text| serde_json::json!({text: 1})),
            "long": vec!["a b c d e f g h i j k l m n o p q r s t u v w x y z"; 4],
            "nested": [{"items": [odd, {}]}, {"items": [odd, {}]}],
            "no": false,
        });
        assert_eq!(back(&tree), expected);
    }
}
