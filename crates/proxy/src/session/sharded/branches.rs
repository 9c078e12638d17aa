//! XA statements of clients, where tables are split over nodes: a branch is on one node.
//!
//! Owns the way of what names a prepared branch, which any session may finish, to the node that has it. A branch begins at
//! the session's place and binds the session there; statements that need another node are refused as for any session that
//! is bound. Must never take a node's "no such branch" for the answer while another node was not asked. Input: an XA
//! statement of a session outside of transactions over several nodes.

use dbmesh_sql::effects::XaVerb;
use dbmesh_sql::{Effect, Statement, Verb};
use dbmesh_wire::relay::{Names, Shape};

use super::super::acquire::PRIMARY;
use super::super::{Executed, Failure, Session};
use super::gather::broken;
use super::work::of_server;
use crate::fault::Fault;
use crate::pins::PinReason;

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
            Some(Effect::Xa(XaVerb::Recover)) => {
                let why = "XA RECOVER lists the branches of one server: ask the nodes themselves";
                Err(Fault::Sharding(why.into()).into())
            }
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
}
