//! How transactions over several nodes run: what SET TRANSACTION, START TRANSACTION and the one before said holds on every
//! node.

use dbmesh_testkit::Kind;

use crate::ground::{Answer, Client, Ground, KINDS, Options};

const ATOMIC: &[&str] = &["transactions: {acrossNodes: atomic}"];
const BEST_EFFORT: &[&str] = &["transactions: {acrossNodes: bestEffort}"];

fn ground(kind: Kind, data_shard: &'static [&'static str]) -> Ground {
    let options = Options {
        data_shard,
        durable: data_shard == ATOMIC,
        ..Options::default()
    };
    Ground::new(kind, &options)
}

/// Under every promise that a kind of server keeps.
fn grounds() -> impl Iterator<Item = Ground> {
    let best_effort = KINDS.map(|kind| (kind, BEST_EFFORT));
    let all = std::iter::once((Kind::MySql, ATOMIC)).chain(best_effort);
    all.map(|(kind, data_shard)| ground(kind, data_shard))
}

/// Users 0 to 3 are on the first node, 4 to 7 on the second.
const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (5, 'Eve', 50)
    INSERT INTO t_dict VALUES (1, 'one')";

const CHAINED: &str = "
    START TRANSACTION READ ONLY
    SELECT SUM(score) FROM t_user
    COMMIT AND CHAIN
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    SELECT score FROM t_user WHERE user_id = 1
    SELECT score FROM t_user WHERE user_id = 5
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    UPDATE t_user SET score = score + 1
    INSERT INTO t_user VALUES (6, 'Fay', 60), (2, 'Bob', 20)
    ROLLBACK AND CHAIN
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    COMMIT
    UPDATE t_user SET score = score + 1
    SET TRANSACTION READ ONLY
    BEGIN
    SELECT score FROM t_user WHERE user_id = 1
    SELECT score FROM t_user WHERE user_id = 5
    ROLLBACK AND CHAIN
    DELETE FROM t_user WHERE user_id = 1
    ROLLBACK
    START TRANSACTION READ ONLY
    SELECT score FROM t_user WHERE user_id = 1
    COMMIT AND CHAIN
    SELECT score FROM t_user WHERE user_id = 5
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    COMMIT
    START TRANSACTION READ ONLY
    COMMIT AND CHAIN
    UPDATE t_user SET score = score + 1
    COMMIT
    SET SESSION TRANSACTION READ ONLY
    START TRANSACTION READ WRITE
    UPDATE t_user SET score = score + 1
    COMMIT AND CHAIN
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    COMMIT
    UPDATE t_user SET score = score + 1
    SELECT user_id, score FROM t_user ORDER BY user_id";

#[test]
fn what_is_chained_may_write_where_the_one_before_might() {
    for ground in grounds() {
        ground.both(ROWS);
        ground.both(CHAINED);
    }
}

const SAVEPOINTS: &str = "
    BEGIN
    UPDATE t_user SET score = 1 WHERE user_id = 1
    SAVEPOINT a
    COMMIT AND CHAIN
    UPDATE t_user SET score = 2 WHERE user_id = 1
    UPDATE t_user SET score = 3 WHERE user_id = 5
    ROLLBACK TO a
    SELECT user_id, score FROM t_user ORDER BY user_id
    COMMIT
    SELECT user_id, score FROM t_user ORDER BY user_id";

#[test]
fn what_is_chained_has_no_savepoint_of_the_one_before() {
    let ground = ground(Kind::MySql, ATOMIC);
    ground.both(ROWS);
    ground.both(SAVEPOINTS);
}

const WRITES: &str = "
    SET SESSION transaction_read_only = 1
    BEGIN
    ROLLBACK
    START TRANSACTION READ WRITE
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    UPDATE t_user SET score = score + 1
    COMMIT
    START TRANSACTION READ WRITE
    UPDATE t_user SET score = score + 1
    UPDATE t_dict SET word = 'won'
    ROLLBACK
    SET TRANSACTION READ WRITE
    BEGIN
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    INSERT INTO t_user VALUES (7, 'Gus', 70), (3, 'Cat', 30)
    COMMIT
    BEGIN
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    ROLLBACK
    SET TRANSACTION READ WRITE
    UPDATE t_user SET score = score + 1
    UPDATE t_user SET score = score + 1
    SET TRANSACTION READ WRITE
    UPDATE t_dict SET word = 'two'
    UPDATE t_dict SET word = 'three'
    SET TRANSACTION READ WRITE
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    SET TRANSACTION READ WRITE
    UPDATE t_user SET score = score + 1 ORDER BY user_id DESC LIMIT 1
    UPDATE t_user SET score = score + 1 ORDER BY user_id DESC LIMIT 1
    SET TRANSACTION READ WRITE
    SELECT SUM(score) FROM t_user
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    SET TRANSACTION READ WRITE
    SELECT COUNT(DISTINCT a.name) FROM t_user a JOIN t_dict b ON a.user_id <> b.id
    UPDATE t_user SET score = score + 1
    SET @@transaction_read_only = 0
    BEGIN
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    COMMIT
    SET SESSION transaction_read_only = 0
    SET TRANSACTION READ ONLY
    UPDATE t_user SET score = score + 1
    UPDATE t_user SET score = score + 1
    SET TRANSACTION READ ONLY
    UPDATE t_user SET score = score + 1 ORDER BY user_id DESC LIMIT 1
    UPDATE t_user SET score = score + 1 ORDER BY user_id DESC LIMIT 1
    SET TRANSACTION READ ONLY
    BEGIN
    SELECT SUM(score) FROM t_user
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    ROLLBACK
    UPDATE t_user SET score = score + 1 WHERE user_id = 5
    SET TRANSACTION READ ONLY
    COMMIT
    UPDATE t_user SET score = score + 1
    SET autocommit = 0
    SET TRANSACTION READ ONLY
    SELECT SUM(score) FROM t_user
    UPDATE t_user SET score = score + 1
    COMMIT
    UPDATE t_user SET score = score + 1
    COMMIT
    SELECT user_id, score FROM t_user ORDER BY user_id";

#[test]
fn what_may_write_on_one_node_may_on_all() {
    for ground in grounds() {
        ground.both(ROWS);
        // MariaDB had the variable under its older name then.
        let statements = match ground.kind {
            Kind::MySql => WRITES.to_owned(),
            Kind::MariaDb => WRITES.replace("transaction_read_only", "tx_read_only"),
        };
        ground.both(&statements);
    }
}

const SCORE: &str = "SELECT score FROM t_user WHERE user_id";

fn score(client: &mut Client, user: u32) -> String {
    let rows = client.ask(&format!("{SCORE} = {user}"));
    rows.rows()[0][0].clone().unwrap()
}

#[test]
fn what_is_chained_has_the_isolation_of_the_one_before() {
    for ground in grounds() {
        ground.both(ROWS);
        let (mut mesh, mut other) = (ground.mesh(), ground.mesh());
        for sql in [
            "UPDATE t_user SET score = 1",
            "BEGIN",
            "UPDATE t_user SET score = 2",
        ] {
            other.ask(sql);
        }
        let both = |mesh: &mut Client| [score(mesh, 1), score(mesh, 5)];
        for begin in ["SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "BEGIN"] {
            mesh.ask(begin);
        }
        for again in ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "ROLLBACK"] {
            assert_eq!(both(&mut mesh), ["2", "2"], "{:?}: {again}", ground.kind);
            mesh.ask(again);
        }
        assert_eq!(
            both(&mut mesh),
            ["1", "1"],
            "it was for one transaction, and those behind"
        );
        // A variable without a scope says the same, where it has this name.
        if ground.kind == Kind::MySql {
            mesh.ask("SET @@transaction_isolation = 'READ-UNCOMMITTED'");
            mesh.ask("BEGIN");
            assert_eq!(both(&mut mesh), ["2", "2"]);
            mesh.ask("COMMIT AND CHAIN");
            assert_eq!(both(&mut mesh), ["2", "2"]);
            mesh.ask("COMMIT");
        }
        // The next one begins by itself.
        for sql in [
            "SET autocommit = 0",
            "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        ] {
            mesh.ask(sql);
        }
        for seen in [["2", "2"], ["1", "1"]] {
            assert_eq!(both(&mut mesh), seen, "{:?}", ground.kind);
            mesh.ask("COMMIT");
        }
        mesh.ask("SET autocommit = 1");
        mesh.ask("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED");
        let said = mesh.refused("SELECT user_id, score FROM t_user ORDER BY user_id");
        assert!(said.contains("say BEGIN before it"), "{said}");
        assert!(matches!(mesh.ask("BEGIN"), Answer::Done(..)));
        assert_eq!(both(&mut mesh), ["2", "2"]);
        mesh.ask("COMMIT");
        other.ask("ROLLBACK");
    }
}

/// In this mode BEGIN opens a block, `"x"` is a name, and `||` joins texts.
const ORACLE: &str = r#"
    SET sql_mode = 'ORACLE'
    UPDATE t_user SET score = score + 1
    INSERT INTO t_user VALUES (2, 'Bob', 20), (6, 'Fay', 60)
    REPLACE INTO t_user VALUES (2, 'Rob', 21), (6, 'May', 61)
    INSERT INTO t_dict VALUES (2, 'two'), (3, 'three')
    UPDATE t_dict SET word = word || '!'
    DELETE FROM t_user WHERE score > 20
    BEGIN
    START TRANSACTION
    UPDATE t_user SET name = name || '?' WHERE "user_id" = 1
    UPDATE t_user SET name = name || '?' WHERE user_id = 5
    SAVEPOINT a
    UPDATE t_user SET score = 1
    ROLLBACK TO a
    COMMIT AND CHAIN
    UPDATE t_user SET score = 2
    ROLLBACK
    UPDATE t_user SET score = score + 1 ORDER BY user_id DESC LIMIT 1
    SELECT COUNT(DISTINCT a.name) FROM t_user a JOIN t_dict b ON a.user_id <> b.id
    INSERT INTO t_user SELECT user_id + 8, name, score FROM t_user
    SET autocommit = 0
    UPDATE t_user SET score = score + 1
    COMMIT
    SET autocommit = 1
    SELECT user_id, name, score FROM t_user ORDER BY user_id
    SELECT id, word FROM t_dict ORDER BY id"#;

#[test]
fn transactions_begin_in_every_sql_mode() {
    let ground = ground(Kind::MariaDb, BEST_EFFORT);
    ground.both(ROWS);
    ground.both(ORACLE);
}
