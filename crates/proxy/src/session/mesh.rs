//! `SHOW MESH …`: the service, its sessions, endpoints, pools, rules and digests, for its operators.
//!
//! Owns the columns. It must never show another service's. Input: what the admin page shows, of this service alone.

use dbmesh_plan::mesh::{MeshListing, MeshShow};
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::{Cell, ResultSetBuilder};
use serde_json::{Value, json};

use super::{Executed, Failure, Session};
use crate::admin;
use crate::fault::Fault;
use crate::insight::{Order, Question};
use crate::state::Warnings;

/// utf8mb4_general_ci, which every client knows.
const COLLATION: u16 = 45;
/// Longest value, in bytes; for clients that make room by it.
const VALUE_BYTES_MAX: u32 = 65_535;
/// Rows of one answer.
const ROWS_MAX: usize = 10_000;

/// A column: its name, and where it stands in a row's JSON.
type Shown = (&'static str, &'static str);

const STATUS: &[Shown] = &[("name", "/name"), ("value", "/value")];
const SESSIONS: &[Shown] = &[
    ("id", "/id"),
    ("user", "/user"),
    ("address", "/address"),
    ("age_s", "/age_s"),
    ("busy", "/busy"),
    ("endpoint", "/executing_at/endpoint"),
    ("thread_id", "/executing_at/thread_id"),
    ("pins", "/pins"),
    ("digest", "/last_digest"),
    ("statements", "/statements"),
    ("tenant", "/labels/tenant"),
];
const ENDPOINTS: &[Shown] = &[
    ("endpoint", "/endpoint"),
    ("address", "/address"),
    ("version", "/server_version"),
    ("role", "/role"),
    ("serves_as", "/serves_as"),
    ("serves_not_because", "/serves_not_because"),
    ("admin_state", "/admin_state"),
    ("up", "/up"),
    ("fenced", "/fenced"),
    ("ejected", "/ejected"),
    ("breaker", "/breaker"),
    ("breaker_forced", "/breaker_forced"),
    ("lag", "/lag"),
    ("lag_ms", "/lag_ms"),
    ("latency_us", "/latency_us"),
    ("outstanding", "/outstanding"),
    ("statements", "/statements"),
    ("last_error", "/last_error"),
];
const POOLS: &[Shown] = &[
    ("endpoint", "/endpoint"),
    ("size", "/pool/size"),
    ("limit", "/pool/limit"),
    ("open", "/pool/open"),
    ("idle", "/pool/idle"),
    ("leased", "/pool/leased"),
    ("held", "/pool/held"),
    ("waiting", "/pool/waiting"),
    ("oldest_wait_ms", "/pool/oldest_wait_ms"),
];
const RULES: &[Shown] = &[
    ("rule", "/rule"),
    ("mode", "/mode"),
    ("action", "/action"),
    ("matched", "/matched"),
    ("refused", "/refused"),
    ("waited", "/waited"),
    ("waiting", "/waiting"),
];
const DIGESTS: &[Shown] = &[
    ("digest", "/digest"),
    ("user", "/user"),
    ("class", "/class"),
    ("calls", "/calls"),
    ("errors", "/errors"),
    ("rows_sent", "/rows_sent"),
    ("rows_affected", "/rows_affected"),
    ("time_us", "/time_us"),
    ("average_us", "/average_us"),
    ("p50_us", "/p50_us"),
    ("p95_us", "/p95_us"),
    ("p99_us", "/p99_us"),
    ("max_us", "/max_us"),
    ("wait_us", "/wait_us"),
    ("scattered", "/scattered"),
    ("shards_mean", "/shards_mean"),
    ("shards_max", "/shards_max"),
    ("endpoints", "/endpoints"),
    ("pins", "/pins"),
    ("first_seen_ms", "/first_seen_ms"),
    ("last_seen_ms", "/last_seen_ms"),
    ("text", "/text"),
];

const DEFINITIONS: &[Shown] = &[
    ("id", "/id"),
    ("user", "/user"),
    ("definition", "/definition"),
    ("state", "/state"),
    ("done", "/done"),
    ("shards", "/shards"),
    ("age_s", "/age_s"),
    ("remaining", "/remaining"),
];

impl Session {
    /// Answers SHOW MESH.
    pub(super) async fn show_mesh(
        &mut self,
        ask: &MeshShow,
        sql: &[u8],
    ) -> Result<Executed, Failure> {
        if !self.serving.service.is_operator(&self.handle().user) {
            return Err(Fault::OperatorOnly("SHOW MESH").into());
        }
        let (columns, mut rows) = self.mesh_rows(ask, sql)?;
        let limit = ask.limit.and_then(|limit| usize::try_from(limit).ok());
        rows.truncate(limit.unwrap_or(ROWS_MAX).min(ROWS_MAX));
        self.state.diagnostics.warnings = Warnings::None;
        self.state.set_found_rows(rows.len() as u64);
        self.state.set_row_count(-1);
        let heads: Vec<Column<'_>> = columns
            .iter()
            .map(|(name, _)| Column {
                length_bytes: VALUE_BYTES_MAX,
                ..Column::text(name.as_bytes(), COLLATION)
            })
            .collect();
        let status = self.state.status;
        let mut set = ResultSetBuilder::text(
            &mut self.client.seq,
            self.client.capabilities,
            status,
            &heads,
        );
        for row in &rows {
            let texts: Vec<Option<String>> = columns
                .iter()
                .map(|(_, place)| row.pointer(place).and_then(text))
                .collect();
            let cells: Vec<Cell<'_>> = texts.iter().map(|t| Cell::from(t.as_deref())).collect();
            set.row(&cells);
        }
        let packets = set.finish(0);
        self.client.channel.write(&packets).await?;
        Ok(Executed {
            rows: rows.len() as u64,
            bytes_out: packets.len() as u64,
            ..Executed::LOCAL
        })
    }

    fn mesh_rows(
        &self,
        ask: &MeshShow,
        sql: &[u8],
    ) -> Result<(&'static [Shown], Vec<Value>), Fault> {
        let order = ask.order.map(|span| String::from_utf8_lossy(span.of(sql)));
        if order.is_some() && ask.listing != MeshListing::Digests {
            return Err(Fault::Hint("only SHOW MESH DIGESTS has an order".into()));
        }
        Ok(match ask.listing {
            MeshListing::Status => (STATUS, self.mesh_status()),
            MeshListing::Sessions => (SESSIONS, self.mesh_sessions()),
            MeshListing::Endpoints => (ENDPOINTS, self.mesh_endpoints()),
            MeshListing::Pools => (POOLS, self.mesh_endpoints()),
            MeshListing::Rules => (RULES, self.serving.rules.listing()),
            MeshListing::Definitions => (DEFINITIONS, self.mesh_definitions()),
            MeshListing::Digests => (DIGESTS, self.mesh_digests(order.as_deref(), ask.limit)?),
        })
    }

    fn mesh_status(&self) -> Vec<Value> {
        let service = &self.serving.service;
        let services = self.process.current.services();
        let mut rows = vec![
            json!({ "name": "service", "value": service.label() }),
            json!({
                "name": "revision",
                "value": format!("{:016x}", services.topology.revision),
            }),
            json!({ "name": "version", "value": env!("CARGO_PKG_VERSION") }),
            json!({ "name": "uptime_s", "value": self.process.clock.now_ms() / 1000 }),
        ];
        let numbers = self.serving.metrics.summary();
        rows.extend(
            numbers
                .iter()
                .map(|(name, value)| json!({ "name": name, "value": value })),
        );
        rows
    }

    fn mesh_sessions(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        self.process.registry.for_each(|session| {
            if rows.len() < ROWS_MAX && session.service == self.handle().service {
                rows.push(session.to_json());
            }
        });
        rows.sort_by_key(|row| row.get("id").and_then(Value::as_u64));
        rows
    }

    fn mesh_definitions(&self) -> Vec<Value> {
        let now_ms = self.process.clock.now_ms();
        let definitions = &self.process.definitions;
        definitions.listing(&self.handle().service, now_ms)
    }

    fn mesh_endpoints(&self) -> Vec<Value> {
        // Of all sources, wherever the session is now.
        let now = self.process.current.find(&self.serving.service);
        let serving = now.unwrap_or_else(|| self.serving.clone());
        let parts = serving.parts().iter();
        parts
            .flat_map(|part| part.upstream.members.iter().map(move |m| (part, m)))
            .map(|(part, member)| admin::endpoint(part, member, &self.process.registry))
            .collect()
    }

    fn mesh_digests(&self, order: Option<&str>, limit: Option<u64>) -> Result<Vec<Value>, Fault> {
        let mut question = Question {
            service: Some(&self.handle().service),
            ..Question::default()
        };
        if let Some(order) = order {
            let known = Order::of(&order.to_ascii_lowercase());
            let no_order = || {
                let orders = "time, calls, errors, rows, bytes, wait, max or last";
                Fault::Hint(format!("digests are ordered by {orders}"))
            };
            question.order = known.ok_or_else(no_order)?;
        }
        if let Some(limit) = limit {
            question.limit = usize::try_from(limit).unwrap_or(ROWS_MAX);
        }
        let shown = |ms| self.process.unix_ms(ms);
        match self.process.insight.to_json(&question, shown) {
            Value::Array(rows) => Ok(rows),
            _ => Ok(Vec::new()),
        }
    }
}

/// A value as a cell; none for NULL.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(all) if all.iter().all(Value::is_string) => {
            let words: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            Some(words.join(","))
        }
        other => Some(other.to_string()),
    }
}
