//! The harness against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use dbmesh_testkit::{Kind, Server, ServerOptions, query::Session, shared};

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

#[test]
fn a_server_starts_serves_crashes_and_comes_back() {
    for kind in KINDS {
        let server = Server::start(ServerOptions::new(kind).server_id(7)).unwrap();
        assert_eq!(
            server.query_value("SELECT @@server_id").unwrap().as_deref(),
            Some("7")
        );
        server.execute("CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT); INSERT INTO d.t VALUES (1, NULL), (2, 'x')").unwrap();
        let rows = server.query("SELECT a, b FROM d.t ORDER BY a").unwrap();
        assert_eq!(
            rows,
            vec![
                vec![Some("1".to_owned()), None],
                vec![Some("2".to_owned()), Some("x".to_owned())]
            ]
        );
        let pid = server.pid().unwrap();
        server.kill_9();
        assert_eq!(server.pid(), None);
        assert!(server.query("SELECT 1").is_err());
        server.restart().unwrap();
        assert_ne!(server.pid(), Some(pid));
        assert_eq!(
            server
                .query_value("SELECT COUNT(*) FROM d.t")
                .unwrap()
                .as_deref(),
            Some("2")
        );
        let folder = server.data_path();
        drop(server);
        assert!(!folder.exists());
    }
}

#[test]
fn the_application_account_works_over_tcp_and_errors_keep_their_code() {
    for kind in KINDS {
        let server = shared(kind);
        let session =
            Session::over_tcp(server.port(), "app", "app-password", Some("mysql")).unwrap();
        let user = session.query("SELECT CURRENT_USER()").unwrap();
        assert_eq!(user, vec![vec![Some("app@%".to_owned())]]);
        assert_eq!(
            session
                .execute("SELECT * FROM no_such_table")
                .unwrap_err()
                .code(),
            Some(1146)
        );
        assert_eq!(
            session
                .execute("SELECT 1; SELECT * FROM no_such_table")
                .unwrap_err()
                .code(),
            Some(1146)
        );
        let refused = Session::over_tcp(server.port(), "app", "wrong", None).unwrap_err();
        assert_eq!(refused.code(), Some(1045));
    }
}

#[test]
fn servers_speak_tls_with_a_certificate_for_the_loopback_address() {
    for kind in KINDS {
        let server = shared(kind);
        let program = match kind {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        };
        let mut client = server.client_command(program).unwrap();
        client.arg(format!("--ssl-ca={}", server.ca_path().display()));
        match kind {
            Kind::MySql => client.arg("--ssl-mode=VERIFY_IDENTITY"),
            Kind::MariaDb => client.arg("--ssl-verify-server-cert"),
        };
        client.args([
            "--batch",
            "--skip-column-names",
            "--execute",
            "SHOW STATUS LIKE 'Ssl_version'",
        ]);
        let output = client.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("TLSv1."),
            "{kind}: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
