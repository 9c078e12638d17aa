//! Definitions over several shards: how far they are, and what a stopped one left to do.
//!
//! Owns the list of those that run and of the last ones that ended, and the knowledge which shards have a stopped one: the same
//! statement finishes it. Must never let a statement skip a shard because of what another definition of the same table has
//! undone since. Input: statements of sessions, shard by shard. Texts are kept without their literals.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_plan::shard::NodeStatement;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Definitions that are kept: all that run, and so many of the others.
const KEPT_MAX: usize = 64;
/// Definitions that may run at the same time and be listed.
const LISTED_MAX: usize = 256;
/// For so long, the same statement finishes a stopped one.
const RESUMED_WITHIN_MS: u64 = 24 * 3_600_000;

/// Definitions of the process.
#[derive(Debug, Default)]
pub struct Definitions {
    all: Mutex<VecDeque<Arc<Definition>>>,
    next: AtomicU64,
    hasher: RandomState,
}

/// What begins.
#[derive(Debug)]
pub struct Begun<'a> {
    /// Of this service.
    pub service: &'a str,
    /// By this user.
    pub user: &'a str,
    /// Its text without literals.
    pub text: String,
    /// What each shard executes.
    pub nodes: &'a [NodeStatement],
    /// The clock, in ms.
    pub now_ms: u64,
}

/// One definition.
#[derive(Debug)]
pub struct Definition {
    id: u64,
    service: String,
    user: String,
    text: String,
    /// Of what each shard executes.
    hash: u64,
    /// Tables as clients know them.
    tables: BTreeSet<String>,
    shards: usize,
    began_ms: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ended: Option<Ended>,
    /// Shards that have it, by their place among what is executed.
    done: BTreeSet<usize>,
    /// Where it is not, in words.
    remaining: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Stopped,
    /// Another definition came, or the same one finishes it.
    Superseded,
}

impl Definitions {
    /// A definition begins. Of a stopped one of the same words, the new one knows which shards have it.
    pub fn begin(&self, begun: &Begun<'_>) -> Arc<Definition> {
        let of = |node: &NodeStatement| (node.source, node.shard, node.sql.clone());
        let hash = self
            .hasher
            .hash_one(begun.nodes.iter().map(of).collect::<Vec<_>>());
        let logical = begun.nodes.iter().flat_map(|node| &node.tables);
        let tables: BTreeSet<String> = logical.map(|(_, ours)| ours.clone()).collect();
        let mut all = self.all.lock();
        let mut done = BTreeSet::new();
        for other in all.iter().filter(|other| other.service == begun.service) {
            let mut state = other.state.lock();
            if state.ended != Some(Ended::Stopped) {
                continue;
            }
            let fresh = begun.now_ms.saturating_sub(other.began_ms) < RESUMED_WITHIN_MS;
            if other.hash == hash && fresh {
                done.clone_from(&state.done);
                state.ended = Some(Ended::Superseded);
            } else if other.tables.is_empty() || !other.tables.is_disjoint(&tables) {
                state.ended = Some(Ended::Superseded);
            }
        }
        let definition = Arc::new(Definition {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            service: begun.service.to_owned(),
            user: begun.user.to_owned(),
            text: begun.text.clone(),
            hash,
            tables,
            shards: begun.nodes.len(),
            began_ms: begun.now_ms,
            state: Mutex::new(State {
                ended: None,
                done,
                remaining: Vec::new(),
            }),
        });
        all.push_back(definition.clone());
        let ended = |all: &VecDeque<Arc<Definition>>| {
            let mut all = all.iter();
            all.position(|definition| definition.state.lock().ended.is_some())
        };
        while all.len() > KEPT_MAX {
            match ended(&all) {
                Some(place) => drop(all.remove(place)),
                None if all.len() > LISTED_MAX => drop(all.pop_front()),
                None => break,
            }
        }
        definition
    }

    /// Those of a service, the last ones first.
    #[must_use]
    pub fn listing(&self, service: &str, now_ms: u64) -> Vec<Value> {
        let all = self.all.lock();
        let own = all.iter().rev().filter(|d| d.service == service);
        own.map(|definition| definition.json(now_ms)).collect()
    }
}

/// While it runs: who drops it in the middle leaves it stopped.
#[derive(Debug)]
pub struct Running(pub Arc<Definition>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if state.ended.is_none() {
            state.ended = Some(Ended::Stopped);
        }
    }
}

impl Definition {
    /// Whether a shard has it already.
    #[must_use]
    pub fn has(&self, number: usize) -> bool {
        self.state.lock().done.contains(&number)
    }

    /// How many have it.
    #[must_use]
    pub fn done(&self) -> usize {
        self.state.lock().done.len()
    }

    /// A shard has it now.
    pub fn note_done(&self, number: usize) {
        self.state.lock().done.insert(number);
    }

    /// It ended; where it is not, if anywhere.
    pub fn end(&self, remaining: Vec<String>) {
        let mut state = self.state.lock();
        state.ended = Some(match remaining.is_empty() {
            true => Ended::Done,
            false => Ended::Stopped,
        });
        state.remaining = remaining;
    }

    /// It did nothing anywhere, or all of it was refused: there is nothing to finish.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.ended = Some(Ended::Superseded);
        state.done.clear();
    }

    fn json(&self, now_ms: u64) -> Value {
        let state = self.state.lock();
        let word = match state.ended {
            None => "running",
            Some(Ended::Done) => "done",
            Some(Ended::Stopped) => "stopped",
            Some(Ended::Superseded) => "superseded",
        };
        json!({
            "id": self.id,
            "user": self.user,
            "definition": self.text,
            "state": word,
            "done": state.done.len(),
            "shards": self.shards,
            "age_s": now_ms.saturating_sub(self.began_ms) / 1000,
            "remaining": state.remaining,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str, table: &str) -> Vec<NodeStatement> {
        let node = |shard: usize| NodeStatement {
            source: shard / 2,
            shard: Some(shard),
            sql: format!("{text} {table}_{shard}").into_bytes(),
            parameters: Vec::new(),
            tables: vec![(format!("{table}_{shard}"), table.to_owned())],
            rows: Vec::new(),
        };
        (0..4).map(node).collect()
    }

    fn begin(all: &Definitions, text: &str, table: &str, now_ms: u64) -> Arc<Definition> {
        all.begin(&Begun {
            service: "s",
            user: "u",
            text: text.to_owned(),
            nodes: &nodes(text, table),
            now_ms,
        })
    }

    fn stopped(all: &Definitions) {
        let first = begin(all, "CREATE", "t", 0);
        first.note_done(0);
        first.note_done(1);
        first.end(vec!["ds_1.t_2".into(), "ds_1.t_3".into()]);
    }

    #[test]
    fn the_same_statement_finishes_a_stopped_one() {
        let all = Definitions::default();
        stopped(&all);
        begin(&all, "ALTER", "other", 1).end(Vec::new());
        let again = begin(&all, "CREATE", "t", 2);
        assert_eq!(
            [0, 1, 2, 3].map(|n| again.has(n)),
            [true, true, false, false]
        );
        again.note_done(2);
        again.note_done(3);
        again.end(Vec::new());
        assert!(!begin(&all, "CREATE", "t", 3).has(0), "it was finished");
    }

    #[test]
    fn what_another_definition_may_have_undone_is_done_again() {
        let all = Definitions::default();
        stopped(&all);
        begin(&all, "DROP", "t", 1).end(Vec::new());
        assert!(!begin(&all, "CREATE", "t", 2).has(0));
        let all = Definitions::default();
        stopped(&all);
        assert!(!begin(&all, "CREATE", "t", RESUMED_WITHIN_MS + 1).has(0));
    }

    #[test]
    fn the_list_is_bounded() {
        let all = Definitions::default();
        for n in 0..3 * KEPT_MAX as u64 {
            begin(&all, "CREATE", &format!("t{n}"), n).end(Vec::new());
        }
        assert_eq!(all.listing("s", 0).len(), KEPT_MAX);
        assert!(all.listing("other", 0).is_empty());
    }
}
