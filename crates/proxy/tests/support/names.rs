//! What must differ between two servers, and the one name that both get.
//!
//! Owns connection ids and statement ids in texts. It must never touch anything else: a difference that is not named here is
//! a difference. Input: the text of answers, and the ids of the sessions.

use super::script::Act;

/// Replaces the ids of sessions and statements in the answer to `act`.
pub fn normalise(text: &str, act: &Act, ids: &[(char, u32)]) -> String {
    let mut text = without_statement_ids(text);
    if shows_ids(act)
        || text.contains("ERR 1094")
        || text.contains("ERR 1095")
        || text.contains("ERR 1317")
    {
        for (who, id) in ids {
            text = replace_number(&text, *id, &format!("<id of {who}>"));
        }
    }
    text
}

fn shows_ids(act: &Act) -> bool {
    let told = act.to_string().to_ascii_lowercase();
    told.contains("connection_id")
        || told.contains("pseudo_thread_id")
        || told.contains("is_used_lock")
        || told.contains(".execute cid")
}

/// `(4) given to mysqld_stmt_execute` and `The statement (4) has no open cursor` name statements.
fn without_statement_ids(text: &str) -> String {
    let mut out = text.to_owned();
    for (before, after) in [("handler (", ") given"), ("statement (", ") has no")] {
        if let Some(start) = out.find(before) {
            let from = start + before.len();
            if let Some(length) = out[from..].find(after) {
                out.replace_range(from..from + length, "#");
            }
        }
    }
    out
}

fn replace_number(text: &str, number: u32, name: &str) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&digits) {
        let before = out
            .chars()
            .last()
            .filter(|_| at == 0)
            .or_else(|| rest[..at].chars().last());
        let after = rest[at + digits.len()..].chars().next();
        let whole = !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '=')
            && !after.is_some_and(|c| c.is_ascii_alphanumeric());
        out.push_str(&rest[..at]);
        out.push_str(if whole { name } else { &digits });
        rest = &rest[at + digits.len()..];
    }
    out.push_str(rest);
    out
}
