//! Every text that the protocol sends, in one place.
//!
//! Owns the words; [`crate::Commit`] and [`crate::Resolver`] own when they are said. Names and numbers in them are made
//! here, never a client's. Every text but [`decide`] is a single statement.

use crate::id::{Gtrid, Shard, Xid, hex, unhex};
use crate::{Decision, Verdict};

/// Seconds for which a coordinator may still decide a transaction after its beginning. It is half of [`RETENTION_HOURS`]: a
/// coordinator that was stopped for longer than ABORT rows are kept must not find its way free.
pub const DECIDE_WITHIN_SECONDS: u64 = 12 * 3600;
/// Seconds for which a resolver may act on what it saw. It is far below [`RETENTION_HOURS`], for the same reason.
pub const FENCE_WITHIN_SECONDS: u64 = 3600;
/// Hours for which the row of a decision is kept at least. It must outlive every chance that a failover brings a branch back.
pub const RETENTION_HOURS: u64 = 24;
/// Rows that one purge reads, and that one sweep finishes.
pub const ROWS_PER_SWEEP_MAX: usize = 500;
/// Seconds that a fence waits for a coordinator that is about to decide.
pub const FENCE_WAIT_SECONDS: u64 = 1;

/// Makes what the protocol needs on a server; each does nothing where it is there already.
pub const SCHEMA: [&str; 2] = [
    "CREATE DATABASE IF NOT EXISTS _mesh",
    "CREATE TABLE IF NOT EXISTS _mesh.mesh_txn (\
     gtrid VARBINARY(64) NOT NULL PRIMARY KEY, \
     state TINYINT UNSIGNED NOT NULL COMMENT '1 commit, 2 abort, 3 done', \
     coordinator VARBINARY(64) NOT NULL, \
     participants VARBINARY(4096) NOT NULL, \
     changed_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
     KEY state (state, changed_at)) ENGINE=InnoDB",
];

/// Whether [`SCHEMA`] was made already: an account without CREATE can still take part.
pub const SCHEMA_PRESENT: &str = "SELECT COUNT(*) FROM information_schema.tables \
     WHERE table_schema = '_mesh' AND table_name = 'mesh_txn'";

/// The sessions of resolvers: short waits, no gap locks, no transaction left open, and the time zone in which
/// `innodb_trx` tells times.
pub const RESOLVER_SESSION: &str = "SET SESSION innodb_lock_wait_timeout = 1, \
     SESSION transaction_isolation = 'READ-COMMITTED', SESSION autocommit = 1, SESSION time_zone = 'SYSTEM'";

/// Begins a branch.
#[must_use]
pub fn start(xid: &Xid) -> String {
    format!("XA START {}", xid.literal())
}

/// Ends the work of a branch.
#[must_use]
pub fn end(xid: &Xid) -> String {
    format!("XA END {}", xid.literal())
}

/// The promise to commit if told so.
#[must_use]
pub fn prepare(xid: &Xid) -> String {
    format!("XA PREPARE {}", xid.literal())
}

/// Commits a branch that was never prepared.
#[must_use]
pub fn commit_one_phase(xid: &Xid) -> String {
    format!("XA COMMIT {} ONE PHASE", xid.literal())
}

/// Tells a prepared branch its outcome.
#[must_use]
pub fn finish(xid: &Xid, verdict: Verdict) -> String {
    match verdict {
        Verdict::Commit => format!("XA COMMIT {}", xid.literal()),
        Verdict::Rollback => format!("XA ROLLBACK {}", xid.literal()),
    }
}

/// The decision: two statements in one text, the row and the COMMIT of the home shard's own transaction. A server stops at
/// the first that fails, so nothing is committed without the row; and the server's clock makes the row fail
/// ([`crate::code::BAD_NULL`]) when it comes too late. That clock is not the session's, which a client may have set.
#[must_use]
pub fn decide(gtrid: &Gtrid, participants: &[Prepared]) -> String {
    format!("{};{COMMIT}", decision(gtrid, participants))
}

/// The row of a decision, without its COMMIT.
#[must_use]
pub fn decision(gtrid: &Gtrid, participants: &[Prepared]) -> String {
    format!(
        "INSERT /*+ SET_VAR(timestamp=0) */ INTO _mesh.mesh_txn (gtrid, state, coordinator, participants) \
         VALUES (X'{gtrid}', IF(UNIX_TIMESTAMP() < {}, {}, NULL), '{:016x}', '{}')",
        decide_before(gtrid),
        Decision::Commit.number(),
        gtrid.coordinator,
        participants_text(participants),
    )
}

/// Commits a plain transaction.
pub const COMMIT: &str = "COMMIT";

/// The fence: from here on, nobody can decide to commit. Only for one who saw a prepared branch after the home's clock said
/// `clock_s`: then a decision to commit was not done, so its row stays for longer than this text acts (else, no row).
#[must_use]
pub fn fence(gtrid: &Gtrid, clock_s: u64) -> String {
    abort_before(
        gtrid,
        "resolver",
        clock_s.saturating_add(FENCE_WITHIN_SECONDS),
    )
}

/// The fence of a coordinator whose COMMIT got no answer. It may have been stopped for so long that its row was done with
/// and removed, so the server's clock refuses it (no row) when it comes too late: then nobody can tell.
#[must_use]
pub fn fence_in_time(gtrid: &Gtrid) -> String {
    let by = format!("{:016x}", gtrid.coordinator);
    abort_before(gtrid, &by, decide_before(gtrid))
}

fn abort_before(gtrid: &Gtrid, by: &str, before_s: u64) -> String {
    format!(
        "INSERT INTO _mesh.mesh_txn (gtrid, state, coordinator, participants) SELECT X'{gtrid}', {}, '{by}', '' \
         FROM DUAL WHERE UNIX_TIMESTAMP() < {before_s}",
        Decision::Abort.number(),
    )
}

/// Seconds since 1970 after which a transaction must not be decided any more.
const fn decide_before(gtrid: &Gtrid) -> u64 {
    (gtrid.begun_ms / 1000).saturating_add(DECIDE_WITHIN_SECONDS)
}

/// A person's decision, where there is none yet.
#[must_use]
pub fn force(gtrid: &Gtrid, decision: Decision) -> String {
    record(gtrid, decision, "forced")
}

fn record(gtrid: &Gtrid, decision: Decision, by: &str) -> String {
    format!(
        "INSERT INTO _mesh.mesh_txn (gtrid, state, coordinator, participants) VALUES (X'{gtrid}', {}, '{by}', '')",
        decision.number()
    )
}

/// What was decided, for a coordinator whose COMMIT got no answer: nothing when it is so late that the row may be another.
#[must_use]
pub fn read_decision_in_time(gtrid: &Gtrid) -> String {
    format!(
        "SELECT state FROM _mesh.mesh_txn WHERE gtrid = X'{gtrid}' AND UNIX_TIMESTAMP() < {} LOCK IN SHARE MODE",
        decide_before(gtrid)
    )
}

/// What was decided; waits for a coordinator that is about to.
#[must_use]
pub fn read_decision(gtrid: &Gtrid) -> String {
    format!("SELECT state FROM _mesh.mesh_txn WHERE gtrid = X'{gtrid}' LOCK IN SHARE MODE")
}

/// What is prepared on a server; on MariaDB, which prints no other than plain bytes, it is not used.
pub const RECOVER: &str = "XA RECOVER CONVERT XID";

/// The clock of a server, in seconds since 1970.
pub const CLOCK: &str = "SELECT UNIX_TIMESTAMP()";

/// Decisions to commit that nobody has seen to their end, and are old enough for that.
#[must_use]
pub fn undone(older_than_ms: u64) -> String {
    format!(
        "SELECT HEX(gtrid), participants FROM _mesh.mesh_txn WHERE state = {} \
         AND changed_at < NOW(6) - INTERVAL {} MICROSECOND ORDER BY changed_at LIMIT {ROWS_PER_SWEEP_MAX}",
        Decision::Commit.number(),
        older_than_ms.saturating_mul(1000),
    )
}

/// That every branch of these is committed.
#[must_use]
pub fn done(gtrids: &[Gtrid]) -> String {
    let list: Vec<String> = gtrids.iter().map(|g| format!("X'{g}'")).collect();
    format!(
        "UPDATE _mesh.mesh_txn SET state = {}, changed_at = NOW(6) WHERE state = {} AND gtrid IN ({})",
        Decision::Done.number(),
        Decision::Commit.number(),
        list.join(",")
    )
}

/// Whether a server has a transaction: 1 or 0.
#[must_use]
pub fn holds(gtid: &str) -> String {
    // Only what a GTID can be made of: the text came from a server and goes to another.
    let clean: String = gtid
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_' | ','))
        .collect();
    format!("SELECT GTID_SUBSET('{clean}', @@GLOBAL.gtid_executed)")
}

/// Rows that nobody needs any more: old, and no transaction on this server began before them. A coordinator that was
/// stopped could otherwise come back and decide again.
#[must_use]
pub fn purgeable(retention_hours: u64) -> String {
    let hours = retention_hours.max(RETENTION_HOURS);
    format!(
        "SELECT HEX(gtrid) FROM _mesh.mesh_txn WHERE state IN ({}, {}) \
         AND changed_at < NOW(6) - INTERVAL {hours} HOUR \
         AND changed_at < COALESCE((SELECT MIN(trx_started) FROM information_schema.innodb_trx), NOW(6)) \
         ORDER BY changed_at LIMIT {ROWS_PER_SWEEP_MAX}",
        Decision::Abort.number(),
        Decision::Done.number(),
    )
}

/// How many rows transactions hold that have no session: those of prepared branches. A row that was inserted is held
/// without a lock.
pub const LOCKED_ROWS: &str = "SELECT COALESCE(SUM(GREATEST(trx_rows_locked, trx_rows_modified)), 0) FROM information_schema.innodb_trx \
     WHERE trx_mysql_thread_id = 0";

/// Removes those rows.
#[must_use]
pub fn purge(gtrids: &[Gtrid]) -> String {
    let list: Vec<String> = gtrids.iter().map(|g| format!("X'{g}'")).collect();
    format!(
        "DELETE FROM _mesh.mesh_txn WHERE gtrid IN ({})",
        list.join(",")
    )
}

/// A participant that promised to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The shard.
    pub shard: Shard,
    /// The global transaction id of its XA PREPARE, where the server told.
    pub gtid: Option<String>,
}

/// The column `participants`: `shard=gtid;shard=gtid`.
fn participants_text(participants: &[Prepared]) -> String {
    let one = |p: &Prepared| {
        let shard = hex(&p.shard.0.to_be_bytes());
        let gtid: String = p
            .gtid
            .iter()
            .flat_map(|g| g.chars())
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_' | ','))
            .collect();
        format!("{shard}={gtid}")
    };
    let parts: Vec<String> = participants.iter().map(one).collect();
    parts.join(";")
}

/// Reads the column `participants`; what is not readable is left out, and its transaction is then not marked done.
#[must_use]
pub fn participants_of(text: &str) -> Option<Vec<Prepared>> {
    let one = |part: &str| {
        let (shard, gtid) = part.split_once('=')?;
        let shard: [u8; 4] = unhex(shard).ok()?.try_into().ok()?;
        Some(Prepared {
            shard: Shard(u32::from_be_bytes(shard)),
            gtid: (!gtid.is_empty()).then(|| gtid.to_owned()),
        })
    };
    text.split(';').filter(|p| !p.is_empty()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_come_back() {
        let given = vec![
            Prepared {
                shard: Shard(1),
                gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:23".to_owned()),
            },
            Prepared {
                shard: Shard(0xffff_ffff),
                gtid: None,
            },
        ];
        assert_eq!(participants_of(&participants_text(&given)), Some(given));
        assert_eq!(participants_of("zz=1"), None);
        assert_eq!(participants_of(""), Some(Vec::new()));
    }

    #[test]
    fn no_text_of_a_server_leaves_its_quotes() {
        let evil = vec![Prepared {
            shard: Shard(1),
            gtid: Some("x'); DROP TABLE t -- ".to_owned()),
        }];
        assert_eq!(participants_text(&evil), "00000001=xDROPTABLEt--");
        assert!(!holds("a' OR 1").contains("a'"));
    }

    #[test]
    fn most_participants_fit_their_column() {
        let gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag_of_thirty_two_letters_in_all:9223372036854775807";
        let many = vec![
            Prepared {
                shard: Shard(1),
                gtid: Some(gtid.to_owned()),
            };
            crate::promise::PARTICIPANTS_MAX
        ];
        assert!(participants_text(&many).len() <= 4096);
    }
}
