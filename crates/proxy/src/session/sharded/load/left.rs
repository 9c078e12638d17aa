//! User variables of a file: what the records left of them.
//!
//! Owns that the session has what one server would have: the values of the last record, or of the one that ended the statement.
//! Every connection has assigned them as its own records said, so that each of them is doubted. Input: connections that loaded
//! records.

use std::sync::Arc;

use dbmesh_plan::shard::Load;

use super::super::super::Session;
use super::super::variables::{Assigned, Found};
use super::super::work::{Broken, Work};
use crate::backend::{Answer, Backend, BackendError};
use crate::fault::Fault;
use crate::scatter::leg::Leg;
use crate::vector::{NULL_BYTES, Vector};

/// What is the literal of no value.
const DOUBTED: &[u8] = b"?";

impl Session {
    /// What a file left of its variables is the session's, whatever came of the file.
    pub(in super::super) fn take_loaded(
        &mut self,
        work: &mut Work<'_>,
        load: &Load,
        done: Result<(), Broken>,
    ) -> Result<(), Broken> {
        work.loaded.names.clone_from(&load.variables);
        let assigned = work.loaded.assigned.take();
        match self.take_left_by_file(&load.variables, assigned) {
            true => done,
            false => {
                let why = "its user variables are too many, or the last record's too long, for other nodes to be given them";
                Err(Fault::Sharding(why.into()).into())
            }
        }
    }

    /// What a file left of its variables; where that is not known, they are as they were. Says whether the session can keep it.
    fn take_left_by_file(&mut self, names: &[Box<str>], assigned: Option<Vec<Assigned>>) -> bool {
        let known = &self.state.vector.user_variables;
        let mut all: Vec<Assigned> = Vec::new();
        // Connections have them now, so that the session has to.
        for name in names {
            if !known.contains_key(name.as_bytes()) {
                all.push((name.clone(), NULL_BYTES.into()));
            }
        }
        all.extend(assigned.into_iter().flatten());
        self.take_assigned(all)
    }

    /// Takes in which variables a change created on a connection. What else its server said, nobody explains.
    pub(in super::super) async fn learn_leg(&mut self, leg: &mut Leg, loaded: &[Box<str>]) {
        let learned = match leg.backend() {
            Ok(backend) => {
                let learned = self.learn_created(backend).await;
                backend.doubt_variables(loaded);
                learned
            }
            Err(_) => None,
        };
        let explained = learned.is_some_and(|created| created + loaded.len() > 0);
        leg.unclean |= learned.is_none() || (leg.changed && !explained);
    }
}

impl Backend {
    /// What a file left of these variables, as literals; none if no literal gives one of them back.
    pub(super) async fn left_by_file(
        &mut self,
        names: &[Box<str>],
    ) -> Result<Answer<Option<Vec<Assigned>>>, BackendError> {
        let found = match self.variables(names).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let literal = |found: Found| -> Arc<[u8]> {
            match found {
                Found::Unset => NULL_BYTES.into(),
                Found::Value(value) => value.into(),
            }
        };
        let assigned = found.map(|found| {
            let found = found.into_iter().map(literal);
            names.iter().cloned().zip(found).collect()
        });
        Ok(Ok(assigned))
    }

    /// These variables are something else here than anybody knows: they are assigned again before they are read.
    pub(super) fn doubt_variables(&mut self, names: &[Box<str>]) {
        let mut vector = Vector::clone(&self.vector);
        for name in names {
            let key = name.as_bytes().into();
            drop(vector.user_variables.insert(key, DOUBTED.into()));
        }
        vector.rehash();
        self.vector = Arc::new(vector);
    }
}
