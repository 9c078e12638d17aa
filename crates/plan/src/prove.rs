//! Whether a statement is proved to read only, remembered by its digest.
//!
//! Owns the parser that proves it and a bounded memory of what was proved. It must never take a statement for a read that
//! is not proved to be one: what cannot be parsed is none. Input: a statement that the scanner took for a plain read.

use std::hash::{Hash, Hasher};

use dbmesh_sql::effects::{AccessMode, Effect};
use dbmesh_sql::parsed::ReadOnly;
use dbmesh_sql::{Class, Dialect, Facts, ParsedFacts, Parser, Statement, Verb};

use crate::memory::Memory;

/// Whether a statement is proved to read only, so that any copy of the data can answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It reads tables and nothing else.
    Reads,
    /// It reads, and what it says is of the server that answers: its variables, its system tables.
    ReadsServer,
    /// It begins a transaction that the server itself holds to reading.
    ReadOnlyTransaction,
    /// It may write, lock, or see what only one server has.
    NotProved,
}

/// What a proof depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    digest: u64,
    dialect: Dialect,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest alone tells texts apart; the rest is compared.
        state.write_u64(self.digest);
    }
}

/// Proves statements, and remembers.
#[derive(Debug, Default)]
pub struct Prover {
    parser: Parser,
    facts: ParsedFacts,
    known: Memory<Key, Proof>,
}

impl Prover {
    /// What is proved of this statement.
    pub fn prove(&mut self, statement: &Statement, sql: &[u8], dialect: &Dialect) -> Proof {
        let first = at_first_sight(statement);
        if first != Proof::Reads {
            return first;
        }
        let key = Key {
            digest: statement.digest.0,
            dialect: *dialect,
        };
        if let Some(known) = self.known.find(&key) {
            return known;
        }
        let proof = self.parse(sql, dialect);
        self.known.keep(key, proof);
        proof
    }

    fn parse(&mut self, sql: &[u8], dialect: &Dialect) -> Proof {
        let Ok(ast) = self.parser.parse(sql, dialect) else {
            return Proof::NotProved;
        };
        self.facts.fill(ast, sql, dialect);
        match (self.facts.read_only, self.facts.server_local) {
            (ReadOnly::Proved, false) => Proof::Reads,
            (ReadOnly::Proved, true) => Proof::ReadsServer,
            (ReadOnly::No(_), _) => Proof::NotProved,
        }
    }
}

/// Facts that keep a query from being a plain read.
pub(crate) const ACTS: [Facts; 16] = [
    Facts::USER_VARIABLE_ASSIGNED,
    Facts::GET_LOCK_FUNCTION,
    Facts::RELEASE_LOCK_FUNCTION,
    Facts::SETS_LAST_INSERT_ID,
    Facts::LOCKING_READ,
    Facts::INTO_OUTFILE,
    Facts::CALLS_ROUTINE,
    Facts::SEQUENCE,
    Facts::DYNAMIC_SQL,
    Facts::COMPOUND,
    Facts::UNPARSED,
    Facts::UNPARSED_SET,
    Facts::UNTRUSTED_TEXT,
    Facts::MULTI,
    Facts::TEMPORARY_TABLE,
    Facts::READS_LAST_GTID,
];

/// What the scanner's facts say. That it reads is only a guess, which the parser has to confirm.
#[must_use]
pub fn at_first_sight(statement: &Statement) -> Proof {
    if statement.statements != 1 || statement.unterminated {
        return Proof::NotProved;
    }
    if let [
        Effect::Begin {
            access: Some(AccessMode::ReadOnly),
            ..
        },
    ] = &statement.effects[..]
    {
        return Proof::ReadOnlyTransaction;
    }
    let reads = statement.class == Class::Read
        && matches!(statement.verb, Verb::Select | Verb::Table | Verb::Values);
    let acts = ACTS.into_iter().any(|fact| statement.facts.has(fact));
    if reads && !acts && statement.effects.is_empty() {
        Proof::Reads
    } else {
        Proof::NotProved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GENERATION_MAX;
    use dbmesh_sql::analyze;

    fn prove(prover: &mut Prover, sql: &str) -> Proof {
        let dialect = Dialect::default();
        let statement = analyze(sql.as_bytes(), &dialect);
        prover.prove(&statement, sql.as_bytes(), &dialect)
    }

    #[test]
    fn only_plain_reads_are_proved() {
        let mut prover = Prover::default();
        let reads = [
            "SELECT 1",
            "SELECT a FROM t WHERE id = 7 AND b IN (1, 2)",
            "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
            "(SELECT a FROM t) UNION ALL (SELECT b FROM u) ORDER BY 1",
            "SELECT COUNT(*), SLEEP(0) FROM t GROUP BY a",
        ];
        for sql in reads {
            assert_eq!(prove(&mut prover, sql), Proof::Reads, "{sql}");
            assert_eq!(prove(&mut prover, sql), Proof::Reads, "{sql}, remembered");
        }
        let others = [
            "SELECT a FROM t FOR UPDATE",
            "SELECT f(a) FROM t",
            "SELECT shop.f(a) FROM t",
            "SELECT @a := 1",
            "SELECT a INTO @b FROM t",
            "SELECT GET_LOCK('a', 1)",
            "SELECT LAST_INSERT_ID(7)",
            "SELECT a FROM t; DELETE FROM t",
            "SELECT a FRM t WHERE (",
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "CALL p()",
            "SHOW TABLES",
            "SET @a = 1",
            "START TRANSACTION",
        ];
        for sql in others {
            assert_eq!(prove(&mut prover, sql), Proof::NotProved, "{sql}");
        }
        for sql in [
            "SELECT @@server_id",
            "SELECT * FROM information_schema.tables",
        ] {
            assert_eq!(prove(&mut prover, sql), Proof::ReadsServer, "{sql}");
        }
        let begin = "START TRANSACTION READ ONLY";
        assert_eq!(prove(&mut prover, begin), Proof::ReadOnlyTransaction);
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let mut prover = Prover::default();
        for n in 0..3 * GENERATION_MAX {
            assert_eq!(
                prove(&mut prover, &format!("SELECT a{n} FROM t")),
                Proof::Reads
            );
            assert_eq!(prove(&mut prover, "SELECT often FROM t"), Proof::Reads);
        }
        let (young, old) = prover.known.sizes();
        assert!(young <= GENERATION_MAX && old <= GENERATION_MAX);
        let dialect = Dialect::default();
        let often = Key {
            digest: analyze(b"SELECT often FROM t", &dialect).digest.0,
            dialect,
        };
        assert!(prover.known.find(&often).is_some());
    }
}
