//! Answers that dbmesh gives itself.
//!
//! Owns the shape of those answers: they look as the server's own would. Input: local plans.

use std::io;

use dbmesh_plan::Local;
use dbmesh_sql::effects::ConditionKind;
use dbmesh_wire::charset;
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};
use dbmesh_wire::result_set::{Cell, ResultSetBuilder};
use dbmesh_wire::status::Status;
use dbmesh_wire::track::Item;

use super::{Executed, Failure, Session};
use crate::backend::Flavor;
use crate::state::{Warning, Warnings};
use crate::vector::Charset;

impl Session {
    /// Answers OK.
    pub(crate) async fn answer_ok(&mut self) -> io::Result<()> {
        let answer = self.answer();
        self.client.ok(answer).await
    }

    /// Answers a local plan of this text.
    pub(super) async fn answer_locally(
        &mut self,
        local: Local,
        sql: &[u8],
    ) -> Result<Executed, Failure> {
        match local {
            Local::NothingToEnd | Local::NothingToSet => {
                if local == Local::NothingToEnd {
                    self.end_deferred();
                }
                self.state.set_row_count(0);
                if !self.is_mariadb() {
                    self.state.diagnostics.warnings = Warnings::None;
                }
                // Servers report a variable that is set to what it is, too.
                let mut tracked = Vec::new();
                if local == Local::NothingToSet {
                    let on = self.state.status.contains(Status::AUTOCOMMIT);
                    let value: &[u8] = if on { b"ON" } else { b"OFF" };
                    let name = b"autocommit";
                    Item::SystemVariable { name, value }.encode(&mut tracked);
                }
                let answer = self.answer();
                self.client.ok_with(answer, &tracked).await?;
            }
            Local::Warnings { kind, limit } => self.show_warnings(kind, limit).await?,
            Local::Mesh(ask) => return Box::pin(self.show_mesh(&ask, sql)).await,
            Local::Explain { subject } => {
                return Box::pin(self.explain_mesh(subject.of(sql))).await;
            }
            Local::WarningCount(kind) => self.show_warning_count(kind).await?,
            Local::Kill { kind, target } => {
                self.state.diagnostics.warnings = Warnings::None;
                Box::pin(self.kill(kind, target)).await?;
            }
        }
        Ok(Executed::LOCAL)
    }

    pub(super) fn is_mariadb(&mut self) -> bool {
        self.server_facts()
            .is_some_and(|facts| facts.flavor == Flavor::MariaDb)
    }

    /// The collation that text of answers carries: the one that character_set_results leads to.
    fn results_collation(&self, mariadb: bool) -> u16 {
        let results = self.state.vector.variables.get("character_set_results");
        if let (None, Charset::Handshake(id)) = (results, &self.state.vector.charset) {
            return *id;
        }
        let name = self.state.results_charset();
        let default = if mariadb {
            charset::default_collation_id_on_mariadb(&name)
        } else {
            charset::default_collation_id(&name)
        };
        default.unwrap_or(45)
    }

    fn kept(&self, kind: ConditionKind) -> (Vec<Warning>, u64) {
        match &self.state.diagnostics.warnings {
            Warnings::Kept { rows, count } => match kind {
                ConditionKind::Warnings => (rows.clone(), *count),
                ConditionKind::Errors => {
                    let errors: Vec<Warning> = rows
                        .iter()
                        .filter(|w| w.level == b"Error")
                        .cloned()
                        .collect();
                    let count = errors.len() as u64;
                    (errors, count)
                }
            },
            Warnings::None | Warnings::OnConnection => (Vec::new(), 0),
        }
    }

    async fn show_warnings(
        &mut self,
        kind: ConditionKind,
        limit: Option<(u64, u64)>,
    ) -> Result<(), Failure> {
        let (rows, _) = self.kept(kind);
        let (skip, take) = limit.unwrap_or((0, u64::MAX));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let take = usize::try_from(take).unwrap_or(usize::MAX);
        let mariadb = self.is_mariadb();
        let collation = self.results_collation(mariadb);
        let text = |name: &'static [u8], length_bytes| Column {
            length_bytes,
            flags: ColumnFlags::NOT_NULL,
            decimals: if mariadb { 39 } else { 31 },
            ..Column::text(name, collation)
        };
        let (level, message) = (text(b"Level", 28), text(b"Message", 2048));
        let code = Column {
            column_type: ColumnType::LONG,
            length_bytes: if mariadb { 4 } else { 5 },
            flags: ColumnFlags::NOT_NULL
                .union(ColumnFlags::UNSIGNED)
                .union(ColumnFlags::BINARY),
            ..Column::unsigned(b"Code")
        };
        let status = self.state.status;
        let mut set = ResultSetBuilder::text(
            &mut self.client.seq,
            self.client.capabilities,
            status,
            &[level, code, message],
        );
        for row in rows.iter().skip(skip).take(take) {
            set.row(&[
                Cell::Bytes(&row.level),
                Cell::Bytes(&row.code),
                Cell::Bytes(&row.message),
            ]);
        }
        let packets = set.finish(0);
        self.client.channel.write(&packets).await?;
        self.state.set_row_count(-1);
        Ok(())
    }

    async fn show_warning_count(&mut self, kind: ConditionKind) -> Result<(), Failure> {
        let (_, count) = self.kept(kind);
        let name: &[u8] = match kind {
            ConditionKind::Warnings => b"@@session.warning_count",
            ConditionKind::Errors => b"@@session.error_count",
        };
        let status = self.state.status;
        let flags = ColumnFlags::UNSIGNED.union(ColumnFlags::BINARY);
        let columns = [Column {
            flags,
            ..Column::unsigned(name)
        }];
        let mut set = ResultSetBuilder::text(
            &mut self.client.seq,
            self.client.capabilities,
            status,
            &columns,
        );
        set.row(&[Cell::UInt(count)]);
        let packets = set.finish(0);
        self.client.channel.write(&packets).await?;
        self.state.set_found_rows(1);
        self.state.set_row_count(-1);
        Ok(())
    }
}
