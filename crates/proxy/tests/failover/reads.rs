//! Reads go on whatever becomes of replicas and of the primary, and see what they must.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::operator;

use crate::cluster::{Cluster, KINDS, NOTICE};
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;

/// Clients that read without a pause; none of their reads may fail.
struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<Duration>>,
}

impl Readers {
    fn start(port: u16, count: usize) -> Self {
        let (stop, reads) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let clients = (0..count)
            .map(|_| {
                let (stop, reads) = (stop.clone(), reads.clone());
                std::thread::spawn(move || {
                    let mut client = RawClient::app(port);
                    let mut longest = Duration::ZERO;
                    while !stop.load(Ordering::Relaxed) {
                        let began = Instant::now();
                        let reply = client.query("SELECT v, SLEEP(0.002) FROM app.t WHERE id = 1");
                        assert!(matches!(reply, Reply::Rows(_)), "a read failed: {reply:?}");
                        longest = longest.max(began.elapsed());
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                    longest
                })
            })
            .collect();
        Self {
            stop,
            reads,
            clients,
        }
    }

    fn run_on(&self, reads: u64) {
        let goal = self.reads.load(Ordering::Relaxed) + reads;
        eventually("reads are answered", Duration::from_secs(30), || {
            self.reads.load(Ordering::Relaxed) >= goal
                || self.clients.iter().any(|c| c.is_finished())
        });
    }

    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let times = self
            .clients
            .into_iter()
            .map(|client| client.join().unwrap());
        times.max().unwrap()
    }
}

#[test]
fn no_read_fails_while_replicas_and_the_primary_go_away() {
    for kind in KINDS {
        let cluster = Cluster::start(kind, ", consistency: eventual");
        let servers = cluster.servers();
        eventually("replicas serve", NOTICE, || {
            cluster.client().query("SELECT v FROM app.t").value();
            cluster.statements(1) > 0.0 && cluster.statements(2) > 0.0
        });
        let readers = Readers::start(cluster.stage.port, 6);
        readers.run_on(300);
        // A replica dies while it answers, and comes back.
        servers[1].kill_9();
        readers.run_on(300);
        servers[1].restart().unwrap();
        let before = cluster.statements(1);
        eventually("it serves again", NOTICE, || cluster.statements(1) > before);
        // One freezes: its reads are asked again elsewhere once it is missed.
        servers[2].pause();
        eventually("the frozen replica is missed", NOTICE, || {
            cluster
                .stage
                .proxy
                .metric("dbmesh_endpoint_up", "server-2")
                .unwrap()
                == Some(0.0)
        });
        readers.run_on(300);
        servers[2].resume();
        // One does not apply any more: it gets no reads.
        cluster.fleet.stop_applying(servers[1]).unwrap();
        eventually(
            "a replica that does not apply serves no reads",
            NOTICE,
            || {
                let before = cluster.statements(1);
                readers.run_on(50);
                cluster.statements(1) == before
            },
        );
        cluster.fleet.start_applying(servers[1]).unwrap();
        let before = (cluster.statements(1), cluster.statements(2));
        eventually("both serve again", NOTICE, || {
            cluster.statements(1) > before.0 && cluster.statements(2) > before.1
        });
        // The primary dies, and nobody takes its place: replicas that lost their source are as fresh as can be.
        servers[0].kill_9();
        eventually("there is no primary", NOTICE, || {
            cluster
                .stage
                .proxy
                .metric("dbmesh_endpoint_up", "server-0")
                .unwrap()
                == Some(0.0)
        });
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            readers.run_on(100);
        }
        let (best, _) = operator::promote_after_loss(&servers[1..]).unwrap();
        cluster.wait_for_primary(best + 1);
        readers.run_on(300);
        println!(
            "{kind}: {} reads, the longest took {:?}",
            readers.reads.load(Ordering::Relaxed),
            readers.stop()
        );
    }
}

/// Sessions that write a number and read it back, in the same session and in others, while replicas lag by turns.
fn stale_reads(cluster: &Cluster, across: bool, limit: Duration) -> (u64, u64) {
    let (stop, checked) = (AtomicBool::new(false), AtomicU64::new(0));
    let stale = AtomicU64::new(0);
    let rows: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    for row in 0..rows.len() {
        let sql = format!("INSERT INTO app.t VALUES ({}, 0)", 100 + row);
        assert_eq!(cluster.client().query(&sql), Reply::Ok);
    }
    std::thread::scope(|scope| {
        for own in 0..rows.len() {
            let (rows, stop, checked, stale) = (&rows, &stop, &checked, &stale);
            scope.spawn(move || {
                let mut client = cluster.client();
                let mut n = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    if n % 4 == 1 {
                        let sql = format!("UPDATE app.t SET v = {n} WHERE id = {}", 100 + own);
                        assert_eq!(client.query(&sql), Reply::Ok);
                        rows[own].store(n, Ordering::SeqCst);
                    }
                    let of = if across {
                        (own + n as usize) % rows.len()
                    } else {
                        own
                    };
                    let least = rows[of].load(Ordering::SeqCst);
                    let sql = format!("SELECT v FROM app.t WHERE id = {}", 100 + of);
                    let seen: u64 = client.query(&sql).value().parse().unwrap();
                    checked.fetch_add(1, Ordering::Relaxed);
                    if seen < least {
                        stale.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let began = Instant::now();
        let mut turn = 0;
        while began.elapsed() < limit {
            let replica = &cluster.fleet.replicas()[turn % 2];
            cluster.fleet.stop_applying(replica).unwrap();
            std::thread::sleep(Duration::from_millis(400));
            cluster.fleet.start_applying(replica).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            turn += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    (checked.into_inner(), stale.into_inner())
}

#[test]
fn no_read_is_stale_while_replicas_lag_by_turns() {
    for kind in KINDS {
        for (consistency, across) in [("session", false), ("global", true)] {
            let cluster = Cluster::start(kind, &format!(", consistency: {consistency}"));
            let replicas = || cluster.statements(1) + cluster.statements(2);
            let before = replicas();
            let (checked, stale) = stale_reads(&cluster, across, Duration::from_secs(6));
            let served = replicas() - before;
            println!("{kind} {consistency}: {checked} reads, {stale} stale, {served} by replicas");
            assert_eq!(stale, 0, "{kind} {consistency}: of {checked}");
            assert!(
                checked > 500 && served > 50.0,
                "{kind} {consistency}: {checked}, {served}"
            );
        }
    }
}
