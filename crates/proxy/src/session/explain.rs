//! `EXPLAIN MESH`: what would become of a statement of this session now.
//!
//! Owns what is gathered of the session and its endpoints for the printer, which `dbmesh explain` shares. It must never
//! execute the statement, nor lease a connection. Input: the text after the two words.

use std::sync::Arc;

use dbmesh_model::topology::Role;
use dbmesh_plan::explain::{Candidate, Case, KnownPosition, Row, Serves, explain};
use dbmesh_plan::{Aim, Plan, plan};
use dbmesh_sql::analyze;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::{Cell, ResultSetBuilder};

use super::acquire::PRIMARY;
use super::demand::Place;
use super::{Executed, Failure, Session};
use crate::absorb::{Surroundings, foresee};
use crate::backend::ServerFacts;
use crate::pins::Pins;
use crate::position::Position;
use crate::standing::Lag;
use crate::state::Warnings;
use crate::upstream::Member;

/// utf8mb4_general_ci, which every client knows.
const COLLATION: u16 = 45;
/// Longest value, in bytes; for clients that make room by it.
const VALUE_BYTES_MAX: u32 = 65_535;

impl Session {
    /// Answers EXPLAIN MESH with rows of `field` and `value`.
    pub(super) async fn explain_mesh(&mut self, sql: &[u8]) -> Result<Executed, Failure> {
        // It leaves diagnostics as a statement of its own.
        self.state.diagnostics.warnings = Warnings::None;
        self.state.set_found_rows(0);
        let mut rows = self.explained(sql.trim_ascii());
        rows.extend(Box::pin(self.explain_shards(sql.trim_ascii())).await);
        self.state.set_found_rows(rows.len() as u64);
        self.state.set_row_count(-1);
        let field = Column {
            length_bytes: 256,
            ..Column::text(b"field", COLLATION)
        };
        let value = Column {
            length_bytes: VALUE_BYTES_MAX,
            ..Column::text(b"value", COLLATION)
        };
        let status = self.state.status;
        let mut set = ResultSetBuilder::text(
            &mut self.client.seq,
            self.client.capabilities,
            status,
            &[field, value],
        );
        for (field, value) in &rows {
            set.row(&[Cell::from(field.as_str()), Cell::from(value.as_str())]);
        }
        let packets = set.finish(0);
        self.client.channel.write(&packets).await?;
        Ok(Executed::LOCAL)
    }

    fn explained(&mut self, sql: &[u8]) -> Vec<Row> {
        let dialect = self.dialect();
        let statement = analyze(sql, &dialect);
        let facts = self
            .server_facts()
            .unwrap_or_else(|| Arc::new(ServerFacts::assumed("8.4.0")));
        let proof = self.prove(&statement, sql, self.demand.place != Place::Home);
        let planned = plan(&statement, sql, self.view(proof));
        let around = Surroundings {
            facts: &facts,
            routines: self.serving.service.pool.routines,
            sql,
            dialect: &dialect,
        };
        let pins = foresee(
            &self.state.pins,
            self.state.status,
            &statement,
            around,
            self.serving.service.pool.multiplexing,
        );
        let aim = match &planned {
            Plan::Route(route) => route.aim,
            Plan::Local(_) | Plan::Refuse(_) => PRIMARY,
        };
        explain(&Case {
            sql,
            statement: &statement,
            dialect: &dialect,
            schema: self.state.vector.schema.as_deref(),
            plan: &planned,
            view: self.view(proof),
            position: match self.state.position {
                Position::Start => KnownPosition::NothingWritten,
                Position::At(_) => KnownPosition::Known,
                Position::Unknown => KnownPosition::Unknown,
            },
            kept: (self.demanded_target())
                .or_else(|| self.foretold_in_reading(&statement))
                .or_else(|| self.kept_connection(aim)),
            pins,
            strategy: &self.serving.service.strategy,
            candidates: self.candidates(aim),
        })
    }

    /// The connection on which the next statement runs whatever it is, and why.
    fn kept_connection(&self, aim: Aim) -> Option<String> {
        let (_, member) = self.lease.as_ref().zip(self.member.as_ref())?;
        let endpoint = &member.endpoint.name;
        let mut reasons: Vec<&str> = Pins::reasons_of(self.state.pins.bits())
            .map(|reason| reason.label())
            .collect();
        if self.state.in_transaction() {
            reasons.insert(0, "transaction");
        }
        if reasons.is_empty() {
            let holds = self.remembers() && self.member_serves(aim);
            return holds.then(|| {
                format!("{endpoint}: the connection still holds what the last statement left")
            });
        }
        let reasons = reasons.join(", ");
        Some(format!(
            "{endpoint}: the session keeps its connection ({reasons})"
        ))
    }

    fn candidates(&self, aim: Aim) -> Vec<Candidate> {
        let members = &self.serving.upstream.members;
        members.iter().map(|m| self.candidate(m, aim)).collect()
    }

    fn candidate(&self, member: &Arc<Member>, aim: Aim) -> Candidate {
        let upstream = &self.serving.upstream;
        let shown = |serves, remarks: Vec<String>| Candidate {
            endpoint: member.endpoint.name.to_string(),
            serves,
            remark: remarks.join(", "),
        };
        let role = match upstream.serving_role(member) {
            Ok(role) => role,
            Err(idle) => return shown(Serves::Not, vec![idle.to_string()]),
        };
        if member.endpoint.weight == 0 && upstream.members.len() > 1 {
            return shown(Serves::Not, vec!["its weight is 0".to_owned()]);
        }
        let mut remarks = Vec::new();
        if member.near {
            remarks.push("in the proxy's zone".to_owned());
        }
        if member.pool.health.is_ejected() {
            remarks.push("left alone after failures to connect, while another is left".to_owned());
        }
        if role == Role::Replica {
            if let lag @ Lag::Behind(_) = member.pool.standing.lag() {
                remarks.push(lag.to_string());
            }
            remarks.extend(self.freshness(member, aim).map(str::to_owned));
        }
        shown(Serves::As(role), remarks)
    }

    /// Whether a replica has what the consistency wants of it.
    fn freshness(&self, member: &Member, aim: Aim) -> Option<&'static str> {
        if aim.role != Role::Replica {
            return None;
        }
        match self.wanted(aim).as_deref()? {
            Position::Start => None,
            Position::At(wanted) if member.pool.standing.has(wanted) => Some("has what is wanted"),
            Position::At(_) if member.pool.standing.is_behind(self.process.clock.now_ms()) => {
                Some("did not catch up a moment ago, the primary answers")
            }
            Position::At(_) => {
                Some("is not known to have what is wanted, and is asked to catch up")
            }
            Position::Unknown => Some("nobody knows what it must have, the primary answers"),
        }
    }
}
