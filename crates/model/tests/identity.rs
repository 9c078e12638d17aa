//! What a revision and the fingerprints tell apart, and how folders are read.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use dbmesh_model::host::LocalHost;
use dbmesh_model::{Topology, load_text, resolve, topology};

const OLDER: &str = include_str!("../cases/older-form.yaml");

fn of(text: &str) -> Topology {
    resolve(load_text(Path::new("x.yaml"), text), &LocalHost).unwrap()
}

fn changed(from: &str, to: &str) -> Topology {
    assert!(OLDER.contains(from), "{from}");
    of(&OLDER.replace(from, to))
}

#[test]
fn the_order_of_documents_changes_nothing() {
    let mut documents: Vec<&str> = OLDER.split("---\n").collect();
    documents.reverse();
    let (one, other) = (of(OLDER), of(&documents.join("---\n")));
    assert_eq!(one.revision, other.revision);
    assert_eq!(one.fingerprint(), other.fingerprint());
}

#[test]
fn whatever_is_shown_changes_the_revision() {
    let before = of(OLDER);
    for (from, to) in [
        ("kind: random", "kind: roundrobin"),
        ("port: 3306", "port: 3310"),
        ("duration: 100", "duration: 101"),
        ("user: root", "user: other"),
        ("\"sleep\"", "\"snore\""),
    ] {
        let after = changed(from, to);
        assert_ne!(before.revision, after.revision, "{to}");
        assert_ne!(before.fingerprint(), after.fingerprint(), "{to}");
    }
}

#[test]
fn a_password_changes_only_what_is_not_shown() {
    for (from, to) in [("fake_password", "new"), ("default_password", "new")] {
        let (before, after) = (of(OLDER), changed(from, to));
        assert_eq!(before.revision, after.revision, "{from}");
        assert_ne!(before.fingerprint(), after.fingerprint(), "{from}");
    }
}

#[test]
fn an_endpoint_keeps_its_fingerprint_unless_its_connections_change() {
    let before = of(OLDER).endpoints().remove(0);
    let same = |to: &str, from: &str| {
        let after = changed(from, to).endpoints().remove(0);
        after.fingerprint() == before.fingerprint()
    };
    assert!(same(
        "spec: {weight: 7, zone: b, database: {MySQL",
        "spec: {database: {MySQL"
    ));
    assert!(same("kind: leastconn", "kind: random"));
    assert!(!same("new", "fake_password"));
    assert!(!same("port: 3308", "port: 3307"));
    assert!(!same("database: {MariaDB", "database: {MySQL"));
    assert!(!same("{MySQL: {tls: {mode: required}, db", "{MySQL: {db"));
    assert!(!same("{MySQL: {compression: [zlib], db", "{MySQL: {db"));
}

#[test]
fn a_folder_is_read_in_order_of_name() {
    let folder = std::env::temp_dir().join(format!("dbmesh-model-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    for (place, document) in OLDER.split("---\n").enumerate() {
        let extension = ["yaml", "yml", "json"][place];
        std::fs::write(folder.join(format!("{place}.{extension}")), document).unwrap();
    }
    std::fs::write(folder.join("note.txt"), "[").unwrap();
    std::fs::write(folder.join(".hidden.yaml"), "[").unwrap();
    std::fs::write(folder.join("sub/other.yaml"), "[").unwrap();
    let whole = topology(&folder);
    std::fs::write(folder.join("3.yaml"), "kind: Nothing\n").unwrap();
    std::fs::write(folder.join("4.yaml"), b"\xff\xfe").unwrap();
    let wrong = topology(&folder).unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(whole.unwrap().revision, of(OLDER).revision);
    assert!(
        wrong.contains("3.yaml:1:7: error: kind: unknown kind `Nothing`"),
        "{wrong}"
    );
    assert!(wrong.contains("4.yaml: error: cannot be read: "), "{wrong}");
    assert!(
        topology(&folder)
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}
