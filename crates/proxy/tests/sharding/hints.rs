//! Tables that are split by hint, and what is said of plans.

use dbmesh_testkit::Kind;

use crate::ground::{Answer, Client, Ground, KINDS, Options};
use crate::prepared::{execute, prepare};
use crate::scatter::fill;

#[test]
fn a_hint_says_which_shard_a_statement_is_for() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        split_by_hint(&ground);
        let mut mesh = ground.mesh();
        for (hint, id) in [(0, 1), (1, 2), (3, 3), (4, 4)] {
            let sql = format!("/* mesh: shard={hint} */ INSERT INTO t_hint VALUES ({id}, 0)");
            mesh.ask(&sql).done();
        }
        let ids = |sql: &str, mesh: &mut crate::ground::Client| -> Vec<String> {
            let answer = mesh.ask(sql);
            let rows = answer.rows().iter();
            rows.map(|row| row[0].clone().unwrap()).collect()
        };
        let all = "SELECT id FROM t_hint ORDER BY id";
        assert_eq!(ids(all, &mut mesh), ["1", "2", "3", "4"]);
        let odd = "SELECT id FROM t_hint ORDER BY id -- mesh: shard=1";
        assert_eq!(ids(odd, &mut mesh), ["2", "3"]);
        let changed = mesh
            .ask("/* mesh: shard=2 */ UPDATE t_hint SET v = 7")
            .done();
        assert_eq!(changed, 2);
        assert_eq!(
            ids("SELECT id FROM t_hint WHERE v = 7 ORDER BY id", &mut mesh),
            ["1", "4"]
        );
        for (sql, why) in [
            ("INSERT INTO t_hint VALUES (9, 0)", "mesh: shard=VALUE"),
            (
                "/* mesh: shard=1 */ SELECT * FROM t_order",
                "none of its tables is split by hint",
            ),
            (
                "/* mesh: shard=1 */ SELECT * FROM t_order WHERE user_id = 1",
                "none of its tables",
            ),
        ] {
            let said = mesh.refused(sql);
            assert!(said.contains(why), "{sql}: {said}");
        }
    }
}

/// Where changes may be of both nodes.
fn over_nodes(kind: Kind) -> Ground {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: bestEffort}"],
        ..Options::default()
    };
    let ground = Ground::new(kind, &options);
    split_by_hint(&ground);
    ground
}

fn split_by_hint(ground: &Ground) {
    for (place, server) in ground.servers.iter().enumerate() {
        let sql = format!("CREATE TABLE shop_{place}.t_hint_{place} (id INT PRIMARY KEY, v INT)");
        server.execute(&sql).unwrap();
    }
}

/// Six rows, of which the odd shard has 1, 3 and 5.
fn filled_by_hint(mesh: &mut Client) {
    mesh.ask("DELETE FROM t_hint").done();
    for id in 0..6 {
        let sql = format!("/* mesh: shard={id} */ INSERT INTO t_hint VALUES ({id}, 0)");
        mesh.ask(&sql).done();
    }
}

/// All rows of the table split by hint.
fn held(mesh: &mut Client) -> Vec<Vec<Option<String>>> {
    let answer = mesh.ask("SELECT id, v FROM t_hint ORDER BY id");
    answer.rows().to_vec()
}

/// What is said of a hint that cannot be followed.
#[track_caller]
fn refused_hint(mesh: &mut Client, sql: &str) -> String {
    assert_eq!(mesh.ask(sql), Answer::Error(1064), "{sql}: {:?}", mesh.said);
    mesh.said.take().unwrap()
}

#[test]
fn a_hint_that_leads_nowhere_is_an_error_and_nothing_is_done() {
    for kind in KINDS {
        let ground = over_nodes(kind);
        let mut mesh = ground.mesh();
        filled_by_hint(&mut mesh);
        let all = held(&mut mesh);
        assert_eq!(all.len(), 6);
        for value in ["abc", "1.5", "0x1", "-1", "'1 '"] {
            for sql in [
                "DELETE FROM t_hint",
                "DELETE FROM t_hint WHERE id = 3",
                "UPDATE t_hint SET v = 9",
                "INSERT INTO t_hint VALUES (9, 9)",
                "SELECT id FROM t_hint",
                "TRUNCATE t_hint",
            ] {
                let text = format!("/* mesh: shard={value} */ {sql}");
                let said = refused_hint(&mut mesh, &text);
                assert!(
                    said.contains("of `t_hint` makes no shard of '"),
                    "{text}: {said}"
                );
                // Its text is understood; what it wants of the mesh is not, at each execution.
                let (id, ..) = prepare(&mut mesh, &text).unwrap();
                for _ in 0..2 {
                    let answer = execute(&mut mesh, id, &[], sql);
                    assert_eq!(answer, Answer::Error(1064), "prepared {text}");
                }
            }
        }
        for sql in [
            "TRUNCATE t_hint",
            "ALTER TABLE t_hint ADD COLUMN w INT",
            "CREATE INDEX by_v ON t_hint (v)",
            "DROP TABLE t_hint",
        ] {
            let said = refused_hint(&mut mesh, &format!("/* mesh: shard=1 */ {sql}"));
            assert!(said.contains("the table as a whole"), "{sql}: {said}");
        }
        assert_eq!(held(&mut mesh), all);
        let removed = mesh.ask("/* mesh: shard=1 */ DELETE FROM t_hint").done();
        assert_eq!(removed, 3);
        mesh.ask("TRUNCATE t_hint").done();
        assert!(held(&mut mesh).is_empty());
    }
}

#[test]
fn hints_of_a_text_are_for_each_of_its_statements() {
    for kind in KINDS {
        let ground = over_nodes(kind);
        let mut mesh = ground.several(true);
        filled_by_hint(&mut mesh);
        let all = held(&mut mesh);
        // Wherever the comment stands: before, in, or behind the statement that it must hold for.
        for text in [
            "/* mesh: shard=1 */ SELECT id FROM t_hint; SELECT id FROM t_hint",
            "SELECT id FROM t_hint; SELECT id FROM t_hint -- mesh: shard=1",
            "SELECT id FROM t_hint; SELECT 1 FROM t_hint LIMIT 0; SELECT /* mesh: shard=1 */ id FROM t_hint",
        ] {
            let answers = mesh.ask_all(text);
            let (first, last) = (&answers[0], answers.last().unwrap());
            assert_eq!((first.rows().len(), last.rows().len()), (3, 3), "{text}");
        }
        for text in [
            "/* mesh: shard=1 */ SELECT id FROM t_hint; DELETE FROM t_hint",
            "/* mesh: shard=1 */ BEGIN; DELETE FROM t_hint; COMMIT",
            "SET @a = 1; DELETE FROM t_hint; /* mesh: shard=1 */",
            "/* mesh: shard=1, timeout_ms=60000 */ BEGIN; DELETE FROM t_hint; COMMIT",
        ] {
            let answers = mesh.ask_all(text);
            assert_eq!(answers[1].done(), 3, "{text}: {answers:?}");
            let left: Vec<_> = held(&mut mesh).iter().map(|row| row[0].clone()).collect();
            let even = ["0", "2", "4"].map(|id| Some(id.to_owned()));
            assert_eq!(left, even, "{text}");
            filled_by_hint(&mut mesh);
        }
        // Of a client that may send one statement only, with its hint behind the `;`.
        let mut one = ground.mesh();
        let removed = one.ask("DELETE FROM t_hint; /* mesh: shard=1 */").done();
        assert_eq!(removed, 3);
        filled_by_hint(&mut mesh);
        for text in [
            "/* mesh: shard=1 */ DELETE FROM t_hint; /* mesh: shard=2 */ DELETE FROM t_hint",
            "DELETE FROM t_hint; SELECT 1 /* mesh: primry */",
            "DELETE FROM t_hint; SELECT 1; SELECT 2 /* mesh: shard=abc */",
            "DELETE FROM t_hint; SELECT 1 /* mesh: unit=1 */",
        ] {
            let answers = mesh.ask_all(text);
            assert_eq!(answers, [Answer::Error(1064)], "{text}: {:?}", mesh.said);
            assert_eq!(held(&mut mesh), all, "{text}");
        }
        // A statement of tables that no hint splits cannot follow it; it is said before it is executed.
        let answers =
            mesh.ask_all("/* mesh: shard=1 */ SELECT id FROM t_hint; DELETE FROM t_order");
        assert_eq!(answers[1..], [Answer::Error(1064)], "{:?}", mesh.said);
        // What is said in every statement of a long text is said once.
        let texts = (0..40).map(|v| format!("/* mesh: shard=1 */ UPDATE t_hint SET v = {v} + 1"));
        let answers = mesh.ask_all(&texts.collect::<Vec<_>>().join("; "));
        assert_eq!(answers.len(), 40);
        assert!(
            answers.iter().all(|answer| answer.done() == 3),
            "{answers:?}"
        );
        assert_eq!(held(&mut mesh).len(), 6);
        let late = "/* mesh: timeout_ms=3000 */ SELECT 1; SELECT SLEEP(300); DELETE FROM t_hint";
        let answers = mesh.ask_all(late);
        assert_eq!(answers.last(), Some(&Answer::Error(3024)), "{answers:?}");
        assert_eq!(held(&mut mesh).len(), 6);
        // The next text has none of them.
        let answers = mesh.ask_all("SELECT id FROM t_hint; SELECT id FROM t_hint");
        assert_eq!(answers[1].rows().len(), 6);
    }
}

#[test]
fn explain_shows_the_plan_of_every_shard() {
    for kind in KINDS {
        let ground = Ground::new(kind, &Options::default());
        fill(&ground);
        let mut mesh = ground.mesh();
        let places = |answer: &crate::ground::Answer| -> Vec<String> {
            let rows = answer.rows().iter();
            let mut places: Vec<String> = rows
                .map(|row| row.last().unwrap().clone().unwrap())
                .collect();
            places.sort();
            places.dedup();
            places
        };
        let nodes = |from: usize, to: usize| -> Vec<String> {
            let name = |shard| format!("ds_{}.t_order_{shard}", shard / 4);
            (from..to).map(name).collect()
        };
        for sql in [
            "EXPLAIN SELECT id FROM t_order WHERE total > 1 ORDER BY id",
            "EXPLAIN FORMAT=JSON SELECT note, COUNT(*) FROM t_order GROUP BY note ORDER BY 1",
            "EXPLAIN UPDATE t_order SET note = 'x' WHERE total > 1 -- order by",
        ] {
            assert_eq!(places(&mesh.ask(sql)), nodes(0, 8), "{sql}");
        }
        let pruned = mesh.ask("EXPLAIN SELECT id FROM t_order WHERE user_id IN (1, 2)");
        assert_eq!(places(&pruned), nodes(1, 3));
        ground.both("EXPLAIN FORMAT=JSON SELECT 1");
        let said = mesh
            .refused("EXPLAIN SELECT COUNT(*) FROM t_order a JOIN t_order b ON a.total = b.total");
        assert!(said.contains("EXPLAIN MESH"), "{said}");
    }
}

#[test]
fn explain_mesh_says_what_becomes_of_changes_in_several_steps() {
    let options = Options {
        data_shard: &["transactions: {acrossNodes: atomic}"],
        durable: true,
        ..Options::default()
    };
    let ground = Ground::new(Kind::MySql, &options);
    fill(&ground);
    let mut mesh = ground.mesh();
    for (sql, expected) in [
        (
            "UPDATE t_order SET user_id = 5 WHERE user_id = 1 AND id = 1",
            "those that come to another shard move there",
        ),
        (
            "UPDATE t_order SET user_id = user_id + 1 WHERE id = 1",
            "rows are found with their new keys",
        ),
        (
            "UPDATE t_order SET user_id = user_id + RAND() WHERE id = 1",
            "refused: ",
        ),
        (
            "DELETE FROM t_order WHERE total > (SELECT MAX(score) FROM t_user)",
            "in two steps: rows of t_order are found",
        ),
        ("DELETE FROM t_order WHERE user_id = 1", "ds_0"),
    ] {
        let answer = mesh.ask(&format!("EXPLAIN MESH {sql}"));
        let said = format!("{:?}", answer.rows());
        assert!(said.contains(expected), "{sql}: {said}");
        // What it explains, it does not do.
        mesh.ask("ROLLBACK").done();
    }
    ground.both("SELECT COUNT(*), SUM(user_id) FROM t_order");
}
