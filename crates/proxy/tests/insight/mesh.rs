//! SHOW MESH over the MySQL protocol, and KILL by operators.

use std::time::Duration;

use dbmesh_wire::caps::Capabilities;

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::ground::{KINDS, client, rows, server, stage};

#[test]
fn operators_see_their_service_and_nobody_else_does() {
    for kind in KINDS {
        let server = server(kind);
        let stage = stage(&server, &["observability: {insight: on}"]);
        let (mut app, mut ops) = (client(&stage, "app"), client(&stage, "ops"));
        assert_eq!(app.query("INSERT INTO t VALUES (1, 1)"), Reply::Ok);
        for what in [
            "STATUS",
            "SESSIONS",
            "ENDPOINTS",
            "POOLS",
            "RULES",
            "DIGESTS",
        ] {
            let refused = app.query(&format!("SHOW MESH {what}"));
            assert_eq!(refused.code(), Some(1227), "{what}: {refused:?}");
        }
        let status = rows(&mut ops, "SHOW MESH STATUS");
        let value = |name: &str| status.iter().find(|row| row[0] == name).unwrap()[1].clone();
        assert_eq!(value("service"), "default/testkit/mysql");
        assert_eq!(value("sessions"), "2");
        assert_eq!(value("statements_write"), "1");
        let sessions = rows(&mut ops, "show mesh sessions");
        let users: Vec<&str> = sessions.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(users, ["app", "ops"], "{kind:?}");
        let endpoints = rows(&mut ops, "SHOW MESH ENDPOINTS");
        assert_eq!((endpoints.len(), endpoints[0][0].as_str()), (1, "server-0"));
        assert!(endpoints[0].contains(&"closed".to_owned()), "{endpoints:?}");
        let pools = rows(&mut ops, "SHOW MESH POOLS;");
        assert_eq!(pools[0][1], "8");
        assert_eq!(rows(&mut ops, "SHOW MESH RULES").len(), 0);
        let digests = rows(&mut ops, "SHOW MESH DIGESTS ORDER BY calls LIMIT 100");
        let insert = digests.iter().find(|row| row[21].starts_with("INSERT"));
        assert_eq!(insert.unwrap()[3], "1");
        assert_eq!(rows(&mut ops, "SHOW MESH DIGESTS LIMIT 1").len(), 1);
        let wrong = ops.query("SHOW MESH DIGESTS ORDER BY beauty");
        assert_eq!(wrong.code(), Some(1064), "{wrong:?}");
        // What is none of these is a matter of the server.
        assert_eq!(ops.query("SHOW MESH WEATHER").code(), Some(1064));
        // Its own answer leaves the session's diagnostics as a SHOW does.
        assert_eq!(rows(&mut ops, "SHOW MESH ENDPOINTS").len(), 1);
        assert_eq!(rows(&mut ops, "SELECT FOUND_ROWS()"), [["1"]]);
    }
}

#[test]
fn an_operator_kills_sessions_of_others_and_a_user_does_not() {
    for kind in KINDS {
        let server = server(kind);
        let stage = stage(&server, &[]);
        let (mut ops, mut bob) = (client(&stage, "ops"), client(&stage, "bob"));
        let mut victim = RawClient::logged_in(
            stage.port,
            &Credentials::app().more(Capabilities::MULTI_STATEMENTS),
        );
        let id = rows(&mut victim, "SELECT CONNECTION_ID()")
            .remove(0)
            .remove(0);
        victim.begin_query("SELECT SLEEP(20)");
        eventually("it runs", Duration::from_secs(10), || {
            let sessions = rows(&mut ops, "SHOW MESH SESSIONS");
            sessions
                .iter()
                .any(|row| row[0] == id && row[5] == "server-0")
        });
        let refused = bob.query(&format!("KILL QUERY {id}"));
        assert_eq!(refused.code(), Some(1095), "{kind:?}: {refused:?}");
        assert_eq!(ops.query(&format!("KILL QUERY {id}")), Reply::Ok);
        let ended = victim.reply();
        let interrupted = ended.code() == Some(1317) || matches!(ended, Reply::Rows(_));
        assert!(interrupted, "{ended:?}");
        assert!(matches!(victim.query("SELECT 1"), Reply::Rows(_)));
        assert_eq!(ops.query(&format!("KILL {id}")), Reply::Ok);
        eventually("it is gone", Duration::from_secs(10), || victim.is_closed());
        assert!(
            stage
                .proxy
                .log_tail(200)
                .contains("an operator kills a session")
        );
    }
}
