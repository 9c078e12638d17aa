//! KILL by the ids that clients see.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::server::{Kind, shared};

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::stage::Stage;

#[test]
fn kill_query_ends_the_statement_and_kill_ends_the_session() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let stage = Stage::before(kind, shared(kind).port(), |c| c);
        let mut victim = RawClient::app(stage.port);
        let mut killer = RawClient::app(stage.port);
        let own = victim.query("SELECT CONNECTION_ID()").value();
        assert_eq!(
            own,
            victim.id.to_string(),
            "the greeting's id is the session's"
        );
        let began = Instant::now();
        victim.begin_query("SELECT SLEEP(30)");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(killer.query(&format!("KILL QUERY {own}")), Reply::Ok);
        let reply = victim.reply();
        assert!(matches!(reply.code(), None | Some(1317)), "{reply:?}");
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(victim.query("SELECT 1").value(), "1", "the session goes on");
        victim.begin_query("SELECT SLEEP(30)");
        std::thread::sleep(Duration::from_millis(300));
        let mut payload = vec![0x0C];
        payload.extend_from_slice(&victim.id.to_le_bytes());
        killer.command(&payload);
        assert_eq!(killer.reply(), Reply::Ok, "COM_PROCESS_KILL");
        assert!(victim.is_closed());
        let mut idle = RawClient::app(stage.port);
        assert_eq!(
            killer.query(&format!("KILL CONNECTION {}", idle.id)),
            Reply::Ok
        );
        assert!(idle.is_closed(), "an idle session");
        assert_eq!(killer.query("KILL 4000000000").code(), Some(1094));
        assert_eq!(killer.query("KILL CONNECTION_ID()").code(), Some(1317));
        stage.assert_pool_calm();
    }
}

#[test]
fn a_transaction_that_is_killed_is_rolled_back() {
    let kind = Kind::MySql;
    shared(kind)
        .execute("CREATE DATABASE IF NOT EXISTS f; CREATE TABLE IF NOT EXISTS f.killed (id INT)")
        .unwrap();
    let stage = Stage::before(kind, shared(kind).port(), |c| c);
    let mut victim = RawClient::app(stage.port);
    assert_eq!(victim.query("BEGIN"), Reply::Ok);
    assert_eq!(victim.query("INSERT INTO f.killed VALUES (1)"), Reply::Ok);
    let mut killer = RawClient::app(stage.port);
    assert_eq!(killer.query(&format!("KILL {}", victim.id)), Reply::Ok);
    assert!(victim.is_closed());
    stage.assert_pool_calm();
    let left = shared(kind)
        .query_value("SELECT COUNT(*) FROM f.killed")
        .unwrap();
    assert_eq!(left.as_deref(), Some("0"));
}

#[test]
fn a_user_kills_only_its_own() {
    let kind = Kind::MySql;
    let stage = Stage::before(kind, shared(kind).port(), |c| {
        c.service("users: [{name: other, password: other-password}]")
    });
    let app = RawClient::app(stage.port);
    let mut other = RawClient::logged_in(stage.port, &Credentials::of("other", "other-password"));
    assert_eq!(other.query(&format!("KILL {}", app.id)).code(), Some(1095));
}

/// Sleeps over and over; counts the interruptions.
fn be_killed(mut victim: RawClient, stop: &AtomicBool, hits: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let interrupted = match victim.query("SELECT SLEEP(0.002)") {
            Reply::Rows(rows) => rows[0][0].as_deref() == Some("1"),
            Reply::Error(e) if e.code == 1317 => true,
            other => panic!("victim: {other:?}"),
        };
        hits.fetch_add(u32::from(interrupted), Ordering::Relaxed);
    }
}

/// Sleeps over and over, and must never be interrupted.
fn stand_by(port: u16, n: u32, stop: &AtomicBool) -> u32 {
    let mut client = RawClient::app(port);
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let reply = client.query(&format!("SELECT '{n} {done}', SLEEP(0.001)"));
        let Reply::Rows(rows) = reply else {
            panic!("a bystander was hit: {reply:?}")
        };
        assert_eq!(rows[0][0].as_deref(), Some(format!("{n} {done}").as_str()));
        assert_eq!(
            rows[0][1].as_deref(),
            Some("0"),
            "a bystander's sleep was interrupted"
        );
        done += 1;
    }
    done
}

#[test]
fn kills_under_load_hit_nobody_else() {
    let kind = Kind::MySql;
    // Fewer connections than sessions: they go from hand to hand all the time.
    let stage = Stage::before(kind, shared(kind).port(), |c| c);
    let (stop, hits) = (AtomicBool::new(false), AtomicU32::new(0));
    let victim = RawClient::app(stage.port);
    let kill = format!("KILL QUERY {}", victim.id);
    std::thread::scope(|scope| {
        scope.spawn(|| be_killed(victim, &stop, &hits));
        let bystanders: Vec<_> = (0..10)
            .map(|n| {
                let (stop, port) = (&stop, stage.port);
                scope.spawn(move || stand_by(port, n, stop))
            })
            .collect();
        let mut killer = RawClient::app(stage.port);
        let began = Instant::now();
        while hits.load(Ordering::Relaxed) < 30 && began.elapsed() < Duration::from_secs(20) {
            assert_eq!(killer.query(&kill), Reply::Ok);
        }
        stop.store(true, Ordering::Relaxed);
        for bystander in bystanders {
            assert!(bystander.join().unwrap() > 0);
        }
    });
    assert!(
        hits.load(Ordering::Relaxed) >= 30,
        "{} hits",
        hits.load(Ordering::Relaxed)
    );
}

#[test]
fn a_client_that_left_does_not_keep_its_connection() {
    let kind = Kind::MySql;
    let stage = Stage::before(kind, shared(kind).port(), |c| c);
    for _ in 0..8 {
        let mut client = RawClient::app(stage.port);
        client.begin_query("SELECT SLEEP(60), 'left alone'");
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    assert_eq!(
        RawClient::app(stage.port).query("SELECT 1").value(),
        "1",
        "the pool is not full of the dead"
    );
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    stage.assert_pool_calm();
    let left = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(60)%left alone%'";
    crate::faultkit::eventually(
        "the statements of who left end",
        Duration::from_secs(10),
        || shared(kind).query_value(left).unwrap().as_deref() == Some("0"),
    );
}
