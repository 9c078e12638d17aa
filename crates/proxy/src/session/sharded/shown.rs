//! Answers about one shard that have its name in their rows, in the client's words.
//!
//! Owns SHOW CREATE TABLE of a table that is split: one shard says it, and its name becomes that of the table. Small answers
//! only, which are read whole. Input: a plan for one node.

use dbmesh_plan::Route;
use dbmesh_plan::shard::{NodeStatement, RefuseReason};
use dbmesh_sql::{Statement, Verb, literal};
use dbmesh_wire::column::Column;
use dbmesh_wire::relay::Shape;
use dbmesh_wire::result_set::{Cell, ResultSetBuilder};

use super::super::{Executed, Failure, Session};
use super::gather::broken;
use super::work::of_server;
use crate::backend::{definitions_of, rows_of};
use crate::state::{FoundRows, Warnings};

/// Whether the rows of its answer have the name of a shard.
pub(super) fn has_names(statement: &Statement, node: &NodeStatement) -> bool {
    let words = node.sql.split(|byte| !byte.is_ascii_alphanumeric());
    let mut words = words.filter(|word| !word.is_empty());
    statement.verb == Verb::Show
        && !node.tables.is_empty()
        && words.any(|word| word.eq_ignore_ascii_case(b"create"))
}

/// A cell with the client's name; none if it has names that were made of the shard's: those of constraints.
fn in_own_names(text: &[u8], tables: &[(String, String)]) -> Option<Vec<u8>> {
    let named = |(theirs, ours): &(String, String)| {
        let begin = |name: &str| {
            let quoted = literal::quote_identifier(name.as_bytes());
            [b"CREATE TABLE ", quoted.as_slice(), b" ("].concat()
        };
        match text.strip_prefix(begin(theirs).as_slice()) {
            Some(rest) => Some([begin(ours), rest.to_vec()].concat()),
            None => (text == theirs.as_bytes()).then(|| ours.as_bytes().to_vec()),
        }
    };
    let made = b"\n  CONSTRAINT `";
    match text.windows(made.len()).any(|part| part == made) {
        true => None,
        false => Some(
            tables
                .iter()
                .find_map(named)
                .unwrap_or_else(|| text.to_vec()),
        ),
    }
}

impl Session {
    /// Executes it at its node and answers with the client's names.
    pub(super) async fn show_in_own_names(
        &mut self,
        node: &NodeStatement,
        route: Route,
    ) -> Result<Executed, Failure> {
        self.reach(node.source, route).await?;
        let names = self
            .names_of(std::slice::from_ref(node))
            .unwrap_or_default();
        let backend = self.backend()?;
        let payload = backend.query_payload(&node.sql);
        let answer = backend
            .run(&payload, Shape::Results)
            .await
            .map_err(broken)?;
        let bytes = match answer {
            Ok((_, bytes)) => bytes,
            Err(error) => {
                self.note_error(Some(error.code));
                return Err(of_server(&error.payload, "", &names).into());
            }
        };
        let malformed = |_| {
            broken(crate::backend::BackendError::Protocol(
                "a definition".into(),
            ))
        };
        let definitions = definitions_of(&bytes).map_err(broken)?;
        let definitions = definitions.iter().map(|one| names.definition(one));
        let definitions = definitions
            .collect::<Result<Vec<_>, _>>()
            .map_err(malformed)?;
        let columns = definitions.iter().map(|one| Column::decode(one));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let mut rows = rows_of(&bytes).map_err(broken)?;
        for text in rows.iter_mut().flatten().flatten() {
            match in_own_names(text, &node.tables) {
                Some(own) => *text = own,
                None => return Err(self.refusal(&RefuseReason::PhysicalNames).into()),
            }
        }
        self.state.diagnostics.warnings = Warnings::None;
        self.state.diagnostics.found_rows = FoundRows::Known(rows.len() as u64);
        self.state.set_row_count(-1);
        let mut set = ResultSetBuilder::text(
            &mut self.client.seq,
            self.client.capabilities,
            self.state.status,
            &columns,
        );
        for row in &rows {
            let cells: Vec<Cell<'_>> = row
                .iter()
                .map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Bytes))
                .collect();
            set.row(&cells);
        }
        let packets = set.finish(0);
        self.client.channel.write(&packets).await?;
        self.answered = std::time::Instant::now();
        self.settle().await?;
        Ok(Executed {
            rows: rows.len() as u64,
            ..Executed::LOCAL
        })
    }
}
