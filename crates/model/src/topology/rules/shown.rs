//! A rule as JSON, in the words of the resource: for people, and for the revision.

use serde_json::{Map, Value, json};

use super::{Access, Action, Match, Rule};

/// What `/debug/config` shows of a rule.
pub fn rule(rule: &Rule) -> Value {
    let action = match &rule.action {
        Action::Allow | Action::Deny => Value::Null,
        Action::Rate(limit) => json!(limit),
        Action::Concurrency(limit) => json!(limit),
        Action::Window(limit) => json!({ "count": limit.max }),
        Action::Timeout(ms) | Action::Delay(ms) => json!(ms),
        Action::Route(to) => json!(to),
        Action::Tag(tags) => json!(tags),
    };
    json!({
        "name": rule.name,
        "mode": rule.mode,
        "match": conditions(&rule.matches),
        "unknown": rule.unknown,
        "action": rule.action.label(),
        "parameters": action,
    })
}

fn conditions(matches: &Match) -> Value {
    let mut shown = Map::new();
    let mut put = |name: &str, values: Vec<Value>| {
        if !values.is_empty() {
            shown.insert(name.to_owned(), Value::Array(values));
        }
    };
    let texts = |texts: &[String]| texts.iter().map(|text| json!(text)).collect::<Vec<_>>();
    let digests = matches.digests.iter().map(|d| json!(format!("{d:016x}")));
    put("digests", digests.collect());
    put("regex", texts(&matches.regexes));
    put("textRegex", texts(&matches.text_regexes));
    put(
        "verbs",
        matches.verbs.iter().map(|v| json!(word(v))).collect(),
    );
    put(
        "classes",
        matches.classes.iter().map(|c| json!(word(c))).collect(),
    );
    let tables = matches.tables.iter().map(|table| json!(table.written()));
    put("tables", tables.collect());
    let columns = matches.columns.iter();
    let written = columns.map(|c| json!(format!("{}.{}", c.table.written(), c.column.written())));
    put("columns", written.collect());
    put(
        "without",
        matches.without.iter().map(|c| json!(c)).collect(),
    );
    put("users", matches.users.iter().map(|u| json!(u)).collect());
    put(
        "networks",
        matches.networks.iter().map(|n| json!(n)).collect(),
    );
    put("times", matches.times.iter().map(|t| json!(t)).collect());
    if !matches.tags.is_empty() {
        shown.insert("tags".to_owned(), json!(matches.tags));
    }
    if matches.access != Access::Any {
        shown.insert("access".to_owned(), json!(matches.access));
    }
    Value::Object(shown)
}

/// A variant as resources name it.
fn word(variant: &impl std::fmt::Debug) -> String {
    let name = format!("{variant:?}");
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}
