//! Differences that are known and accepted, each with its reason.
//!
//! Owns the short list; everything else that differs fails. It must never accept a different value, error or count of rows.
//! Input: the text of an answer, and the step that it answers.

use super::script::Act;

/// Functions that a shared connection would answer wrongly: the proxy writes their values into the text, and the column of a
/// literal is described differently from that of a function.
const WRITTEN_IN: [&str; 7] = [
    "row_count",
    "found_rows",
    "warning_count",
    "error_count",
    "connection_id",
    "pseudo_thread_id",
    "errors",
];

/// The text of an answer without the accepted differences.
pub fn without_known(text: &str, act: &Act) -> String {
    let told = act.to_string().to_ascii_lowercase();
    let written_in = WRITTEN_IN.iter().any(|name| told.contains(name));
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if line.starts_with("  column .") {
            // Kept warnings are shown in one collation of the session's character set.
            if line.contains(".Level()") || line.contains(".Message()") {
                line = without_field(&line, " collation=");
            }
            if written_in {
                line = without_field(
                    &without_field(&without_field(&line, " flags="), " length="),
                    " type=",
                );
            }
            // A variable that was a number and is set to NULL stays a number, but not when it is restored; a statement that
            // sessions share has seen the parameters of all of them.
            if told.contains("select @a") || told.starts_with(".execute") {
                line = without_field(&without_field(&line, " length="), " type=");
            }
        }
        let answered =
            line.starts_with("OK ") || line.starts_with("EOF ") || line.starts_with("  EOF ");
        // The count of the statement before, or MySQL's word that FOUND_ROWS() is deprecated.
        let counts = matches!(act, Act::Ping | Act::MultiStatements(_) | Act::InitDb(_))
            || told.contains("found_rows()")
            || told.contains(".ping");
        if answered && counts {
            line = without_field(&line, " warnings=");
        }
        // A statement that is prepared anew on another connection has not seen its tables change there.
        line = line.replace("|METADATA_CHANGED", "");
        // MariaDB writes it without the point.
        line = line.replace("has no open cursor.", "has no open cursor");
        // MariaDB reports variables in the order of a hash table.
        if let Some((before, list)) = line.split_once(" tracked=[") {
            let mut items: Vec<&str> = list.trim_end_matches(']').split(", ").collect();
            items.sort_unstable();
            line = format!("{before} tracked=[{}]", items.join(", "));
        }
        if line.starts_with("  EOF ") {
            // The flags of a query stand behind its rows; what stands before them is of the statement before.
            for flag in ["|NO_INDEX_USED", "|MORE_RESULTS", "|SESSION_STATE_CHANGED"] {
                line = line.replace(flag, "");
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The line without `name` and the word behind it.
fn without_field(line: &str, name: &str) -> String {
    match line.split_once(name) {
        Some((before, behind)) => {
            let rest = behind.split_once(' ').map_or("", |(_, rest)| rest);
            format!("{before}{name}… {rest}")
        }
        None => line.to_owned(),
    }
}
