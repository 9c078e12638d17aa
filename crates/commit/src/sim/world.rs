//! The events of a history: messages, timers, faults; and the actors that drive the machines as the data plane does.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::driver::actor;
use super::server::{ConnId, LOCK_WAIT_MS, Request, Response, Server, Txn};
use super::{Fault, Plan, Random, Shown, Weakness};
use crate::broken::Broken;
use crate::{Ask, Commit, Event, Gtrid, Outcome, Reply, Resolver, Shard, Step};

pub const MESH: u64 = 7;
/// When a proxy gives up waiting for an answer.
const TIMEOUT_MS: u64 = 2_000;
pub const SWEEP_MS: u64 = 1_000;
/// Virtual time within which everything must have ended after the last fault.
const QUIET_WITHIN_MS: u64 = 400_000;
/// Events of a history: more is a livelock.
const EVENTS_MAX: u64 = 200_000;

#[derive(Clone, Debug)]
pub enum Happens {
    /// A request arrives.
    Arrives(ConnId),
    /// An answer arrives.
    Answered(ConnId, u64, Response),
    /// The server sees that its peer is gone.
    Closed(ConnId),
    /// A proxy has waited long enough.
    TimedOut(ConnId, u64),
    LockWaitOver(ConnId, u64),
    /// The row of a decision is there, and its COMMIT comes to an end.
    Commits(ConnId),
    /// A request that was held back by a pause is sent.
    Asks(usize, u32, Step),
    Begins(Txn),
    Sweeps(usize, u32),
    ProxyUp(usize),
    ServerUp(usize),
}

/// Who hears an answer.
#[derive(Clone, Debug)]
pub enum Owner {
    /// The transaction and its participant.
    Txn(usize, usize),
    Resolver(usize, Ask),
}

#[derive(Clone, Debug)]
pub struct Conn {
    pub proxy: usize,
    pub life: u32,
    pub server: usize,
    pub incarnation: u32,
    pub owner: Owner,
    pub open: bool,
    /// What is on its way to the server, in order.
    pub requests: std::collections::VecDeque<Request>,
    pub last_delivery_ms: u64,
    /// The number of the request that waits for an answer.
    pub waiting: Option<(u64, bool)>,
    pub count: u64,
}

pub struct Proxy {
    pub up: bool,
    pub life: u32,
    pub stopped_until_ms: u64,
    pub resolver: Resolver,
    pub outstanding: usize,
}

/// A client's transaction.
pub struct Actor {
    pub txn: Txn,
    pub proxy: usize,
    pub life: u32,
    pub gtrid: Gtrid,
    /// Servers and whether it writes there, in the order of first touch.
    pub touches: Vec<(usize, bool)>,
    pub conns: Vec<Option<ConnId>>,
    pub touched: usize,
    /// It says something more at its home at the end.
    pub again: bool,
    pub home_in_transaction: bool,
    pub commit: Option<Commit>,
    pub told: Option<Outcome>,
    pub ended: bool,
}

pub struct World<'a> {
    pub plan: &'a Plan,
    pub random: Random,
    pub now_ms: u64,
    pub sequence: u64,
    pub events: u64,
    pub queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pub happenings: Vec<Option<Happens>>,
    pub free: Vec<usize>,
    pub servers: Vec<Server>,
    pub proxies: Vec<Proxy>,
    pub actors: Vec<Actor>,
    pub conns: Vec<Conn>,
    pub silence: BTreeMap<(usize, usize), u64>,
    pub deadlock: Vec<bool>,
    pub next_fault: usize,
    pub calm: bool,
    pub violation: Option<String>,
    pub fenced: u64,
}

impl<'a> World<'a> {
    pub fn new(plan: &'a Plan) -> World<'a> {
        let mut random = Random(plan.seed);
        let broken = Broken(plan.broken);
        let shards = || (0..plan.servers as u32).map(Shard);
        let proxy = |_| Proxy {
            up: true,
            life: 0,
            stopped_until_ms: 0,
            resolver: Resolver::with(MESH, shards(), broken),
            outstanding: 0,
        };
        let actors = (0..plan.txns)
            .map(|txn| actor(plan, &mut random, txn))
            .collect();
        let mut world = World {
            plan,
            random,
            now_ms: 1_000_000,
            sequence: 0,
            events: 0,
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            free: Vec::new(),
            servers: (0..plan.servers)
                .map(|_| Server::new(plan.weakness, broken))
                .collect(),
            proxies: (0..plan.proxies).map(proxy).collect(),
            actors,
            conns: Vec::new(),
            silence: BTreeMap::new(),
            deadlock: vec![false; plan.servers],
            next_fault: 0,
            calm: false,
            violation: None,
            fenced: 0,
        };
        for txn in 0..plan.txns {
            let after = world.random.below(60);
            world.later(after, Happens::Begins(txn as Txn));
        }
        for proxy in 0..plan.proxies {
            let after = world.random.below(SWEEP_MS);
            world.later(after, Happens::Sweeps(proxy, 0));
        }
        world
    }

    pub fn run(mut self) -> Result<Shown, String> {
        let mut quiet_before_ms = u64::MAX;
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            let Some(happens) = self.happenings[slot].take() else {
                continue;
            };
            self.free.push(slot);
            self.now_ms = at;
            self.events += 1;
            while let Some((event, fault)) = self.plan.faults.get(self.next_fault).copied() {
                if event > self.events {
                    break;
                }
                self.next_fault += 1;
                self.break_something(fault);
            }
            self.happen(happens);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
            if !self.calm && self.actors.iter().all(|a| a.ended) {
                self.calm = true;
                quiet_before_ms = self.now_ms + QUIET_WITHIN_MS;
            }
            if self.calm && self.is_quiet() {
                break;
            }
            if self.now_ms > quiet_before_ms || self.events > EVENTS_MAX {
                return Err(format!(
                    "not quiet after {} events at {} ms",
                    self.events, self.now_ms
                ));
            }
        }
        self.check()
    }

    fn is_quiet(&self) -> bool {
        self.servers.iter().all(Server::is_quiet)
            && self.conns.iter().all(|c| c.requests.is_empty())
    }

    pub fn later(&mut self, after_ms: u64, happens: Happens) {
        self.sequence += 1;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.happenings[slot] = Some(happens);
                slot
            }
            None => {
                self.happenings.push(Some(happens));
                self.happenings.len() - 1
            }
        };
        self.queue
            .push(Reverse((self.now_ms + after_ms, self.sequence, slot)));
    }

    fn happen(&mut self, happens: Happens) {
        // A stopped proxy does what it has to when it goes on.
        if let Some(until) = self.stopped(&happens) {
            let after = until - self.now_ms;
            return self.later(after, happens);
        }
        match happens {
            Happens::Arrives(conn) => self.arrives(conn),
            Happens::Answered(conn, count, response) => self.answered(conn, count, response),
            Happens::Closed(conn) => {
                let server = self.conns[conn].server;
                if self.conns[conn].incarnation == self.servers[server].incarnation {
                    self.servers[server].close(conn);
                    self.wake(server);
                }
            }
            Happens::TimedOut(conn, count) => {
                if self.conns[conn].waiting == Some((count, false)) {
                    self.close(conn);
                    self.lost(conn);
                }
            }
            Happens::LockWaitOver(conn, count) => {
                let server = self.conns[conn].server;
                let same = self.conns[conn].incarnation == self.servers[server].incarnation;
                if same
                    && self.conns[conn].count == count
                    && let Some(response) = self.servers[server].give_up_wait(conn)
                {
                    self.respond(conn, response);
                }
            }
            Happens::Commits(conn) => {
                let server = self.conns[conn].server;
                if self.conns[conn].incarnation == self.servers[server].incarnation {
                    let mut seen = Vec::new();
                    let response = self.servers[server].commit_decided(conn, &mut seen);
                    self.saw(&seen);
                    if let Some(response) = response {
                        self.respond(conn, response);
                    }
                    self.wake(server);
                }
            }
            Happens::Asks(actor, life, step) => {
                if self.proxies[self.actors[actor].proxy].life == life {
                    self.ask_home(actor, step);
                }
            }
            Happens::Begins(txn) => self.touch_next(txn as usize),
            Happens::Sweeps(proxy, life) => self.sweep(proxy, life),
            Happens::ProxyUp(proxy) => {
                self.proxies[proxy].up = true;
                let life = self.proxies[proxy].life;
                self.later(1, Happens::Sweeps(proxy, life));
            }
            Happens::ServerUp(server) => self.servers[server].up = true,
        }
    }

    fn stopped(&self, happens: &Happens) -> Option<u64> {
        let proxy = match happens {
            Happens::Answered(conn, ..) | Happens::TimedOut(conn, _) => self.conns[*conn].proxy,
            Happens::Asks(actor, ..) => self.actors[*actor].proxy,
            Happens::Begins(txn) => self.actors[*txn as usize].proxy,
            Happens::Sweeps(proxy, _) => *proxy,
            _ => return None,
        };
        let until = self.proxies[proxy].stopped_until_ms;
        (until > self.now_ms).then_some(until)
    }

    fn break_something(&mut self, fault: Fault) {
        match fault {
            Fault::ProxyDies(proxy) => {
                let state = &mut self.proxies[proxy];
                if !state.up {
                    return;
                }
                state.up = false;
                state.life += 1;
                state.stopped_until_ms = 0;
                state.outstanding = 0;
                let shards = (0..self.plan.servers as u32).map(Shard);
                self.fenced += state.resolver.tally().fenced;
                state.resolver = Resolver::with(MESH, shards, Broken(self.plan.broken));
                for conn in 0..self.conns.len() {
                    if self.conns[conn].proxy == proxy && self.conns[conn].open {
                        self.close(conn);
                    }
                }
                let lost = self
                    .actors
                    .iter_mut()
                    .filter(|a| a.proxy == proxy && !a.ended);
                lost.for_each(|actor| actor.ended = true);
                let after = 1 + self.random.below(5_000);
                self.later(after, Happens::ProxyUp(proxy));
            }
            Fault::ProxyStops(proxy, for_ms) => {
                if self.proxies[proxy].up {
                    self.proxies[proxy].stopped_until_ms = self.now_ms + for_ms;
                }
            }
            Fault::ServerDies(server) => {
                if !self.servers[server].up {
                    return;
                }
                let behind = self.plan.weakness == Some(Weakness::ReplicaBehind);
                let loses = if behind { self.random.place(4) } else { 0 };
                self.servers[server].crash(loses);
                let after = 1 + self.random.below(5_000);
                self.later(after, Happens::ServerUp(server));
                for conn in 0..self.conns.len() {
                    if self.conns[conn].server == server && self.conns[conn].open {
                        self.break_conn(conn);
                    }
                }
            }
            Fault::Cut(proxy, server) => {
                for conn in 0..self.conns.len() {
                    let c = &self.conns[conn];
                    if c.server == server && c.proxy == proxy && c.open {
                        self.break_conn(conn);
                    }
                }
            }
            Fault::Silence(proxy, server, for_ms) => {
                self.silence.insert((proxy, server), self.now_ms + for_ms);
            }
            Fault::Deadlock(server) => self.deadlock[server] = true,
        }
    }

    /// Both sides learn of it, each in its time; what is on its way may still arrive.
    pub fn break_conn(&mut self, conn: ConnId) {
        self.close(conn);
        if let Some((count, false)) = self.conns[conn].waiting {
            let request = Request::Ask(Ask::Recover(Shard(0)));
            let response = match self.conns[conn].owner {
                Owner::Resolver(..) => Response::lost(&request),
                Owner::Txn(..) => Response::Step(Reply::Lost),
            };
            let after = 1 + self.random.below(50);
            self.later(after, Happens::Answered(conn, count, response));
        }
    }

    /// The proxy's side closes; the server sees it later.
    pub fn close(&mut self, conn: ConnId) {
        if !std::mem::replace(&mut self.conns[conn].open, false) {
            return;
        }
        let slow = self.random.one_in(4);
        let extra = if slow {
            self.random.below(15_000)
        } else {
            self.random.below(10)
        };
        let after = self.conns[conn]
            .last_delivery_ms
            .saturating_sub(self.now_ms)
            + extra;
        self.later(after + 1, Happens::Closed(conn));
    }

    fn delay(&mut self, proxy: usize, server: usize) -> u64 {
        let mut delay = 1 + self.random.below(20);
        if !self.calm && self.random.one_in(150) {
            delay += self.random.below(4_000);
        }
        let silent_until = self.silence.get(&(proxy, server)).copied().unwrap_or(0);
        delay + silent_until.saturating_sub(self.now_ms)
    }

    pub fn dial(&mut self, proxy: usize, server: usize, owner: Owner) -> ConnId {
        self.conns.push(Conn {
            proxy,
            life: self.proxies[proxy].life,
            server,
            incarnation: self.servers[server].incarnation,
            owner,
            open: true,
            requests: std::collections::VecDeque::new(),
            last_delivery_ms: self.now_ms,
            waiting: None,
            count: 0,
        });
        self.conns.len() - 1
    }

    pub fn send(&mut self, conn: ConnId, request: Request) {
        let (proxy, server) = (self.conns[conn].proxy, self.conns[conn].server);
        let delay = self.delay(proxy, server);
        let c = &mut self.conns[conn];
        c.count += 1;
        c.waiting = Some((c.count, false));
        let count = c.count;
        if !c.open || !self.servers[server].up || c.incarnation != self.servers[server].incarnation
        {
            let response = Response::lost(&request);
            return self.later(delay, Happens::Answered(conn, count, response));
        }
        c.requests.push_back(request);
        let at = c.last_delivery_ms.max(self.now_ms + delay);
        c.last_delivery_ms = at;
        self.later(at - self.now_ms, Happens::Arrives(conn));
        self.later(TIMEOUT_MS, Happens::TimedOut(conn, count));
    }

    fn arrives(&mut self, conn: ConnId) {
        let Some(request) = self.conns[conn].requests.pop_front() else {
            return;
        };
        let server = self.conns[conn].server;
        if !self.servers[server].up
            || self.conns[conn].incarnation != self.servers[server].incarnation
        {
            return;
        }
        let mut seen = Vec::new();
        let now_ms = self.now_ms;
        let response = self.servers[server].execute(now_ms, conn, &request, &mut seen);
        self.saw(&seen);
        match response {
            Some(response) => {
                self.respond(conn, response);
                self.wake(server);
            }
            None if self.servers[server].is_deciding(conn) => {
                let after = 1 + self.random.below(20);
                self.later(after, Happens::Commits(conn));
            }
            None => {
                let count = self.conns[conn].count;
                self.later(LOCK_WAIT_MS, Happens::LockWaitOver(conn, count));
            }
        }
    }

    fn wake(&mut self, server: usize) {
        let mut seen = Vec::new();
        let woken = self.servers[server].wake(self.now_ms, &mut seen);
        self.saw(&seen);
        for (conn, response) in woken {
            self.respond(conn, response);
        }
    }

    fn respond(&mut self, conn: ConnId, response: Response) {
        let c = &self.conns[conn];
        let (open, count) = (c.open, c.count);
        if open {
            let delay = self.delay(self.conns[conn].proxy, self.conns[conn].server);
            self.later(delay, Happens::Answered(conn, count, response));
        }
    }

    fn lost(&mut self, conn: ConnId) {
        let count = self.conns[conn].count;
        let response = match self.conns[conn].owner {
            Owner::Resolver(..) => Response::Ask(Event::Lost),
            Owner::Txn(..) => Response::Step(Reply::Lost),
        };
        self.answered(conn, count, response);
    }

    fn answered(&mut self, conn: ConnId, count: u64, response: Response) {
        let c = &mut self.conns[conn];
        let proxy = c.proxy;
        let alive = self.proxies[proxy].up && self.proxies[proxy].life == c.life;
        if !alive || c.waiting != Some((count, false)) {
            return;
        }
        c.waiting = None;
        let owner = c.owner.clone();
        match (owner, response) {
            (Owner::Txn(actor, at), Response::Step(reply)) => self.txn_hears(actor, at, reply),
            (Owner::Resolver(proxy, ask), Response::Ask(event)) => {
                self.close(conn);
                self.resolver_hears(proxy, &ask, event);
            }
            _ => {}
        }
    }
}
