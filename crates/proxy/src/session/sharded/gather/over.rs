//! What a server says of a statement whose tables no node has together.
//!
//! Owns the empty tables that stand for those which are elsewhere: they have the definitions, and go with the question. Must
//! never read or change a row. Input: the statement over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_plan::shard::Described;
use dbmesh_plan::shard::gather::ScratchTable;

use super::super::super::prepare::prepare_on;
use super::super::super::{Failure, Session};
use super::broken;
use crate::fault::Fault;
use crate::prepared::Answer;

impl Session {
    /// Prepares it, for what its columns and parameters are. The inner error is the server's.
    pub(in super::super) async fn prepare_over(
        &mut self,
        described: &Described,
    ) -> Result<Result<Arc<Answer>, Vec<u8>>, Failure> {
        let node = &described.node;
        let mut scratch = self.scratch(node.source).await?;
        for stand_in in &described.stand_ins {
            let shown = self.shown(&mut scratch, &stand_in.like).await?;
            let table = ScratchTable::of(&shown, &stand_in.name, None).ok_or_else(|| {
                let table = &stand_in.like.table;
                let why =
                    format!("rows of {table} cannot be put in one place: it is no plain table");
                Fault::Sharding(why)
            })?;
            scratch.load().await?;
            scratch.create(&table, &stand_in.name).await?;
        }
        scratch.compute().await?;
        let key = Arc::new(scratch.key(&node.sql));
        let prepared = prepare_on(scratch.backend()?, &key, 0).await;
        let prepared = prepared.map_err(broken)?;
        if prepared.is_ok() {
            scratch.forget(&node.sql).await?;
        }
        scratch.end().await;
        Ok(prepared.map(|(_, answer)| Arc::new(as_asked(&answer, &node.parameters))))
    }
}

/// The answer with the client's parameters, each once and in its order: these are those that the text had.
fn as_asked(answer: &Answer, parameters: &[u32]) -> Answer {
    let (own, columns) = answer
        .definitions
        .split_at_checked(usize::from(answer.params))
        .unwrap_or_default();
    let first: BTreeMap<u32, &Vec<u8>> = parameters.iter().copied().zip(own).rev().collect();
    let params = u16::try_from(first.len()).unwrap_or(answer.params);
    Answer {
        columns: answer.columns,
        params,
        warnings: answer.warnings,
        definitions: first.into_values().chain(columns).cloned().collect(),
    }
}
