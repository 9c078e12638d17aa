//! Histories of coordinators, resolvers and servers in virtual time, and the checker of what came of them.
//!
//! One seed is one history: which transactions run on which proxies, how long every message takes, and what breaks at which
//! event. Servers behave as `server-facts` measured. At the end everything is up again and left alone; then every transaction
//! must be on all of its shards or on none, as its client was told, and nothing may be left prepared.

mod check;
mod driver;
mod server;
mod tests;
mod world;

use crate::broken::Rule;

/// A promise that the servers break, to see that the protocol rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// A prepared branch does not survive a crash.
    PreparedLost,
    /// A failover loses the newest commits.
    ReplicaBehind,
    /// Rows of decisions are removed at once, and no age is too old to decide.
    RowsForgottenEarly,
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A proxy dies, and comes back.
    ProxyDies(usize),
    /// A proxy stops for that long, and goes on as if nothing were.
    ProxyStops(usize, u64),
    /// A server dies and comes back, or its replica takes over.
    ServerDies(usize),
    /// All connections between the two break.
    Cut(usize, usize),
    /// Nothing passes between the two for that long.
    Silence(usize, usize, u64),
    /// The server's next statement of work is the victim of a deadlock.
    Deadlock(usize),
}

/// Which shards transactions touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As the seed has it: one or several, writing or reading.
    Any,
    /// All of them write on every server.
    AllWrite,
}

/// One history.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub proxies: usize,
    pub servers: usize,
    pub txns: usize,
    pub shape: Shape,
    /// At which event what breaks.
    pub faults: Vec<(u64, Fault)>,
    pub broken: Option<Rule>,
    pub weakness: Option<Weakness>,
}

/// What a history showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Events until everything had ended.
    pub events: u64,
    pub committed: u64,
    pub rolled_back: u64,
    pub unknown: u64,
    /// Transactions whose proxy died under them.
    pub cut: u64,
    /// Transactions that a resolver fenced.
    pub fenced: u64,
}

/// Small, fast and the same everywhere: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn place(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Runs a history; the error says what was violated.
pub fn run(plan: &Plan) -> Result<Shown, String> {
    world::World::new(plan).run()
}
