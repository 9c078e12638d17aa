//! What object-relational mappers ask of a server besides rows. Foreign keys and checks with names, which servers keep once in a
//! schema: each shard has them with its number behind, and clients see and say the names that they gave. Locking reads.

use crate::ground::{Answer, Client, Ground, KINDS, Options};

/// Of all servers.
const ALIKE: &str = "
    DROP TABLE t_item
    CREATE TABLE t_item (id INT NOT NULL, user_id INT NOT NULL, n INT, PRIMARY KEY (user_id, id), CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES t_user (user_id) ON DELETE CASCADE, CONSTRAINT some CHECK (n > 0))
    INSERT INTO t_user (user_id, name) VALUES (1, 'a'), (2, 'b'), (5, 'c')
    INSERT INTO t_dict VALUES (1, 'x'), (2, 'y')
    INSERT INTO t_item VALUES (1, 1, 5), (2, 1, 6), (1, 2, 7), (1, 5, 8)
    INSERT INTO t_item VALUES (3, 1, -1)
    INSERT INTO t_item VALUES (3, 9, 1)
    UPDATE t_item SET n = 0 WHERE user_id = 5
    ALTER TABLE t_item ADD COLUMN code INT, ADD CONSTRAINT to_dict FOREIGN KEY (code) REFERENCES t_dict (id)
    ALTER TABLE t_item ADD CONSTRAINT even CHECK (id < 100), ADD CONSTRAINT once UNIQUE KEY (user_id, n)
    INSERT INTO t_item VALUES (4, 1, 5, NULL)
    INSERT INTO t_item VALUES (4, 1, 9, 12345)
    INSERT INTO t_item VALUES (400, 1, 9, NULL)
    INSERT INTO t_item SELECT 4, user_id, 44, 2 FROM t_user WHERE user_id < 3 ORDER BY user_id LIMIT 1
    UPDATE t_item SET code = 54321 WHERE user_id = 2
    DELETE FROM t_dict WHERE id = 2
    DELETE FROM t_dict WHERE id = 1
    SELECT CONSTRAINT_NAME, CONSTRAINT_TYPE FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 't_item' ORDER BY 1
    SELECT CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 't_item' ORDER BY 1, 2
    SELECT CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop' ORDER BY 1
    SELECT CONSTRAINT_NAME FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop' ORDER BY 1
    SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 't_item' ORDER BY 1, 2
    DELETE FROM t_user WHERE user_id = 1
    SELECT user_id, id, n FROM t_item ORDER BY 1, 2
    ALTER TABLE t_item DROP FOREIGN KEY missing
    ALTER TABLE t_item ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES t_user (user_id)
    ALTER TABLE t_item DROP FOREIGN KEY of_user, DROP CONSTRAINT some
    INSERT INTO t_item VALUES (3, 9, -1, NULL)
    ALTER TABLE t_item ADD FOREIGN KEY (code) REFERENCES t_dict (id)
    ALTER TABLE t_item DROP FOREIGN KEY t_item_ibfk_1
    CREATE DATABASE IF NOT EXISTS shop
    CREATE DATABASE shop
";

#[test]
fn constraints_have_the_names_that_clients_give() {
    for kind in KINDS {
        let options = Options {
            data_shard: &["transactions: {acrossNodes: bestEffort}"],
            ..Options::default()
        };
        let ground = Ground::new(kind, &options);
        let (mut mesh, mut one) = (ground.mesh(), ground.one());
        // Committing apart is told in a note.
        mesh.ask("SET sql_notes = 0");
        one.ask("SET sql_notes = 0");
        let mut different = Vec::new();
        let lines = ALIKE.lines().map(str::trim);
        for sql in lines.filter(|sql| !sql.is_empty()) {
            for sql in [sql, "SHOW CREATE TABLE t_item", "SHOW INDEX FROM t_item"] {
                let (ours, theirs) = (kept(&mut mesh, sql), kept(&mut one, sql));
                if ours != theirs {
                    different.push(format!("{sql}\n  mesh: {ours}\n  one:  {theirs}"));
                }
            }
        }
        assert!(different.is_empty(), "{kind:?}:\n{}", different.join("\n"));
    }
}

/// Locking reads of one shard and of all, and with LIMIT.
const LOCKING: &str = "
    INSERT INTO t_user (user_id, name) VALUES (1, 'a'), (2, 'b'), (5, 'c'), (6, 'd')
    BEGIN
    SELECT name FROM t_user WHERE user_id = 1 FOR UPDATE
    SELECT name FROM t_user WHERE user_id = 6 FOR UPDATE SKIP LOCKED
    SAVEPOINT one
    SELECT name FROM t_user ORDER BY user_id FOR UPDATE SKIP LOCKED
    SELECT name FROM t_user WHERE name < 'x' ORDER BY user_id LIMIT 3 FOR UPDATE
    SELECT name FROM t_user WHERE name < 'x' ORDER BY user_id DESC LIMIT 2 LOCK IN SHARE MODE
    UPDATE t_user SET score = 5 WHERE user_id = 5
    ROLLBACK TO one
    SELECT score FROM t_user WHERE user_id IN (1, 5) ORDER BY user_id
    COMMIT
";

#[test]
fn locking_reads_give_the_rows_of_one_server() {
    for kind in KINDS {
        let options = Options {
            data_shard: &["transactions: {acrossNodes: bestEffort}"],
            ..Options::default()
        };
        Ground::new(kind, &options).both(LOCKING);
    }
}

/// What a statement answers, without what is estimated, and how many rows a definition copied; the words of an error, but for
/// the place that dbmesh adds and those of a definition that stopped.
fn kept(client: &mut Client, sql: &str) -> String {
    let answer = client.ask(sql);
    let said = client.said.take().unwrap_or_default();
    match answer {
        Answer::Done(_, _, _, warnings, _) if sql.starts_with("ALTER") => {
            format!("done {warnings}")
        }
        Answer::Done(affected, id, _, warnings, _) => format!("{affected} {id} {warnings}"),
        Answer::Error(code) if sql.starts_with("ALTER") => format!("error {code}"),
        Answer::Error(code) => {
            let (words, _) = said.split_once(" (at ds_").unwrap_or((&said, ""));
            format!("error {code}: {words}")
        }
        Answer::Rows(_, rows, ..) => {
            let rows = rows.iter().map(|row| row.get(..5).unwrap_or(row));
            format!("{:?}", rows.collect::<Vec<_>>())
        }
    }
}
