//! XA statements of clients: a branch on one node is as on one server, and what needs another node is refused.

use dbmesh_testkit::Kind;

use crate::ground::{Answer, Client, Ground, Options};

/// Users 0 to 3 are on the first node, 4 to 7 on the second.
const ROWS: &str = "
    INSERT INTO t_user VALUES (1, 'Ann', 10)
    INSERT INTO t_user VALUES (5, 'Eve', 50)";

const BRANCHES: &str = "
    SELECT score FROM t_user WHERE user_id = 1
    XA START '@a'
    UPDATE t_user SET score = score + 1 WHERE user_id = 1
    SELECT score FROM t_user WHERE user_id = 1
    XA END '@a'
    XA PREPARE '@a'
    SELECT score FROM t_user WHERE user_id = 5
    XA COMMIT '@a'
    SELECT score FROM t_user WHERE user_id = 1
    SELECT score FROM t_user WHERE user_id = 5
    XA START '@b', 'q', 7
    UPDATE t_user SET score = 0 WHERE user_id = 5
    XA END '@b', 'q', 7
    XA PREPARE '@b', 'q', 7
    SELECT score FROM t_user WHERE user_id = 1
    XA ROLLBACK '@b', 'q', 7
    SELECT score FROM t_user WHERE user_id = 5
    XA COMMIT '@a'
    XA ROLLBACK '@never'
    XA START '@c'
    INSERT INTO t_user VALUES (6, 'Fay', 60)
    BEGIN
    COMMIT
    XA END '@c'
    XA COMMIT '@c' ONE PHASE
    SELECT user_id, score FROM t_user ORDER BY user_id
    XA START '@d'
    DELETE FROM t_user WHERE user_id = 6
    XA END '@d'
    XA ROLLBACK '@d'
    SELECT user_id, score FROM t_user ORDER BY user_id";

#[test]
fn a_branch_of_a_client_is_on_one_node() {
    for across in ["refuse", "atomic"] {
        let options = Options {
            data_shard: match across {
                "atomic" => &["transactions: {acrossNodes: atomic}"],
                _ => &[],
            },
            durable: true,
            ..Options::default()
        };
        let ground = Ground::new(Kind::MySql, &options);
        ground.both(ROWS);
        both(&ground, BRANCHES);
        another_session_finishes_it(&ground);
        what_needs_another_node_is_refused(&ground);
    }
}

/// Both sides are on one server, so their branches have different names: `@` is one or the other.
#[track_caller]
fn answers_alike(sql: &str, mesh: &mut Client, one: &mut Client) {
    let (ours, theirs) = (
        mesh.ask(&sql.replace('@', "mesh ")),
        one.ask(&sql.replace('@', "one ")),
    );
    assert_eq!(ours, theirs, "{sql} {:?}", mesh.said);
}

#[track_caller]
fn both(ground: &Ground, statements: &str) {
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let lines = statements.lines().map(str::trim);
    for sql in lines.filter(|sql| !sql.is_empty()) {
        answers_alike(sql, &mut mesh, &mut one);
    }
}

fn another_session_finishes_it(ground: &Ground) {
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    for sql in [
        "SELECT score FROM t_user WHERE user_id = 5",
        "XA START '@left'",
        "UPDATE t_user SET score = 7 WHERE user_id = 5",
        "XA END '@left'",
        "XA PREPARE '@left'",
    ] {
        answers_alike(sql, &mut mesh, &mut one);
    }
    drop((mesh, one));
    both(
        ground,
        "SELECT score FROM t_user WHERE user_id = 1
         XA COMMIT '@left'
         SELECT score FROM t_user WHERE user_id = 5",
    );
}

fn what_needs_another_node_is_refused(ground: &Ground) {
    let mut mesh = ground.mesh();
    mesh.ask("SELECT score FROM t_user WHERE user_id = 1");
    mesh.ask("XA START '@x'");
    assert_eq!(
        mesh.ask("UPDATE t_user SET score = 3 WHERE user_id = 1")
            .done(),
        1
    );
    for sql in [
        "UPDATE t_user SET score = 3 WHERE user_id = 5",
        "UPDATE t_user SET score = 3",
        "SELECT score FROM t_user WHERE user_id = 5",
    ] {
        let said = mesh.refused(sql);
        assert!(said.contains("bound to node ds_0"), "{sql}: {said}");
    }
    // The branch goes on.
    assert!(matches!(mesh.ask("XA END '@x'"), Answer::Done(..)));
    assert!(matches!(
        mesh.ask("XA COMMIT '@x' ONE PHASE"),
        Answer::Done(..)
    ));
    let score = mesh.ask("SELECT score FROM t_user WHERE user_id = 1");
    assert_eq!(score.rows(), [[Some("3".to_owned())]]);
    for server in &ground.servers {
        assert!(server.query("XA RECOVER").unwrap().is_empty());
    }
}

/// What is prepared at any node is listed once, as one server lists it; dbmesh's own branches are not.
#[test]
fn prepared_branches_of_all_nodes_are_listed() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        durable: true,
        ..Options::default()
    };
    let ground = Ground::new(Kind::MySql, &options);
    ground.both(ROWS);
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let lists = ["XA RECOVER", "XA RECOVER CONVERT XID", "xa recover"];
    for sql in lists {
        answers_alike(sql, &mut mesh, &mut one);
    }
    for (user, name) in [(1, "'first'"), (5, "X'00FF27','b',7")] {
        for sql in [
            format!("SELECT score FROM t_user WHERE user_id = {user}"),
            format!("XA START {name}"),
            format!("UPDATE t_user SET score = 3 WHERE user_id = {user}"),
            format!("XA END {name}"),
            format!("XA PREPARE {name}"),
        ] {
            mesh.ask(&sql);
        }
    }
    // As a proxy leaves it that dies.
    let own = "X'64626d31','b',1835365224";
    let left = ground.servers[1].session().unwrap();
    for sql in [
        "XA START @",
        "INSERT INTO shop_1.t_user_6 VALUES (6, 'own', 1)",
        "XA END @",
        "XA PREPARE @",
    ] {
        left.execute(&sql.replace('@', own)).unwrap();
    }
    let rows = |client: &mut Client, sql: &str| {
        let mut rows = client.ask(sql).rows().to_vec();
        rows.sort();
        rows
    };
    let cell = |text: &str| Some(text.to_owned());
    let listed = [
        ["1", "5", "0", "0x6669727374"].map(cell),
        ["7", "3", "1", "0x00FF2762"].map(cell),
    ];
    assert_eq!(rows(&mut mesh, "XA RECOVER CONVERT XID"), listed);
    assert_eq!(rows(&mut mesh, "XA RECOVER").len(), 2);
    // Also in a transaction, which goes on.
    mesh.ask("BEGIN");
    mesh.ask("UPDATE t_user SET name = 'x' WHERE user_id = 2");
    assert_eq!(rows(&mut mesh, "XA RECOVER CONVERT XID"), listed);
    mesh.ask("ROLLBACK");
    for name in ["'first'", "X'00FF27','b',7"] {
        assert!(matches!(
            mesh.ask(&format!("XA COMMIT {name}")),
            Answer::Done(..)
        ));
    }
    assert!(rows(&mut mesh, "XA RECOVER").is_empty());
    for (user, score) in [(1, "3"), (5, "3")] {
        let sql = format!("SELECT score FROM t_user WHERE user_id = {user}");
        assert_eq!(mesh.ask(&sql).rows(), [[cell(score)]]);
    }
    who_may_not_ask_is_told_so(&ground);
    left.execute(&format!("XA ROLLBACK {own}")).unwrap();
}

fn who_may_not_ask_is_told_so(ground: &Ground) {
    for server in &ground.servers {
        server
            .execute("REVOKE XA_RECOVER_ADMIN ON *.* FROM app")
            .unwrap();
        let sessions = "SELECT id FROM information_schema.processlist WHERE user = 'app'";
        for id in server.query(sessions).unwrap() {
            let id = id[0].as_deref().unwrap();
            server.execute(&format!("KILL {id}")).unwrap_or_default();
        }
    }
    let (mut mesh, mut one) = (ground.mesh(), ground.one());
    let theirs = one.ask("XA RECOVER");
    assert!(matches!(theirs, Answer::Error(..)), "{theirs:?}");
    assert_eq!(mesh.ask("XA RECOVER"), theirs);
}
