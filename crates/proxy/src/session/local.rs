//! Answers that dbmesh gives itself.
//!
//! Owns the shape of those answers: they look as the server's own would. Input: local plans.

use dbmesh_plan::Local;
use dbmesh_sql::effects::ConditionKind;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::{Cell, ResultSetBuilder};

use super::{Executed, Failure, Session};
use crate::state::{Warning, Warnings};

/// Collation id of text in answers: utf8mb4_general_ci.
const TEXT_COLLATION: u16 = 45;

impl Session {
    /// Answers a local plan.
    pub(super) async fn answer_locally(&mut self, local: Local) -> Result<Executed, Failure> {
        match local {
            Local::NothingToEnd => {
                self.state.diagnostics.row_count = 0;
                self.state.diagnostics.warnings = Warnings::None;
                self.answer_ok().await?;
            }
            Local::Warnings { kind, limit } => self.show_warnings(kind, limit).await?,
            Local::WarningCount(kind) => self.show_warning_count(kind).await?,
            Local::Kill { kind, target } => self.kill(kind, target).await?,
        }
        Ok(Executed::LOCAL)
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
        let mut code = Column::unsigned(b"Code");
        code.column_type = dbmesh_wire::column::ColumnType::LONG;
        code.length_bytes = 4;
        let mut level = Column::text(b"Level", TEXT_COLLATION);
        level.length_bytes = 28;
        let mut message = Column::text(b"Message", TEXT_COLLATION);
        message.length_bytes = 2048;
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
        self.state.diagnostics.row_count = -1;
        Ok(())
    }

    async fn show_warning_count(&mut self, kind: ConditionKind) -> Result<(), Failure> {
        let (_, count) = self.kept(kind);
        let name: &[u8] = match kind {
            ConditionKind::Warnings => b"@@session.warning_count",
            ConditionKind::Errors => b"@@session.error_count",
        };
        let status = self.state.status;
        let columns = [Column::unsigned(name)];
        let mut set = ResultSetBuilder::text(
            &mut self.client.seq,
            self.client.capabilities,
            status,
            &columns,
        );
        set.row(&[Cell::UInt(count)]);
        let packets = set.finish(0);
        self.client.channel.write(&packets).await?;
        self.state.diagnostics.row_count = -1;
        Ok(())
    }
}
