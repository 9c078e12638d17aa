//! Under which keys limits count a statement.
//!
//! Owns what "each has a count of its own" means. Input: the statement, its session, what the judge found.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use dbmesh_model::topology::{Action, LimitBy};
use dbmesh_plan::Found;
use dbmesh_sql::{Class, Digest};

use super::{Turn, Walk};

/// What limits count of one statement.
pub(super) struct Counted<'a> {
    pub digest: Digest,
    pub class: Class,
    pub found: &'a Found,
}

impl Walk<'_> {
    /// The keys under which a limit counts the statement: one, or one per table.
    pub(super) fn keys(&self, by: &[LimitBy], counted: &Counted<'_>) -> Vec<u64> {
        let mut hasher = KEYS.get_or_init(RandomState::new).build_hasher();
        let mut tables = false;
        for by in by {
            match by {
                LimitBy::Database => self.schema.hash(&mut hasher),
                LimitBy::Table => tables = true,
                // Its key is added where it is known.
                LimitBy::Endpoint => {}
                LimitBy::Digest => counted.digest.hash(&mut hasher),
                LimitBy::Class => counted.class.hash(&mut hasher),
                LimitBy::User => self.user.hash(&mut hasher),
                LimitBy::Address => self.address.hash(&mut hasher),
                LimitBy::Tenant => self.hints.and_then(|h| h.tenant).hash(&mut hasher),
                LimitBy::Tag(name) => self.tag(name).hash(&mut hasher),
            }
        }
        let used = counted.found.tables.as_deref().unwrap_or_default();
        if !tables || used.is_empty() {
            return vec![hasher.finish()];
        }
        let of_table = |table: &str| {
            let mut hasher = hasher.clone();
            table.hash(&mut hasher);
            hasher.finish()
        };
        used.iter().map(|table| of_table(table)).collect()
    }
}

/// When a limit can be told which count is the statement's.
pub(super) fn turn_of(action: &Action) -> Turn {
    let by = match action {
        Action::Rate(limit) => limit.by.as_slice(),
        Action::Concurrency(limit) => &limit.by,
        _ => &[],
    };
    match by.contains(&LimitBy::Endpoint) {
        true => Turn::AtEndpoint,
        false => Turn::First,
    }
}

/// Keys are the same on every thread.
static KEYS: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
