//! What may be promised: the policy that is asked for, and what keeps a server from it.
//!
//! Owns the settings that an atomic commit rests on, each with what goes wrong without it. It must never call a commit
//! atomic that a crash can tear. Input: the values of a server's variables, as text.

use std::fmt;

/// Shards that one transaction may write to.
pub const PARTICIPANTS_MAX: usize = 32;
/// The first version of MySQL whose prepared branches survive a crash together with the binary log.
const MYSQL_MIN: (u32, u32, u32) = (8, 0, 30);

/// How a transaction of several shards ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// All or none, also over crashes.
    Atomic,
    /// One COMMIT after the other: a crash between two of them leaves part of it.
    #[default]
    BestEffort,
    /// A second shard is refused.
    Single,
}

impl Policy {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::BestEffort => "bestEffort",
            Self::Single => "single",
        }
    }
}

/// What keeps a server from an atomic commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortfall {
    /// MariaDB: its binary log and its prepared branches do not survive a crash together.
    MariaDb,
    /// MySQL before 8.0.30.
    OldVersion,
    /// `xa_detach_on_prepare` is off.
    NotDetached,
    /// `sync_binlog` is not 1.
    BinlogNotSynced,
    /// `innodb_flush_log_at_trx_commit` is not 1.
    RedoNotFlushed,
    /// The account may not list prepared branches.
    NoXaRecoverAdmin,
    /// The table of decisions is missing and cannot be made.
    NoSchema,
}

impl Shortfall {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::MariaDb => {
                "MariaDB's prepared branches and its binary log are not crash-safe together: use the policy bestEffort"
            }
            Self::OldVersion => "use MySQL 8.0.30 or later",
            Self::NotDetached => "SET PERSIST xa_detach_on_prepare = ON",
            Self::BinlogNotSynced => "SET PERSIST sync_binlog = 1",
            Self::RedoNotFlushed => "SET PERSIST innodb_flush_log_at_trx_commit = 1",
            Self::NoXaRecoverAdmin => {
                "GRANT XA_RECOVER_ADMIN ON *.* to the account of the endpoint"
            }
            Self::NoSchema => {
                "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON _mesh.* to the account of the endpoint"
            }
        }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::OldVersion => "a version before 8.0.30",
            Self::NotDetached => "xa_detach_on_prepare is off",
            Self::BinlogNotSynced => "sync_binlog is not 1",
            Self::RedoNotFlushed => "innodb_flush_log_at_trx_commit is not 1",
            Self::NoXaRecoverAdmin => "the account lacks XA_RECOVER_ADMIN",
            Self::NoSchema => "the table _mesh.mesh_txn is missing",
        })
    }
}

/// Asks a server of MySQL for what [`shortfalls`] reads, in that order.
pub const SETTINGS: &str = "SELECT VERSION(), @@GLOBAL.xa_detach_on_prepare, @@GLOBAL.sync_binlog, \
     @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.log_bin";

/// What a server of MySQL lacks, from the row of [`SETTINGS`].
#[must_use]
pub fn shortfalls(row: &[&str]) -> Vec<Shortfall> {
    let at = |index: usize| row.get(index).copied().unwrap_or_default();
    let mut found = Vec::new();
    if version(at(0)) < MYSQL_MIN {
        found.push(Shortfall::OldVersion);
    }
    if !on(at(1)) {
        found.push(Shortfall::NotDetached);
    }
    if on(at(4)) && at(2) != "1" {
        found.push(Shortfall::BinlogNotSynced);
    }
    if at(3) != "1" {
        found.push(Shortfall::RedoNotFlushed);
    }
    found
}

fn on(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("on")
}

fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_judged_one_by_one() {
        assert_eq!(shortfalls(&["9.7.4-2", "1", "1", "1", "1"]), []);
        assert_eq!(shortfalls(&["8.0.30", "ON", "0", "1", "0"]), []);
        assert_eq!(
            shortfalls(&["8.0.29", "0", "0", "2", "1"]),
            [
                Shortfall::OldVersion,
                Shortfall::NotDetached,
                Shortfall::BinlogNotSynced,
                Shortfall::RedoNotFlushed
            ]
        );
        assert!(
            !shortfalls(&[]).is_empty(),
            "what is not known is not promised"
        );
    }
}
