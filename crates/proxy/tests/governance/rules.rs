//! Rules: which statements they mean in which protocol, and what warnings say.

use dbmesh_testkit::server::Kind;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::Reader;

use crate::ask::{assert_error, execute, prepare, query_with};
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::stage::Stage;
use crate::ground::{Ground, KINDS, assert_denied};

const RULES: &str = r#"rules:
- {name: exception, match: {tags: {job: clean-up}}, action: allow}
- {name: unbounded, match: {verbs: [update, delete], without: [where]}, action: deny}
- {name: hidden, match: {tables: ["*.secrets"]}, action: deny}
- {name: passwords, match: {columns: ["*.users.password"]}, action: deny}
- {name: sleepers, match: {regex: ["\\bSLEEP\\("]}, action: deny}"#;

#[test]
fn statements_are_refused_in_every_form_and_do_not_happen() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_rules");
        let stage = ground.stage(|config| config.strategy(RULES));
        let mut client = RawClient::logged_in(
            stage.port,
            &ground.credentials().more(Capabilities::MULTI_STATEMENTS),
        );
        assert_eq!(client.query("SELECT COUNT(*) FROM t").value(), "3");
        for (sql, rule) in [
            ("DELETE FROM t", "unbounded"),
            ("delete/**/from\n`t` where 1 = 1", "unbounded"),
            ("/*!50000 UPDATE*/ t SET v = 0", "unbounded"),
            ("SELECT 1; DELETE FROM t", "unbounded"),
            ("SELECT word FROM `Secrets`", "hidden"),
            ("SELECT (SELECT MAX(word) FROM gov_rules.secrets)", "hidden"),
            (
                "WITH x AS (SELECT * FROM secrets) SELECT * FROM x",
                "hidden",
            ),
            ("USE mysql; SELECT word FROM gov_rules.secrets", "hidden"),
            ("SELECT * FROM users", "passwords"),
            ("SELECT sleep /* x */ (0.1)", "sleepers"),
            ("PREPARE s FROM 'DELETE FROM t'", "unbounded"),
            ("PREPARE s FROM 'SELECT PASSWORD FROM users'", "passwords"),
            ("SET @q = 'DELETE FROM t'; PREPARE s FROM @q", "unbounded"),
            ("EXECUTE nobody_knows", "unbounded"),
        ] {
            assert_denied(&client.query(sql), rule);
            let prepared = prepare(&mut client, sql);
            if !sql.contains(';') {
                assert_denied(&prepared.unwrap_err(), rule);
            }
        }
        if kind == Kind::MariaDb {
            for (sql, rule) in [
                ("EXECUTE IMMEDIATE 'DELETE FROM t'", "unbounded"),
                ("EXECUTE IMMEDIATE CONCAT('DELETE', ' FROM t')", "unbounded"),
                ("ANALYZE DELETE FROM t", "unbounded"),
                ("BEGIN NOT ATOMIC DELETE FROM t; END", "unbounded"),
            ] {
                assert_denied(&client.query(sql), rule);
            }
        }
        assert_eq!(ground.ask("SELECT SUM(v) FROM {schema}.t"), "60");
        // The session goes on, and what is allowed works in every form.
        assert_eq!(client.query("SELECT name FROM users").value(), "ann");
        assert_eq!(
            client.query("PREPARE s FROM 'SELECT name FROM users WHERE id = ?'"),
            Reply::Ok
        );
        assert_eq!(client.query("SET @i = 1"), Reply::Ok);
        assert_eq!(client.query("EXECUTE s USING @i").value(), "ann");
        let (id, _) = prepare(&mut client, "SELECT name FROM users").unwrap();
        assert_eq!(execute(&mut client, id, &[], None).value(), "ann");
        let marked = "/* mesh: tag.job='clean-up' */ DELETE FROM t WHERE 1 = 1";
        assert_eq!(client.query(marked), Reply::Ok);
        assert_eq!(ground.ask("SELECT COUNT(*) FROM {schema}.t"), "0");
        let refused = stage
            .proxy
            .metric("dbmesh_rule_refused_total", "rule=\"unbounded\"");
        assert!(refused.unwrap().unwrap() >= 8.0);
    }
}

#[test]
fn an_execution_is_judged_too() {
    let ground = Ground::new(Kind::MySql, "gov_execution");
    let stage = ground.stage(|config| {
        config.strategy("rules: [{name: tagged, match: {tags: {a: b}}, action: deny}]")
    });
    let mut client = crate::ask::attributed(stage.port);
    let (id, _) = prepare(&mut client, "SELECT 'x'").unwrap();
    assert_eq!(execute(&mut client, id, &[], None).value(), "x");
    assert_denied(&execute(&mut client, id, &[], Some("tag.a=b")), "tagged");
    assert_eq!(execute(&mut client, id, &[], Some("tag.a=c")).value(), "x");
    assert_denied(&query_with(&mut client, "tag.a=b", "SELECT 1"), "tagged");
}

#[test]
fn rules_follow_sql_mode_and_rules_that_change_hold_in_transactions() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_mode");
        let stage = ground.stage(|config| config.strategy(RULES));
        let mut client = ground.client(&stage);
        let sql = r#"SELECT "password" FROM users"#;
        assert_eq!(client.query(sql).value(), "password");
        assert_eq!(client.query("SET sql_mode = 'ANSI_QUOTES'"), Reply::Ok);
        assert_denied(&client.query(sql), "passwords");
        assert_eq!(
            client.query("SET sql_mode = 'NO_BACKSLASH_ESCAPES'"),
            Reply::Ok
        );
        // For who reads backslashes, all behind the first quote is one string.
        let sql = r#"SELECT '\', password, '' FROM users"#;
        assert_denied(&client.query(sql), "passwords");
        assert_eq!(client.query("SET sql_mode = ''"), Reply::Ok);
        // Unclosed for who reads backslashes: it cannot be told, and the server would refuse it.
        assert_denied(&client.query(sql), "unbounded");

        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("UPDATE t SET v = 11 WHERE id = 1"), Reply::Ok);
        let no_t = "rules: [{name: frozen, match: {tables: [t]}, action: deny}]";
        let yaml = ground.yaml(stage.port, |config| config.strategy(no_t));
        stage.proxy.rewrite_config(&yaml).unwrap();
        stage.proxy.sighup();
        crate::faultkit::eventually(
            "the new rule holds",
            std::time::Duration::from_secs(10),
            || client.query("SELECT v FROM t WHERE id = 1").code() == Some(1105),
        );
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        assert_eq!(ground.ask("SELECT v FROM {schema}.t WHERE id = 1"), "11");
    }
}

#[test]
fn a_warning_counts_and_is_shown() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_warn");
        let stage = ground.stage(|config| {
            config.strategy(
                "rules: [{name: would, mode: warn, match: {tables: [t, users]}, action: deny}]",
            )
        });
        let mut client = ground.client(&stage);
        for (begin, end) in [(None, None), (Some("BEGIN"), Some("ROLLBACK"))] {
            begin.map(|sql| client.query(sql));
            assert_eq!(
                warnings_of(&mut client, "UPDATE t SET v = 5 WHERE id = 1"),
                1
            );
            let shown = shown(&mut client);
            assert_eq!(shown.len(), 1, "{shown:?}");
            assert_eq!(&shown[0][..2], ["Warning", "1105"]);
            assert!(shown[0][2].contains("rule 'would'"), "{shown:?}");
            assert_eq!(client.query("SELECT @@warning_count").value(), "1");
            // The server's own stand in front.
            let sql = "UPDATE IGNORE t SET v = '7x' WHERE id = 2";
            let before = server_warnings(&ground, sql);
            assert!(before > 0);
            assert_eq!(warnings_of(&mut client, sql), before + 1, "{kind:?}");
            let all = self::shown(&mut client);
            assert_eq!(all.len(), usize::from(before) + 1, "{all:?}");
            assert!(all.last().unwrap()[2].contains("rule 'would'"), "{all:?}");
            // Of rows, behind the last one.
            let Reply::Rows(rows) = client.query("SELECT v FROM t") else {
                panic!()
            };
            assert_eq!(rows.len(), 3);
            assert_eq!(self::shown(&mut client).len(), 1);
            assert_eq!(warnings_of(&mut client, "SET @x = 1"), 0);
            end.map(|sql| client.query(sql));
        }
        let (id, _) = prepare(&mut client, "SELECT name FROM users").unwrap();
        assert_eq!(execute(&mut client, id, &[], None).value(), "ann");
        assert_eq!(self::shown(&mut client).len(), 1);
        assert_eq!(client.query("SELECT 1 FROM secrets").value(), "1");
        assert_eq!(self::shown(&mut client).len(), 0);
        assert_error(&client.query("SELECT nothing FROM t"), 1054, "nothing");
        let errors = self::shown(&mut client);
        assert_eq!(
            errors.len(),
            1,
            "an error is all there is to say: {errors:?}"
        );
    }
}

/// The warnings that the OK of a statement without rows counts.
fn warnings_of(client: &mut RawClient, sql: &str) -> u16 {
    client.begin_query(sql);
    let ok = client.packet().unwrap();
    assert_eq!(ok[0], 0, "{sql}: {ok:?}");
    let mut reader = Reader::new(&ok[1..]);
    let _ = (reader.lenenc_int().unwrap(), reader.lenenc_int().unwrap());
    let _ = reader.u16().unwrap();
    reader.u16().unwrap()
}

/// How many warnings the server itself gives, of which nothing stays.
fn server_warnings(ground: &Ground, sql: &str) -> u16 {
    let port = ground.server.port();
    let mut direct = RawClient::logged_in(port, &ground.credentials());
    direct.query("BEGIN");
    let count = warnings_of(&mut direct, sql);
    direct.query("ROLLBACK");
    count
}

fn shown(client: &mut RawClient) -> Vec<Vec<String>> {
    match client.query("SHOW WARNINGS") {
        Reply::Rows(rows) => rows
            .into_iter()
            .map(|row| row.into_iter().map(Option::unwrap).collect())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rules_route_tag_and_bound_statements() {
    let ground = Ground::new(Kind::MySql, "gov_route");
    let stage: Stage = ground.stage(|config| {
        config.strategy(
            "rules:\n\
             - {name: slow, match: {regex: [SLEEP]}, timeoutMs: 100}\n\
             - {name: mark, match: {tables: [users]}, tag: {kind: people}}\n\
             - {name: marked, match: {tags: {kind: people}, verbs: [delete]}, action: deny}\n\
             - {name: here, match: {tables: [t]}, route: {endpoint: server-0}}\n\
             - {name: wait, match: {tables: [secrets]}, delayMs: 50}",
        )
    });
    let mut client = ground.client(&stage);
    assert_eq!(client.query("SELECT SLEEP(20)").code(), Some(3024));
    assert_denied(&client.query("DELETE FROM users WHERE id = 1"), "marked");
    assert_eq!(client.query("SELECT name FROM users").value(), "ann");
    let (_, sessions) = stage.proxy.admin_get("/debug/sessions").unwrap();
    assert!(sessions.contains("people"), "{sessions}");
    assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
    let begun = std::time::Instant::now();
    assert_eq!(client.query("SELECT word FROM secrets").value(), "sesame");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(50));
    let (status, rules) = stage.proxy.admin_get("/debug/rules").unwrap();
    assert_eq!(status, 200);
    assert!(
        rules.contains("\"marked\"") && rules.contains("\"delay\""),
        "{rules}"
    );
}
