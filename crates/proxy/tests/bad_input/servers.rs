//! Bad input from servers: answers to a statement that no server gives.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dbmesh_testkit::server::Kind;
use dbmesh_wire::caps::Capabilities;

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::noise;
use crate::faultkit::scripted::{Done, OK, ScriptedServer, Wire, text_row};
use crate::faultkit::stage::Stage;
use crate::packet;

/// What an evil server answers to `SELECT 'evil'`.
type Evil = fn(&mut Wire) -> Done;

/// Runs `SELECT 'evil'` against a server that answers so, and gives the answer and the client.
fn evil(answer: Evil, check: impl Fn(&str, Reply, &mut RawClient)) {
    let server = ScriptedServer::start(move |wire: &mut Wire, sql: &str| {
        if sql.contains("'evil'") {
            answer(wire)
        } else {
            Done::No
        }
    });
    let stage = Stage::before(Kind::MySql, server.port, |c| {
        c.service("limits: {localInfile: true}")
    });
    stage.under_attack(|stage| {
        for round in 0..3 {
            let more = Capabilities::LOCAL_FILES;
            let mut client = RawClient::logged_in(stage.port, &Credentials::app().more(more));
            client.patience(Duration::from_secs(10));
            client.begin_query("SELECT 'evil'");
            let reply = client.reply();
            check(&format!("round {round}"), reply, &mut client);
        }
    });
    stage.assert_pool_calm();
    assert!(
        server.accepted.load(Ordering::Relaxed) >= 3,
        "broken connections are not used again"
    );
}

/// The client gets an error and goes on, on another connection.
fn error_and_on(round: &str, reply: Reply, client: &mut RawClient) {
    assert!(reply.code().is_some(), "{round}: {reply:?}");
    assert_eq!(client.query("SELECT 1").value(), "1", "{round}");
}

/// The client gets an error or a close, never silence, never rows.
fn error_or_close(round: &str, reply: Reply, client: &mut RawClient) {
    assert!(
        reply.code().is_some() || reply == Reply::Closed,
        "{round}: {reply:?}"
    );
    assert!(
        reply.code().is_none() || client.ping() == Reply::Ok || client.is_closed(),
        "{round}"
    );
}

fn raw(wire: &mut Wire, bytes: &[u8]) -> Done {
    let _ = wire.raw(bytes);
    wire.wait_for_close(Duration::from_secs(20));
    Done::Close
}

#[test]
fn a_wrong_number_in_an_ok() {
    evil(|w| raw(w, &packet(5, &OK)), error_and_on);
}

#[test]
fn a_wrong_number_in_the_first_chunk_of_a_result() {
    evil(
        |w| {
            let mut bytes = w.encoded_columns(&["a"]);
            bytes.extend_from_slice(&packet(99, &text_row(&["x"])));
            raw(w, &bytes)
        },
        error_and_on,
    );
}

#[test]
fn a_broken_packet_behind_half_a_row_never_puts_an_error_inside_the_row() {
    evil(
        |w| {
            let mut bytes = w.encoded_columns(&["a"]);
            bytes.extend_from_slice(&w.encoded(&text_row(&["a row of some length"])));
            let rest = bytes.split_off(bytes.len() - 7);
            let _ = w.raw(&bytes);
            std::thread::sleep(Duration::from_millis(200));
            raw(w, &[&rest, &packet(99, &[0; 9])[..]].concat())
        },
        error_or_close,
    );
}

#[test]
fn a_row_that_is_cut() {
    evil(
        |w| {
            let mut bytes = w.encoded_columns(&["a"]);
            bytes.extend_from_slice(&w.encoded(&text_row(&["a row of some length"])));
            bytes.truncate(bytes.len() - 7);
            let _ = w.raw(&bytes);
            Done::Close
        },
        error_or_close,
    );
}

#[test]
fn definitions_that_are_cut() {
    evil(
        |w| {
            let mut bytes = w.encoded_columns(&["a", "b", "c"]);
            bytes.truncate(bytes.len() - 12);
            let _ = w.raw(&bytes);
            Done::Close
        },
        error_or_close,
    );
}

#[test]
fn a_close_at_once() {
    evil(|_| Done::Close, error_and_on);
}

#[test]
fn an_ok_of_sixteen_megabytes() {
    evil(
        |w| {
            let mut bytes = vec![0xFE, 0xFF, 0xFF, w.seq, 0];
            bytes.resize(3 << 20, 0);
            raw(w, &bytes)
        },
        error_and_on,
    );
}

#[test]
fn more_columns_than_there_are_numbers() {
    evil(
        |w| {
            let _ = w.packet(&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
            let definition = noise(4, 2000);
            for _ in 0..40_000 {
                if w.packet(&definition).is_err() {
                    return Done::Close;
                }
            }
            Done::Close
        },
        |round, reply, client| {
            // Streamed, counted or refused: but never kept.
            assert!(
                reply.code().is_some() || reply == Reply::Closed,
                "{round}: {reply:?}"
            );
            drop(client.ping());
        },
    );
}

#[test]
fn an_ok_that_lies_about_its_lengths() {
    evil(|w| raw(w, &packet(1, &[0, 0xFE, 1, 1])), error_and_on);
    evil(|w| raw(w, &packet(1, &[0])), error_and_on);
    evil(
        |w| {
            raw(
                w,
                &packet(1, &[0, 0, 0, 2, 0x40, 0, 0, 0xFD, 0xFF, 0xFF, 0xFF, 1]),
            )
        },
        error_and_on,
    );
    evil(|w| raw(w, &packet(1, &[])), error_and_on);
}

#[test]
fn an_error_without_a_number() {
    evil(|w| raw(w, &packet(1, &[0xFF])), error_and_on);
}

#[test]
fn a_file_asked_for_unasked() {
    evil(|w| raw(w, &packet(1, b"\xFB/etc/passwd")), error_and_on);
}

#[test]
fn another_file_than_the_statement_names() {
    let server = ScriptedServer::start(|wire: &mut Wire, sql: &str| {
        if sql.starts_with("LOAD") {
            raw(wire, &packet(1, b"\xFB/etc/passwd"))
        } else {
            Done::No
        }
    });
    let stage = Stage::before(Kind::MySql, server.port, |c| {
        c.service("limits: {localInfile: true}")
    });
    stage.under_attack(|stage| {
        let mut client = RawClient::logged_in(
            stage.port,
            &Credentials::app().more(Capabilities::LOCAL_FILES),
        );
        client.begin_query("LOAD DATA LOCAL INFILE '/tmp/mine' INTO TABLE t");
        let reply = client.reply();
        assert!(reply.code().is_some(), "{reply:?}");
    });
}

/// Right answers with something behind them.
fn extra(wire: &mut Wire, late: Duration) -> Done {
    let mut bytes = wire.encoded(&OK);
    let behind = packet(1, &[0xFF, 1, 1, b'#', b'H', b'Y', b'0', b'0', b'0', b'x']);
    if late.is_zero() {
        bytes.extend_from_slice(&behind);
        let _ = wire.raw(&bytes);
    } else {
        let _ = wire.raw(&bytes);
        std::thread::sleep(late);
        let _ = wire.raw(&behind);
    }
    Done::Yes
}

#[test]
fn bytes_behind_an_ok_never_become_the_next_answer() {
    let next = |round: &str, reply: Reply, client: &mut RawClient| {
        assert_eq!(reply, Reply::Ok, "{round}");
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(client.query("SELECT 1").value(), "1", "{round}");
    };
    evil(|w| extra(w, Duration::ZERO), next);
    evil(|w| extra(w, Duration::from_millis(100)), next);
}

#[test]
fn a_server_that_never_answers_can_be_left_by_kill() {
    let server = ScriptedServer::start(|wire: &mut Wire, sql: &str| {
        if sql.contains("'evil'") {
            raw(wire, &[])
        } else {
            Done::No
        }
    });
    let stage = Stage::before(Kind::MySql, server.port, |c| c);
    stage.under_attack(|stage| {
        let mut waiting = RawClient::app(stage.port);
        waiting.begin_query("SELECT 'evil'");
        std::thread::sleep(Duration::from_millis(200));
        let mut killer = RawClient::app(stage.port);
        assert_eq!(killer.query(&format!("KILL {}", waiting.id)), Reply::Ok);
        waiting.patience(Duration::from_secs(5));
        assert!(
            waiting.is_closed(),
            "a killed session ends although its server is silent"
        );
    });
}
