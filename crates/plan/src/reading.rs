//! What a statement does in a READ ONLY transaction that runs at a replica.
//!
//! Owns the closed decision which statements may run there. What leaves something at its server, or has to be where the data
//! is written, may not: the session would be bound to a server that takes no writes. Input: facts of the statement.

use dbmesh_sql::effects::{Effect, TransactionScope, VariableScope};
use dbmesh_sql::{Class, Statement, Verb};

use crate::Proof;
use crate::prove::{ACTS, at_first_sight};

/// What becomes of a statement in a READ ONLY transaction at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InReading {
    /// It reads, or ends the transaction: it runs there.
    Reads,
    /// It changes what can be restored on any connection, and reads no rows: it runs there.
    Sets,
    /// It commits before it runs.
    Commits,
    /// It changes rows, which every server refuses in such a transaction.
    Writes,
    /// It does, or may do, what only the primary can: locks, state of the connection, routines.
    Acts,
}

/// What becomes of this statement.
#[must_use]
pub fn in_reading(statement: &Statement) -> InReading {
    if statement.statements > 1 || statement.unterminated {
        return InReading::Acts;
    }
    if at_first_sight(statement) == Proof::Reads {
        return InReading::Reads;
    }
    let acts = ACTS.into_iter().any(|fact| statement.facts.has(fact));
    let effects = &statement.effects;
    match statement.verb {
        Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete | Verb::LoadData => {
            InReading::Writes
        }
        Verb::Show | Verb::Explain | Verb::Help | Verb::Do | Verb::Empty if !acts => {
            let asks_back = |effect: &Effect| {
                let warnings = matches!(effect, Effect::ShowWarnings { .. });
                warnings || matches!(effect, Effect::ShowCountWarnings { .. })
            };
            match effects.iter().all(asks_back) {
                true => InReading::Reads,
                false => InReading::Acts,
            }
        }
        Verb::Commit | Verb::Rollback if !acts => InReading::Reads,
        Verb::Savepoint | Verb::RollbackTo | Verb::ReleaseSavepoint if !acts => InReading::Reads,
        Verb::Set | Verb::SetTransaction | Verb::Use
            if !acts && effects.iter().all(is_restored) =>
        {
            InReading::Sets
        }
        Verb::UnlockTables if !acts && effects[..] == [Effect::UnlockTables] => InReading::Sets,
        Verb::Begin if !acts => InReading::Commits,
        _ if !acts && commits(statement) => InReading::Commits,
        _ => InReading::Acts,
    }
}

/// Whether what was set is set on the session's next connection too. The absorber knows which values it can restore.
fn is_restored(effect: &Effect) -> bool {
    match effect {
        Effect::SetSystem { scope, .. } => *scope == VariableScope::Session,
        Effect::SetTransaction { scope, .. } => *scope == TransactionScope::Session,
        Effect::SetUser { .. } | Effect::SetNames { .. } | Effect::Use(_) => true,
        _ => false,
    }
}

fn commits(statement: &Statement) -> bool {
    let sets = matches!(statement.verb, Verb::Set | Verb::SetTransaction);
    let implicitly = statement.facts.has(dbmesh_sql::Facts::IMPLICIT_COMMIT);
    match sets {
        // `SET autocommit = 1` commits only where that was off.
        true => implicitly && statement.effects.contains(&Effect::SetPassword),
        false => implicitly && statement.class >= Class::Session,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_sql::{Dialect, analyze};

    const CASES: [(InReading, &[&str]); 5] = [
        (
            InReading::Reads,
            &[
                "SELECT a FROM t",
                "SELECT @a, @@version, SQL_CALC_FOUND_ROWS FROM t",
                "WITH x AS (SELECT 1) SELECT * FROM x",
                "TABLE t",
                "SHOW TABLES",
                "SHOW WARNINGS",
                "SHOW COUNT(*) WARNINGS",
                "EXPLAIN SELECT a FROM t",
                "DESC t",
                "DO SLEEP(0)",
                "COMMIT",
                "COMMIT AND CHAIN",
                "ROLLBACK",
                "SAVEPOINT a",
                "ROLLBACK TO a",
                "RELEASE SAVEPOINT a",
                "",
            ],
        ),
        (
            InReading::Sets,
            &[
                "SET @a = 1",
                "SET time_zone = '+01:00', @b = 'x'",
                "SET autocommit = 0",
                "SET SESSION TRANSACTION READ ONLY",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                "SET NAMES utf8mb4",
                "USE shop",
                "UNLOCK TABLES",
            ],
        ),
        (
            InReading::Commits,
            &[
                "BEGIN",
                "START TRANSACTION",
                "START TRANSACTION READ ONLY",
                "CREATE TABLE u (a INT)",
                "DROP TABLE t",
                "ALTER TABLE t ADD b INT",
                "TRUNCATE t",
                "LOCK TABLES t READ",
                "GRANT SELECT ON t TO u",
                "FLUSH TABLES",
                "ANALYZE TABLE t",
                "SET PASSWORD = 'x'",
            ],
        ),
        (
            InReading::Writes,
            &[
                "INSERT INTO t VALUES (1)",
                "REPLACE INTO t VALUES (1)",
                "UPDATE t SET a = 1",
                "DELETE FROM t",
                "WITH x AS (SELECT 1) DELETE FROM t",
                "LOAD DATA LOCAL INFILE 'f' INTO TABLE t",
            ],
        ),
        (
            InReading::Acts,
            &[
                "SELECT GET_LOCK('a', 0)",
                "SELECT RELEASE_LOCK('a')",
                "DO GET_LOCK('a', 0)",
                "SELECT @a := 1",
                "SELECT a INTO @b FROM t",
                "SELECT f(a) FROM t",
                "SELECT a FROM t FOR UPDATE",
                "SELECT a FROM t LOCK IN SHARE MODE",
                "SELECT LAST_INSERT_ID(7)",
                "SELECT a FROM t INTO OUTFILE 'f'",
                "SELECT 1; INSERT INTO t VALUES (1)",
                "SET @a = f(1)",
                "SET GLOBAL max_connections = 7",
                "SET TRANSACTION READ ONLY",
                "SET ROLE r",
                "CREATE TEMPORARY TABLE u (a INT)",
                "DROP TEMPORARY TABLE u",
                "CALL p()",
                "PREPARE s FROM 'SELECT 1'",
                "EXECUTE s",
                "HANDLER t OPEN",
                "XA START 'a'",
                "LOCK INSTANCE FOR BACKUP",
                "GET DIAGNOSTICS @a = NUMBER",
                "EXPLAIN ANALYZE SELECT GET_LOCK('a', 0)",
                "gibberish",
            ],
        ),
    ];

    #[test]
    fn only_what_leaves_nothing_stays_at_a_replica() {
        for (expected, texts) in CASES {
            for text in texts {
                let statement = analyze(text.as_bytes(), &Dialect::default());
                assert_eq!(in_reading(&statement), expected, "{text}");
            }
        }
    }
}
