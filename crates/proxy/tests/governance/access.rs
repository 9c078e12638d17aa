//! Users: where from, how, until when, and what they may do.

use dbmesh_testkit::server::Kind;
use dbmesh_wire::auth::{AuthSwitchRequest, scramble_caching_sha2};
use dbmesh_wire::greeting::NONCE_BYTES;
use dbmesh_wire::handshake::HandshakeResponse;

use crate::ask::{assert_error, execute, prepare};
use crate::faultkit::client::{Credentials, RawClient, Reply, USUAL};
use crate::faultkit::stage::Stage;
use crate::ground::{Ground, KINDS};

const USERS: &str = r#"users:
- {name: clerk, password: clerk-password, grants: [
    {tables: ["gov_access.t"], allow: [read, write]},
    {tables: ["gov_access.users"], allow: [read], columns: [id, name]}]}
- {name: chief, password: chief-password, operator: true, grants: [{tables: ["gov_access.t"], allow: [read]}]}
- {name: reader, password: reader-password, readOnly: true}
- {name: far, password: far-password, networks: [192.0.2.0/24]}
- {name: near, password: near-password, networks: [127.0.0.0/8]}
- {name: tls, password: tls-password, requireTls: true}
- {name: early, password: early-password, validFrom: "2090-01-01T00:00:00Z"}
- {name: late, password: late-password, validUntil: "2020-01-01T00:00:00Z"}"#;

fn login(ground: &Ground, port: u16, user: &str) -> RawClient {
    let credentials = Credentials::of(user, &format!("{user}-password"));
    RawClient::logged_in(port, &credentials.schema(&ground.schema))
}

#[test]
fn grants_hold_in_every_protocol_and_what_is_denied_does_not_happen() {
    for kind in KINDS {
        let ground = Ground::new(kind, "gov_access");
        let stage = ground.stage(|config| config.service(USERS));
        let mut clerk = login(&ground, stage.port, "clerk");
        assert_eq!(clerk.query("UPDATE t SET v = 11 WHERE id = 1"), Reply::Ok);
        assert_eq!(clerk.query("SELECT name FROM users").value(), "ann");
        for (sql, code, says) in [
            ("SELECT word FROM secrets", 1142, "for table 'secrets'"),
            (
                "WITH x AS (SELECT word FROM secrets) SELECT * FROM x",
                1142,
                "secrets",
            ),
            ("SELECT password FROM users", 1143, "column 'password'"),
            ("SELECT * FROM users", 1143, "column '*'"),
            (
                "DROP TABLE t",
                1142,
                "ALTER command denied to user 'clerk'@'127.0.0.1'",
            ),
            ("DELETE FROM secrets", 1142, "secrets"),
            ("USE mysql", 1044, "to database 'mysql'"),
            ("SELECT user FROM mysql.user", 1142, "user"),
            ("SET GLOBAL max_connections = 5", 1227, "admin"),
            ("CREATE DATABASE gov_other", 1227, "ddl"),
            ("SHOW PROCESSLIST", 1227, "admin"),
            ("PREPARE s FROM 'SELECT word FROM secrets'", 1142, "secrets"),
            ("PREPARE s FROM @q", 1227, "not known"),
        ] {
            assert_error(&clerk.query(sql), code, says);
            let prepared = prepare(&mut clerk, sql).unwrap_err();
            assert_eq!(prepared.code(), Some(code), "{kind:?} {sql}: {prepared:?}");
        }
        clerk.command(b"\x02mysql");
        assert_error(&clerk.reply(), 1044, "mysql");
        clerk.command(b"\x04secrets\0");
        assert_error(&clerk.reply(), 1142, "secrets");
        let (id, _) = prepare(&mut clerk, "SELECT name FROM users WHERE id = 1").unwrap();
        assert_eq!(execute(&mut clerk, id, &[], None).value(), "ann");
        assert_eq!(ground.ask("SELECT COUNT(*) FROM {schema}.secrets"), "1");

        assert_listings(&ground, &stage, &mut clerk);
        let mut chief = login(&ground, stage.port, "chief");
        for sql in ["SHOW MESH POOLS", "EXPLAIN MESH SELECT v FROM t"] {
            assert!(matches!(chief.query(sql), Reply::Rows(rows) if !rows.is_empty()));
        }
        let explained = chief.query("EXPLAIN MESH SELECT word FROM secrets");
        assert_error(&explained, 1142, "for table 'secrets'");
        let mut reader = login(&ground, stage.port, "reader");
        assert_eq!(reader.query("SELECT word FROM secrets").value(), "sesame");
        assert_eq!(reader.query("BEGIN"), Reply::Ok);
        assert_error(
            &reader.query("UPDATE t SET v = 1 WHERE id = 1"),
            1227,
            "read-only",
        );
        assert_error(
            &reader.query("SELECT v FROM t FOR UPDATE"),
            1227,
            "read-only",
        );
        assert_eq!(reader.query("COMMIT"), Reply::Ok);
        assert_eq!(ground.ask("SELECT v FROM {schema}.t WHERE id = 1"), "11");
    }
}

/// What may not be seen is not listed.
fn assert_listings(ground: &Ground, stage: &Stage, clerk: &mut RawClient) {
    let column = |reply: Reply| match reply {
        Reply::Rows(rows) => {
            let mut names: Vec<String> = rows
                .into_iter()
                .map(|row| row[0].clone().unwrap())
                .collect();
            names.sort();
            names
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(column(clerk.query("SHOW TABLES")), ["t", "users"]);
    assert_eq!(
        column(clerk.query("SHOW TABLES FROM gov_access LIKE 'u%'")),
        ["users"]
    );
    let full = "SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'";
    assert_eq!(column(clerk.query(full)), ["t", "users"]);
    assert_eq!(
        column(clerk.query("SHOW DATABASES")),
        ["gov_access", "information_schema"]
    );
    let mut app = ground.client(stage);
    assert_eq!(column(app.query("SHOW TABLES")), ["secrets", "t", "users"]);
}

#[test]
fn logins_come_from_where_and_when_they_may() {
    let ground = Ground::new(Kind::MySql, "gov_logins");
    let users = USERS.replace("gov_access", "gov_logins");
    let stage = ground.stage(|config| config.service(&users));
    login(&ground, stage.port, "near");
    for user in ["far", "tls", "early", "late"] {
        let credentials = Credentials::of(user, &format!("{user}-password"));
        let refused = RawClient::connect(stage.port).login(&credentials);
        assert_error(&refused, 1045, "Access denied for user");
    }
    let schema = Credentials::of("clerk", "clerk-password").schema("mysql");
    assert_error(
        &RawClient::connect(stage.port).login(&schema),
        1044,
        "'mysql'",
    );
}

/// A login that has been told by which plugin to prove itself, and has not yet.
fn halfway(port: u16, user: &str) -> (RawClient, AuthSwitchRequest) {
    let mut client = RawClient::connect(port);
    client.greeting().unwrap();
    let response = HandshakeResponse {
        capabilities: USUAL,
        max_packet_bytes: 1 << 24,
        collation: 45,
        user: user.into(),
        auth_plugin: Some("none_that_is_known".into()),
        ..HandshakeResponse::default()
    };
    let mut payload = Vec::new();
    response.encode(&mut payload);
    client.send_next(&payload);
    let switch = client.packet().unwrap();
    (client, AuthSwitchRequest::decode(&switch).unwrap())
}

#[test]
fn who_guesses_is_shut_out() {
    let ground = Ground::new(Kind::MySql, "gov_lockout");
    let stage = ground.stage(|config| {
        config
            .service("users: [{name: other, password: other-password}]")
            .service("limits: {loginFailures: 3, loginLockMs: 3600000}")
    });
    let wrong = |user: &str| {
        let reply = RawClient::connect(stage.port).login(&Credentials::of(user, "guess"));
        assert_error(&reply, 1045, "Access denied");
    };
    let (mut before, switch) = halfway(stage.port, "app");
    for _ in 0..3 {
        wrong("app");
        wrong("nobody");
    }
    let nonce = &switch.data[..NONCE_BYTES];
    before.send_next(&scramble_caching_sha2(b"app-password", nonce));
    // Not even the word that the password was right comes before the error.
    assert_error(&before.reply(), 1045, "Access denied");
    let right = RawClient::connect(stage.port).login(&ground.credentials());
    assert_error(&right, 1045, "Access denied");
    login(&ground, stage.port, "other");
}
