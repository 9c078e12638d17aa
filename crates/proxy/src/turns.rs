//! Turns of services at the processor: whose command begins next, when more come than can be served at once.
//!
//! Owns the places of a round and the line of those who found none. A round is what is runnable now: when a worker has
//! nothing left to do, all places are free again, and nobody waits. Only where commands come faster do they stand in line,
//! by service, and each service gets places by its weight: start-time fair queueing, after Goyal, Vin and Cheng. A service
//! that has had less than its share does not even stand in line. Rounds are short while services compete, for what has begun
//! is what others wait for. Must cost next to nothing where one service is all there is. Input: sessions, before they read a
//! command and while they pass on long answers; the weights of the topology.

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
/// The same while services compete: a statement waits for the end of a round when it comes, and when its server answers.
const UNITS_COMPETING: u64 = 2;
/// Services compete until one of them has begun so many units in a row.
const COMPETING_FOR: u64 = 4096;
/// Units that a service which had less than its share may begin at once.
const CREDIT_UNITS: u64 = 8;
/// Bytes of an answer that count as much as a command.
const UNIT_BYTES: usize = 16 << 10;
/// Bytes of an answer that are passed on in one turn.
pub const TURN_BYTES: usize = 4 * UNIT_BYTES;
/// Units of a login, from the accepted connection to the session.
const LOGIN_UNITS: u64 = 8;
/// Units of a TLS handshake: a signature, and the agreement on keys.
const TLS_UNITS: u64 = 32;
/// Virtual time of a unit at weight 1.
const UNIT_TIME: u64 = 1 << 20;

/// The turns of all services.
#[derive(Debug)]
pub struct Turns {
    /// Whether there is more than one service.
    engaged: AtomicBool,
    /// A worker had nothing to do since the round began.
    rested: AtomicBool,
    workers: u64,
    line: Mutex<Line>,
    round: Notify,
}

#[derive(Debug, Default)]
struct Line {
    /// What may begin in this round yet.
    left: u64,
    /// The virtual time: where the foremost command that began stood.
    clock: u64,
    /// Units that began.
    begun: u64,
    /// The same when the service of the last one began the first of its row.
    row_begun: u64,
    /// Whose row it is: where its account is.
    row_of: usize,
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

impl Account {
    /// Virtual time of so many units.
    fn time(&self, units: u64) -> u64 {
        units.saturating_mul(UNIT_TIME) / self.weight.load(Ordering::Relaxed).max(1)
    }
}

impl Turns {
    /// For this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = u64::try_from(workers.max(1)).unwrap_or(1);
        Self {
            engaged: AtomicBool::new(false),
            rested: AtomicBool::new(true),
            workers,
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
        line.open(self.workers);
        while line.left > 0 && line.grant_next() {}
        !line.waiting.is_empty()
    }

    /// A place now, or where to wait for one.
    fn ask(&self, account: &Arc<Account>, units: u64) -> Option<oneshot::Receiver<()>> {
        let mut line = self.line.lock();
        if self.rested.load(Ordering::Relaxed) {
            self.rested.store(false, Ordering::Relaxed);
            line.open(self.workers);
        }
        if line.may_begin(account) {
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
    /// All places are free.
    fn open(&mut self, workers: u64) {
        let compete = self.begun - self.row_begun < COMPETING_FOR;
        let units = if compete {
            UNITS_COMPETING
        } else {
            UNITS_PER_WORKER
        };
        self.left = units * workers;
    }

    /// Whether a command need not stand in line: there is a place and nobody waits, or its service is behind the others and
    /// none of its own commands waits.
    fn may_begin(&self, account: &Arc<Account>) -> bool {
        if self.waiting.is_empty() && self.left > 0 {
            return true;
        }
        let waits = |queue: &Queue| Arc::ptr_eq(&queue.account, account);
        account.next.load(Ordering::Relaxed) <= self.clock && !self.waiting.iter().any(waits)
    }

    /// Charges a service for what begins.
    fn begin(&mut self, account: &Account, units: u64) {
        self.left = self.left.saturating_sub(units);
        self.begun += units;
        let whose = std::ptr::from_ref(account).addr();
        if self.row_of != whose {
            self.row_of = whose;
            self.row_begun = self.begun;
        }
        // Who had nothing to do has saved little up.
        let earliest = self.clock.saturating_sub(account.time(CREDIT_UNITS));
        let start = account.next.load(Ordering::Relaxed).max(earliest);
        self.clock = self.clock.max(start);
        let next = start.saturating_add(account.time(units));
        account.next.store(next, Ordering::Relaxed);
    }

    fn wait(&mut self, account: &Arc<Account>, waiter: Waiter) {
        let known = |queue: &&mut Queue| Arc::ptr_eq(&queue.account, account);
        match self.waiting.iter_mut().find(known) {
            Some(queue) => queue.waiters.push_back(waiter),
            None => self.waiting.push(Queue {
                account: account.clone(),
                waiters: VecDeque::from([waiter]),
            }),
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

    /// Takes the turn of a login.
    pub fn turn_to_log_in(&self) -> Option<Wait> {
        self.take(LOGIN_UNITS)
    }

    /// Takes the turn of a TLS handshake.
    pub fn turn_to_encrypt(&self) -> Option<Wait> {
        self.take(TLS_UNITS)
    }

    /// A command was larger than its turn counted: the service's next ones come later.
    pub fn charge_for(&self, bytes: usize) {
        let units = u64::try_from(bytes / UNIT_BYTES).unwrap_or(u64::MAX);
        if units > 0 && self.turns.engaged.load(Ordering::Relaxed) {
            // Only who has the line changes it.
            let _line = self.turns.line.lock();
            let next = self.account.next.load(Ordering::Relaxed);
            let next = next.saturating_add(self.account.time(units));
            self.account.next.store(next, Ordering::Relaxed);
        }
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

    /// Turns of one worker, in which nobody rests, with all places taken, and services that do not compete.
    fn busy() -> Arc<Turns> {
        let turns = Arc::new(Turns::new(1));
        turns.engage(2);
        turns.line.lock().begun = COMPETING_FOR;
        let other = Arc::default();
        while turns.ask(&other, 1).is_none() {}
        turns.line.lock().waiting.clear();
        turns
    }

    /// A lane that has had its share.
    fn lane(turns: &Arc<Turns>, weight: u32) -> Lane {
        let lane = Lane::new(turns.clone(), weight);
        while turns.line.lock().may_begin(&lane.account) {
            turns.line.lock().begin(&lane.account, 1);
        }
        lane
    }

    /// Commands that begin in a round while services compete, and while they do not.
    const SHORT: usize = 2;
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
    fn who_had_less_than_its_share_need_not_stand_in_line() {
        let turns = busy();
        let flood = lane(&turns, 100);
        let mut many = line_up(&turns, &flood, 1_000);
        assert!(turns.begin_round());
        assert_eq!(granted(&mut many), SHORT);
        let single = Lane::new(turns.clone(), 100);
        assert!(single.turn().is_none());
    }

    #[test]
    fn rounds_are_long_only_where_one_service_is_alone_with_its_commands() {
        let turns = busy();
        let flood = lane(&turns, 100);
        let rounds = 1 + usize::try_from(COMPETING_FOR).unwrap() / SHORT;
        let mut many = line_up(&turns, &flood, 2 * rounds * SHORT);
        for _ in 0..rounds {
            turns.begin_round();
        }
        many.retain_mut(|w| w.try_recv().is_err());
        turns.begin_round();
        assert_eq!(granted(&mut many), ROUND);
        assert!(Lane::new(turns.clone(), 100).turn().is_none());
        turns.begin_round();
        assert_eq!(granted(&mut many), SHORT);
    }

    #[test]
    fn places_go_by_weight_and_nobody_starves() {
        let turns = busy();
        let lanes = [1, 3, 12].map(|weight| lane(&turns, weight));
        let mut lines = lanes.each_ref().map(|lane| line_up(&turns, lane, 2_000));
        let mut counts = [0; 3];
        for _ in 0..400 {
            turns.begin_round();
            for (count, line) in counts.iter_mut().zip(&mut lines) {
                *count += granted(line);
            }
        }
        assert_eq!(counts.iter().sum::<usize>(), 400 * SHORT);
        for (count, share) in counts.iter().zip([50, 150, 600]) {
            assert!(count.abs_diff(share) <= 20, "{counts:?}");
        }
    }

    #[test]
    fn who_was_idle_has_saved_little_up() {
        let turns = busy();
        let flood = lane(&turns, 100);
        let mut many = line_up(&turns, &flood, 5_000);
        for _ in 0..800 {
            turns.begin_round();
        }
        assert_eq!(granted(&mut many), 800 * SHORT);
        let idle = Lane::new(turns.clone(), 100);
        let at_once = (0..1_000).take_while(|_| idle.turn().is_none()).count();
        assert_eq!(at_once as u64, CREDIT_UNITS + 1);
        let mut late = line_up(&turns, &idle, 1_000);
        for _ in 0..40 {
            turns.begin_round();
        }
        let (late, flood) = (granted(&mut late), granted(&mut many));
        assert!(late.abs_diff(flood) <= 2, "{late} and {flood}");
    }

    #[test]
    fn who_left_costs_no_place() {
        let turns = busy();
        let (gone, there) = (lane(&turns, 100), lane(&turns, 100));
        drop(line_up(&turns, &gone, 500));
        let before = gone.account.next.load(Ordering::Relaxed);
        let mut waiting = line_up(&turns, &there, SHORT);
        assert!(!turns.begin_round());
        assert_eq!(granted(&mut waiting), SHORT);
        assert_eq!(gone.account.next.load(Ordering::Relaxed), before);
    }

    /// A flood on the one worker of a runtime: what it has begun, and how often others waited for how much of that.
    struct Flood {
        begun: AtomicU64,
        /// Something arrives at a socket when so many have begun.
        arrives: AtomicU64,
    }

    impl Flood {
        /// Sessions that always have a next command.
        fn start(turns: &Arc<Turns>, sessions: usize) -> Arc<Self> {
            let lane = Lane::new(turns.clone(), 100);
            let flood = Arc::new(Self {
                begun: AtomicU64::new(0),
                arrives: AtomicU64::new(0),
            });
            for _ in 0..sessions {
                let (lane, flood) = (lane.clone(), flood.clone());
                tokio::spawn(async move {
                    loop {
                        if let Some(turn) = lane.turn() {
                            turn.await;
                        }
                        flood.begun.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            flood
        }

        fn begun(&self) -> u64 {
            self.begun.load(Ordering::Relaxed)
        }

        /// Something is there to be read, and the runtime finds out when it looks at its sockets.
        async fn socket(&self) -> u64 {
            loop {
                tokio::task::yield_now().await;
                let at = self.arrives.load(Ordering::Relaxed);
                if self.begun() >= at {
                    return at;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_calm_command_and_its_answer_wait_for_the_rest_of_a_short_round() {
        let turns = Arc::new(Turns::new(1));
        turns.engage(2);
        let conductor = tokio::spawn(turns.clone().conduct());
        let flood = Flood::start(&turns, 500);
        let calm = Lane::new(turns.clone(), 100);
        let (mut command_max, mut answer_max) = (0, 0);
        for n in 0..2_000 {
            // Anywhere in a round, of a service that has less than its share.
            let next = flood.begun() + 20 + n % 13;
            flood.arrives.store(next, Ordering::Relaxed);
            let arrived = flood.socket().await;
            if let Some(turn) = calm.turn() {
                turn.await;
            }
            command_max = command_max.max(flood.begun() - arrived);
            flood.arrives.store(flood.begun() + 5, Ordering::Relaxed);
            let arrived = flood.socket().await;
            answer_max = answer_max.max(flood.begun() - arrived);
        }
        assert!(command_max <= UNITS_COMPETING, "{command_max} commands");
        assert!(answer_max <= UNITS_COMPETING, "{answer_max} commands");
        conductor.abort();
    }

    #[test]
    fn a_worker_at_rest_frees_all_places() {
        let turns = busy();
        let lane = Lane::new(turns.clone(), 100);
        turns.rest();
        assert!(turns.ask(&lane.account, 1).is_none());
    }

    #[test]
    fn a_large_command_counts_by_its_size() {
        let turns = busy();
        let [large, small] = [(); 2].map(|()| lane(&turns, 100));
        large.charge_for(100 * UNIT_BYTES);
        large.charge_for(UNIT_BYTES - 1);
        let mut lines = [&large, &small].map(|lane| line_up(&turns, lane, 500));
        for _ in 0..150 {
            turns.begin_round();
        }
        let [large, small] = lines.each_mut().map(|line| granted(line));
        assert_eq!(large + small, 150 * SHORT);
        assert!((small - large).abs_diff(100) <= 2, "{small} and {large}");
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
        assert!(lane.account.waits.load(Ordering::Relaxed) >= 180);
        conductor.abort();
    }
}
