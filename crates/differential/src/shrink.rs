//! From a statement that differs to a short one that still differs.
//!
//! Owns the cutting of texts at tokens; a marked literal is one of them. Whether a shorter text still differs is asked of its
//! caller.

use dbmesh_sql::{Dialect, Lexer, TokenKind};

/// Most attempts for one statement.
const ATTEMPTS_MAX: usize = 400;

/// The shortest text that was found to differ still.
pub fn shorten(marked: &str, mut differs: impl FnMut(&str) -> bool) -> String {
    let mut tokens = tokens(marked);
    let mut attempts = 0;
    loop {
        let before = tokens.len();
        for cut in cuts(&tokens) {
            if attempts >= ATTEMPTS_MAX {
                return text_of(&tokens);
            }
            let (start, end) = cut;
            if end > tokens.len() || start >= end {
                continue;
            }
            let mut shorter = tokens.clone();
            shorter.drain(start..end);
            attempts += 1;
            if differs(&text_of(&shorter)) {
                tokens = shorter;
                break;
            }
        }
        if tokens.len() == before {
            return text_of(&tokens);
        }
    }
}

/// What to try to leave out, the longest first: parenthesised parts, parts between commas, runs of tokens.
fn cuts(tokens: &[String]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.trim() {
            "(" => open.push(at),
            ")" => {
                if let Some(start) = open.pop() {
                    found.push((start, at + 1));
                }
            }
            _ => {}
        }
    }
    let count = tokens.len();
    let mut size = count / 2;
    while size > 0 {
        let step = (size / 2).max(1);
        found.extend(
            (0..count.saturating_sub(size))
                .step_by(step)
                .map(|at| (at, at + size)),
        );
        size = match size {
            1..=8 => size - 1,
            _ => size * 2 / 3,
        };
    }
    found.push((count.saturating_sub(1), count));
    found.sort_by_key(|(start, end)| std::cmp::Reverse(end - start));
    found
}

/// Tokens of a marked text, each with the space before it: `COUNT (` is no call.
pub(crate) fn tokens(marked: &str) -> Vec<String> {
    let bytes = marked.as_bytes();
    let mut tokens: Vec<String> = Vec::new();
    let mut mark = false;
    let mut last = (TokenKind::Comment, 0);
    for token in Lexer::new(bytes, &Dialect::default()) {
        let (start, end) = (token.span.start, token.span.end);
        let text = marked.get(last.1..end).unwrap_or_default();
        // `t.c`, `>=`: what stands together stays together; a mark as well.
        let joined = mark
            || (last.1 == start
                && (last.0 == TokenKind::Dot
                    || token.kind == TokenKind::Dot
                    || (last.0, token.kind) == (TokenKind::Operator, TokenKind::Operator)
                    || (last.0, token.kind) == (TokenKind::Operator, TokenKind::Equal)));
        match tokens.last_mut().filter(|_| joined) {
            Some(previous) => previous.push_str(text),
            None => tokens.push(text.to_owned()),
        }
        match marked.get(start..end) {
            Some("{") => mark = true,
            Some("}") => mark = false,
            _ => {}
        }
        last = (token.kind, end);
    }
    tokens
}

fn text_of(tokens: &[String]) -> String {
    tokens.concat().trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let long = "SELECT a, b, COUNT ( * ) FROM t WHERE ( x.y >= {='a b'} AND ( c IN (1, 2) OR d ) ) ORDER BY a";
        let short = shorten(long, |text| {
            text.contains("SELECT") && text.contains("x.y >= {='a b'}")
        });
        assert_eq!(short, "SELECT x.y >= {='a b'}");
        let call = shorten("SELECT COUNT(*), MAX( a ) FROM t", |text| {
            text.contains("COUNT(*)")
        });
        assert_eq!(call, "COUNT(*)");
    }
}
