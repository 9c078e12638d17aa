//! `SET` with assignments to `session_track_*`, taken apart.
//!
//! Owns the split into what a proxy that tracks sessions itself must answer for, and what is left for the server. Must
//! never change what is left. Input: a statement of which [`crate::Facts::SETS_SESSION_TRACK`] is known.

use crate::dialect::Dialect;
use crate::lexer::{Lexer, Span, Token, TokenKind};

/// A `SET` without its assignments to `session_track_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingSet {
    /// The statement without them; none when nothing is left.
    pub rest: Option<Vec<u8>>,
    /// Name of the variable, in lower case, and the text of its expression.
    pub assignments: Vec<(String, Vec<u8>)>,
}

/// Takes a single `SET` of the session's own variables apart; none where it has another scope, several statements, or
/// code in comments.
pub fn split_tracking_set(sql: &[u8], dialect: &Dialect) -> Option<TrackingSet> {
    let mut tokens = Vec::new();
    for token in Lexer::new(sql, dialect) {
        match token.kind {
            TokenKind::ExecutableOpen | TokenKind::ExecutableClose => return None,
            kind if kind.is_trivia() => {}
            _ if token.unterminated => return None,
            _ => tokens.push(token),
        }
    }
    if tokens.last()?.kind == TokenKind::Semicolon {
        tokens.pop();
    }
    let (set, list) = tokens.split_first()?;
    if !set.span.of(sql).eq_ignore_ascii_case(b"set")
        || list.iter().any(|t| t.kind == TokenKind::Semicolon)
    {
        return None;
    }
    let (mut kept, mut assignments) = (Vec::new(), Vec::new());
    for item in items(list) {
        let first = item.first()?;
        let word = first.span.of(sql).to_ascii_lowercase();
        if matches!(word.as_slice(), b"global" | b"persist" | b"persist_only") {
            return None;
        }
        match tracking_name(item, sql) {
            Some((name, value)) => {
                let text = between(value.first()?, value.last()?).of(sql).to_vec();
                assignments.push((name, text));
            }
            None => kept.push(between(first, item.last()?).of(sql)),
        }
    }
    let rest = (!kept.is_empty()).then(|| [b"SET ".as_slice(), &kept.join(&b", "[..])].concat());
    Some(TrackingSet { rest, assignments })
}

/// The parts between the commas outside of parentheses.
fn items(list: &[Token]) -> impl Iterator<Item = &[Token]> {
    let mut depth = 0_usize;
    list.split(move |token| {
        match token.kind {
            TokenKind::Open => depth = depth.saturating_add(1),
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.kind == TokenKind::Comma
    })
}

/// The variable's name and the tokens of its value, where an item assigns to a `session_track_*`.
fn tracking_name<'t>(item: &'t [Token], sql: &[u8]) -> Option<(String, &'t [Token])> {
    let is_assignment = |t: &Token| matches!(t.kind, TokenKind::Equal | TokenKind::Assign);
    let at = item.iter().position(is_assignment)?;
    let (target, value) = item.split_at_checked(at)?;
    let mut name = String::new();
    for token in target {
        let is_name = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
        if is_name && matches!(name.as_str(), "session" | "local") {
            name.clear();
        }
        name.push_str(&String::from_utf8_lossy(token.span.of(sql)).to_ascii_lowercase());
    }
    let name = name.replace('`', "");
    let name = ["@@session.", "@@local.", "@@"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(&name);
    name.starts_with("session_track_")
        .then(|| (name.to_owned(), value.get(1..).unwrap_or_default()))
}

fn between(first: &Token, last: &Token) -> Span {
    Span {
        start: first.span.start,
        end: last.span.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the statement, and the assignments.
    type Split = (Option<String>, Vec<(String, String)>);

    fn split(sql: &str) -> Option<Split> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        split_tracking_set(sql.as_bytes(), &Dialect::default()).map(|set| {
            let assignments = set.assignments.into_iter().map(|(n, v)| (n, text(v)));
            (set.rest.map(text), assignments.collect())
        })
    }

    fn found(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_drivers_send() {
        let connector_j = "set sql_mode=CONCAT(@@sql_mode,',STRICT_TRANS_TABLES'),session_track_system_variables=\
                           CONCAT('autocommit,time_zone',IF(LOCATE('*','a')>0,',last_gtid','')),session_track_schema=1,NAMES utf8mb4";
        assert_eq!(
            split(connector_j),
            Some((
                Some(
                    "SET sql_mode=CONCAT(@@sql_mode,',STRICT_TRANS_TABLES'), NAMES utf8mb4"
                        .to_owned()
                ),
                vec![
                    found(
                        "session_track_system_variables",
                        "CONCAT('autocommit,time_zone',IF(LOCATE('*','a')>0,',last_gtid',''))"
                    ),
                    found("session_track_schema", "1"),
                ]
            ))
        );
    }

    #[test]
    fn every_way_to_name_the_session() {
        for target in [
            "session_track_schema",
            "SESSION session_track_schema",
            "local `session_track_schema`",
            "@@session_track_schema",
            "@@SESSION.session_track_schema",
            "@@local.session_track_schema",
        ] {
            let expected = Some((None, vec![found("session_track_schema", "ON")]));
            assert_eq!(split(&format!("SET {target} = ON;")), expected, "{target}");
            assert_eq!(split(&format!("SET {target} := ON")), expected, "{target}");
        }
    }

    #[test]
    fn what_is_not_taken_apart() {
        for sql in [
            "",
            ";",
            "SELECT 1",
            "SET session_track_schema = 1; SELECT 1",
            "SET GLOBAL session_track_schema = 1",
            "SET sql_mode = '', GLOBAL session_track_schema = 1",
            "SET /*!40101 session_track_schema = 1 */",
            "SET session_track_schema = 'x",
            "SET session_track_schema =",
            "SET session_track_schema = 1,",
        ] {
            assert_eq!(split(sql), None, "{sql}");
        }
        let other = split("SET @session_track_schema = 1, sql_mode = 'session_track_x=1'").unwrap();
        assert!(other.1.is_empty());
    }
}
