//! Where services write what they tell: one writer for each file, one queue for each collector, through reloads.
//!
//! Owns nothing but the two. Input: the configuration.

use std::sync::Arc;

use dbmesh_model::topology::Service;
use dbmesh_runtime::exposition::Text;

use crate::logs::Files;
use crate::spans::{Exporters, Tracer};

/// The outlets of the process.
#[derive(Debug, Default)]
pub struct Outlets {
    /// Audits and slow logs.
    pub files: Files,
    /// Collectors of spans.
    pub exporters: Exporters,
}

impl Outlets {
    /// What traces a service.
    pub fn tracer(
        &self,
        service: &Service,
        runtime: &tokio::runtime::Handle,
    ) -> Option<Arc<Tracer>> {
        let policy = service.observability.tracing.as_ref()?;
        Some(Arc::new(self.exporters.of(policy, runtime)))
    }

    /// Their metrics.
    pub fn metrics(&self, out: &mut Text) {
        self.files.metrics(out);
        self.exporters.metrics(out);
    }
}
