//! READ ONLY transactions at replicas: every statement in them has the primary's own answer, or is refused, and none of them
//! binds the session to a server that takes no writes.

use dbmesh_testkit::fleet::Fleet;
use dbmesh_testkit::server::Kind;

use crate::faultkit::client::{RawClient, Reply, error_packet};
use crate::faultkit::stage::Stage;
use crate::{KINDS, ask, before, fleet, replica_ids, server_id, with};

const BEGIN: &str = "START TRANSACTION READ ONLY";
const READ: &str = "SELECT v FROM app.t WHERE id = 1";
const WRITE: &str = "INSERT INTO app.w (v) VALUES (1)";
/// dbmesh's own refusal.
const REFUSED: u16 = 1105;

/// What leaves something at its server, or must be where the data is written.
const ACTS: [&str; 17] = [
    "EXPLAIN UPDATE app.t SET v = 0",
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
    "UPDATE app.t SET v = 0",
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

const CLEAN_UP: [&str; 7] = [
    "XA END 'x'",
    "XA ROLLBACK 'x'",
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

/// Everything as at the primary, to the word.
fn same(fleet: &Fleet, stage: &Stage, script: &[&str]) {
    let expected = run(&mut RawClient::app(fleet.primary().port()), script);
    let answered = run(&mut RawClient::app(stage.port), script);
    assert_eq!(answered, expected, "{script:#?}");
}

/// Transactions that only read because of something else, or go on in another way; `R` reads, `W` writes.
const SCRIPTS: [&str; 6] = [
    "SET TRANSACTION READ ONLY; BEGIN; R; W; SELECT app.f(); COMMIT; R; W",
    "SET SESSION TRANSACTION READ ONLY; BEGIN; R; SELECT @a := 5; W; COMMIT; W; R; START TRANSACTION READ ONLY; R; W; \
     CREATE TABLE app.zz (i INT); W; SET SESSION TRANSACTION READ WRITE; W",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY; W; R; COMMIT; W",
    "START TRANSACTION READ ONLY; R; COMMIT AND CHAIN; R; W; ROLLBACK AND CHAIN; R; COMMIT; W",
    "START TRANSACTION READ ONLY; R; SET autocommit = 0; COMMIT; R; W; ROLLBACK; SET autocommit = 1; W",
    "START TRANSACTION READ ONLY; SAVEPOINT a; R; ROLLBACK TO a; SELECT nothing; ROLLBACK TO b; W; ROLLBACK; W",
];

#[test]
fn read_only_transactions_of_every_other_kind_are_the_primary_s() {
    for kind in KINDS {
        let (fleet, stage) = ground(kind);
        for script in SCRIPTS {
            let statements = script.split("; ").map(|sql| match sql {
                "R" => READ,
                "W" => WRITE,
                sql => sql,
            });
            same(&fleet, &stage, &statements.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_lock_that_is_asked_for_first_is_held_against_everybody() {
    for kind in KINDS {
        let (fleet, stage) = ground(kind);
        let lock = "SELECT GET_LOCK('held', 0)";
        let (mut one, mut other) = (RawClient::app(stage.port), RawClient::app(stage.port));
        assert_eq!(one.query(BEGIN), Reply::Ok);
        assert_eq!(one.query(lock).value(), "1", "{kind:?}");
        assert_eq!(other.query(lock).value(), "0", "{kind:?}");
        let primary = ask(fleet.primary(), "SELECT @@server_id");
        assert_eq!(
            server_id(&mut one),
            primary,
            "{kind:?}: it began anew there"
        );
        assert_eq!(one.query("COMMIT"), Reply::Ok);
        assert_eq!(other.query(lock).value(), "0", "{kind:?}");
        assert_eq!(one.query(WRITE), Reply::Ok);
        assert_eq!(one.query("SELECT RELEASE_LOCK('held')").value(), "1");
        assert_eq!(other.query(lock).value(), "1", "{kind:?}");
    }
}

#[test]
fn a_refused_statement_leaves_the_transaction_where_it_reads() {
    for kind in KINDS {
        let (fleet, stage) = ground(kind);
        let replicas = replica_ids(&fleet);
        let mut client = RawClient::app(stage.port);
        assert_eq!(client.query(BEGIN), Reply::Ok);
        let reader = server_id(&mut client);
        assert!(replicas.contains(&reader), "{kind:?}");
        let explained = client.query("EXPLAIN MESH SELECT GET_LOCK('g', 0)");
        let foretold = "nowhere: the READ ONLY transaction reads at";
        assert!(format!("{explained:?}").contains(foretold), "{explained:?}");
        for refused in ACTS {
            let reply = client.query(refused);
            assert_eq!(reply.code(), Some(REFUSED), "{kind:?}: {refused}");
            assert_eq!(server_id(&mut client), reader, "{kind:?}: {refused}");
        }
        for write in WRITES {
            assert_eq!(client.query(write).code(), Some(1792), "{kind:?}: {write}");
        }
        assert_eq!(server_id(&mut client), reader, "{kind:?}");
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(client.query(WRITE), Reply::Ok, "{kind:?}");
    }
}

/// Prepares a statement without columns and parameters: its id.
fn prepare(client: &mut RawClient, sql: &str) -> Result<Vec<u8>, Reply> {
    client.command(&[b"\x16", sql.as_bytes()].concat());
    let answer = client.packet().unwrap();
    match answer[0] {
        0 => Ok(answer[1..5].to_vec()),
        _ => Err(Reply::Error(error_packet(&answer))),
    }
}

fn execute(client: &mut RawClient, prepared: Result<Vec<u8>, Reply>) -> Reply {
    match prepared {
        Ok(id) => {
            client.command(&[b"\x17", &id[..], &[0, 1, 0, 0, 0]].concat());
            client.reply()
        }
        Err(reply) => reply,
    }
}

#[test]
fn prepared_statements_are_treated_alike() {
    for kind in KINDS {
        let (fleet, stage) = ground(kind);
        let texts = [
            WRITE,
            "CREATE TABLE app.zz (i INT)",
            "DO GET_LOCK('g', 0)",
            "DO SLEEP(0)",
        ];
        for (sql, case) in texts
            .iter()
            .flat_map(|sql| (0..4).map(move |case| (sql, case)))
        {
            let (read, early) = (case & 1 == 1, case & 2 == 2);
            let run = |port: u16| {
                let mut client = RawClient::app(port);
                let before = early.then(|| prepare(&mut client, sql));
                let mut replies = vec![client.query(BEGIN)];
                replies.extend(read.then(|| client.query(READ)));
                let prepared = before.unwrap_or_else(|| prepare(&mut client, sql));
                replies.push(execute(&mut client, prepared));
                replies.extend(run(&mut client, &[READ, "COMMIT", WRITE]));
                replies
            };
            let (expected, answered) = (run(fleet.primary().port()), run(stage.port));
            let what = format!("{kind:?}, read {read}, prepared before {early}: {sql}");
            if read && sql.contains("LOCK") {
                assert_eq!(answered[2].code(), Some(REFUSED), "{what}");
                assert_eq!(answered[3..], expected[3..], "{what}");
            } else {
                assert_eq!(answered, expected, "{what}");
            }
        }
    }
}

#[test]
fn nothing_binds_a_session_whose_reads_are_split_off_to_a_replica() {
    for kind in KINDS {
        let (fleet, stage) = ground(kind);
        for statement in [&ACTS[..], &COMMITS, &WRITES, &STAYS].concat() {
            same(
                &fleet,
                &stage,
                &[READ, statement, READ, WRITE, READ, "COMMIT", WRITE],
            );
        }
    }
}

#[test]
fn connections_that_are_never_shared_bind_no_session_to_a_replica() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let stage = with(&fleet, "{static: {}, consistency: eventual}", |config| {
            config.service("pool: {multiplexing: session}")
        });
        let replicas = replica_ids(&fleet);
        let mut client = RawClient::app(stage.port);
        assert!(replicas.contains(&server_id(&mut client)), "{kind:?}");
        let write = "UPDATE app.t SET v = v + 1";
        assert_eq!(client.query(write), Reply::Ok, "{kind:?}");
    }
}
