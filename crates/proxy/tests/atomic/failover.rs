//! The protocol over groups of a primary and a semi-synchronous replica: a primary dies at every step, its replica takes its
//! place, and a resolver that never saw the old one finishes.
//!
//! It rests on what is tested first: a server does not acknowledge XA PREPARE, XA COMMIT or the decision before its replica
//! has it, and a replica that is promoted lists the branches that were prepared at its source.

use std::time::{Duration, Instant};

use dbmesh_commit::Outcome;
use dbmesh_testkit::{Pair, Server, operator};

use crate::steps::{Transfer, prepare, resolve};

const PATIENCE: Duration = Duration::from_secs(60);
/// Sent by a whole commit: the promise, the decision with the home's COMMIT, the branch's XA COMMIT.
const STEPS: usize = 3;

fn pairs() -> [Pair; 2] {
    let start = |id| {
        Pair::start(id, |server| {
            prepare(server);
            Ok(())
        })
    };
    std::thread::scope(|scope| {
        let starting = [10, 20].map(|id| scope.spawn(move || start(id)));
        starting.map(|one| one.join().unwrap().unwrap())
    })
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn balance(server: &Server) -> i64 {
    let value = "SELECT balance FROM bank.account WHERE id = 1 FOR UPDATE";
    server.query_value(value).unwrap().unwrap().parse().unwrap()
}

/// How the step ends at which the primary dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// It is answered.
    Heard,
    /// It is done, and the answer is lost.
    Unheard,
    /// The replica has not got it when the primary dies.
    NotReplicated,
}

/// Which primaries die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Home,
    Branch,
    Both,
}

impl Victim {
    fn places(self) -> &'static [usize] {
        match self {
            Self::Home => &[0],
            Self::Branch => &[1],
            Self::Both => &[0, 1],
        }
    }
}

/// A step that its server never answers, as no replica acknowledges it.
fn step_that_waits(transfer: &mut Transfer<'_>, pair: &Pair, kill: impl FnOnce()) {
    std::thread::scope(|scope| {
        scope.spawn(|| transfer.step());
        until("the step waits for a replica", || {
            pair.waiting().unwrap() > 0
        });
        kill();
    });
}

/// Does so many steps, the last one as it is said, then the victims' replicas take over; all or nothing must be there.
fn round(pairs: &mut [Pair; 2], sequence: u64, steps: usize, last: Last, victim: Victim) {
    let before = [0, 1].map(|place| balance(pairs[place].primary()));
    let what = format!("{victim:?} after {steps} steps, the last {last:?}");
    let outcome;
    {
        let mut moved = [0, 1].map(|place| pairs[place].primary());
        let mut transfer = Transfer::begin(moved, sequence);
        transfer.commit();
        for _ in 1..steps {
            assert!(transfer.step(), "{what}");
        }
        let die = || {
            for place in victim.places() {
                moved[*place].kill_9();
            }
        };
        match last {
            _ if steps == 0 => die(),
            Last::Heard => {
                assert!(transfer.step(), "{what}");
                die();
            }
            Last::Unheard => {
                assert!(transfer.step_unheard(), "{what}");
                die();
            }
            Last::NotReplicated => {
                let at = usize::from(steps != 2);
                pairs[at].cut_off().unwrap();
                step_that_waits(&mut transfer, &pairs[at], die);
            }
        }
        for place in victim.places() {
            let replica = pairs[*place].replica();
            operator::promote_after_loss(&[replica]).unwrap();
            moved[*place] = replica;
        }
        transfer.moved(moved);
        // Where both die, so does the coordinator.
        if victim != Victim::Both {
            transfer.finish();
        }
        outcome = transfer.outcome.take();
        drop(transfer);
    }
    for place in victim.places() {
        pairs[*place].change_places();
    }
    let primaries = [0, 1].map(|place| pairs[place].primary());
    resolve(primaries);
    let after = primaries.map(balance);
    let moved = [before[0] - after[0], after[1] - before[1]];
    let what = format!("{what}, told {outcome:?}: moved {moved:?}");
    assert!(moved == [0, 0] || moved == [1, 1], "{what}");
    match outcome {
        Some(Outcome::Committed) => assert_eq!(moved, [1, 1], "{what}"),
        Some(Outcome::RolledBack(_)) => assert_eq!(moved, [0, 0], "{what}"),
        _ => {}
    }
    // What was decided where two servers have it stays decided.
    let decided = steps > 2 || (steps == 2 && last != Last::NotReplicated);
    if decided {
        assert_eq!(moved, [1, 1], "{what}");
    }
    for primary in primaries {
        assert!(primary.query("XA RECOVER").unwrap().is_empty(), "{what}");
    }
}

#[test]
fn a_server_acknowledges_no_step_before_its_replica_has_it() {
    let pairs = pairs();
    let primaries = [pairs[0].primary(), pairs[1].primary()];
    let mut transfer = Transfer::begin(primaries, 1);
    transfer.commit();
    for (step, at) in [1, 0, 1].into_iter().enumerate() {
        pairs[at].cut_off().unwrap();
        std::thread::scope(|scope| {
            let stepping = scope.spawn(|| assert!(transfer.step()));
            until("the step waits", || pairs[at].waiting().unwrap() > 0);
            assert!(!stepping.is_finished(), "step {step}");
            pairs[at].reconnect().unwrap();
        });
    }
    transfer.finish();
    assert_eq!(transfer.outcome, Some(Outcome::Committed));
}

#[test]
fn a_replica_takes_over_after_every_step() {
    let mut pairs = pairs();
    let mut sequence = 100;
    for victim in [Victim::Home, Victim::Branch, Victim::Both] {
        for steps in 0..=STEPS {
            sequence += 1;
            round(&mut pairs, sequence, steps, Last::Heard, victim);
            for at in victim.places() {
                let more = pairs[*at].reunite().unwrap();
                assert!(!more, "the old primary kept what nobody else has");
            }
        }
    }
}

#[test]
fn a_replica_takes_over_when_a_step_s_answer_is_lost() {
    let mut pairs = pairs();
    for (steps, victim) in [
        (1, Victim::Branch),
        (2, Victim::Home),
        (2, Victim::Both),
        (3, Victim::Branch),
    ] {
        let sequence = 200 + steps as u64 * 10 + victim as u64;
        round(&mut pairs, sequence, steps, Last::Unheard, victim);
        for at in victim.places() {
            let more = pairs[*at].reunite().unwrap();
            assert!(!more, "the old primary kept what nobody else has");
        }
    }
}

#[test]
fn a_replica_takes_over_that_did_not_get_the_step() {
    let mut pairs = pairs();
    for (steps, victim) in [(1, Victim::Branch), (2, Victim::Home), (3, Victim::Branch)] {
        let sequence = 300 + steps as u64;
        round(&mut pairs, sequence, steps, Last::NotReplicated, victim);
        for at in victim.places() {
            let more = pairs[*at].reunite().unwrap();
            assert!(more, "the old primary has what its replica never got");
            let has = pairs[*at]
                .replica()
                .query_value("SELECT balance FROM bank.account");
            let has = has.unwrap().unwrap().parse::<i64>().unwrap();
            assert_eq!(has, balance(pairs[*at].primary()));
        }
    }
}
