//! Statements and answers of more than one packet.

use dbmesh_testkit::Session;
use dbmesh_testkit::server::{Kind, shared};

use crate::faultkit::stage::Stage;

/// The largest payload of one packet, in bytes.
const WHOLE: usize = (16 << 20) - 1;

#[test]
fn statements_and_answers_of_several_packets() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let session = Session::over_tcp(stage.port, "app", "app-password", None).unwrap();
        // COM_QUERY's own byte, and where the client sends query attributes two more, stand before the text.
        for extra in [
            WHOLE - 4,
            WHOLE - 3,
            WHOLE - 2,
            WHOLE - 1,
            WHOLE,
            WHOLE + 1,
            2 * WHOLE - 1,
            2 * WHOLE,
            40 << 20,
        ] {
            let frame = "SELECT LENGTH(''), 7".len();
            let filler = "x".repeat(extra - frame);
            let rows = session
                .query(&format!("SELECT LENGTH('{filler}'), 7"))
                .unwrap();
            let length = filler.len().to_string();
            assert_eq!(
                rows,
                [[Some(length), Some("7".to_owned())]],
                "{kind:?}: {extra}"
            );
        }
        for length in [
            WHOLE - 9,
            WHOLE - 8,
            WHOLE - 4,
            WHOLE - 1,
            WHOLE,
            2 * WHOLE + 5,
        ] {
            let rows = session
                .query(&format!("SELECT REPEAT('y', {length}), 7"))
                .unwrap();
            assert_eq!(
                rows[0][0].as_ref().map(String::len),
                Some(length),
                "{kind:?}"
            );
            assert_eq!(rows[0][1].as_deref(), Some("7"));
        }
        assert_eq!(session.query("SELECT 1").unwrap(), [[Some("1".to_owned())]]);
    }
}

#[test]
fn a_large_statement_is_held_once_and_let_go() {
    let kind = Kind::MySql;
    let stage = Stage::before(kind, shared(kind).port(), |c| c);
    let session = Session::over_tcp(stage.port, "app", "app-password", None).unwrap();
    session.query("SELECT 1").unwrap();
    let before = stage.memory_bytes();
    let filler = "x".repeat(48 << 20);
    session
        .query(&format!("SELECT LENGTH('{filler}')"))
        .unwrap();
    session.query("SELECT 1").unwrap();
    let after = stage.memory_bytes();
    assert!(
        after - before < f64::from(8 << 20),
        "{} MiB stay",
        (after - before) / 1048576.0
    );
}
