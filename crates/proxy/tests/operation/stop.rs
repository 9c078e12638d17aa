//! SIGTERM: nobody loses what it was doing, and the process ends in time.

use std::time::{Duration, Instant};

use dbmesh_testkit::server::{Kind, shared};

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::stage::Stage;

fn told_to_go(client: &mut RawClient, who: &str) {
    client.seq = 0;
    let reply = client.reply();
    assert_eq!(reply.code(), Some(1053), "{who}: {reply:?}");
    assert!(client.is_closed(), "{who}");
}

#[test]
fn a_drain_ends_sessions_where_they_lose_nothing() {
    let kind = Kind::MySql;
    shared(kind)
        .execute("CREATE DATABASE IF NOT EXISTS o; CREATE TABLE IF NOT EXISTS o.drained (id INT)")
        .unwrap();
    let stage = Stage::with_args(kind, shared(kind).port(), &["--drain-timeout", "20"], |c| c);
    let mut idle = RawClient::app(stage.port);
    let mut held = RawClient::app(stage.port);
    assert_eq!(held.query("SELECT 1 LIMIT 1").value(), "1");
    let mut transaction = RawClient::app(stage.port);
    assert_eq!(transaction.query("BEGIN"), Reply::Ok);
    assert_eq!(
        transaction.query("INSERT INTO o.drained VALUES (1)"),
        Reply::Ok
    );
    let mut busy = RawClient::app(stage.port);
    busy.begin_query("SELECT SLEEP(1.5)");
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    stage.proxy.sigterm();
    told_to_go(&mut idle, "idle");
    told_to_go(&mut held, "idle, with a connection held");
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", stage.port)).is_err(),
        "nobody new comes in"
    );
    let (status, _) = stage.proxy.admin_get("/readyz").unwrap();
    assert_eq!(status, 503);
    assert_eq!(
        busy.reply().value(),
        "0",
        "a statement under way is answered"
    );
    told_to_go(&mut busy, "busy");
    assert_eq!(
        transaction.query("INSERT INTO o.drained VALUES (2)"),
        Reply::Ok
    );
    assert_eq!(transaction.query("COMMIT"), Reply::Ok);
    told_to_go(&mut transaction, "in a transaction, once it is over");
    let status = stage.proxy.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        shared(kind)
            .query_value("SELECT COUNT(*) FROM o.drained")
            .unwrap()
            .as_deref(),
        Some("2")
    );
}

#[test]
fn a_drain_has_a_deadline() {
    let kind = Kind::MySql;
    let stage = Stage::with_args(kind, shared(kind).port(), &["--drain-timeout", "2"], |c| c);
    let mut transaction = RawClient::app(stage.port);
    assert_eq!(transaction.query("BEGIN"), Reply::Ok);
    let mut busy = RawClient::app(stage.port);
    busy.begin_query("SELECT SLEEP(60)");
    let mut half = RawClient::app(stage.port);
    half.raw(&[9, 0, 0]).unwrap();
    let _silent = RawClient::connect(stage.port);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    stage.proxy.sigterm();
    told_to_go(&mut transaction, "at the deadline");
    let status = stage.proxy.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(0));
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(1500)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
    let reply = busy.reply();
    assert!(matches!(reply.code(), None | Some(1053)), "{reply:?}");
    assert!(busy.is_closed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let kind = Kind::MySql;
    let stage = Stage::with_args(kind, shared(kind).port(), &["--drain-timeout", "60"], |c| c);
    let mut transaction = RawClient::app(stage.port);
    assert_eq!(transaction.query("BEGIN"), Reply::Ok);
    stage.proxy.sigterm();
    std::thread::sleep(Duration::from_millis(500));
    stage.proxy.sigterm();
    stage.proxy.wait(Duration::from_secs(30)).unwrap();
}

#[test]
fn who_has_not_logged_in_does_not_hold_up_a_drain() {
    let kind = Kind::MySql;
    let stage = Stage::with_args(kind, shared(kind).port(), &["--drain-timeout", "30"], |c| c);
    let mut silent: Vec<RawClient> = (0..3).map(|_| RawClient::connect(stage.port)).collect();
    for client in &mut silent {
        client.greeting().unwrap();
    }
    let began = Instant::now();
    stage.proxy.sigterm();
    let status = stage.proxy.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}
