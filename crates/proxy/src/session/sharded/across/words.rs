//! The words of transactions over several nodes: what a node hears that joins, and names of savepoints.
//!
//! Owns texts only. Names come from clients, so they are quoted anew.

use dbmesh_commit::{Gtrid, Savepoints, Shard, Xid};
use dbmesh_sql::Verb;

use super::super::characteristics::Characteristics;
use crate::fault::Fault;

/// The name of a transaction that needs none.
pub(super) const NOBODY: Gtrid = Gtrid {
    mesh: 0,
    home: Shard(0),
    coordinator: 0,
    epoch: 0,
    sequence: 0,
    begun_ms: 0,
};

/// What a node hears that joins: the transaction's characteristics, its beginning, its savepoints.
pub(super) fn joining(
    begun: Characteristics,
    xid: Option<&Xid>,
    savepoints: &Savepoints,
) -> Vec<String> {
    let mut texts = match xid {
        Some(xid) => begun.beginning_branch(xid),
        None => begun.beginning(),
    };
    texts.extend(
        savepoints
            .alive()
            .map(|name| of_savepoint(Verb::Savepoint, name)),
    );
    texts
}

/// The name in `SAVEPOINT name`, `ROLLBACK TO [SAVEPOINT] name`, `RELEASE SAVEPOINT name`.
pub(super) fn savepoint(text: &[u8]) -> Result<String, String> {
    let refused = || "a savepoint whose name cannot be read: write it without comments".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| refused())?;
    let text = text.trim().trim_end_matches(';').trim_end();
    if text.contains("/*") || text.contains('#') || text.contains("--") {
        return Err(refused());
    }
    let name = match text.strip_suffix('`') {
        Some(rest) => rest
            .rsplit_once('`')
            .filter(|(before, _)| !before.contains('`'))
            .map(|(_, name)| name),
        None => text.rsplit(char::is_whitespace).next(),
    };
    let name = name.filter(|name| !name.is_empty() && !name.contains('`'));
    name.map(str::to_owned).ok_or_else(refused)
}

/// A statement on a savepoint.
pub(super) fn of_savepoint(verb: Verb, name: &str) -> String {
    match verb {
        Verb::Savepoint => format!("SAVEPOINT `{name}`"),
        Verb::RollbackTo => format!("ROLLBACK TO SAVEPOINT `{name}`"),
        _ => format!("RELEASE SAVEPOINT `{name}`"),
    }
}

/// As a server says it.
pub(super) fn no_savepoint(name: &str) -> Fault {
    Fault::Server {
        code: 1305,
        sqlstate: "42000".to_owned(),
        message: format!("SAVEPOINT {name} does not exist"),
    }
}

pub(super) fn too_many() -> Fault {
    Fault::Sharding("too many savepoints in one transaction".to_owned())
}

#[cfg(test)]
mod tests {
    use dbmesh_sql::effects::{AccessMode, Isolation};

    use super::*;

    #[test]
    fn names_of_savepoints_are_read() {
        for (text, name) in [
            ("SAVEPOINT a", Ok("a")),
            ("rollback work to savepoint `A b` ;", Ok("A b")),
            ("ROLLBACK TO\n x_1;", Ok("x_1")),
            ("RELEASE SAVEPOINT ß", Ok("ß")),
            ("SAVEPOINT a /* b */", Err(())),
            ("SAVEPOINT `a``b`", Err(())),
        ] {
            let found = savepoint(text.as_bytes());
            assert_eq!(found.as_deref().map_err(|_| ()), name, "{text}");
        }
    }

    #[test]
    fn a_node_that_joins_hears_what_the_first_one_heard() {
        let mut savepoints = Savepoints::default();
        savepoints.set("s").expect("few");
        let begun = Characteristics {
            isolation: Some(Isolation::Serializable),
            access: Some(AccessMode::ReadWrite),
        };
        let plain = [
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "START TRANSACTION READ WRITE",
            "SAVEPOINT `s`",
        ];
        assert_eq!(joining(begun, None, &savepoints), plain);
        let xid = Xid {
            gtrid: NOBODY,
            branch: Shard(1),
        };
        let branch = joining(begun, Some(&xid), &savepoints);
        let both = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE";
        assert_eq!(branch[0], both);
        assert!(branch[1].starts_with("XA START X'"), "{branch:?}");
        assert_eq!(branch[2..], ["SAVEPOINT `s`"]);
        assert_eq!(
            joining(Characteristics::default(), None, &Savepoints::default()),
            ["START TRANSACTION"]
        );
    }

    #[test]
    fn what_was_rolled_back_may_be_tried_again_and_the_session_goes_on() {
        let rolled_back = Fault::RolledBack("w".into());
        assert_eq!(rolled_back.code(), (3101, "40000"));
        assert_eq!(rolled_back.after(), crate::fault::After::Continue);
    }
}
