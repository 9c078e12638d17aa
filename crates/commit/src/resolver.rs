//! What any proxy does about transactions that nobody finished.
//!
//! Owns one sweep after the other: which decisions to commit are not seen through, which branches are prepared, what their
//! home decided, what they are told. It needs no leader and no clock that others agree with: the fence, an insert on the
//! home's primary, makes an abort safe whoever is slow. It must never tell a branch anything that the home's row does not
//! say. Input: what servers listed and answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::broken::{Broken, Rule};
use crate::id::{Gtrid, Shard, Xid};
use crate::sql::{Prepared, ROWS_PER_SWEEP_MAX};
use crate::{Decision, Verdict, code};

/// Branches that a sweep looks at; the rest waits for the next one.
const BRANCHES_MAX: usize = 10_000;
/// Milliseconds for which a coordinator is left alone with its branches. It is for speed, never for safety.
pub const GRACE_MS: u64 = 3_000;

/// What is to be asked of the primary of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Which decisions to commit are not marked as done.
    Undone(Shard),
    /// Which branches are prepared.
    Recover(Shard),
    /// That nobody may decide to commit any more; at the home.
    Fence {
        /// Which transaction.
        gtrid: Gtrid,
        /// The home's clock before the branch was listed, in seconds.
        clock_s: u64,
    },
    /// What was decided; at the home.
    Read(Gtrid),
    /// The outcome, to a branch, on the shard that listed it.
    Finish(Shard, Xid, Verdict),
    /// Whether the shard has the transaction in which the branch promised.
    Holds(Shard, Gtrid, String),
    /// That all branches of these are committed; at the home.
    Done(Shard, Vec<Gtrid>),
}

impl Ask {
    /// The shard whose primary is asked.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        match self {
            Self::Undone(shard)
            | Self::Recover(shard)
            | Self::Finish(shard, ..)
            | Self::Holds(shard, ..)
            | Self::Done(shard, _) => *shard,
            Self::Fence { gtrid, .. } | Self::Read(gtrid) => gtrid.home,
        }
    }
}

/// A decision to commit that is not seen through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Its name.
    pub gtrid: Gtrid,
    /// Who promised; none when the row is not readable.
    pub participants: Option<Vec<Prepared>>,
}

/// What a server listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Branches of our mesh.
    pub branches: Vec<Xid>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// To [`Ask::Undone`].
    Undone {
        /// The server's clock, in seconds.
        clock_s: u64,
        /// The rows.
        rows: Vec<Undone>,
    },
    /// To [`Ask::Recover`].
    Listed(Listed),
    /// To [`Ask::Read`]: the row, if there is one.
    Decision(Option<Decision>),
    /// To [`Ask::Holds`].
    Holds(bool),
    /// It succeeded; an insert that made no row because it came too late did not.
    Done,
    /// The server refused.
    Error(u16),
    /// It could not be asked, or did not answer.
    Lost,
}

/// A branch whose transaction is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Which one.
    pub xid: Xid,
    /// The shard that listed it.
    pub shard: Shard,
    /// Milliseconds for which this proxy has known it.
    pub age_ms: u64,
    /// What it waits for.
    pub why: Why,
}

/// What a branch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its coordinator, which is given some time.
    Coordinator,
    /// The sweep at hand.
    Sweep,
    /// Its home's primary cannot be reached, or does not answer.
    HomeUnreachable,
    /// Its home is no shard of this configuration.
    HomeUnknown,
    /// Its own server did not take the outcome.
    BranchRefused,
}

impl Why {
    /// As it appears in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Sweep => "sweep",
            Self::HomeUnreachable => "home_unreachable",
            Self::HomeUnknown => "home_unknown",
            Self::BranchRefused => "branch_refused",
        }
    }
}

/// What came of resolving, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Branches committed.
    pub committed: u64,
    /// Branches rolled back.
    pub rolled_back: u64,
    /// Transactions fenced.
    pub fenced: u64,
    /// Branches of committed transactions whose promise its server does not know any more: their work is lost.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first_ms: u64,
    why: Why,
    /// The sweep that saw it last.
    sweep: u64,
}

/// Resolves what others left. One per process and mesh.
#[derive(Clone, Debug)]
pub struct Resolver {
    mesh: u64,
    shards: BTreeSet<Shard>,
    sweep: u64,
    /// Every branch in doubt, and the shard that listed it.
    seen: BTreeMap<(Xid, Shard), Seen>,
    /// Questions of this sweep without an answer, by kind.
    undone_waiting: usize,
    recover_waiting: usize,
    undone: Vec<Undone>,
    /// The clocks of those that answered in this sweep, from before anything was listed.
    clocks: BTreeMap<Shard, u64>,
    /// What each shard listed in this sweep.
    listed: BTreeMap<Shard, BTreeSet<Gtrid>>,
    /// Decisions to commit whose branches' promises are being looked for: how many answers are out, and whether all were held.
    checking: BTreeMap<Gtrid, usize>,
    /// Those with a promise that is lost; told once.
    lost: BTreeSet<Gtrid>,
    tally: Tally,
    broken: Broken,
}

impl Resolver {
    /// For a mesh and its shards.
    #[must_use]
    pub fn new(mesh: u64, shards: impl IntoIterator<Item = Shard>) -> Self {
        Self::with(mesh, shards, Broken::default())
    }

    pub(crate) fn with(mesh: u64, shards: impl IntoIterator<Item = Shard>, broken: Broken) -> Self {
        Self {
            mesh,
            shards: shards.into_iter().collect(),
            sweep: 0,
            seen: BTreeMap::new(),
            undone_waiting: 0,
            recover_waiting: 0,
            undone: Vec::new(),
            clocks: BTreeMap::new(),
            listed: BTreeMap::new(),
            checking: BTreeMap::new(),
            lost: BTreeSet::new(),
            tally: Tally::default(),
            broken,
        }
    }

    /// What came of it so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Branches in doubt.
    pub fn doubts(&self, now_ms: u64) -> impl Iterator<Item = Doubt> {
        self.seen.iter().map(move |((xid, shard), seen)| Doubt {
            xid: *xid,
            shard: *shard,
            age_ms: now_ms.saturating_sub(seen.first_ms),
            why: seen.why,
        })
    }

    /// Committed transactions of which a server lost a part.
    pub fn torn(&self) -> impl Iterator<Item = &Gtrid> {
        self.lost.iter()
    }

    /// Begins a sweep; answers of an earlier one must not come any more.
    pub fn sweep(&mut self) -> Vec<Ask> {
        self.sweep = self.sweep.wrapping_add(1);
        self.undone.clear();
        self.clocks.clear();
        self.listed.clear();
        self.checking.clear();
        self.recover_waiting = 0;
        self.undone_waiting = self.shards.len();
        // Decisions before branches: a decision that is read was made, so its branches were prepared before they are listed.
        self.shards
            .iter()
            .map(|shard| Ask::Undone(*shard))
            .collect()
    }

    /// Takes an answer.
    pub fn on(&mut self, now_ms: u64, ask: &Ask, event: Event) -> Vec<Ask> {
        match ask {
            Ask::Undone(shard) => self.on_undone(*shard, event),
            Ask::Recover(shard) => self.on_listed(now_ms, *shard, event),
            Ask::Fence { gtrid, .. } => self.on_fenced(*gtrid, &event),
            Ask::Read(gtrid) => self.on_decision(*gtrid, &event),
            Ask::Finish(shard, xid, verdict) => self.on_finished((*xid, *shard), *verdict, &event),
            Ask::Holds(_, gtrid, _) => self.on_holds(*gtrid, &event),
            Ask::Done(..) => Vec::new(),
        }
    }

    fn on_undone(&mut self, shard: Shard, event: Event) -> Vec<Ask> {
        if let Event::Undone { clock_s, rows } = event {
            self.clocks.insert(shard, clock_s);
            let ours = |u: &Undone| u.gtrid.mesh == self.mesh;
            self.undone
                .extend(rows.into_iter().filter(ours).take(ROWS_PER_SWEEP_MAX));
        }
        self.undone_waiting = self.undone_waiting.saturating_sub(1);
        if self.undone_waiting > 0 {
            return Vec::new();
        }
        self.recover_waiting = self.shards.len();
        self.shards
            .iter()
            .map(|shard| Ask::Recover(*shard))
            .collect()
    }

    fn on_listed(&mut self, now_ms: u64, shard: Shard, event: Event) -> Vec<Ask> {
        let mut asks = Vec::new();
        if let Event::Listed(Listed { branches }) = event {
            let mut named = BTreeSet::new();
            let ours = |xid: &Xid| xid.gtrid.mesh == self.mesh;
            let ours: Vec<Xid> = branches.into_iter().filter(ours).collect();
            for xid in &ours {
                named.insert(xid.gtrid);
            }
            for xid in ours.into_iter().take(BRANCHES_MAX) {
                self.see(now_ms, xid, shard);
            }
            self.listed.insert(shard, named);
            let sweep = self.sweep;
            // What this shard does not list any more has its outcome.
            self.seen
                .retain(|(_, at), seen| *at != shard || seen.sweep == sweep);
        }
        self.recover_waiting = self.recover_waiting.saturating_sub(1);
        if self.recover_waiting == 0 {
            asks.extend(self.decide(now_ms));
            asks.extend(self.check_undone());
        }
        asks
    }

    fn see(&mut self, now_ms: u64, xid: Xid, shard: Shard) {
        let sweep = self.sweep;
        let new = Seen {
            first_ms: now_ms,
            why: Why::Coordinator,
            sweep,
        };
        self.seen.entry((xid, shard)).or_insert(new).sweep = sweep;
    }

    /// Everything is listed: asks the homes of what is old enough.
    fn decide(&mut self, now_ms: u64) -> Vec<Ask> {
        let mut homes = BTreeSet::new();
        for ((xid, _), seen) in &mut self.seen {
            if seen.sweep != self.sweep || now_ms.saturating_sub(seen.first_ms) < GRACE_MS {
                continue;
            }
            let home = xid.gtrid.home;
            seen.why = match (self.shards.contains(&home), self.clocks.get(&home)) {
                (false, _) => Why::HomeUnknown,
                (true, None) => Why::HomeUnreachable,
                (true, Some(clock_s)) => {
                    homes.insert((xid.gtrid, *clock_s));
                    Why::Sweep
                }
            };
        }
        let broken = self.broken.is(Rule::FenceBeforeAbort);
        let ask = |(gtrid, clock_s)| match broken {
            true => Ask::Read(gtrid),
            false => Ask::Fence { gtrid, clock_s },
        };
        homes.into_iter().map(ask).collect()
    }

    fn on_fenced(&mut self, gtrid: Gtrid, event: &Event) -> Vec<Ask> {
        match event {
            Event::Done => {
                self.tally.fenced = self.tally.fenced.saturating_add(1);
                self.tell(gtrid, Verdict::Rollback)
            }
            Event::Error(code::DUP_ENTRY) => vec![Ask::Read(gtrid)],
            _ => self.unreachable(gtrid),
        }
    }

    fn on_decision(&mut self, gtrid: Gtrid, event: &Event) -> Vec<Ask> {
        match event {
            Event::Decision(Some(_)) if self.broken.is(Rule::ReadTheDecision) => {
                self.tell(gtrid, Verdict::Commit)
            }
            Event::Decision(Some(decision)) => self.tell(gtrid, decision.verdict()),
            Event::Decision(None) if self.broken.is(Rule::FenceBeforeAbort) => {
                self.tell(gtrid, Verdict::Rollback)
            }
            // It was removed in between: the next sweep asks again.
            _ => self.unreachable(gtrid),
        }
    }

    fn unreachable(&mut self, gtrid: Gtrid) -> Vec<Ask> {
        for (_, seen) in self.branches_mut(gtrid) {
            seen.why = Why::HomeUnreachable;
        }
        Vec::new()
    }

    /// Tells every branch that was listed what its home's row says.
    fn tell(&mut self, gtrid: Gtrid, verdict: Verdict) -> Vec<Ask> {
        let finish =
            |((xid, shard), _): (&(Xid, Shard), &mut Seen)| Ask::Finish(*shard, *xid, verdict);
        self.branches_mut(gtrid).map(finish).collect()
    }

    fn branches_mut(&mut self, gtrid: Gtrid) -> impl Iterator<Item = (&(Xid, Shard), &mut Seen)> {
        let lowest = (
            Xid {
                gtrid,
                branch: Shard(0),
            },
            Shard(0),
        );
        let range = lowest
            ..=(
                Xid {
                    gtrid,
                    branch: Shard(u32::MAX),
                },
                Shard(u32::MAX),
            );
        self.seen.range_mut(range)
    }

    fn on_finished(&mut self, key: (Xid, Shard), verdict: Verdict, event: &Event) -> Vec<Ask> {
        match event {
            Event::Done => {
                let count = match verdict {
                    Verdict::Commit => &mut self.tally.committed,
                    Verdict::Rollback => &mut self.tally.rolled_back,
                };
                *count = count.saturating_add(1);
                self.seen.remove(&key);
            }
            // Another resolver was faster.
            Event::Error(code::XAER_NOTA) => {
                self.seen.remove(&key);
            }
            _ => {
                if let Some(seen) = self.seen.get_mut(&key) {
                    seen.why = Why::BranchRefused;
                }
            }
        }
        Vec::new()
    }

    /// Decisions whose branches are listed nowhere any more: committed, if their promises were not lost.
    fn check_undone(&mut self) -> Vec<Ask> {
        let mut asks = Vec::new();
        let mut done: BTreeMap<Shard, Vec<Gtrid>> = BTreeMap::new();
        for undone in std::mem::take(&mut self.undone) {
            let gtrid = undone.gtrid;
            let gone = |shard: &Shard| {
                self.listed
                    .get(shard)
                    .is_some_and(|named| !named.contains(&gtrid))
            };
            let Some(participants) = undone
                .participants
                .filter(|p| p.iter().all(|p| gone(&p.shard)))
            else {
                continue;
            };
            if self.lost.contains(&gtrid) {
                continue;
            }
            let promises = participants
                .into_iter()
                .filter_map(|p| Some((p.shard, p.gtid?)));
            let holds: Vec<Ask> = promises
                .map(|(shard, gtid)| Ask::Holds(shard, gtrid, gtid))
                .collect();
            if holds.is_empty() {
                done.entry(gtrid.home).or_default().push(gtrid);
            } else {
                self.checking.insert(gtrid, holds.len());
                asks.extend(holds);
            }
        }
        asks.extend(
            done.into_iter()
                .map(|(home, gtrids)| Ask::Done(home, gtrids)),
        );
        asks
    }

    fn on_holds(&mut self, gtrid: Gtrid, event: &Event) -> Vec<Ask> {
        match event {
            Event::Holds(true) => {
                let Some(left) = self.checking.get_mut(&gtrid) else {
                    return Vec::new();
                };
                *left = left.saturating_sub(1);
                if *left > 0 {
                    return Vec::new();
                }
                self.checking.remove(&gtrid);
                vec![Ask::Done(gtrid.home, vec![gtrid])]
            }
            Event::Holds(false) => {
                self.checking.remove(&gtrid);
                if self.lost.len() < ROWS_PER_SWEEP_MAX && self.lost.insert(gtrid) {
                    self.tally.lost = self.tally.lost.saturating_add(1);
                }
                Vec::new()
            }
            _ => {
                self.checking.remove(&gtrid);
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
