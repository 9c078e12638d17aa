//! Generated keys of the records of a file.
//!
//! Owns the values that were asked for and are not used yet: a few more than needed, as nobody knows how many records come. Must
//! never use one twice. Input: records, the process's generators.

use std::collections::VecDeque;

use dbmesh_plan::shard::{KeyValue, Load, Records, Zero};

use super::super::super::Session;
use super::super::answers::Answers;
use super::super::keys::KeySource;
use super::super::work::Broken;
use super::refused;
use crate::fault::Fault;

/// Most keys that are asked for at once.
const KEYS_AT_ONCE_MAX: usize = 1_024;

/// Where keys of a file come from.
pub(in super::super) struct Made {
    source: Option<KeySource>,
    zero: Zero,
    ready: VecDeque<KeyValue>,
    asked: usize,
    first: Option<u64>,
}

impl Made {
    /// The key that the record at hand leaves to its generator; none where it has one, or the table has no generator.
    pub async fn key(
        &mut self,
        load: &Load,
        records: &Records,
    ) -> Result<Option<KeyValue>, Broken> {
        let Some(source) = &self.source else {
            return Ok(None);
        };
        if !load.wants_key(records, self.zero).map_err(refused)? {
            return Ok(None);
        }
        if self.ready.is_empty() {
            // As many as there were, so that a short file leaves a small gap.
            let count = self.asked.clamp(1, KEYS_AT_ONCE_MAX);
            self.asked += count;
            self.ready.extend(source.values(count).await?);
        }
        let key = self.ready.pop_front();
        let missing = || Fault::Sharding("key generator: it gave no value".into());
        let key = key.ok_or_else(missing)?;
        if let (None, KeyValue::Integer(number)) = (self.first, &key) {
            self.first = u64::try_from(*number).ok();
        }
        Ok(Some(key))
    }

    /// The first one that was used.
    pub fn first(&self) -> Option<u64> {
        self.first
    }
}

impl Session {
    /// What makes the keys of a file's records.
    pub(in super::super) fn made(&self, answers: &Answers) -> Result<Made, Fault> {
        let generation = match answers {
            Answers::Loaded(load) => load.generation(),
            _ => None,
        };
        Ok(Made {
            source: generation.map(|g| self.key_source(g)).transpose()?,
            zero: self.zero(),
            ready: VecDeque::new(),
            asked: 0,
            first: None,
        })
    }
}
