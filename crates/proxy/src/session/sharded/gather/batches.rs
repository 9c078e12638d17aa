//! Rows on their way from one table to another, as the statements that insert them.
//!
//! Owns their texts, of bounded length each and all together within a budget. Input: a server's answer.

use dbmesh_plan::shard::gather::ScratchTable;

use super::super::super::Failure;
use super::rows::Rows;
use super::{BATCH_BYTES, Budget, broken, refused, rows};
use crate::backend::Backend;

/// Statements that insert what was read.
#[derive(Debug)]
pub(in super::super) struct Batches {
    /// What clients call the table.
    name: String,
    head: Vec<u8>,
    statements: Vec<Vec<u8>>,
}

impl Batches {
    /// None yet, into this table.
    pub fn of(table: &ScratchTable, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            head: table.insert(),
            statements: Vec::new(),
        }
    }

    /// Reads all rows that the statement gives; says how many.
    pub async fn read(
        &mut self,
        from: &mut Backend,
        table: &ScratchTable,
        select: &[u8],
        budget: &mut Budget,
    ) -> Result<u64, Failure> {
        let coming = Rows::begin(from, select, &[]).await.map_err(broken)?;
        let mut coming = coming.map_err(refused)?;
        let mut count = 0;
        while coming.more(from).await.map_err(broken)?.map_err(refused)? {
            while let Some(row) = coming.next().map_err(broken)? {
                budget.take(row.len())?;
                self.push(table, row)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn push(&mut self, table: &ScratchTable, row: &[u8]) -> Result<(), Failure> {
        match self.statements.last_mut() {
            Some(batch) if batch.len() < BATCH_BYTES => batch.push(b','),
            _ => self.statements.push(self.head.clone()),
        }
        match self.statements.last_mut() {
            Some(batch) => rows::push(table, &self.name, row, batch).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The statements.
    pub fn statements(self) -> Vec<Vec<u8>> {
        self.statements
    }
}
