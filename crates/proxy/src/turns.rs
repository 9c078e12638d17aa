//! Turns of services at the processor: whose command begins next, when more come than can be served at once.
//!
//! Owns the places of a round and the line of those who found none. A round is what is runnable now: when a worker has
//! nothing left to do, all places are free again, and nobody waits. Only where commands come faster do they stand in line,
//! by service, and each service gets places by its weight: start-time fair queueing, after Goyal, Vin and Cheng. Must cost
//! next to nothing where one service is all there is. Input: sessions, before they read a command and while they pass on
//! long answers; the weights of the topology.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use dbmesh_runtime::exposition::{Kind, Text};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// Units that may begin in a round, for each worker: a command is one.
const UNITS_PER_WORKER: u64 = 8;
/// Bytes of an answer that count as much as a command.
const UNIT_BYTES: usize = 16 << 10;
/// Bytes of an answer that are passed on in one turn.
pub const TURN_BYTES: usize = 4 * UNIT_BYTES;
/// Virtual time of a unit at weight 1.
const UNIT_TIME: u64 = 1 << 20;

/// The turns of all services.
#[derive(Debug)]
pub struct Turns {
    /// Whether there is more than one service.
    engaged: AtomicBool,
    /// A worker had nothing to do since the round began.
    rested: AtomicBool,
    units_max: u64,
    line: Mutex<Line>,
    round: Notify,
}

#[derive(Debug, Default)]
struct Line {
    /// What may begin in this round yet.
    left: u64,
    /// The virtual time: where the command that began last stood.
    clock: u64,
    /// Services of which somebody waits.
    waiting: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    account: Arc<Account>,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    units: u64,
    grant: oneshot::Sender<()>,
}

/// What a service has had.
#[derive(Debug, Default)]
struct Account {
    weight: AtomicU64,
    /// Where its next command stands in virtual time; changed only by who holds the line.
    next: AtomicU64,
    /// Turns that had to wait.
    waits: AtomicU64,
    /// Time waited in all, in µs.
    wait_us: AtomicU64,
}

impl Turns {
    /// For this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = u64::try_from(workers.max(1)).unwrap_or(1);
        Self {
            engaged: AtomicBool::new(false),
            rested: AtomicBool::new(true),
            units_max: UNITS_PER_WORKER * workers,
            line: Mutex::default(),
            round: Notify::new(),
        }
    }

    /// From now on, turns count or do not.
    pub fn engage(&self, services: usize) {
        self.engaged.store(services > 1, Ordering::Relaxed);
    }

    /// A worker has nothing to do: whoever comes now may begin.
    pub fn rest(&self) {
        if !self.rested.load(Ordering::Relaxed) {
            self.rested.store(true, Ordering::Relaxed);
        }
    }

    /// Begins rounds for those who wait, until the process ends.
    pub async fn conduct(self: Arc<Self>) {
        loop {
            self.round.notified().await;
            loop {
                // Behind everything that is runnable, and behind a look at the sockets.
                tokio::task::yield_now().await;
                if !self.begin_round() {
                    break;
                }
            }
        }
    }

    /// Gives the places of a new round; whether somebody waits still.
    fn begin_round(&self) -> bool {
        let mut line = self.line.lock();
        line.left = self.units_max;
        while line.left > 0 && line.grant_next() {}
        !line.waiting.is_empty()
    }

    /// A place now, or where to wait for one.
    fn ask(&self, account: &Arc<Account>, units: u64) -> Option<oneshot::Receiver<()>> {
        let mut line = self.line.lock();
        if self.rested.load(Ordering::Relaxed) {
            self.rested.store(false, Ordering::Relaxed);
            line.left = self.units_max;
        }
        if line.waiting.is_empty() && line.left > 0 {
            line.begin(account, units);
            return None;
        }
        let (grant, granted) = oneshot::channel();
        line.wait(account, Waiter { units, grant });
        drop(line);
        self.round.notify_one();
        Some(granted)
    }
}

impl Line {
    /// Charges a service for what begins.
    fn begin(&mut self, account: &Account, units: u64) {
        self.left = self.left.saturating_sub(units);
        let weight = account.weight.load(Ordering::Relaxed).max(1);
        // Who had nothing to do has saved nothing up.
        let start = account.next.load(Ordering::Relaxed).max(self.clock);
        self.clock = start;
        let next = start.saturating_add(units.saturating_mul(UNIT_TIME) / weight);
        account.next.store(next, Ordering::Relaxed);
    }

    fn wait(&mut self, account: &Arc<Account>, waiter: Waiter) {
        let known = |queue: &&mut Queue| Arc::ptr_eq(&queue.account, account);
        match self.waiting.iter_mut().find(known) {
            Some(queue) => queue.waiters.push_back(waiter),
            None => {
                let next = account.next.load(Ordering::Relaxed).max(self.clock);
                account.next.store(next, Ordering::Relaxed);
                self.waiting.push(Queue {
                    account: account.clone(),
                    waiters: VecDeque::from([waiter]),
                });
            }
        }
    }

    /// Lets the first of the service that is due begin; false if nobody waits.
    fn grant_next(&mut self) -> bool {
        let due = |queue: &Queue| queue.account.next.load(Ordering::Relaxed);
        let queues = self.waiting.iter().enumerate();
        let Some((at, _)) = queues.min_by_key(|(_, queue)| due(queue)) else {
            return false;
        };
        let Some(queue) = self.waiting.get_mut(at) else {
            return false;
        };
        let first = queue.waiters.pop_front();
        let account = queue.account.clone();
        if queue.waiters.is_empty() {
            self.waiting.swap_remove(at);
        }
        if let Some(waiter) = first
            && waiter.grant.send(()).is_ok()
        {
            self.begin(&account, waiter.units);
        }
        true
    }
}

/// A wait for a turn: boxed, for it is rare, and its room would be kept in every session.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A service's way to its turns, the same through reloads.
#[derive(Clone, Debug)]
pub struct Lane {
    turns: Arc<Turns>,
    account: Arc<Account>,
}

impl Lane {
    /// Of a service with this weight.
    #[must_use]
    pub fn new(turns: Arc<Turns>, weight: u32) -> Self {
        let lane = Self {
            turns,
            account: Arc::default(),
        };
        lane.set_weight(weight);
        lane
    }

    /// A reload changed it.
    pub fn set_weight(&self, weight: u32) {
        let weight = u64::from(weight.max(1));
        self.account.weight.store(weight, Ordering::Relaxed);
    }

    /// Takes the turn of a command; what to wait for, if it has to.
    pub fn turn(&self) -> Option<Wait> {
        self.take(1)
    }

    /// Takes the turn of more of an answer.
    pub fn turn_for(&self, bytes: usize) -> Option<Wait> {
        self.take(u64::try_from(bytes / UNIT_BYTES).unwrap_or(u64::MAX))
    }

    fn take(&self, units: u64) -> Option<Wait> {
        if !self.turns.engaged.load(Ordering::Relaxed) {
            return None;
        }
        let granted = self.turns.ask(&self.account, units)?;
        let account = self.account.clone();
        let began = Instant::now();
        Some(Box::pin(async move {
            // It is granted, or nobody is left to grant it.
            let _ = granted.await;
            let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            account.waits.fetch_add(1, Ordering::Relaxed);
            account.wait_us.fetch_add(us, Ordering::Relaxed);
        }))
    }
}

/// Writes the metrics of all lanes.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn expose<'a>(all: impl Iterator<Item = (String, &'a Lane)> + Clone, out: &mut Text) {
    type Value = fn(&Account) -> f64;
    let families: [(&str, &str, Value); 2] = [
        (
            "dbmesh_turn_waits_total",
            "Turns at the processor that had to wait for other services.",
            |account| account.waits.load(Ordering::Relaxed) as f64,
        ),
        (
            "dbmesh_turn_wait_seconds_total",
            "Time that they waited.",
            |account| account.wait_us.load(Ordering::Relaxed) as f64 / 1e6,
        ),
    ];
    for (name, help, value) in families {
        out.family(name, help, Kind::Counter);
        for (service, lane) in all.clone() {
            out.sample(&[("service", &service)], value(&lane.account));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of one worker, in which nobody rests, with all places taken.
    fn busy() -> Arc<Turns> {
        let turns = Arc::new(Turns::new(1));
        turns.engage(2);
        let other = Arc::default();
        while turns.ask(&other, 1).is_none() {}
        turns.line.lock().waiting.clear();
        turns
    }

    /// Commands that begin in a round.
    const ROUND: usize = 8;

    fn granted(waiters: &mut [oneshot::Receiver<()>]) -> usize {
        let done = |w: &mut &mut oneshot::Receiver<()>| w.try_recv().is_ok();
        waiters
            .iter_mut()
            .filter_map(|mut w| done(&mut w).then_some(()))
            .count()
    }

    fn line_up(turns: &Arc<Turns>, lane: &Lane, count: usize) -> Vec<oneshot::Receiver<()>> {
        let asked = (0..count).map(|_| turns.ask(&lane.account, 1));
        asked
            .map(|asked| asked.expect("all places are taken"))
            .collect()
    }

    #[test]
    fn one_service_never_waits() {
        let turns = Arc::new(Turns::new(1));
        turns.engage(1);
        let lane = Lane::new(turns, 100);
        assert!((0..1_000).all(|_| lane.turn().is_none()));
    }

    #[test]
    fn a_single_command_comes_before_a_flood_that_was_first() {
        let turns = busy();
        let (flood, single) = (Lane::new(turns.clone(), 100), Lane::new(turns.clone(), 100));
        let mut many = line_up(&turns, &flood, 1_000);
        assert!(turns.begin_round());
        assert_eq!(granted(&mut many), ROUND);
        let mut one = line_up(&turns, &single, 1);
        assert!(turns.begin_round());
        assert_eq!((granted(&mut one), granted(&mut many)), (1, ROUND - 1));
    }

    #[test]
    fn places_go_by_weight_and_nobody_starves() {
        let turns = busy();
        let lanes = [1, 3, 12].map(|weight| Lane::new(turns.clone(), weight));
        let mut lines = lanes.each_ref().map(|lane| line_up(&turns, lane, 2_000));
        let mut counts = [0; 3];
        for _ in 0..100 {
            turns.begin_round();
            for (count, line) in counts.iter_mut().zip(&mut lines) {
                *count += granted(line);
            }
        }
        assert_eq!(counts.iter().sum::<usize>(), 800);
        for (count, share) in counts.iter().zip([50, 150, 600]) {
            assert!(count.abs_diff(share) <= 12, "{counts:?}");
        }
    }

    #[test]
    fn who_was_idle_has_saved_nothing_up() {
        let turns = busy();
        let (flood, idle) = (Lane::new(turns.clone(), 100), Lane::new(turns.clone(), 100));
        let mut many = line_up(&turns, &flood, 5_000);
        for _ in 0..200 {
            turns.begin_round();
        }
        assert_eq!(granted(&mut many), 200 * ROUND);
        let mut late = line_up(&turns, &idle, 1_000);
        for _ in 0..10 {
            turns.begin_round();
        }
        let (late, flood) = (granted(&mut late), granted(&mut many));
        assert!(late.abs_diff(flood) <= 2, "{late} and {flood}");
    }

    #[test]
    fn who_left_costs_no_place() {
        let turns = busy();
        let (gone, there) = (Lane::new(turns.clone(), 100), Lane::new(turns.clone(), 100));
        drop(line_up(&turns, &gone, 500));
        let before = gone.account.next.load(Ordering::Relaxed);
        let mut waiting = line_up(&turns, &there, ROUND);
        assert!(!turns.begin_round());
        assert_eq!(granted(&mut waiting), ROUND);
        assert_eq!(gone.account.next.load(Ordering::Relaxed), before);
    }

    #[test]
    fn a_worker_at_rest_frees_all_places() {
        let turns = busy();
        let lane = Lane::new(turns.clone(), 100);
        turns.rest();
        assert!(turns.ask(&lane.account, 1).is_none());
    }

    #[tokio::test]
    async fn rounds_follow_each_other_while_somebody_waits() {
        let turns = busy();
        let conductor = tokio::spawn(turns.clone().conduct());
        let lane = Lane::new(turns.clone(), 100);
        let all = (0..200).map(|_| {
            let lane = lane.clone();
            tokio::spawn(async move {
                if let Some(turn) = lane.turn() {
                    turn.await;
                }
            })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.expect("it had its turn");
        }
        assert!(turns.line.lock().waiting.is_empty());
        assert!(lane.account.waits.load(Ordering::Relaxed) >= 184);
        conductor.abort();
    }
}
