//! A session keeps the values with which it began: on connections that are opened after a server's defaults changed, and on
//! servers whose defaults are others.

use dbmesh_testkit::fleet::Fleet;
use dbmesh_testkit::server::{Kind, Server};

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::stage::Stage;
use crate::{KINDS, ask, before, fleet, replica_ids, server_id};

/// Ends all connections of the proxy's account but the one that does it.
fn end_connections(server: &Server) {
    let all = "SELECT GROUP_CONCAT(ID) FROM information_schema.PROCESSLIST WHERE USER = 'app'";
    for id in ask(server, all).split(',') {
        // It may have ended by itself.
        let _ = server.execute(&format!("KILL {id}"));
    }
}

fn change_defaults(server: &Server) {
    for set in [
        "autocommit = 0",
        "sql_mode = 'ANSI_QUOTES'",
        "sql_select_limit = 1",
        "time_zone = '+05:00'",
        "div_precision_increment = 9",
        "foreign_key_checks = 0",
    ] {
        server.execute(&format!("SET GLOBAL {set}")).unwrap();
    }
}

const MODE: &str =
    "SELECT CONCAT_WS(',', @@autocommit + 0, @@sql_mode, @@time_zone, @@foreign_key_checks + 0)";
const SHOWN: &str = "SELECT CONCAT_WS(',', FROM_UNIXTIME(0), 1 / 3, \"x\", (SELECT COUNT(*) FROM (SELECT id FROM app.t) d)) FROM app.who";

#[test]
fn a_session_keeps_what_it_began_with_when_a_server_s_defaults_change() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let primary = fleet.primary();
        let stage = Stage::before(kind, primary.port(), |config| config);
        let mut client = RawClient::app(stage.port);
        let (mode, shown) = (client.query(MODE).value(), client.query(SHOWN).value());
        assert!(mode.starts_with("1,"), "{mode}");
        change_defaults(primary);
        end_connections(primary);
        // Whatever the session runs first may meet a connection that has just ended; a read is sent again.
        assert_eq!(client.query(SHOWN).value(), shown, "{kind:?}");
        assert_eq!(client.query(MODE).value(), mode, "{kind:?}");
        assert_eq!(client.query("INSERT INTO app.t VALUES (2, 2)"), Reply::Ok);
        drop(client);
        let count = ask(primary, "SELECT COUNT(*) FROM app.t");
        assert_eq!(count, "2", "{kind:?}: an acknowledged row is there");

        // Who comes now begins with what the server has now, and a reset is a beginning.
        let mut late = RawClient::app(stage.port);
        let new = late.query(MODE).value();
        assert!(new.starts_with("0,ANSI_QUOTES,+05:00,0"), "{kind:?}: {new}");
        assert_eq!(late.query("SET time_zone = '+01:00'"), Reply::Ok);
        assert_eq!(late.query("COMMIT"), Reply::Ok);
        late.command(&[0x1F]);
        assert_eq!(late.reply(), Reply::Ok);
        assert_eq!(late.query(MODE).value(), new, "{kind:?}");
        let put_back = "SET GLOBAL autocommit = 1; SET GLOBAL foreign_key_checks = 1";
        primary.execute(put_back).unwrap();
    }
}

#[test]
fn replicas_with_other_defaults_answer_as_the_primary_does() {
    for kind in KINDS {
        let fleet: Fleet = fleet(kind);
        for replica in fleet.replicas() {
            for set in [
                "sql_mode = 'ANSI_QUOTES'",
                "time_zone = '+05:00'",
                "div_precision_increment = 9",
            ] {
                replica.execute(&format!("SET GLOBAL {set}")).unwrap();
            }
        }
        let stage = before(&fleet, "{static: {}, consistency: eventual}");
        let primary = fleet.primary();
        let expected = ask(primary, SHOWN);
        let mut client = RawClient::app(stage.port);
        for _ in 0..8 {
            let replicas = replica_ids(&fleet);
            assert!(replicas.contains(&server_id(&mut client)), "{kind:?}");
            assert_eq!(client.query(SHOWN).value(), expected, "{kind:?}");
        }
        assert_eq!(client.query("SET time_zone = '+02:00'"), Reply::Ok);
        let hours = "SELECT HOUR(FROM_UNIXTIME(0)) + 0 * id FROM app.who";
        assert_eq!(client.query(hours).value(), "2", "{kind:?}");
    }
}

#[test]
fn a_session_begins_with_the_collation_that_its_schema_has_then() {
    for kind in KINDS {
        let fleet = fleet(kind);
        let primary = fleet.primary();
        let stage = Stage::before(kind, primary.port(), |config| config.schema("app"));
        let collation = "SELECT @@collation_database";
        let mut early = RawClient::app(stage.port);
        let before = early.query(collation).value();
        assert_ne!(before, "latin1_bin");
        let change = "ALTER DATABASE app CHARACTER SET latin1 COLLATE latin1_bin";
        primary.execute(change).unwrap();
        let mut late = RawClient::app(stage.port);
        assert_eq!(late.query(collation).value(), "latin1_bin", "{kind:?}");
        // MariaDB leaves the collation as it was where the schema is chosen already.
        if kind == Kind::MySql {
            assert_eq!(early.query("USE app"), Reply::Ok);
            assert_eq!(early.query(collation).value(), "latin1_bin");
        }
    }
}
