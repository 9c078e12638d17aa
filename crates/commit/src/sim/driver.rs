//! The actors of a history, which drive the machines as the data plane does: clients' transactions, and resolvers.

use super::Shape;
use super::server::{Begin, Request, Txn};
use super::world::{Actor, Happens, MESH, Owner, SWEEP_MS, World};
use super::{Plan, Random};
use crate::broken::{Broken, Rule};
use crate::coordinator::HOME;
use crate::{
    Action, Answers, Ask, Commit, Event, Gtrid, Outcome, Participant, Reply, Shard, Step, Work, Xid,
};

impl World<'_> {
    // The client's transaction, as the data plane drives it.

    pub fn touch_next(&mut self, index: usize) {
        let actor = &self.actors[index];
        let (proxy, touched) = (actor.proxy, actor.touched);
        if !self.proxies[proxy].up {
            self.actors[index].ended = true;
            self.actors[index].told = Some(Outcome::RolledBack(crate::Cause::HomeGone));
            return;
        }
        if touched == 0 {
            self.actors[index].life = self.proxies[proxy].life;
            self.actors[index].gtrid.begun_ms = self.now_ms;
        }
        let actor = &self.actors[index];
        let txn = actor.txn;
        let Some((server, writes)) = actor.touches.get(touched).copied() else {
            if std::mem::take(&mut self.actors[index].again) {
                return self.touch_home_again(index);
            }
            return self.commit(index);
        };
        let xid = xid(actor, touched);
        let conn = self.dial(proxy, server, Owner::Txn(index, touched));
        self.actors[index].conns.push(Some(conn));
        let deadlock = std::mem::take(&mut self.deadlock[server]);
        let begin = if touched == HOME {
            Begin::Plain
        } else {
            Begin::Branch(xid)
        };
        self.send(
            conn,
            Request::Work {
                txn,
                begin,
                writes,
                deadlock,
            },
        );
    }

    pub fn touch_home_again(&mut self, index: usize) {
        let actor = &self.actors[index];
        let (txn, (server, writes)) = (actor.txn, actor.touches[HOME]);
        let deadlock = std::mem::take(&mut self.deadlock[server]);
        if let Some(conn) = actor.conns[HOME] {
            self.send(
                conn,
                Request::Work {
                    txn,
                    begin: Begin::Already,
                    writes,
                    deadlock,
                },
            );
        }
    }

    pub fn txn_hears(&mut self, index: usize, at: usize, reply: Reply) {
        let failed = !matches!(reply, Reply::Done(_));
        if let Some(mut commit) = self.actors[index].commit.take() {
            if failed && self.plan.broken != Some(Rule::DuplicateIsFence) {
                self.drop_conn(index, at);
            }
            let actions = commit.on(at, reply);
            self.actors[index].commit = Some(commit);
            return self.act(index, actions);
        }
        if at == HOME {
            self.actors[index].home_in_transaction = !failed;
        }
        let tolerant = self.plan.broken == Some(Rule::HomeInTransaction) && at == HOME;
        if failed && !(tolerant && matches!(reply, Reply::Error(_))) {
            return self.roll_back(index);
        }
        self.actors[index].touched += 1;
        self.touch_next(index);
    }

    pub fn drop_conn(&mut self, index: usize, at: usize) {
        if let Some(conn) = self.actors[index].conns.get_mut(at).and_then(Option::take) {
            self.close(conn);
        }
    }

    pub fn roll_back(&mut self, index: usize) {
        for at in 0..self.actors[index].conns.len() {
            self.drop_conn(index, at);
        }
        self.tell(index, Outcome::RolledBack(crate::Cause::HomeGone));
        self.actors[index].ended = true;
    }

    pub fn commit(&mut self, index: usize) {
        let actor = &self.actors[index];
        let participants: Vec<Participant> = actor.touches.iter().map(participant).collect();
        let answers = if actor.txn.is_multiple_of(3) {
            Answers::AfterDecision
        } else {
            Answers::AfterBranches
        };
        let broken = Broken(self.plan.broken);
        let (commit, actions) = Commit::begin(
            actor.gtrid,
            &participants,
            actor.home_in_transaction,
            answers,
            broken,
        );
        self.actors[index].commit = Some(commit);
        self.act(index, actions);
    }

    pub fn act(&mut self, index: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Run { at, step } => self.run_step(index, at, step),
                Action::AskHome { step, after_ms } => {
                    self.drop_conn(index, HOME);
                    let life = self.actors[index].life;
                    self.later(after_ms, Happens::Asks(index, life, step));
                }
                Action::Answer(outcome) => self.tell(index, outcome),
                Action::End { .. } => {
                    self.actors[index].ended = true;
                    for at in 0..self.actors[index].conns.len() {
                        self.drop_conn(index, at);
                    }
                }
            }
        }
    }

    pub fn run_step(&mut self, index: usize, at: usize, step: Step) {
        let actor = &self.actors[index];
        let xid = xid(actor, at);
        let promises = match (&step, &actor.commit) {
            (Step::Decide, Some(commit)) => commit.promises(),
            _ => Vec::new(),
        };
        let request = Request::Step {
            step,
            xid,
            promises,
        };
        match actor.conns.get(at).copied().flatten() {
            Some(conn) => self.send(conn, request),
            None => {
                // The connection is gone: the answer comes from nowhere, but later.
                let (proxy, server) = (actor.proxy, actor.touches[at].0);
                let conn = self.dial(proxy, server, Owner::Txn(index, at));
                self.conns[conn].open = false;
                self.send(conn, request);
            }
        }
    }

    pub fn ask_home(&mut self, index: usize, step: Step) {
        let actor = &self.actors[index];
        let (proxy, server) = (actor.proxy, actor.touches[HOME].0);
        let xid = xid(actor, HOME);
        let conn = self.dial(proxy, server, Owner::Txn(index, HOME));
        self.actors[index].conns[HOME] = Some(conn);
        let promises = Vec::new();
        self.send(
            conn,
            Request::Step {
                step,
                xid,
                promises,
            },
        );
    }

    pub fn tell(&mut self, index: usize, outcome: Outcome) {
        if self.actors[index].told.replace(outcome).is_some() {
            self.violation = Some(format!("txn {index} was answered twice"));
        }
    }

    // The resolvers.

    pub fn sweep(&mut self, proxy: usize, life: u32) {
        let state = &mut self.proxies[proxy];
        if !state.up || state.life != life {
            return;
        }
        for server in 0..self.plan.servers {
            if self.servers[server].up {
                self.servers[server].purge(self.now_ms);
            }
        }
        let asks = self.proxies[proxy].resolver.sweep();
        self.ask_all(proxy, asks);
    }

    pub fn ask_all(&mut self, proxy: usize, asks: Vec<Ask>) {
        self.proxies[proxy].outstanding += asks.len();
        for ask in asks {
            let server = ask.shard().0 as usize;
            let conn = self.dial(proxy, server, Owner::Resolver(proxy, ask.clone()));
            self.send(conn, Request::Ask(ask));
        }
    }

    pub fn resolver_hears(&mut self, proxy: usize, ask: &Ask, event: Event) {
        let now_ms = self.now_ms;
        let asks = self.proxies[proxy].resolver.on(now_ms, ask, event);
        self.ask_all(proxy, asks);
        let state = &mut self.proxies[proxy];
        state.outstanding -= 1;
        if state.outstanding == 0 {
            let life = state.life;
            self.later(SWEEP_MS, Happens::Sweeps(proxy, life));
        }
    }
}

pub fn actor(plan: &Plan, random: &mut Random, txn: usize) -> Actor {
    let mut servers: Vec<usize> = (0..plan.servers).collect();
    for at in (1..servers.len()).rev() {
        servers.swap(at, random.place(at + 1));
    }
    let many = if plan.shape == Shape::AllWrite {
        plan.servers
    } else if random.one_in(5) {
        1
    } else {
        2 + random.place(plan.servers.saturating_sub(1))
    };
    let writes = |random: &mut Random| plan.shape == Shape::AllWrite || !random.one_in(6);
    let touches: Vec<(usize, bool)> = servers
        .into_iter()
        .take(many)
        .map(|server| (server, writes(random)))
        .collect();
    let proxy = random.place(plan.proxies);
    Actor {
        txn: txn as Txn,
        proxy,
        life: 0,
        gtrid: Gtrid {
            mesh: MESH,
            home: Shard(touches[HOME].0 as u32),
            coordinator: proxy as u64,
            epoch: 0,
            sequence: txn as u64,
            begun_ms: 0,
        },
        touches,
        conns: Vec::new(),
        touched: 0,
        again: random.one_in(3),
        home_in_transaction: false,
        commit: None,
        told: None,
        ended: false,
    }
}

fn participant((server, writes): &(usize, bool)) -> Participant {
    Participant {
        shard: Shard(*server as u32),
        work: if *writes { Work::Writes } else { Work::Reads },
    }
}

fn xid(actor: &Actor, at: usize) -> Xid {
    Xid {
        gtrid: actor.gtrid,
        branch: Shard(actor.touches[at].0 as u32),
    }
}
