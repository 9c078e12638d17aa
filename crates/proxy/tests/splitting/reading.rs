//! READ ONLY transactions at replicas: every statement in them has the primary's own answer, or is refused, and none of them
//! binds the session to a server that takes no writes.

use dbmesh_testkit::fleet::Fleet;
use dbmesh_testkit::server::Kind;

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::stage::Stage;
use crate::{KINDS, before, fleet};

const BEGIN: &str = "START TRANSACTION READ ONLY";
const READ: &str = "SELECT v FROM app.t WHERE id = 1";
const WRITE: &str = "INSERT INTO app.w (v) VALUES (1)";
/// dbmesh's own refusal.
const REFUSED: u16 = 1105;

/// What leaves something at its server, or must be where the data is written.
const ACTS: [&str; 16] = [
    "SELECT GET_LOCK('g', 0)",
    "DO GET_LOCK('g', 0)",
    "SELECT RELEASE_LOCK('g')",
    "SELECT @a := 5",
    "SELECT v INTO @b FROM app.t WHERE id = 1",
    "SELECT app.f()",
    "SELECT LAST_INSERT_ID(7)",
    "SELECT v FROM app.t FOR UPDATE",
    "SELECT v FROM app.t LOCK IN SHARE MODE",
    "CREATE TEMPORARY TABLE app.tmp (i INT)",
    "PREPARE s FROM 'SELECT 1'",
    "HANDLER app.t OPEN",
    "CALL app.p()",
    "SET @a = (SELECT MAX(v) FROM app.t)",
    "SET TRANSACTION READ ONLY",
    "XA START 'x'",
];

/// What commits before it runs.
const COMMITS: [&str; 8] = [
    "BEGIN",
    "START TRANSACTION",
    "START TRANSACTION READ ONLY",
    "START TRANSACTION READ WRITE",
    "CREATE TABLE app.zz (i INT)",
    "TRUNCATE TABLE app.w",
    "ANALYZE TABLE app.t",
    "LOCK TABLES app.w WRITE, app.t READ",
];

const WRITES: [&str; 5] = [
    WRITE,
    "UPDATE app.t SET v = 7",
    "DELETE FROM app.w",
    "REPLACE INTO app.w (id, v) VALUES (1, 1)",
    "INSERT INTO app.w (v) SELECT v FROM app.t",
];

/// What reads, and leaves nothing that another connection cannot have.
const STAYS: [&str; 14] = [
    "SELECT COUNT(*) FROM app.t",
    "SHOW TABLES FROM app",
    "SHOW WARNINGS",
    "EXPLAIN SELECT v FROM app.t",
    "DO SLEEP(0)",
    "SET @c = 1",
    "SET time_zone = '+01:00'",
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION READ ONLY",
    "USE app",
    "UNLOCK TABLES",
    "SAVEPOINT a",
    "SET autocommit = 0",
    "SELECT nothing FROM app.t",
];

/// After whatever came before: the transaction goes on, ends, and the session writes.
const REST: [&str; 8] = [
    READ,
    "COMMIT",
    READ,
    WRITE,
    "COMMIT",
    "SET SESSION TRANSACTION READ WRITE",
    WRITE,
    "COMMIT",
];

const CLEAN_UP: [&str; 5] = [
    "ROLLBACK",
    "SELECT RELEASE_ALL_LOCKS()",
    "UNLOCK TABLES",
    "DROP TEMPORARY TABLE IF EXISTS app.tmp",
    "DROP TABLE IF EXISTS app.zz",
];

fn ground(kind: Kind) -> (Fleet, Stage) {
    let fleet = fleet(kind);
    for sql in [
        "CREATE TABLE app.w (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
        "CREATE FUNCTION app.f() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE PROCEDURE app.p() SET @p = 1",
        "GRANT ALL ON *.* TO app",
    ] {
        fleet.primary().execute(sql).unwrap();
    }
    let revoked = match kind {
        Kind::MySql => {
            "REVOKE SUPER, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN, PERSIST_RO_VARIABLES_ADMIN ON *.* FROM app"
        }
        Kind::MariaDb => "REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM app",
    };
    fleet.primary().execute(revoked).unwrap();
    fleet.wait_until_caught_up().unwrap();
    let splitting = "{static: {}, transactionalRead: replica}";
    let stage = before(&fleet, splitting);
    (fleet, stage)
}

fn run(client: &mut RawClient, script: &[&str]) -> Vec<Reply> {
    let replies = script.iter().map(|sql| client.query(sql)).collect();
    for sql in CLEAN_UP {
        client.query(sql);
    }
    replies
}

#[test]
fn every_statement_of_a_read_only_transaction_is_the_primary_s_or_refused() {
    for kind in KINDS {
        let (fleet, stage) = ground(kind);
        let all = [&ACTS[..], &COMMITS, &WRITES, &STAYS].concat();
        for (read, statement) in all.iter().flat_map(|sql| [(false, sql), (true, sql)]) {
            let mut script = vec![BEGIN];
            script.extend(read.then_some(READ));
            let at = script.len();
            script.push(statement);
            script.extend(REST);
            let expected = run(&mut RawClient::app(fleet.primary().port()), &script);
            let answered = run(&mut RawClient::app(stage.port), &script);
            let refused = read && ACTS.contains(statement);
            for (place, sql) in script.iter().enumerate() {
                let what = format!("{kind:?}, read {read}: {statement}, then {sql}");
                if place == at && refused {
                    assert_eq!(
                        answered[place].code(),
                        Some(REFUSED),
                        "{what}: {answered:?}"
                    );
                } else {
                    assert_eq!(answered[place], expected[place], "{what}: {answered:?}");
                }
            }
        }
    }
}
