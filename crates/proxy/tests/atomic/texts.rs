//! The protocol's texts on durable servers of MySQL, with somebody killed after every step.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use dbmesh_commit::{Cause, Outcome};
use dbmesh_testkit::{Kind, Server, ServerOptions};

use crate::steps::{Transfer, prepare, resolve};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Coordinator,
    Home,
    Branch,
    Both,
}

/// Sent by a whole commit: the promise, the decision with the home's COMMIT, the branch's XA COMMIT.
const STEPS: usize = 3;

fn servers() -> [Server; 2] {
    let start = |id| {
        let server =
            Server::start(ServerOptions::new(Kind::MySql).server_id(id).durable()).unwrap();
        prepare(&server);
        server
    };
    std::thread::scope(|scope| {
        let handles = [1, 2].map(|id| scope.spawn(move || start(id)));
        handles.map(|handle| handle.join().unwrap())
    })
}

/// Two servers that no test kills, one test at a time.
fn kept() -> MutexGuard<'static, [Server; 2]> {
    static KEPT: OnceLock<Mutex<[Server; 2]>> = OnceLock::new();
    let kept = KEPT.get_or_init(|| Mutex::new(servers()));
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn balance(server: &Server) -> i64 {
    let value = server
        .query_value("SELECT balance FROM bank.account WHERE id = 1 FOR UPDATE")
        .unwrap();
    value.unwrap().parse().unwrap()
}

/// Kills after so many steps, lets the coordinator go on if it lives, then resolves; all or nothing must be there.
fn round(servers: [&Server; 2], sequence: u64, steps: usize, victim: Victim) {
    let before = servers.map(balance);
    assert_eq!(before[0] + before[1], 200);
    let mut transfer = Transfer::begin(servers, sequence);
    transfer.commit();
    for _ in 0..steps {
        assert!(transfer.step());
    }
    let dead: &[&Server] = match victim {
        Victim::Coordinator => &[],
        Victim::Home => &servers[..1],
        Victim::Branch => &servers[1..],
        Victim::Both => &servers,
    };
    dead.iter().for_each(|server| server.kill_9());
    let outcome = match victim {
        Victim::Coordinator => None,
        _ => {
            transfer.finish();
            transfer.outcome.take()
        }
    };
    drop(transfer);
    std::thread::scope(|scope| {
        for server in dead {
            scope.spawn(|| server.restart().unwrap());
        }
    });
    resolve(servers);
    let after = servers.map(balance);
    let moved = [before[0] - after[0], after[1] - before[1]];
    let what = format!("{victim:?} after {steps} steps, told {outcome:?}: moved {moved:?}");
    assert!(moved == [0, 0] || moved == [1, 1], "{what}");
    match outcome {
        Some(Outcome::Committed) => assert_eq!(moved, [1, 1], "{what}"),
        Some(Outcome::RolledBack(_)) => assert_eq!(moved, [0, 0], "{what}"),
        _ => {}
    }
    // What is decided is decided: after the home's COMMIT nothing may be rolled back any more.
    if steps >= 2 {
        assert_eq!(moved, [1, 1], "{what}");
    }
    for server in servers {
        assert!(server.query("XA RECOVER").unwrap().is_empty(), "{what}");
    }
}

#[test]
fn a_coordinator_dies_after_every_step() {
    let servers = kept();
    for steps in 0..=STEPS {
        round(
            [&servers[0], &servers[1]],
            steps as u64,
            steps,
            Victim::Coordinator,
        );
    }
}

#[test]
fn both_servers_die_after_every_step() {
    let servers = servers();
    for steps in 0..=STEPS {
        round(
            [&servers[0], &servers[1]],
            steps as u64,
            steps,
            Victim::Both,
        );
    }
}

#[test]
fn one_server_dies_after_every_step() {
    let servers = servers();
    let mut sequence = 0;
    for victim in [Victim::Home, Victim::Branch] {
        for steps in 0..=STEPS {
            sequence += 1;
            round([&servers[0], &servers[1]], sequence, steps, victim);
        }
    }
}

#[test]
fn a_fence_and_a_slow_coordinator_agree() {
    let servers = kept();
    let both = [&servers[0], &servers[1]];
    let before = both.map(balance);
    let mut transfer = Transfer::begin(both, 101);
    transfer.commit();
    assert!(transfer.step(), "the promise");
    // Somebody takes it for abandoned before it has decided.
    resolve(both);
    transfer.finish();
    let outcome = transfer.outcome.take();
    assert!(
        matches!(outcome, Some(Outcome::RolledBack(_))),
        "{outcome:?}"
    );
    drop(transfer);
    resolve(both);
    assert_eq!(both.map(balance), before);
}

#[test]
fn an_uncommitted_decision_holds_the_fence_up() {
    let servers = kept();
    let both = [&servers[0], &servers[1]];
    let before = both.map(balance);
    let mut transfer = Transfer::begin(both, 102);
    transfer.commit();
    assert!(transfer.step(), "the promise");
    // As the home stands between the two statements of its decision.
    transfer.write_row();
    let slow = std::thread::scope(|scope| {
        let resolving = scope.spawn(|| resolve(both));
        // Longer than the fence waits once.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        transfer.commit_row();
        transfer.finish();
        resolving.join().unwrap()
    });
    assert!(slow > 1);
    assert_eq!(transfer.outcome, Some(Outcome::Committed));
    assert_eq!(both.map(balance), [before[0] - 1, before[1] + 1]);
}

#[test]
fn a_decision_that_comes_too_late_is_refused_whatever_the_session_takes_for_the_time() {
    let servers = kept();
    let both = [&servers[0], &servers[1]];
    let before = both.map(balance);
    let late_ms = 1_000 * (dbmesh_commit::sql::DECIDE_WITHIN_SECONDS + 60);
    for clock in ["SET timestamp = 1", "SET timestamp = DEFAULT"] {
        let mut transfer = Transfer::begun_before(both, 103, late_ms);
        transfer.at_home(clock);
        transfer.commit();
        transfer.finish();
        assert_eq!(
            transfer.outcome,
            Some(Outcome::RolledBack(Cause::TooLate)),
            "{clock}"
        );
        drop(transfer);
        resolve(both);
        assert_eq!(both.map(balance), before, "{clock}");
    }
    // In time, the row has the server's own time, by which it is kept.
    let mut transfer = Transfer::begin(both, 104);
    transfer.at_home("SET timestamp = 1");
    transfer.commit();
    transfer.finish();
    assert_eq!(transfer.outcome, Some(Outcome::Committed));
    let old = "SELECT COUNT(*) FROM _mesh.mesh_txn WHERE changed_at < NOW() - INTERVAL 1 HOUR";
    assert_eq!(servers[0].query_value(old).unwrap().as_deref(), Some("0"));
}
