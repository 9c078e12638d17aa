//! The words of transactions over several nodes: what a node hears that joins, and names of savepoints.
//!
//! Owns texts only. Names come from clients, so they are quoted anew.

use dbmesh_commit::{Gtrid, Savepoints, Shard, Xid, sql};
use dbmesh_sql::Verb;

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
    begun: &[Box<[u8]>],
    xid: Option<&Xid>,
    savepoints: &Savepoints,
) -> Vec<String> {
    let text = |sql: &[u8]| String::from_utf8_lossy(sql).into_owned();
    let is_set = |sql: &[u8]| {
        sql.get(..3)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"set"))
    };
    let sets = begun.iter().filter(|sql| is_set(sql));
    let sets = sets.map(|sql| text(sql));
    let mut texts: Vec<String> = sets.collect();
    match xid {
        Some(xid) => texts.push(sql::start(xid)),
        None => {
            let begins: Vec<String> = begun
                .iter()
                .filter(|sql| !is_set(sql))
                .map(|sql| text(sql))
                .collect();
            match begins.is_empty() {
                true => texts.push("START TRANSACTION".to_owned()),
                false => texts.extend(begins),
            }
        }
    }
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
        let begun: Vec<Box<[u8]>> = vec![
            (*b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").into(),
            (*b"BEGIN").into(),
        ];
        let plain = [
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "BEGIN",
            "SAVEPOINT `s`",
        ];
        assert_eq!(joining(&begun, None, &savepoints), plain);
        let xid = Xid {
            gtrid: NOBODY,
            branch: Shard(1),
        };
        let branch = joining(&begun, Some(&xid), &savepoints);
        assert!(branch.iter().any(|text| text.starts_with("XA START X'")));
        assert!(!branch.iter().any(|text| text == "BEGIN"));
        assert_eq!(
            joining(&[], None, &Savepoints::default()),
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
