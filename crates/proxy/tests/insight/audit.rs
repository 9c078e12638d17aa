//! The audit and the slow log: what is in a line, that nothing runs unrecorded where that is wanted, and the command
//! that verifies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dbmesh_testkit::proxy::binary;
use serde_json::Value;

use crate::ask;
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{KINDS, client, post, server, stage, stage_of};

/// A folder of its own, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dbmesh-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Lines once there is one that fits.
fn until(path: &Path, what: &str, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    eventually(what, Duration::from_secs(10), || {
        lines(path).iter().any(&fits)
    });
    lines(path)
}

fn verify(path: &Path) -> (Option<i32>, String) {
    let output = Command::new(binary().unwrap())
        .args(["audit", "verify"])
        .arg(path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// What the audit is to tell of.
fn talk(stage: &Stage) {
    let mut app = client(stage, "app");
    assert_eq!(app.query("INSERT INTO t VALUES (1, 2147480011)"), Reply::Ok);
    assert_eq!(
        app.query("INSERT INTO t VALUES (1, 2147480011)").code(),
        Some(1062)
    );
    assert_eq!(app.query("SELECT SLEEP(0)").code(), Some(1105));
    let (id, _) = ask::prepare(&mut app, "SELECT 'a' FROM t WHERE id = ?").unwrap();
    assert!(matches!(
        ask::execute(&mut app, id, &["1"], None),
        Reply::Rows(_)
    ));
    app.command(b"\x02app");
    assert_eq!(app.reply(), Reply::Ok);
    app.command(b"\x02nowhere");
    assert_eq!(app.reply().code(), Some(1049));
    let bye = "/* mesh: tag.app=shop, tenant=blue */ SELECT 'bye'";
    assert!(matches!(app.query(bye), Reply::Rows(_)));
    let wrong = RawClient::connect(stage.port).login(&Credentials::of("app", "wrong"));
    assert_eq!(wrong.code(), Some(1045));
}

fn assert_told(all: &[Value]) {
    let find =
        |text: &str| -> Vec<&Value> { all.iter().filter(|line| line["text"] == text).collect() };
    let inserts = find("INSERT INTO t VALUES (...)");
    assert_eq!(inserts.len(), 2, "{all:#?}");
    let first = inserts[0];
    for (field, expected) in [
        ("event", "statement"),
        ("service", "default/testkit/mysql"),
        ("user", "app"),
        ("schema", "app"),
        ("class", "write"),
        ("protocol", "text"),
        ("outcome", "ok"),
        ("endpoint", "server-0"),
    ] {
        assert_eq!(first[field], expected, "{field}");
    }
    assert!(first["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(first["rows_affected"], 1);
    assert_eq!(inserts[1]["outcome"], "error");
    assert_eq!(inserts[1]["error"], 1062);
    let denied = &find("SELECT SLEEP(?)")[0];
    assert_eq!(denied["outcome"], "refused");
    assert_eq!(denied["rules"][0]["rule"], "no-sleep");
    assert_eq!(denied["rules"][0]["action"], "deny");
    let prepared = find("SELECT ? FROM t WHERE id = ?");
    let events: Vec<&Value> = prepared.iter().map(|line| &line["event"]).collect();
    assert_eq!(events, ["prepare", "statement"]);
    for line in prepared {
        assert_eq!(line["protocol"], "prepared");
        assert_eq!(line["outcome"], "ok");
    }
    let chosen = all.iter().filter(|line| line["event"] == "init_db");
    let chosen: Vec<_> = chosen
        .map(|l| (&l["schema"], &l["outcome"], &l["error"]))
        .collect();
    assert_eq!(chosen.len(), 2, "{chosen:?}");
    assert_eq!(chosen[0], (&"app".into(), &"ok".into(), &Value::Null));
    assert_eq!(
        chosen[1],
        (&"nowhere".into(), &"error".into(), &1049.into())
    );
    let tagged = find("SELECT ?");
    assert_eq!(tagged[0]["labels"]["tags"]["app"], "shop");
    assert_eq!(tagged[0]["labels"]["tenant"], "blue");
    let login = |outcome: &str| {
        let found = all.iter();
        found
            .filter(|l| l["event"] == "login" && l["outcome"] == outcome)
            .count()
    };
    assert_eq!((login("ok"), login("refused")), (1, 1));
    let operator = all.iter().find(|line| line["event"] == "operator").unwrap();
    assert_eq!(
        (&operator["action"], &operator["actor"]),
        (&"undrain".into(), &"ann".into())
    );
}

#[test]
fn every_statement_is_recorded_with_who_where_and_what_came_of_it() {
    for kind in KINDS {
        let server = server(kind);
        let folder = Folder::new(&format!("audit-{kind:?}"));
        let path = folder.file("audit.jsonl");
        let audit = format!("observability: {{audit: {{file: {}}}}}", path.display());
        let deny = "circuitBreaks: [{name: no-sleep, regex: [\"(?i)sleep\"]}]";
        let stage = stage_of(&server, &[&audit], |c| c.strategy(deny));
        talk(&stage);
        assert_eq!(post(&stage, "/endpoints/server-0/undrain", "ann"), 200);
        let all = until(&path, "the operator's line", |line| {
            line["event"] == "operator"
        });
        assert_told(&all);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("2147480011") && !text.contains("'bye'"),
            "a literal"
        );
        let (code, said) = verify(&path);
        assert_eq!(code, Some(0), "{said}");
        // Somebody changes a line.
        fs::write(
            &path,
            text.replacen("\"rows_affected\":1", "\"rows_affected\":0", 1),
        )
        .unwrap();
        let (code, said) = verify(&path);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("this line was changed"), "{said}");
    }
}

#[test]
fn literals_are_written_where_wanted_and_secrets_never() {
    let server = server(KINDS[0]);
    let folder = Folder::new("literals");
    let path = folder.file("audit.jsonl");
    let audit = format!(
        "observability: {{audit: {{file: {}, literals: on, classes: [write, admin, unknown]}}}}",
        path.display()
    );
    let stage = stage(&server, &[&audit]);
    let mut app = client(&stage, "app");
    assert_eq!(app.query("INSERT INTO t VALUES (7, 4711)"), Reply::Ok);
    assert!(matches!(app.query("SELECT 4712"), Reply::Rows(_)));
    for sql in [
        "CREATE USER eve IDENTIFIED BY 's3cr3t'",
        "ALTER USER eve IDENTIFIED BY 's3cr3t'",
        "SET PASSWORD FOR eve = 's3cr3t'",
        "INSERT INTO nothing (password) VALUES ('s3cr3t')",
        "DROP USER eve",
    ] {
        let _ = app.query(sql);
    }
    let all = until(&path, "the last line", |line| {
        line["text"] == "DROP USER eve" || line["sql"] == "DROP USER eve"
    });
    let sql = |text: &str| all.iter().any(|line| line["sql"] == text);
    assert!(sql("INSERT INTO t VALUES (7, 4711)"), "{all:#?}");
    assert!(
        !all.iter().any(|line| line["class"] == "read"),
        "not wanted"
    );
    assert!(sql("CREATE USER eve IDENTIFIED BY ?"), "{all:#?}");
    assert!(!fs::read_to_string(&path).unwrap().contains("s3cr3t"));
}

#[test]
fn no_statement_runs_unrecorded_where_that_is_wanted() {
    let server = server(KINDS[1]);
    let folder = Folder::new("closed");
    let path = folder.file("audit.jsonl");
    let audit = format!(
        "observability: {{audit: {{file: {}, classes: [write], onFailure: closed, durability: syncedBefore}}}}",
        path.display()
    );
    // A folder stands where the file should: nothing can be written.
    fs::create_dir(&path).unwrap();
    let stage = stage(&server, &[&audit]);
    let mut app = client(&stage, "app");
    let refused = app.query("INSERT INTO t VALUES (1, 1)");
    assert_eq!(refused.code(), Some(1290), "{refused:?}");
    assert_eq!(app.query("DELETE FROM t").code(), Some(1290));
    // What is not audited runs.
    assert!(matches!(app.query("SELECT 1"), Reply::Rows(_)));
    assert_eq!(
        server
            .query_value("SELECT COUNT(*) FROM app.t")
            .unwrap()
            .unwrap(),
        "0"
    );
    assert!(stage.metric("dbmesh_log_failing") == 1.0);
    fs::remove_dir(&path).unwrap();
    eventually("it is written again", Duration::from_secs(10), || {
        app.query("INSERT INTO t VALUES (2, 2)") == Reply::Ok
    });
    // The line of the statement was on the disk before it ran; the proxy dies.
    assert_eq!(app.query("INSERT INTO t VALUES (3, 3)"), Reply::Ok);
    let begun = lines(&path)
        .iter()
        .filter(|line| line["event"] == "begin")
        .count();
    let rows: usize = server
        .query_value("SELECT COUNT(*) FROM app.t")
        .unwrap()
        .unwrap()
        .parse()
        .unwrap();
    assert!(begun >= rows && rows == 2, "{begun} lines of {rows} rows");
    stage.proxy.kill();
    let (code, said) = verify(&path);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_full_disk_refuses_or_counts_and_the_chain_stands() {
    let server = server(KINDS[0]);
    let folder = Folder::new("full");
    let disk = folder.file("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=128k", "none"])
        .arg(&disk)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a disk of 128 KiB cannot be mounted here");
        return;
    }
    let _mounted = Mounted(disk.clone());
    let path = disk.join("audit.jsonl");
    let filler = disk.join("filler");
    fs::write(&filler, vec![0; 100 << 10]).unwrap();
    let audit = format!(
        "observability: {{audit: {{file: {}, classes: [write], onFailure: closed}}}}",
        path.display()
    );
    let stage = stage(&server, &[&audit]);
    let mut app = client(&stage, "app");
    let insert = "INSERT INTO t VALUES (1, 1) ON DUPLICATE KEY UPDATE v = v + 1";
    let mut ran = 0;
    eventually("the disk is full", Duration::from_secs(30), || {
        for _ in 0..50 {
            match app.query(insert) {
                Reply::Ok => ran += 1,
                other => return other.code() == Some(1290),
            }
        }
        false
    });
    assert!(ran > 10);
    fs::remove_file(&filler).unwrap();
    eventually("it is written again", Duration::from_secs(10), || {
        app.query(insert) == Reply::Ok
    });
    ran += 1;
    eventually("all is written", Duration::from_secs(10), || {
        let statements = lines(&path)
            .iter()
            .filter(|l| l["outcome"] == "ok" && l["class"] == "write")
            .count();
        statements == ran
    });
    let (code, said) = verify(&path);
    assert_eq!(code, Some(0), "{said}");
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn slow_statements_are_logged_with_where_their_time_went() {
    for kind in KINDS {
        let server = server(kind);
        let folder = Folder::new(&format!("slow-{kind:?}"));
        let path = folder.file("slow.jsonl");
        let slow = format!(
            "observability: {{slowLog: {{file: {}, thresholdMs: 1000}}}}",
            path.display()
        );
        let stage = stage(&server, &[&slow]);
        let mut app = client(&stage, "app");
        assert!(matches!(app.query("SELECT 1"), Reply::Rows(_)));
        assert!(matches!(app.query("SELECT SLEEP(1.2)"), Reply::Rows(_)));
        let all = until(&path, "the slow one", |line| {
            line["text"] == "SELECT SLEEP(?)"
        });
        let sleep = all.iter().find(|line| line["text"] == "SELECT SLEEP(?)");
        let sleep = sleep.unwrap();
        let us = |field: &str| sleep[field].as_u64().unwrap();
        let slow = |line: &Value| line["took_us"].as_u64().unwrap() >= 1_000_000;
        assert!(all.iter().all(slow), "{kind:?}: {all:#?}");
        assert!(
            us("execute_us") >= 1_000_000 && us("took_us") >= us("execute_us"),
            "{all:#?}"
        );
        let parts = us("wait_us") + us("execute_us") + us("other_us");
        assert!(us("took_us").abs_diff(parts) <= 2);
        assert_eq!(sleep["event"], "slow");
        assert!(sleep["hash"].is_null());
    }
}
