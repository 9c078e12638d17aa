//! Hand-written families: templates, and what stands in their places.
//!
//! Owns the format of `families/*.txt`: `## name` begins a family, `@set = a | b` says what stands for `{set}` from there on,
//! every other line is a template, one statement for each combination, as text and prepared. Families whose name begins with
//! `change` change rows.

use std::collections::BTreeMap;

use crate::statement::{Form, Statement};
use crate::{Result, failed};

/// The files.
const FILES: [(&str, &str); 3] = [
    ("reads.txt", include_str!("../families/reads.txt")),
    ("queries.txt", include_str!("../families/queries.txt")),
    ("changes.txt", include_str!("../families/changes.txt")),
];
/// Most statements that one template gives.
const EXPANSION_MAX: usize = 4_000;

/// All statements of all families whose name begins so.
pub fn statements(prefix: &str) -> Result<Vec<Statement>> {
    let mut all = Vec::new();
    for (file, text) in FILES {
        all.extend(parse(text).map_err(failed(file))?);
    }
    all.retain(|statement| statement.family.starts_with(prefix));
    Ok(all)
}

/// The statements of a file's text.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut family = None;
    let mut statements = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with("--") {
            continue;
        }
        if let Some(name) = line.strip_prefix("## ") {
            family = Some(name);
        } else if let Some(set) = line.strip_prefix('@') {
            let (name, alternatives) = set.split_once(" = ").ok_or("a set has no ` = `")?;
            sets.insert(name, alternatives.split(" | ").map(str::trim).collect());
        } else {
            let family = family.ok_or("a template before the first family")?;
            let changes = family.starts_with("change");
            for marked in expand(line, &sets)? {
                for form in [Form::Text, Form::Prepared] {
                    statements.push(Statement {
                        family: family.to_owned(),
                        marked: marked.clone(),
                        form,
                        changes,
                    });
                }
            }
        }
    }
    Ok(statements)
}

/// A template with every combination of its sets.
fn expand(template: &str, sets: &BTreeMap<&str, Vec<&str>>) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let mut pending = vec![template.to_owned()];
    while let Some(next) = pending.pop() {
        let Some(name) = placeholder(&next) else {
            done.push(next);
            continue;
        };
        let alternatives = sets.get(name).ok_or_else(|| format!("no set {name:?}"))?;
        // All its places get the same.
        let place = format!("{{{name}}}");
        let all = alternatives.iter().rev();
        pending.extend(all.map(|alternative| next.replace(&place, alternative)));
        if done.len() + pending.len() > EXPANSION_MAX {
            return Err(format!("too many statements of {template:?}"));
        }
    }
    Ok(done)
}

/// The first `{name}` that is no mark.
fn placeholder(text: &str) -> Option<&str> {
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find('{')?;
        let end = start + text.get(start..)?.find('}')?;
        let name = text.get(start + 1..end)?;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.is_empty() && name.bytes().all(is_word) {
            return Some(name);
        }
        from = start + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_give_every_combination() {
        let text = "@a = 1 | {=2}\n## f\nSELECT {a}, {a} WHERE x = '{\"k\": 1}'\n";
        let found = parse(text).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].marked, "SELECT 1, 1 WHERE x = '{\"k\": 1}'");
        assert_eq!(found[2].marked, "SELECT {=2}, {=2} WHERE x = '{\"k\": 1}'");
    }

    #[test]
    fn all_files_are_read() {
        let all = statements("").unwrap();
        assert!(all.len() > 2_000, "{}", all.len());
    }
}
