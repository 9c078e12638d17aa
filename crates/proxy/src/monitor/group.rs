//! What a member of a MySQL replication group says of itself and of the others.
//!
//! Owns the question and the reading of its answer. It must never take a member for the primary that is cut off from most of
//! its group: it goes on reporting itself ONLINE, PRIMARY and writable, while its commits wait and the others elect another
//! one. Input: the rows of `performance_schema.replication_group_members` at one server.

use dbmesh_model::topology::Role;

use super::cell;
use crate::backend::NamedRow;
use crate::standing::{Astray, Lag};

/// Whether the server knows of groups; an error where the plugin is not loaded.
pub(super) const KNOWS: &str = "SELECT @@global.group_replication_group_name AS name";
/// The error of a server that does not: `ER_UNKNOWN_SYSTEM_VARIABLE`.
pub(super) const KNOWS_NOT: u16 = 1193;

/// The members as this server sees them.
pub(super) const MEMBERS: &str = "SELECT MEMBER_ID = @@server_uuid AS own, MEMBER_STATE AS state, MEMBER_ROLE AS role \
     FROM performance_schema.replication_group_members";

/// How many transactions wait to be applied here, and how old the last one that was is.
pub(super) const QUEUE: &str = "SELECT s.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE AS queued, \
     (SELECT TIMESTAMPDIFF(MICROSECOND, MAX(LAST_APPLIED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP), NOW(6)) \
        FROM performance_schema.replication_applier_status_by_worker \
       WHERE CHANNEL_NAME = 'group_replication_applier') AS behind_us \
     FROM performance_schema.replication_group_member_stats s WHERE s.MEMBER_ID = @@server_uuid";

/// What a server is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// It is in none.
    None,
    /// It is in step with most of the group, in this role.
    Member(Role),
    /// It is of no use, for this reason.
    Astray(Astray),
}

/// What the rows say.
pub(super) fn membership(rows: &[NamedRow]) -> Membership {
    let is = |row: &NamedRow, name: &str, text: &[u8]| {
        cell(Some(row), name).is_some_and(|value| value.eq_ignore_ascii_case(text))
    };
    let Some(own) = rows.iter().find(|row| is(row, "own", b"1")) else {
        return Membership::None;
    };
    if is(own, "state", b"OFFLINE") {
        // It left the group, or has not joined: its read_only says the rest.
        return Membership::None;
    }
    if !is(own, "state", b"ONLINE") {
        return Membership::Astray(match is(own, "state", b"RECOVERING") {
            true => Astray::Joining,
            false => Astray::Failed,
        });
    }
    let lost = rows.iter().filter(|row| is(row, "state", b"UNREACHABLE"));
    if lost.count() * 2 >= rows.len() {
        return Membership::Astray(Astray::Minority);
    }
    Membership::Member(match is(own, "role", b"PRIMARY") {
        true => Role::Primary,
        false => Role::Replica,
    })
}

/// How far behind a member is that is in step with its group.
pub(super) fn lag(rows: &[NamedRow]) -> Lag {
    let number = |name: &str| -> Option<u64> {
        let text = cell(rows.first(), name)?;
        std::str::from_utf8(text).ok()?.parse().ok()
    };
    match number("queued") {
        None => Lag::Unknown,
        Some(0) => Lag::Behind(0),
        // Something waits: what was applied last tells how old it is at most.
        Some(_) => number("behind_us").map_or(Lag::Unknown, |us| Lag::Behind(us / 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<NamedRow> {
        text.split_whitespace()
            .map(|member| {
                let parts: Vec<&str> = member.split('/').collect();
                ["own", "state", "role"]
                    .iter()
                    .zip(parts)
                    .map(|(k, v)| ((*k).to_owned(), Some(v.as_bytes().to_vec())))
                    .collect()
            })
            .collect()
    }

    /// Recorded from MySQL 9.7: own, state, role of every member, as one of them sees it.
    #[test]
    fn views_of_a_group() {
        let member = Membership::Member;
        let astray = Membership::Astray;
        for (view, expected) in [
            ("", Membership::None),
            ("1/OFFLINE/", Membership::None),
            (
                "0/ONLINE/SECONDARY 1/ONLINE/PRIMARY 0/ONLINE/SECONDARY",
                member(Role::Primary),
            ),
            (
                "1/ONLINE/SECONDARY 0/ONLINE/PRIMARY 0/ONLINE/SECONDARY",
                member(Role::Replica),
            ),
            // The primary lost two of two others, and still calls itself that.
            (
                "0/UNREACHABLE/SECONDARY 1/ONLINE/PRIMARY 0/UNREACHABLE/SECONDARY",
                astray(Astray::Minority),
            ),
            (
                "0/UNREACHABLE/SECONDARY 1/ONLINE/PRIMARY 0/ONLINE/SECONDARY",
                member(Role::Primary),
            ),
            // Half is no majority.
            (
                "1/ONLINE/SECONDARY 0/UNREACHABLE/PRIMARY",
                astray(Astray::Minority),
            ),
            (
                "1/RECOVERING/SECONDARY 0/ONLINE/PRIMARY",
                astray(Astray::Joining),
            ),
            ("1/ERROR/", astray(Astray::Failed)),
            ("1/ONLINE/PRIMARY", member(Role::Primary)),
        ] {
            assert_eq!(membership(&rows(view)), expected, "{view}");
        }
    }

    #[test]
    fn only_what_waits_is_behind() {
        let row = |queued: &str, us: Option<&str>| -> Vec<NamedRow> {
            let own = |v: &str| Some(v.as_bytes().to_vec());
            vec![
                [
                    ("queued".to_owned(), own(queued)),
                    ("behind_us".to_owned(), us.and_then(own)),
                ]
                .into_iter()
                .collect(),
            ]
        };
        assert_eq!(lag(&row("0", Some("3552081"))), Lag::Behind(0));
        assert_eq!(lag(&row("7", Some("3552081"))), Lag::Behind(3_552));
        assert_eq!(lag(&row("7", None)), Lag::Unknown);
        assert_eq!(lag(&[]), Lag::Unknown);
    }
}
