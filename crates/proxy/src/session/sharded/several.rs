//! Several statements in one text, of a sharded service: each may go elsewhere.
//!
//! Owns the text's division. Each statement takes the whole path by itself; all but the last say that more comes. Must never
//! go on behind an error. Input: a text of several statements.

use std::pin::Pin;

use dbmesh_sql::{Facts, Lexer, Span, Statement, TokenKind};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::command::Query;
use dbmesh_wire::status::Status;

use super::super::{Failure, Flow, Session};
use crate::fault::Fault;

impl Session {
    /// Whether a text is divided before it is looked at any further.
    pub(in super::super) fn divides(&self, statement: &Statement) -> bool {
        self.sharded.is_some() && statement.statements > 1
    }

    /// Runs the statements of a text one after the other.
    pub(in super::super) fn query_several<'a>(
        &'a mut self,
        packet: &'a [u8],
        query: &'a Query<'a>,
        statement: &'a Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Flow, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if statement.facts.has_any(Facts::COMPOUND | Facts::UNPARSED) {
                let why = "a text of several statements that cannot be told apart";
                return Err(Fault::Sharding(why.into()).into());
            }
            if !self
                .client
                .capabilities
                .contains(Capabilities::MULTI_STATEMENTS)
            {
                return Err(Fault::Server {
                    code: 1064,
                    sqlstate: "42000".into(),
                    message: "You have an error in your SQL syntax: the client did not ask for several statements".into(),
                }
                .into());
            }
            let dialect = self.dialect();
            let head = packet.get(..query.sql_offset).unwrap_or_default();
            let pieces = pieces(query.sql, &dialect);
            let mut flow = Flow::Continue;
            for (place, piece) in pieces.iter().enumerate() {
                let more = place + 1 < pieces.len();
                self.say_more(more);
                let text = [head, piece.of(query.sql)].concat();
                let answered = self.query_text(&text).await;
                let failed = self.has_failed();
                self.say_more(false);
                flow = answered?;
                if flow == Flow::Quit || failed {
                    break;
                }
            }
            Ok(flow)
        })
    }

    /// Says in the answers that come whether another one follows.
    fn say_more(&mut self, more: bool) {
        let status = self.state.status;
        self.state.status = match more {
            true => status.union(Status::MORE_RESULTS),
            false => status.difference(Status::MORE_RESULTS),
        };
        if let Some(sharded) = &mut self.sharded {
            sharded.failed = false;
        }
    }

    fn has_failed(&self) -> bool {
        self.sharded.as_ref().is_some_and(|sharded| sharded.failed)
    }
}

/// The statements between semicolons, without empty ones.
fn pieces(sql: &[u8], dialect: &dbmesh_sql::Dialect) -> Vec<Span> {
    let mut found = Vec::new();
    let (mut start, mut says) = (0, false);
    for token in Lexer::new(sql, dialect) {
        match token.kind {
            TokenKind::Semicolon => {
                if says {
                    found.push(Span {
                        start,
                        end: token.span.start,
                    });
                }
                (start, says) = (token.span.end, false);
            }
            kind => says |= !kind.is_trivia(),
        }
    }
    if says {
        found.push(Span {
            start,
            end: sql.len(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_divided_at_its_semicolons() {
        let sql = b"SELECT ';' ; ; /* x */; UPDATE t SET a = 1;";
        let pieces = pieces(sql, &dbmesh_sql::Dialect::default());
        let texts: Vec<_> = pieces
            .iter()
            .map(|span| span.of(sql).trim_ascii())
            .collect();
        assert_eq!(texts, [b"SELECT ';'".as_slice(), b"UPDATE t SET a = 1"]);
    }
}
