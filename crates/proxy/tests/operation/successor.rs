//! A second process: refused where nobody asked for it, and a successor that takes over where somebody did.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_testkit::config::Config;
use dbmesh_testkit::folder::Folder;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::{Proxy, binary};
use dbmesh_testkit::server::{Kind, shared};

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::stage::Stage;

const KIND: Kind = Kind::MySql;
const LONG: Duration = Duration::from_secs(60);

/// The log of a process that must not start.
fn refused(yaml: &str, args: &[&str]) -> String {
    let second = Proxy::launch(yaml, args).unwrap();
    let status = second.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(1), "{}", second.log());
    let log = second.log();
    let began = ["listening place=", "ready admin="];
    assert!(began.iter().all(|line| !log.contains(line)), "{log}");
    log
}

#[test]
fn a_second_process_is_told_who_listens_before_it_does_anything() {
    let folder = Folder::create("second").unwrap();
    let state = folder.path().join("state.json");
    let state = state.to_str().unwrap();
    let port = Port::reserve().unwrap();
    let number = port.number();
    let yaml = Config::new(shared(KIND), number, 8).to_yaml();
    let stage = Stage::of_yaml(&yaml, port, &["--state", state]);
    let pid = stage.proxy.pid();
    let log = refused(&yaml, &[]);
    for part in [
        format!("cannot listen on 127.0.0.1:{number}"),
        format!("process {pid}, another dbmesh"),
        "--take-over".to_owned(),
    ] {
        assert!(log.contains(&part), "{part}: {log}");
    }
    // Another port, but the same state.
    let other = Port::reserve().unwrap();
    let elsewhere = Config::new(shared(KIND), other.number(), 8).to_yaml();
    let log = refused(&elsewhere, &["--state", state]);
    let writer = format!("{state} is written by process {pid}");
    assert!(log.contains(&writer), "{log}");
    // What is no dbmesh is called so.
    let stranger = std::net::TcpListener::bind(("127.0.0.1", other.number())).unwrap();
    let log = refused(&elsewhere, &[]);
    assert!(log.contains("another program listens there"), "{log}");
    let log = refused(&elsewhere, &["--take-over"]);
    assert!(log.contains("another program listens there"), "{log}");
    drop(stranger);
    for _ in 0..20 {
        assert_eq!(RawClient::app(number).query("SELECT 1").value(), "1");
    }
    // A process that is gone is in nobody's way.
    stage.proxy.kill();
    let third = Proxy::start(&yaml, &["--state", state]).unwrap();
    assert_eq!(RawClient::app(number).query("SELECT 1").value(), "1");
    drop(third);
}

/// One connection with one statement; whether it was done, or the client told to go.
fn insert(port: u16, id: u64) -> bool {
    let told = |reply: &Reply| assert_eq!(reply.code(), Some(1053), "{reply:?}");
    let mut client = RawClient::connect(port);
    let greeting = match client.greeting() {
        Ok(greeting) => greeting,
        Err(reply) => {
            told(&reply);
            return false;
        }
    };
    match client.login_after(&greeting, &Credentials::app()) {
        Reply::Ok => {}
        reply => {
            told(&reply);
            return false;
        }
    }
    client.begin_query(&format!("INSERT INTO o.handed VALUES ({id})"));
    // A session that was told to go before its statement came reads that instead of an answer.
    client
        .packet()
        .is_ok_and(|packet| packet.first() == Some(&0))
}

/// Starts a successor and ends the one before, under clients that come and go; who serves then, and what clients were told
/// is done.
fn hand_over(old: &Stage, yaml: &str, state: &str) -> (Proxy, Vec<u64>) {
    let number = old.port;
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(1));
    let mut done = Vec::new();
    let new = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        if insert(number, id) {
                            done.push(id);
                        }
                    }
                    done
                })
            })
            .collect();
        let reached = |count: u64| {
            let deadline = std::time::Instant::now() + LONG;
            let until = next.load(Ordering::Relaxed) + count;
            while next.load(Ordering::Relaxed) < until && clients.iter().all(|c| !c.is_finished()) {
                assert!(std::time::Instant::now() < deadline, "clients go on");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        reached(100);
        let new = Proxy::start(yaml, &["--take-over", "--state", state]).unwrap();
        reached(100);
        old.proxy.sigterm();
        let status = old.proxy.wait(LONG).unwrap();
        assert_eq!(status.code(), Some(0));
        reached(100);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            done.extend(client.join().unwrap());
        }
        new
    });
    (new, done)
}

#[test]
fn a_successor_takes_over_and_nobody_is_turned_away() {
    shared(KIND)
        .execute("CREATE DATABASE IF NOT EXISTS o; DROP TABLE IF EXISTS o.handed; CREATE TABLE o.handed (id BIGINT PRIMARY KEY)")
        .unwrap();
    let folder = Folder::create("handed").unwrap();
    let (audit, socket) = (folder.path().join("audit.jsonl"), folder.path().join("s"));
    let state = folder.path().join("state.json");
    let state = state.to_str().unwrap();
    let port = Port::reserve().unwrap();
    let number = port.number();
    let records = format!(
        "observability: {{audit: {{file: {}, classes: [write], onFailure: closed, durability: syncedBefore, literals: on, rotateBytes: 1048576}}}}",
        audit.display()
    );
    let yaml = Config::new(shared(KIND), number, 8)
        .service(&records)
        .to_yaml();
    let yaml = yaml.replace(
        "      poolSize: 8\n",
        &format!("      poolSize: 8\n      socket: {}\n", socket.display()),
    );
    let old = Stage::of_yaml(&yaml, port, &["--drain-timeout", "30", "--state", state]);
    let (new, done) = hand_over(&old, &yaml, state);
    let log = new.log();
    let from = format!("from={}", old.proxy.pid());
    assert_eq!(
        log.matches(&from).count(),
        2,
        "the port and the socket: {log}"
    );
    let mut local = RawClient::connect_unix(&socket);
    assert_eq!(local.login(&Credentials::app()), Reply::Ok);
    assert_eq!(local.query("SELECT 1").value(), "1");
    // What clients were told is true, and stands in one whole chain.
    let kept = shared(KIND)
        .query_value("SELECT COUNT(*) FROM o.handed")
        .unwrap();
    let kept: usize = kept.unwrap().parse().unwrap();
    assert!(
        kept >= done.len() && done.len() >= 200,
        "{kept} {}",
        done.len()
    );
    drop(new);
    assert_recorded(&audit, &done);
}

/// One whole chain, and a line of each.
fn assert_recorded(audit: &Path, done: &[u64]) {
    let verified = Command::new(binary().unwrap())
        .args(["audit", "verify"])
        .arg(audit)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{text}");
    let mut lines = String::new();
    for file in std::fs::read_dir(audit.parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        if path.to_string_lossy().contains("audit.jsonl") {
            lines += &std::fs::read_to_string(path).unwrap();
        }
    }
    for id in done {
        let values = format!("VALUES ({id})");
        assert!(lines.contains(&values), "{id} is not recorded");
    }
}
