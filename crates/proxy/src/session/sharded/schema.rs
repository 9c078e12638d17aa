//! The schema of a sharded service, which may have another name at every source.
//!
//! Owns the translation between the session's state and that of its connections. Clients see the service's name only.
//! Input: the session's state; the endpoints' schemas.

use std::sync::Arc;

use dbmesh_plan::shard::RefuseReason;
use dbmesh_sql::{Effect, Statement};
use dbmesh_wire::track::{self, Item};

use super::super::exchange::Lost;
use super::super::{Failure, Session};
use crate::state::Warnings;
use crate::vector::Vector;

/// A session's state, and what a connection has for it.
#[derive(Clone, Debug)]
pub(super) struct Translated {
    ours: Arc<Vector>,
    theirs: Arc<Vector>,
    /// Whether that is the service's own schema, whichever the session has chosen.
    own: bool,
}

impl Translated {
    fn is_of(&self, ours: &Arc<Vector>, own: bool) -> bool {
        self.own == own && Arc::ptr_eq(&self.ours, ours)
    }
}

impl Session {
    /// The service's schema and the name it has at a source, if they differ.
    pub(super) fn schemas_at(&self, source: usize) -> Option<(&str, &str)> {
        self.schemas_of(source)
            .filter(|(ours, theirs)| ours != theirs)
    }

    /// The service's schema, and the name it has at a source.
    pub(super) fn schemas_of(&self, source: usize) -> Option<(&str, &str)> {
        let service = &self.sharded.as_ref()?.home.service;
        let ours = service.schema.as_deref()?;
        let source = service.sharding.as_ref()?.sources.get(source)?;
        let theirs = source.endpoints.first()?.schema.as_deref();
        Some((ours, theirs.unwrap_or(ours)))
    }

    /// Says whether what comes runs in the service's own schema, whichever the session has chosen.
    pub(super) async fn in_own_schema(&mut self, own: bool) -> Result<(), Failure> {
        let Some(sharded) = &mut self.sharded else {
            return Ok(());
        };
        sharded.in_own_schema = own;
        self.translate_vector();
        if self.lease.is_none() {
            return Ok(());
        }
        let wanted = self.connection_vector().clone();
        match Vector::same(&self.backend()?.vector, &wanted) {
            true => Ok(()),
            false => self.align().await,
        }
    }

    /// Brings the connection at hand to the session's state.
    async fn align(&mut self) -> Result<(), Failure> {
        let wanted = self.connection_vector().clone();
        match self.backend()?.apply(&wanted).await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.lost(Lost::before(e), None)),
        }
    }

    /// The state that a connection of the session has.
    pub(in super::super) fn connection_vector(&self) -> &Arc<Vector> {
        let translated = self.sharded.as_ref().and_then(|s| s.vector.as_ref());
        match translated {
            Some(known) if Arc::ptr_eq(&known.ours, &self.state.vector) => &known.theirs,
            _ => &self.state.vector,
        }
    }

    /// Finds out what [`Self::connection_vector`] is. Before a connection is taken, and whenever the state changed.
    pub(in super::super) fn translate_vector(&mut self) {
        let Some(sharded) = &self.sharded else {
            return;
        };
        let own = sharded.in_own_schema;
        let known = sharded.vector.as_ref();
        if known.is_some_and(|known| known.is_of(&self.state.vector, own)) {
            return;
        }
        let Some((ours, theirs)) = self.schemas_of(sharded.source) else {
            return;
        };
        let chosen = self.state.vector.schema.as_deref();
        let is_own = chosen == Some(ours.as_bytes());
        // Servers report their own name of it.
        let reported = ours != theirs && chosen == Some(theirs.as_bytes());
        if (is_own && ours == theirs) || (!is_own && !own && !reported) {
            if let Some(sharded) = &mut self.sharded {
                sharded.vector = None;
            }
            return;
        }
        let theirs = Arc::<[u8]>::from(theirs.as_bytes());
        if reported {
            let ours = Arc::<[u8]>::from(ours.as_bytes());
            self.state
                .change_vector(|vector| vector.schema = Some(ours));
        }
        let mut vector = Vector::clone(&self.state.vector);
        vector.schema = Some(theirs);
        vector.rehash();
        let translated = Translated {
            ours: self.state.vector.clone(),
            theirs: Arc::new(vector),
            own,
        };
        if let Some(sharded) = &mut self.sharded {
            sharded.vector = Some(translated);
        }
    }

    /// Whether a node has the service's schema under this name.
    fn is_of_node(&self, name: &[u8]) -> bool {
        let sources = self.sharded.as_ref().and_then(|s| s.sharding());
        let mut endpoints = sources
            .iter()
            .flat_map(|sharding| &sharding.sources)
            .flat_map(|source| &source.endpoints);
        endpoints.any(|endpoint| endpoint.schema.as_deref().map(str::as_bytes) == Some(name))
    }

    /// Whether a statement chooses the service's own schema, which needs no server.
    pub(super) async fn uses_own_schema(&mut self, statement: &Statement) -> Result<bool, Failure> {
        match statement.effects.first() {
            Some(Effect::Use(name)) if statement.statements == 1 => {
                self.choose_own_schema(name.as_bytes()).await
            }
            _ => Ok(false),
        }
    }

    /// Chooses this schema, if it is the service's own and its tables are split.
    pub(in super::super) async fn choose_own_schema(
        &mut self,
        name: &[u8],
    ) -> Result<bool, Failure> {
        let own = match &self.sharded {
            Some(sharded) => sharded.home.service.schema.as_deref().map(str::as_bytes),
            None => None,
        };
        if own != Some(name) {
            return match self.is_of_node(name) {
                true => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    let reason = RefuseReason::UnknownSchema(name);
                    Err(self.refusal(&reason).into())
                }
                false => Ok(false),
            };
        }
        let name: Arc<[u8]> = name.into();
        self.state
            .change_vector(|vector| vector.schema = Some(name.clone()));
        self.translate_vector();
        // A connection that the session has must follow.
        if self.lease.is_some() {
            self.align().await?;
        }
        self.state.set_row_count(0);
        if !self.is_mariadb() {
            self.state.diagnostics.warnings = Warnings::None;
        }
        let tracked = track::encode([Item::Schema(&name)]);
        let answer = self.answer();
        self.client.ok_with(answer, &tracked).await?;
        Ok(true)
    }
}
