//! Which order a statement asks for, read from its text.
//!
//! Owns the outermost ORDER BY and whether there is a LIMIT. Its keys are looked up among the columns of the result, because
//! MySQL names a column after its text.

use dbmesh_sql::{Dialect, Lexer, Span, TokenKind};

use crate::answer::Column;

/// What the text of a query asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Texts of the outermost ORDER BY's keys.
    pub keys: Vec<String>,
    /// Whether some rows are left out by their place.
    pub limited: bool,
    /// Whether it skips rows first.
    pub skips: bool,
    /// Whether one of several equal texts may stand for them all.
    pub folds: bool,
    /// Whether it is a query, and changes nothing.
    pub reads: bool,
}

/// Words after which the list of keys is over.
const ENDS: [&str; 5] = ["LIMIT", "FOR", "LOCK", "INTO", "UNION"];
/// Words of statements that show one of several equal values.
const FOLDS: [&str; 9] = [
    "DISTINCT",
    "GROUP",
    "MIN",
    "MAX",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "DISTINCTROW",
    "GREATEST",
];

impl Asked {
    /// Reads a text.
    pub fn of(sql: &str) -> Self {
        let bytes = sql.as_bytes();
        let first = sql.trim_start().split(' ').next();
        let mut asked = Self {
            reads: matches!(first, Some("SELECT" | "WITH")),
            ..Self::default()
        };
        let mut depth = 0_u32;
        let mut start: Option<usize> = None;
        let mut previous = String::new();
        let mut keys: Vec<Span> = Vec::new();
        for token in Lexer::new(bytes, &Dialect::default()) {
            if token.kind.is_trivia() {
                continue;
            }
            let word = String::from_utf8_lossy(token.span.of(bytes)).to_uppercase();
            let is_word = token.kind == TokenKind::Word;
            if is_word && FOLDS.contains(&word.as_str()) {
                asked.folds = true;
            }
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth = depth.saturating_sub(1),
                TokenKind::Comma if depth == 0 => {
                    asked.skips |= asked.limited;
                    if let Some(from) = start {
                        keys.push(span(from, token.span.start));
                        start = Some(token.span.end);
                    }
                }
                _ => {}
            }
            if depth == 0 && is_word {
                if word == "BY" && previous == "ORDER" {
                    keys.clear();
                    start = Some(token.span.end);
                } else if ENDS.contains(&word.as_str()) {
                    if let Some(from) = start.take() {
                        keys.push(span(from, token.span.start));
                    }
                    if word == "UNION" {
                        keys.clear();
                    }
                }
                asked.limited |= word == "LIMIT";
                asked.skips |= word == "OFFSET";
            }
            previous = word;
        }
        keys.extend(start.map(|from| span(from, bytes.len())));
        let texts = keys
            .iter()
            .map(|key| key_text(&String::from_utf8_lossy(key.of(bytes))));
        asked.keys = texts.collect();
        asked
    }

    /// The places of the leading keys that are columns of the result, and whether all of them are.
    pub fn places(&self, columns: &[Column]) -> (Vec<usize>, bool) {
        let mut places = Vec::new();
        for key in &self.keys {
            match place(key, columns) {
                Some(place) => places.push(place),
                None => return (places, false),
            }
        }
        (places, true)
    }
}

fn span(start: usize, end: usize) -> Span {
    Span { start, end }
}

/// A key without its direction.
fn key_text(text: &str) -> String {
    let text = text.trim().trim_end_matches(';').trim_end();
    let upper = text.to_uppercase();
    let cut = [" ASC", " DESC"]
        .iter()
        .find(|word| upper.ends_with(**word));
    let kept = cut.map_or(text.len(), |word| text.len() - word.len());
    text.get(..kept).unwrap_or(text).trim().to_owned()
}

fn place(key: &str, columns: &[Column]) -> Option<usize> {
    if let Ok(number) = key.parse::<usize>() {
        return number.checked_sub(1).filter(|place| *place < columns.len());
    }
    let named = |column: &Column| column.name.eq_ignore_ascii_case(key);
    let qualified = |column: &Column| {
        let (table, name) = key.rsplit_once('.').unwrap_or_default();
        column.name.eq_ignore_ascii_case(name) && column.table == table
    };
    let mut found = columns
        .iter()
        .enumerate()
        .filter(|(_, c)| named(c) || qualified(c));
    let (first, _) = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_order_counts() {
        let asked = Asked::of(
            "SELECT a, (SELECT b FROM t ORDER BY c LIMIT 1) FROM t ORDER BY a DESC, f(x, y) LIMIT 3",
        );
        assert_eq!(asked.keys, ["a", "f(x, y)"]);
        assert!(asked.limited && !asked.folds);
        let asked = Asked::of("SELECT MIN(a) OVER (ORDER BY b) FROM t GROUP BY c");
        assert!(asked.keys.is_empty() && !asked.limited && asked.folds);
        let asked = Asked::of("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1 ASC");
        assert_eq!(asked.keys, ["1"]);
    }
}
