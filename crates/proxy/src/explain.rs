//! `dbmesh explain`: what would become of a statement, from the configuration alone.
//!
//! Owns the assumptions that stand in for a server and a session: a new session, and a server of the endpoint's kind that
//! reports all that it can. It must never open a socket. Input: a service of a topology, a text.

use dbmesh_model::topology::{EndpointKind, Service};
use dbmesh_plan::explain::{Case, KnownPosition, Row, configured, explain};
use dbmesh_plan::{
    Autocommit, Connection, KeptWarnings, Proof, Prover, RowCount, RowsFound, SessionView, plan,
};
use dbmesh_sql::{LexCharset, analyze};
use dbmesh_wire::status::Status;

use crate::absorb::{Surroundings, foresee};
use crate::backend::ServerFacts;
use crate::pins::Pins;
use crate::session::shards_offline;

/// The rows of `EXPLAIN MESH` for a new session of this service.
#[must_use]
pub fn explain_offline(service: &Service, sql: &[u8]) -> Vec<Row> {
    let strategy = &service.strategy;
    let kind = strategy.endpoints.first().map(|e| e.kind);
    let facts = ServerFacts::assumed(match kind {
        Some(EndpointKind::MariaDB) => "11.4.0-MariaDB",
        _ => "8.4.0",
    });
    let dialect = facts.dialect(b"", LexCharset::AsciiSafe);
    let statement = analyze(sql, &dialect);
    let view = SessionView {
        connection: Connection::Free,
        found_rows: RowsFound::Known,
        warnings: KeptWarnings::Here,
        row_count: RowCount::OnConnection,
        autocommit: Autocommit::On,
        splitting: strategy.splitting.as_ref(),
        proof: match strategy.splitting {
            Some(_) => Prover::default().prove(&statement, sql, &dialect),
            None => Proof::NotProved,
        },
        hint: None,
    };
    let around = Surroundings {
        facts: &facts,
        routines: service.pool.routines,
        sql,
        dialect: &dialect,
    };
    let pins = foresee(
        &Pins::default(),
        Status::AUTOCOMMIT,
        &statement,
        around,
        service.pool.multiplexing,
    );
    let mut rows = explain(&Case {
        sql,
        statement: &statement,
        dialect: &dialect,
        schema: service.schema.as_deref().map(str::as_bytes),
        plan: &plan(&statement, sql, view),
        view,
        position: KnownPosition::NothingWritten,
        kept: None,
        pins,
        strategy,
        // Which of the nodes, the rules say.
        candidates: match service.sharding {
            Some(_) => Vec::new(),
            None => configured(strategy),
        },
    });
    rows.extend(shards_offline(service, sql, &dialect));
    rows
}
