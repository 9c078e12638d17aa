//! Inner parts of the data plane on a stage of their own, for benches: nobody else needs them from outside.
//!
//! Owns what such a part needs around it. It serves nothing. Input: benches.

use std::time::Duration;

use dbmesh_runtime::clock::Coarse;
use dbmesh_sql::Class;

use crate::insight::{Finished, Insight, Protocol};
use crate::registry::SessionHandle;

/// SQL insight, with a session whose statements it sums up.
#[derive(Debug)]
pub struct InsightStage {
    insight: Insight,
    session: SessionHandle,
}

impl Default for InsightStage {
    /// Within a runtime: it needs the process's clock.
    fn default() -> Self {
        let at = |text: &str| text.to_owned();
        let clock = Coarse::start();
        Self {
            insight: Insight::default(),
            session: SessionHandle::new(1, at("app"), at("here"), at("default/a/b"), &clock, 1),
        }
    }
}

impl InsightStage {
    /// A statement of this digest ended, the `n`th.
    pub fn add(&self, digest: u64, n: u64) {
        let took = Duration::from_nanos(18_000 + n % 5_000);
        let finished = Finished {
            session: &self.session,
            digest,
            class: Class::Read,
            protocol: Protocol::Text,
            now_ms: 5,
            took,
            waited: Duration::ZERO,
            executed: took,
            rows: 1,
            affected: 0,
            bytes_in: 10,
            bytes_out: 20,
            error: None,
            endpoint: None,
            shards: 0,
            places: &[],
            pins: 0,
        };
        self.insight.add(&finished, || "SELECT ?".to_owned());
    }
}
