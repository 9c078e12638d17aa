//! Where services write what they tell: one writer for each file, one queue for each collector, through reloads.
//!
//! Owns nothing but the two. Input: the configuration.

use std::sync::Arc;

use dbmesh_model::topology::Service;
use dbmesh_runtime::exposition::Text;
use dbmesh_runtime::tls::TlsError;

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
    ///
    /// # Errors
    /// When its collector's certificates cannot be used.
    pub fn tracer(
        &self,
        service: &Service,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Option<Arc<Tracer>>, TlsError> {
        let Some(policy) = &service.observability.tracing else {
            return Ok(None);
        };
        Ok(Some(Arc::new(self.exporters.of(policy, runtime)?)))
    }

    /// Their metrics.
    pub fn metrics(&self, out: &mut Text) {
        self.files.metrics(out);
        self.exporters.metrics(out);
    }
}
