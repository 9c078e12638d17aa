//! What must be true of a history: at every commit, and at its end.

use super::Shown;
use super::server::Seen;
use super::world::World;
use crate::Outcome;

impl World<'_> {
    pub fn saw(&mut self, seen: &[Seen]) {
        for seen in seen {
            let (txn, done, undone) = match seen {
                Seen::Applied(txn) => (*txn, "committed", "rolled back"),
                Seen::PreparedRolledBack(txn) => (*txn, "rolled back", "committed"),
            };
            let applied = self
                .servers
                .iter()
                .filter(|s| s.durable.applied.contains_key(&txn))
                .count();
            let actor = &self.actors[txn as usize];
            if *seen == Seen::PreparedRolledBack(txn) && applied > 0 {
                self.violation = Some(format!(
                    "txn {txn} is {done} on one shard and {undone} on another"
                ));
            }
            if matches!(seen, Seen::Applied(_))
                && matches!(actor.told, Some(Outcome::RolledBack(_)))
            {
                self.violation = Some(format!(
                    "txn {txn} commits after its client heard that it does not"
                ));
            }
        }
    }

    pub fn check(&self) -> Result<Shown, String> {
        let mut shown = Shown {
            events: self.events,
            ..Shown::default()
        };
        for actor in &self.actors {
            let writers = actor.touches.iter().filter(|(_, writes)| *writes).count();
            let counts = self
                .servers
                .iter()
                .map(|s| s.durable.applied.get(&actor.txn).copied().unwrap_or(0));
            let counts: Vec<u32> = counts.collect();
            let applied = counts.iter().filter(|count| **count > 0).count();
            let txn = actor.txn;
            if counts.iter().any(|count| *count > 1) {
                return Err(format!("txn {txn} was applied twice on a shard"));
            }
            if applied != 0 && applied != writers {
                return Err(format!(
                    "txn {txn} is on {applied} of its {writers} shards, told {:?}",
                    actor.told
                ));
            }
            let whole = applied == writers;
            match &actor.told {
                Some(Outcome::Committed) if !whole => return Err(format!("txn {txn} is lost")),
                Some(Outcome::RolledBack(cause)) if whole && writers > 0 => {
                    return Err(format!("txn {txn} is there, told rolled back: {cause:?}"));
                }
                Some(Outcome::Committed) => shown.committed += 1,
                Some(Outcome::RolledBack(_)) => shown.rolled_back += 1,
                Some(_) => shown.unknown += 1,
                None => shown.cut += 1,
            }
        }
        shown.fenced = self.fenced
            + self
                .proxies
                .iter()
                .map(|p| p.resolver.tally().fenced)
                .sum::<u64>();
        Ok(shown)
    }
}
