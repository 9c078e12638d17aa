//! XA statements of clients, where tables are split over nodes: a branch is on one node.
//!
//! Owns the way of what names a prepared branch, which any session may finish, to the node that has it, and the list of
//! those that are prepared, of all nodes. A branch begins at the session's place and binds the session there; statements that
//! need another node are refused as for any session that is bound. Must never take a node's "no such branch" for the answer
//! while another node was not asked, nor show dbmesh's own branches. Input: an XA statement of a session outside of
//! transactions over several nodes.

use std::collections::HashSet;

use dbmesh_commit::FORMAT_ID;
use dbmesh_sql::effects::XaVerb;
use dbmesh_sql::{Effect, Statement, Verb};
use dbmesh_wire::column::Column;
use dbmesh_wire::relay::{Names, Shape};
use dbmesh_wire::result_set::{Cell as Shown, ResultSetBuilder, RowFormat};

use super::super::acquire::PRIMARY;
use super::super::{Executed, Failure, Session};
use super::gather::broken;
use super::work::of_server;
use crate::backend::{BackendError, Cell, OWN_ANSWER_ROWS_MAX, definitions_of, rows_of};
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::state::Warnings;
use crate::upstream::Need;

/// The error of a server that has no such branch.
const XAER_NOTA: u16 = 1397;

impl Session {
    /// Answers an XA statement that no single place can answer.
    pub(super) async fn client_branch(
        &mut self,
        text: &[u8],
        statement: &Statement,
    ) -> Result<Option<Executed>, Failure> {
        let several = self
            .sharded
            .as_ref()
            .is_some_and(|sharded| sharded.home.sources.len() > 1);
        if !several || statement.verb != Verb::Xa {
            return Ok(None);
        }
        let bound = self.state.in_transaction() || self.state.pins.has(PinReason::Xa);
        match statement.effects.first() {
            _ if statement.statements > 1 => {
                let why = "XA among several statements in one text";
                Err(Fault::Sharding(why.into()).into())
            }
            Some(Effect::Xa(XaVerb::Recover)) => Box::pin(self.list_branches(text)).await.map(Some),
            Some(Effect::Xa(XaVerb::Commit | XaVerb::Rollback)) if !bound => {
                Box::pin(self.finish_branch(text)).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Tells the outcome to whichever node has the branch; the session's place is asked first.
    async fn finish_branch(&mut self, text: &[u8]) -> Result<Executed, Failure> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let sharded = self.sharded.as_ref().ok_or_else(gone)?;
        let (here, count) = (sharded.source, sharded.home.sources.len());
        let others = (0..count).filter(|source| *source != here);
        let mut refused = None;
        for source in std::iter::once(here).chain(others) {
            self.go_to(source).await?;
            self.in_own_schema(true).await?;
            self.acquire(PRIMARY).await?;
            let backend = self.backend()?;
            let payload = backend.query_payload(text);
            let answer = backend.run(&payload, Shape::Results).await;
            match answer.map_err(broken)? {
                Ok((outcome, _)) => {
                    self.note_report(source, &outcome);
                    self.give_back().await;
                    self.answer_done().await?;
                    return Ok(Executed::LOCAL);
                }
                Err(error) => {
                    self.give_back().await;
                    let nota = error.code == XAER_NOTA;
                    refused = Some(of_server(&error.payload, "", &Names::default()));
                    if !nota {
                        break;
                    }
                }
            }
        }
        Err(refused.unwrap_or_else(gone).into())
    }
    /// What is prepared at any node, but for dbmesh's own. Nodes that share a server list the same.
    async fn list_branches(&mut self, text: &[u8]) -> Result<Executed, Failure> {
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let home = self.sharded.as_ref().ok_or_else(gone)?.home.clone();
        let here = self.sharded.as_ref().ok_or_else(gone)?.source;
        // The session's own place says what the columns are, and whether it may ask at all.
        self.acquire(PRIMARY).await?;
        let backend = self.backend()?;
        let payload = backend.query_payload(text);
        let answer = backend.run(&payload, Shape::Results).await;
        let (_, bytes) = match answer.map_err(broken)? {
            Ok(answer) => answer,
            Err(error) => {
                self.settle().await?;
                return Err(of_server(&error.payload, "", &Names::default()).into());
            }
        };
        let mut listed = rows_of(&bytes).map_err(broken)?;
        let sql = std::str::from_utf8(text).map_err(|_| gone())?;
        for source in (0..home.sources.len()).filter(|source| *source != here) {
            let upstream = &home.sources.get(source).ok_or_else(gone)?.upstream;
            let member = upstream.choose(Need::Primary, None, &[], || 0);
            let member = member.ok_or_else(|| Fault::NoEndpoint(upstream.why_no_primary()))?;
            let rows = member.pool.ask_aside(sql).await;
            let rows = rows.map_err(|e| e.into_fault(member.endpoint.name.as_str()))?;
            whole(&rows)?;
            listed.extend(rows);
        }
        whole(&listed)?;
        let own = FORMAT_ID.to_string();
        listed.retain(|row| row.first().and_then(Option::as_deref) != Some(own.as_bytes()));
        let mut seen = HashSet::new();
        listed.retain(|row| seen.insert(row.clone()));
        let definitions = definitions_of(&bytes).map_err(broken)?;
        let columns = definitions.iter().map(|one| Column::decode(one));
        let columns = columns.collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(|e| broken(BackendError::from(e)))?;
        self.state.diagnostics.warnings = Warnings::None;
        self.state.set_row_count(-1);
        let (capabilities, status) = (self.client.capabilities, self.state.status);
        let seq = &mut self.client.seq;
        let mut set = ResultSetBuilder::new(seq, capabilities, status, &columns, RowFormat::Text);
        for row in &listed {
            let cell = |cell| Option::as_deref(cell).map_or(Shown::Null, Shown::Bytes);
            let cells: Vec<Shown<'_>> = row.iter().map(cell).collect();
            set.row(&cells);
        }
        let packets = set.finish(0);
        self.end_shown(&packets, listed.len()).await
    }
}

/// A list that may have been cut is none.
fn whole(rows: &[Vec<Cell>]) -> Result<(), Fault> {
    match rows.len() < OWN_ANSWER_ROWS_MAX {
        true => Ok(()),
        false => Err(Fault::Sharding(format!(
            "XA RECOVER over several nodes lists less than {OWN_ANSWER_ROWS_MAX} branches: ask the nodes themselves"
        ))),
    }
}
