//! The limits of pools and of idle sessions.

use std::time::{Duration, Instant};

use dbmesh_testkit::server::{Kind, Server, ServerOptions, shared};

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const KIND: Kind = Kind::MySql;

#[test]
fn an_idle_session_is_closed_as_by_wait_timeout() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("limits: {idleTimeoutMs: 1500}")
    });
    let mut idle = RawClient::app(stage.port);
    let mut transaction = RawClient::app(stage.port);
    assert_eq!(transaction.query("BEGIN"), Reply::Ok);
    let mut lively = RawClient::app(stage.port);
    let mut slow = RawClient::app(stage.port);
    slow.begin_query("SELECT SLEEP(4)");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        assert_eq!(lively.query("SELECT 1").value(), "1");
        std::thread::sleep(Duration::from_millis(300));
    }
    for client in [&mut idle, &mut transaction] {
        client.seq = 0;
        let reply = client.reply();
        assert_eq!(reply.code(), Some(4031), "{reply:?}");
        assert!(client.is_closed());
    }
    assert_eq!(
        slow.reply().value(),
        "0",
        "waiting for an answer is not idle"
    );
    stage.assert_pool_calm();
}

#[test]
fn a_full_pool_is_waited_for_and_no_longer_than_said() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("limits: {queueWaitMs: 700}")
    });
    let mut holders: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    for client in &mut holders {
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("SELECT 1").value(), "1");
    }
    let mut late = RawClient::app(stage.port);
    let began = Instant::now();
    let reply = late.query("SELECT 1");
    let took = began.elapsed();
    assert_eq!(reply.code(), Some(1203), "{reply:?}");
    assert!(
        (Duration::from_millis(600)..Duration::from_secs(8)).contains(&took),
        "{took:?}"
    );
    assert!(stage.metric("dbmesh_pool_wait_timeouts_total") >= 1.0);
    assert_eq!(late.query("COMMIT"), Reply::Ok, "the session goes on");
    late.begin_query("SELECT 2");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(holders[0].query("COMMIT"), Reply::Ok);
    assert_eq!(
        late.reply().value(),
        "2",
        "who waits gets what is given back"
    );
    drop(holders);
    stage.assert_pool_calm();
}

#[test]
fn waiting_is_in_order_and_a_client_that_leaves_makes_room() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| c);
    let mut holders: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    for client in &mut holders {
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(client.query("SELECT 1").value(), "1");
    }
    let mut leaver = RawClient::app(stage.port);
    leaver.begin_query("SELECT 1");
    let mut next = RawClient::app(stage.port);
    std::thread::sleep(Duration::from_millis(100));
    next.begin_query("SELECT 2");
    eventually("two wait", Duration::from_secs(3), || {
        stage.metric("dbmesh_pool_waiting") == 2.0
    });
    drop(leaver);
    drop(holders);
    assert_eq!(next.reply().value(), "2");
    stage.assert_pool_calm();
}

#[test]
fn a_wait_of_nothing_refuses_at_once() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("limits: {queueWaitMs: 0}")
    });
    let mut holders: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    for client in &mut holders {
        assert_eq!(client.query("BEGIN"), Reply::Ok);
        assert_eq!(
            client.query("SELECT 1").value(),
            "1",
            "a free place is no wait"
        );
    }
    let began = Instant::now();
    assert_eq!(
        RawClient::app(stage.port).query("SELECT 1").code(),
        Some(1203)
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn connections_are_replaced_when_they_are_old() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("pool: {maxLifetimeMs: 1000}")
    });
    let mut client = RawClient::app(stage.port);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(client.query("SELECT 1").value(), "1");
        std::thread::sleep(Duration::from_millis(50));
    }
    let opened = stage.metric("dbmesh_pool_opened_total");
    assert!((3.0..=8.0).contains(&opened), "{opened} in four lifetimes");
}

#[test]
fn a_warm_minimum_is_kept_without_clients() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("pool: {minIdle: 4, idleTimeoutMs: 500}")
    });
    eventually("four warm connections", Duration::from_secs(5), || {
        stage.metric("dbmesh_pool_idle") == 4.0
    });
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        stage.metric("dbmesh_pool_idle"),
        4.0,
        "idle time does not go below the minimum"
    );
    assert_eq!(
        stage.metric("dbmesh_pool_opened_total"),
        4.0,
        "nor does it open and close for nothing"
    );
    let mut clients: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    for client in &mut clients {
        client.begin_query("SELECT SLEEP(0.5)");
    }
    for client in &mut clients {
        assert_eq!(client.reply().value(), "0");
    }
    assert!(stage.metric("dbmesh_pool_open") > 4.0);
    eventually("back to the minimum", Duration::from_secs(6), || {
        stage.metric("dbmesh_pool_idle") == 4.0
    });
}

#[test]
fn keepalive_keeps_what_the_server_would_close() {
    let server = Server::start(
        ServerOptions::new(KIND)
            .arg("--wait-timeout=2")
            .arg("--interactive-timeout=2"),
    )
    .unwrap();
    let stage = Stage::before(KIND, server.port(), |c| {
        c.service("pool: {minIdle: 2, keepaliveMs: 500}")
    });
    eventually("two warm connections", Duration::from_secs(5), || {
        stage.metric("dbmesh_pool_idle") == 2.0
    });
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(
        stage.metric("dbmesh_pool_opened_total"),
        2.0,
        "pinged in time, none was lost"
    );
    stage.assert_serves();
}

#[test]
fn a_dead_warm_connection_is_replaced() {
    let server = Server::start(ServerOptions::new(KIND)).unwrap();
    let stage = Stage::before(KIND, server.port(), |c| c.service("pool: {minIdle: 3}"));
    eventually("three warm connections", Duration::from_secs(5), || {
        stage.metric("dbmesh_pool_idle") == 3.0
    });
    let ids = server
        .query("SELECT id FROM information_schema.processlist WHERE user = 'app'")
        .unwrap();
    assert_eq!(ids.len(), 3);
    for row in ids {
        server
            .execute(&format!("KILL {}", row[0].as_deref().unwrap()))
            .unwrap();
    }
    let mut client = RawClient::app(stage.port);
    assert_eq!(
        client.query("CREATE DATABASE alive"),
        Reply::Ok,
        "a dead connection is noticed before it is used"
    );
    eventually("three again", Duration::from_secs(5), || {
        stage.metric("dbmesh_pool_idle") == 3.0 && stage.metric("dbmesh_pool_opened_total") >= 6.0
    });
}

#[test]
fn connections_are_opened_at_the_rate_that_is_set() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("pool: {connectRatePerSecond: 2}")
    });
    let mut clients: Vec<RawClient> = (0..8).map(|_| RawClient::app(stage.port)).collect();
    let began = Instant::now();
    for client in &mut clients {
        client.begin_query("SELECT SLEEP(3)");
    }
    for client in &mut clients {
        assert_eq!(client.reply().value(), "0");
    }
    let took = began.elapsed();
    let opened = stage.metric("dbmesh_pool_opened_total");
    assert!(
        opened <= 2.0 + 2.0 * took.as_secs_f64() + 1.0,
        "{opened} connections in {took:?}"
    );
    assert!(
        took > Duration::from_secs(4),
        "{took:?}: eight at once cannot be had at two per second"
    );
}

/// COM_STMT_PREPARE; the statement's id, or the error.
fn prepare(client: &mut RawClient, sql: &str) -> Result<u32, u16> {
    client.command(&[&[0x16], sql.as_bytes()].concat());
    let first = client.packet().unwrap();
    if first[0] == 0xFF {
        return Err(u16::from_le_bytes([first[1], first[2]]));
    }
    let (columns, params) = (
        u16::from_le_bytes([first[5], first[6]]),
        u16::from_le_bytes([first[7], first[8]]),
    );
    for _ in 0..columns + params {
        client.packet().unwrap();
    }
    Ok(u32::from_le_bytes([first[1], first[2], first[3], first[4]]))
}

#[test]
fn prepared_statements_of_a_session_are_limited() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("limits: {maxPreparedStatements: 3}")
    });
    let mut client = RawClient::app(stage.port);
    let ids: Vec<u32> = (0..3)
        .map(|n| prepare(&mut client, &format!("SELECT {n}")).unwrap())
        .collect();
    assert_eq!(prepare(&mut client, "SELECT 4"), Err(1461));
    client.command(&[&[0x19][..], &ids[0].to_le_bytes()].concat());
    assert!(prepare(&mut client, "SELECT 5").is_ok(), "one was closed");
    drop(client);
    let mut reconnected = RawClient::app(stage.port);
    assert!(
        prepare(&mut reconnected, "SELECT 6").is_ok(),
        "the limit is the session's"
    );
    drop(reconnected);
    eventually("none is counted", Duration::from_secs(5), || {
        stage.metric("dbmesh_prepared_statements") == 0.0
    });
}

#[test]
fn long_data_costs_the_proxy_no_memory() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| c);
    let mut client = RawClient::app(stage.port);
    let id = prepare(&mut client, "SELECT LENGTH(?)").unwrap();
    let before = stage.memory_bytes();
    let piece = [
        &[0x18][..],
        &id.to_le_bytes(),
        &[0, 0],
        &vec![b'x'; 1 << 20],
    ]
    .concat();
    for _ in 0..100 {
        client.command(&piece);
    }
    // More than max_allowed_packet of the server: the execution is refused, the session goes on.
    client.command(
        &[
            &[0x17][..],
            &id.to_le_bytes(),
            &[0, 1, 0, 0, 0, 0, 1, 0xFE, 0],
        ]
        .concat(),
    );
    let reply = client.reply();
    assert!(reply.code().is_some(), "{reply:?}");
    let grown = stage.memory_bytes() - before;
    assert!(
        grown < crate::faultkit::stage::GROWTH_BYTES_MAX,
        "grown by {grown}"
    );
    assert_eq!(client.query("SELECT 1").value(), "1");
    drop(client);
    stage.assert_pool_calm();
}
