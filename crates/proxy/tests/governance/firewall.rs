//! The firewall learns, warns and refuses; and nothing of the bypass catalogue gets past it.

use std::time::Duration;

use dbmesh_testkit::server::Kind;
use dbmesh_wire::caps::Capabilities;

use crate::ask::{assert_error, execute, prepare};
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{Ground, KINDS};

/// A folder that goes with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dbmesh-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> String {
        self.0.join("list.jsonl").to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn firewall(ground: &Ground, stage: &Stage, mode: &str, file: &str) {
    let line = format!("firewall: {{mode: {mode}, file: '{file}'}}");
    let yaml = ground.yaml(stage.port, |config| config.service(&line));
    stage.proxy.rewrite_config(&yaml).unwrap();
    stage.proxy.sighup();
    let shown = format!("\"mode\":\"{mode}\"");
    eventually("the mode is applied", Duration::from_secs(15), || {
        let (_, config) = stage.proxy.admin_get("/debug/config").unwrap();
        config.replace(": ", ":").contains(&shown)
    });
}

#[test]
fn it_learns_then_warns_then_refuses() {
    let folder = Folder::new("firewall");
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_firewall");
        let file = folder.file();
        let _ = std::fs::remove_file(&file);
        let learn = format!("firewall: {{mode: learn, file: '{file}'}}");
        let stage = ground.stage(|config| config.service(&learn));
        let mut client = ground.client(&stage);
        assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
        let (id, _) = prepare(&mut client, "SELECT name FROM users WHERE id = 1").unwrap();
        assert_eq!(execute(&mut client, id, &[], None).value(), "ann");
        assert_eq!(client.query("SHOW WARNINGS"), Reply::Rows(vec![]));
        eventually("what was learned is kept", Duration::from_secs(10), || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.contains("SELECT v FROM t WHERE id = ?") && text.contains("\"user\":\"app\"")
        });

        firewall(&ground, &stage, "warn", &file);
        let mut client = ground.client(&stage);
        assert_eq!(client.query("SELECT v FROM t WHERE id = 2").value(), "20");
        assert_eq!(client.query("SHOW WARNINGS"), Reply::Rows(vec![]));
        assert_eq!(client.query("SELECT word FROM secrets").value(), "sesame");
        match client.query("SHOW WARNINGS") {
            Reply::Rows(rows) => {
                assert!(
                    rows[0][2].as_ref().unwrap().contains("'firewall'"),
                    "{rows:?}"
                );
            }
            other => panic!("{other:?}"),
        }

        firewall(&ground, &stage, "enforce", &file);
        let mut client = ground.client(&stage);
        assert_eq!(client.query("SELECT v FROM t WHERE id = 3").value(), "30");
        assert_eq!(
            client.query("select /* x */ v from `t` where id=4"),
            Reply::Rows(vec![])
        );
        assert_error(&client.query("SELECT word FROM secrets"), 1105, "firewall");
        assert_error(&client.query("DELETE FROM t"), 1105, "firewall");
        // Hints are code.
        let hinted = "SELECT /*+ SET_VAR(foreign_key_checks=OFF) */ v FROM t WHERE id = 3";
        assert_error(&client.query(hinted), 1105, "firewall");
        assert!(prepare(&mut client, hinted).is_err());
        assert_error(&client.query("SELECT v FRM t ("), 1105, "firewall");
        assert!(prepare(&mut client, "SELECT name FROM users WHERE id = 2").is_ok());
        assert_eq!(ground.ask("SELECT COUNT(*) FROM {schema}.t"), "3");
    }
}

/// Texts that would read `secrets` or empty it, each in another disguise, from the bypass catalogue.
fn catalogue(kind: Kind) -> Vec<&'static [u8]> {
    let mut all: Vec<&[u8]> = vec![
        b"DELETE FROM secrets",
        b"delete/**/from/**/secrets",
        b"DELETE\xC2\xA0FROM secrets",
        b"DELETE -- x\n FROM secrets",
        b"DELETE # x\n FROM secrets",
        b"DELETE --x\n FROM secrets",
        b"/*!50000 DELETE*/ FROM secrets",
        b"/*!DELETE FROM secrets*/",
        b"SELECT v FROM t WHERE id = 1 /*! UNION SELECT word FROM secrets */",
        b"SELECT v FROM t WHERE id = 1; DELETE FROM secrets",
        b"SELECT v FROM t WHERE id = 1;;DELETE FROM secrets;",
        b"PREPARE s FROM 'DELETE FROM secrets'",
        b"PREPARE s FROM \"DELETE FROM secrets\"",
        b"SET @q = 'DELETE FROM secrets'; PREPARE s FROM @q; EXECUTE s",
        b"SET @q = 0x44454C4554452046524F4D2073656372657473; PREPARE s FROM @q; EXECUTE s",
        b"SET @q = CHAR(68,69,76,69,84,69); PREPARE s FROM @q",
        b"WITH x AS (SELECT word FROM secrets) SELECT * FROM x",
        b"SELECT * FROM (SELECT word FROM secrets) x",
        b"SELECT (SELECT word FROM secrets LIMIT 1)",
        b"SELECT v FROM t WHERE id = (SELECT COUNT(*) FROM secrets)",
        b"SELECT v FROM t UNION ALL SELECT word FROM secrets",
        b"INSERT INTO t SELECT 9, COUNT(*) FROM secrets",
        b"UPDATE t, secrets SET secrets.word = 'x' WHERE t.id = secrets.id",
        b"DELETE secrets FROM secrets, t",
        b"REPLACE INTO secrets VALUES (1, 'x')",
        b"HANDLER secrets OPEN",
        b"HANDLER secrets READ FIRST",
        b"DO (SELECT COUNT(*) FROM secrets)",
        b"SELECT word FROM secrets INTO OUTFILE '/tmp/dbmesh-never'",
        b"SELECT word INTO @w FROM secrets",
        b"SELECT LOAD_FILE('/etc/passwd')",
        b"CREATE VIEW v AS SELECT * FROM secrets",
        b"CREATE PROCEDURE p() DELETE FROM secrets",
        b"CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW DELETE FROM secrets",
        b"CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM secrets",
        b"CALL p()",
        b"TRUNCATE secrets",
        b"TRUNCATE TABLE `secrets`",
        b"DROP TABLE secrets",
        b"ALTER TABLE secrets DROP COLUMN word",
        b"RENAME TABLE secrets TO t2",
        b"LOAD DATA INFILE '/etc/passwd' REPLACE INTO TABLE secrets",
        b"LOCK TABLES secrets WRITE",
        b"CREATE TABLE c AS SELECT * FROM secrets",
        b"EXPLAIN ANALYZE SELECT * FROM secrets",
        b"DELETE FROM SECRETS.secrets",
        b"DELETE FROM gov_bypass . secrets",
        b"DELETE FROM gov_bypass./**/secrets",
        b"DELETE FROM gov_bypass.`secrets`",
        b"SELECT 'a\\'; DELETE FROM secrets; -- '",
    ];
    all.extend(of_one_kind(kind));
    all
}

/// What only one of the two would run.
fn of_one_kind(kind: Kind) -> Vec<&'static [u8]> {
    match kind {
        Kind::MySql => vec![
            b"TABLE secrets".as_slice(),
            b"/*!80000 DELETE FROM secrets */",
            b"/*!090000 DELETE FROM secrets */",
            b"WITH x AS (SELECT 1) DELETE FROM secrets",
        ],
        Kind::MariaDb => vec![
            b"/*M!100000 DELETE FROM secrets */".as_slice(),
            b"/*M! DELETE FROM secrets */",
            b"EXECUTE IMMEDIATE 'DELETE FROM secrets'",
            b"EXECUTE IMMEDIATE CONCAT('DELETE FROM ', 'secrets')",
            b"BEGIN NOT ATOMIC DELETE FROM secrets; END",
            b"ANALYZE DELETE FROM secrets",
            b"DELETE FROM secrets RETURNING word",
            b"FOR r IN (SELECT word FROM secrets) DO SELECT r.word; END FOR",
        ],
    }
}

/// Modes of the session under which texts are read in other ways.
const MODES: [&str; 5] = [
    "SET sql_mode = ''",
    "SET sql_mode = 'ANSI_QUOTES'",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
    "SET NAMES gbk",
    "SET NAMES sjis",
];

fn raw(client: &mut RawClient, command: u8, sql: &[u8]) -> Reply {
    let mut payload = vec![command];
    payload.extend_from_slice(sql);
    client.command(&payload);
    let reply = client.reply();
    assert!(!matches!(reply, Reply::Silent), "no answer");
    reply
}

/// Texts of which a statement changes how the server reads the rest: read as the first one is, the DELETE is in a string.
const CHANGING: [&[u8]; 4] = [
    br"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\'; DELETE FROM secrets; -- '",
    br"PREPARE s FROM 'SET sql_mode = ''NO_BACKSLASH_ESCAPES'''; EXECUTE s; SELECT '\'; DELETE FROM secrets; -- '",
    b"SET NAMES gbk; SELECT '\xbf\\'; DELETE FROM secrets; -- '",
    b"SET @@session.character_set_client = sjis; SELECT '\x95\\'; DELETE FROM secrets; -- '",
];

#[test]
fn what_stands_behind_a_change_of_mode_is_judged_as_the_server_reads_it() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_changing");
        let deny =
            "rules: [{name: secret, match: {tables: [\"*.secrets\", secrets]}, action: deny}]";
        let stage = ground.stage(|config| config.strategy(deny));
        for sql in CHANGING {
            let shown = String::from_utf8_lossy(sql);
            let credentials = ground.credentials().more(Capabilities::MULTI_STATEMENTS);
            let mut client = RawClient::logged_in(stage.port, &credentials);
            let mut reply = raw(&mut client, 0x03, sql);
            let mut before = 0;
            while !matches!(reply, Reply::Error(_)) && before < 4 {
                before += 1;
                reply = client.reply();
            }
            assert_error(&reply, 1105, "secret");
            assert!(before >= 2, "{kind:?} {shown}: {reply:?}");
            assert_eq!(ground.ask("SELECT COUNT(*) FROM {schema}.secrets"), "1");
        }
    }
}

#[test]
fn nothing_of_the_bypass_catalogue_happens() {
    let folder = Folder::new("bypass");
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_bypass");
        let file = folder.file();
        let deny = "rules: [{name: secret, match: {tables: [\"*.secrets\", secrets]}, action: deny}, \
                    {name: code, match: {classes: [ddl, admin, unknown]}, action: deny}, \
                    {name: calls, match: {verbs: [call, handler, do, lockTables, loadData]}, action: deny}, \
                    {name: files, match: {regex: [LOAD_FILE]}, action: deny}]";
        let _ = std::fs::remove_file(&file);
        let learn = format!("firewall: {{mode: learn, file: '{file}'}}");
        let by_list = ground.stage(|config| config.service(&learn));
        for mode in MODES {
            let mut client = ground.client(&by_list);
            assert_eq!(client.query(mode), Reply::Ok);
            assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
        }
        firewall(&ground, &by_list, "enforce", &file);
        let by_rule = ground.stage(|config| config.strategy(deny));
        for (stage, only_rules) in [(by_list, false), (by_rule, true)] {
            let credentials = ground.credentials().more(Capabilities::MULTI_STATEMENTS);
            for mode in MODES {
                let mut client = RawClient::logged_in(stage.port, &credentials);
                assert_eq!(client.query(mode), Reply::Ok, "{kind:?} {mode}");
                for sql in catalogue(kind) {
                    let shown = String::from_utf8_lossy(sql);
                    for command in [0x03, 0x16] {
                        let mut reply = raw(&mut client, command, sql);
                        // Where text that is not seen may change how the rest is read, each statement is judged in its turn.
                        while reply == Reply::Ok && shown.starts_with("SET @q") {
                            reply = client.reply();
                        }
                        // A server's own syntax error is as good: what runs is what counts.
                        let refused = matches!(reply, Reply::Error(_));
                        let string = only_rules && sql.starts_with(b"SELECT 'a");
                        let other_schema = only_rules && shown.contains("SECRETS.");
                        assert!(
                            refused || string || other_schema,
                            "{kind:?} {mode}: {shown}: {reply:?}"
                        );
                        if !refused {
                            // Further results and definitions are not read: another session.
                            client = RawClient::logged_in(stage.port, &credentials);
                            assert_eq!(client.query(mode), Reply::Ok);
                        }
                    }
                }
                assert_eq!(client.query("SELECT v FROM t WHERE id = 1").value(), "10");
            }
        }
        assert_eq!(
            ground.ask("SELECT word FROM {schema}.secrets"),
            "sesame",
            "{kind:?}"
        );
        assert_eq!(
            ground.ask(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{schema}'"
            ),
            "3"
        );
        assert_eq!(
            ground.ask(
                "SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = '{schema}'"
            ),
            "0"
        );
        assert!(!std::path::Path::new("/tmp/dbmesh-never").exists());
    }
}
