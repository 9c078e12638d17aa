//! What ends a transaction over several nodes, and what does not.

use dbmesh_testkit::Kind;

use crate::ground::{Answer, Ground, KINDS, Options};

/// Each between a change of rows of all nodes and ROLLBACK, without autocommit; those behind `!` may be refused.
const BETWEEN: [&str; 34] = [
    "SET autocommit = 0",
    "SET @@session.autocommit = OFF",
    "SET LOCAL autocommit = FALSE, sql_mode = DEFAULT",
    "SET autocommit = 1",
    "!SET autocommit = 1 - 1",
    "!SET autocommit = 7",
    "!SET autocommit = 1, nosuch = 1",
    "!SET GLOBAL autocommit = @@GLOBAL.autocommit",
    "UNLOCK TABLES",
    "COMMIT",
    "COMMIT WORK;",
    "COMMIT AND NO CHAIN",
    "COMMIT WORK x",
    "COMMIT CHAIN",
    "COMMIT AND",
    "COMMIT RELEASE x",
    "ROLLBACK x",
    "BEGIN",
    "START TRANSACTION",
    "START TRANSACTION x",
    "START TRANSACTION READ",
    "START TRANSACTION READ ONLY, READ WRITE",
    "DROP TABLE",
    "CREATE TABLE",
    "TRUNCATE",
    "ALTER TABLE",
    "CREATE INDEX",
    "CREATE DATABASE",
    "UNLOCK",
    "FLUSH",
    "ANALYZE",
    "!RENAME TABLE t_user TO t_other, t_other TO t_user",
    "CREATE TABLE IF NOT EXISTS t_dict (id INT PRIMARY KEY)",
    "DO 1",
];

fn options(kind: Kind) -> Options {
    let data_shard: &[&str] = match kind {
        Kind::MySql => &[
            "transactions: {acrossNodes: atomic}",
            "defaults: {node: ds_0}",
        ],
        Kind::MariaDb => &[
            "transactions: {acrossNodes: bestEffort}",
            "defaults: {node: ds_0}",
        ],
    };
    Options {
        data_shard,
        durable: kind == Kind::MySql,
        ..Options::default()
    }
}

#[test]
fn only_what_ends_it_on_one_server_ends_it() {
    for kind in KINDS {
        let ground = Ground::new(kind, &options(kind));
        ground.both("INSERT INTO t_user VALUES (1, 'a', 0), (2, 'b', 0), (5, 'c', 0), (6, 'd', 0)");
        for (begin, between) in ["SET autocommit = 0", "BEGIN"]
            .into_iter()
            .flat_map(|begin| BETWEEN.map(|between| (begin, between)))
        {
            let (mut mesh, mut one) = (ground.mesh(), ground.one());
            for sql in [begin, "UPDATE t_user SET score = score + 1"] {
                mesh.ask(sql);
                one.ask(sql);
            }
            let text = between.trim_start_matches('!');
            let (ours, theirs) = (mesh.ask(text), one.ask(text));
            let refused = between != text && ours == Answer::Error(1235);
            let code = |answer: &Answer| match answer {
                Answer::Error(code) => Some(*code),
                _ => None,
            };
            if !refused {
                assert_eq!(code(&ours), code(&theirs), "{kind:?}: {begin}; {between}");
            }
            mesh.ask("ROLLBACK");
            one.ask("ROLLBACK");
            match refused && code(&theirs).is_none() {
                false => ground.both("SELECT * FROM t_user ORDER BY user_id"),
                // What is refused leaves the transaction open.
                true => {
                    let kept = mesh.ask("SELECT MAX(score) FROM t_user");
                    assert_eq!(kept.rows(), [[Some("0".to_owned())]], "{kind:?}: {between}");
                }
            }
            drop((mesh, one));
            for mut client in [ground.mesh(), ground.one()] {
                client.ask("UPDATE t_user SET score = 0").done();
            }
        }
    }
}

#[test]
fn what_only_the_connection_has_stays_the_session_s_own() {
    for kind in KINDS {
        let options = Options {
            pool_size: 1,
            ..options(kind)
        };
        let ground = Ground::new(kind, &options);
        ground.both("INSERT INTO t_user VALUES (1, 'a', 0), (2, 'b', 0), (5, 'c', 0), (6, 'd', 0)");
        ground.servers[0]
            .execute("CREATE TABLE shop_0.own (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))")
            .unwrap();
        for end in ["COMMIT", "ROLLBACK"] {
            let mut mesh = ground.mesh();
            for sql in [
                "START TRANSACTION",
                "SELECT COUNT(*) FROM t_user",
                "CREATE TEMPORARY TABLE own (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20))",
                "INSERT INTO own (v) VALUES ('secret')",
                end,
            ] {
                let answer = mesh.ask(sql);
                assert!(
                    !matches!(answer, Answer::Error(_)),
                    "{kind:?}: {sql} {answer:?}"
                );
            }
            drop(mesh);
            let mut other = ground.mesh();
            assert_eq!(other.ask("INSERT INTO own (v) VALUES ('mine')").done(), 1);
            let rows = other.ask("SELECT v FROM own");
            assert_eq!(rows.rows(), [[Some("mine".to_owned())]], "{kind:?}: {end}");
            assert_eq!(other.ask("DELETE FROM own").done(), 1);
            let stored = ground.servers[0]
                .query_value("SELECT COUNT(*) FROM shop_0.own")
                .unwrap();
            assert_eq!(stored.as_deref(), Some("0"), "{kind:?}: {end}");
        }
    }
}
