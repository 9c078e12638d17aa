//! `SHOW MESH …`: what operators ask of dbmesh over the MySQL protocol.
//!
//! Owns the recognition. Servers know no SHOW MESH, so that nothing of theirs is taken away; what does not fit to its end
//! is left to them, which refuse it. Input: the text of a SHOW.

use dbmesh_sql::{Dialect, Lexer, Span, TokenKind};

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshListing {
    /// The service's numbers.
    Status,
    /// Its sessions.
    Sessions,
    /// Its endpoints.
    Endpoints,
    /// Their pools.
    Pools,
    /// Its rules.
    Rules,
    /// What its statements have in common.
    Digests,
    /// Definitions over several shards: how far they are.
    Definitions,
}

impl MeshListing {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Status, "status"),
        (Self::Sessions, "sessions"),
        (Self::Endpoints, "endpoints"),
        (Self::Pools, "pools"),
        (Self::Rules, "rules"),
        (Self::Digests, "digests"),
        (Self::Definitions, "definitions"),
    ];
}

/// `SHOW MESH listing [ORDER BY column] [LIMIT rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshShow {
    /// What.
    pub listing: MeshListing,
    /// By which column.
    pub order: Option<Span>,
    /// How many rows at most.
    pub limit: Option<u64>,
}

/// What a SHOW asks of dbmesh, if it does.
#[must_use]
pub fn show(sql: &[u8]) -> Option<MeshShow> {
    let dialect = Dialect::default();
    let tokens = Lexer::new(sql, &dialect).filter(|token| token.kind != TokenKind::Comment);
    let mut tokens = tokens.peekable();
    let mut word = |wanted: &str| {
        let is = |token: &dbmesh_sql::Token| {
            token.kind == TokenKind::Word
                && token.span.of(sql).eq_ignore_ascii_case(wanted.as_bytes())
        };
        tokens.next_if(is).map(|token| token.span)
    };
    word("show")?;
    word("mesh")?;
    let mut all = MeshListing::ALL.iter();
    let listing = all.find_map(|(listing, name)| word(name).map(|_| *listing))?;
    let ordered = word("order").is_some();
    if ordered {
        word("by")?;
    }
    let order = match ordered {
        true => Some(tokens.next_if(|token| token.kind == TokenKind::Word)?.span),
        false => None,
    };
    let is_limit = |token: &dbmesh_sql::Token| token.span.of(sql).eq_ignore_ascii_case(b"limit");
    let limit = match tokens.next_if(is_limit) {
        Some(_) => {
            let number = tokens.next_if(|token| token.kind == TokenKind::Number)?;
            Some(
                std::str::from_utf8(number.span.of(sql))
                    .ok()?
                    .parse()
                    .ok()?,
            )
        }
        None => None,
    };
    while tokens
        .next_if(|token| token.kind == TokenKind::Semicolon)
        .is_some()
    {}
    tokens.peek().is_none().then_some(MeshShow {
        listing,
        order,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_mesh_is_recognised_to_its_end_or_not_at_all() {
        for (sql, listing, order, limit) in [
            ("SHOW MESH STATUS", MeshListing::Status, None, None),
            (" show  mesh sessions ; ", MeshListing::Sessions, None, None),
            ("/* a */ SHOW MESH POOLS", MeshListing::Pools, None, None),
            (
                "SHOW MESH DEFINITIONS",
                MeshListing::Definitions,
                None,
                None,
            ),
            (
                "SHOW MESH DIGESTS ORDER BY calls LIMIT 5",
                MeshListing::Digests,
                Some("calls"),
                Some(5),
            ),
            (
                "SHOW MESH DIGESTS LIMIT 5",
                MeshListing::Digests,
                None,
                Some(5),
            ),
        ] {
            let got = show(sql.as_bytes()).expect(sql);
            let got_order = got.order.map(|span| span.of(sql.as_bytes()));
            assert_eq!(got.listing, listing, "{sql}");
            assert_eq!(got_order, order.map(str::as_bytes), "{sql}");
            assert_eq!(got.limit, limit, "{sql}");
        }
        for sql in [
            "SHOW STATUS",
            "SHOW MESH",
            "SHOW MESH WEATHER",
            "SHOW MESH STATUS LIKE 'a'",
            "SHOW MESH STATUS; SELECT 1",
            "SHOW MESH DIGESTS ORDER calls",
            "SHOW MESH DIGESTS ORDER BY 1",
            "SHOW MESH DIGESTS LIMIT",
            "SHOW MESH DIGESTS LIMIT -1",
            "SHOW `MESH` STATUS",
            "/*! SHOW MESH STATUS */",
        ] {
            assert_eq!(show(sql.as_bytes()), None, "{sql}");
        }
    }
}
