//! Numbers of blocks that are leased from a table: rising for each process, and without gaps as long as it lives.
//!
//! Owns the block at hand. A block is taken in one statement of its own transaction: what a client rolls back is not given
//! again, as with AUTO_INCREMENT.

use tokio::sync::Mutex;

use super::lease::{Ask, ask_of_table, number};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS dbmesh_sequence (name VARCHAR(190) NOT NULL PRIMARY KEY, \
                      next_value BIGINT UNSIGNED NOT NULL)";

/// What is leased.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// The column, as `table.column`.
    pub name: &'a str,
    /// Numbers of a block.
    pub size: u64,
    /// The first number of all.
    pub start: u64,
}

/// The numbers of one column.
#[derive(Debug, Default)]
pub struct Segments {
    /// The next number, and the end of the block. Held while a block is leased: who comes meanwhile needs it too.
    left: Mutex<std::ops::Range<u64>>,
}

impl Segments {
    /// The next numbers.
    ///
    /// # Errors
    /// When no block can be had.
    pub async fn take(
        &self,
        count: usize,
        block: &Block<'_>,
        ask: &impl Ask,
    ) -> Result<Vec<u64>, String> {
        let mut left = self.left.lock().await;
        let wanted = count as u64;
        let mut taken: Vec<u64> = Vec::with_capacity(count);
        loop {
            let missing = wanted - taken.len() as u64;
            let end = left.end.min(left.start + missing);
            taken.extend(left.start..end);
            left.start = end;
            if taken.len() as u64 == wanted {
                return Ok(taken);
            }
            // As many as are missing, in whole blocks, so that one statement's numbers are in one piece.
            let missing = wanted - taken.len() as u64;
            let size = missing.div_ceil(block.size) * block.size;
            let first = lease(block, size, ask).await?;
            *left = first..first.saturating_add(size);
        }
    }
}

async fn lease(block: &Block<'_>, size: u64, ask: &impl Ask) -> Result<u64, String> {
    let name = block.name.replace('\\', "\\\\").replace('\'', "''");
    let statements = [
        format!(
            "INSERT IGNORE INTO dbmesh_sequence (name, next_value) VALUES ('{name}', {})",
            block.start
        ),
        format!(
            "UPDATE dbmesh_sequence SET next_value = LAST_INSERT_ID(next_value) + {size} WHERE name = '{name}'"
        ),
        "SELECT LAST_INSERT_ID()".to_owned(),
    ];
    let rows = ask_of_table(ask, CREATE, &statements).await;
    let rows = rows.map_err(|why| format!("no block of numbers for {}: {why}", block.name))?;
    number(rows.first(), 0).ok_or_else(|| format!("no block of numbers for {}", block.name))
}

#[cfg(test)]
mod tests {
    use super::super::lease::AskError;
    use super::*;
    use crate::backend::Cell;

    /// A table with one sequence, that has to be made first.
    #[derive(Default)]
    struct Table(parking_lot::Mutex<(bool, u64, u64)>);

    impl Ask for Table {
        async fn ask(&self, statements: Vec<String>) -> Result<Vec<Vec<Cell>>, AskError> {
            let mut table = self.0.lock();
            for statement in &statements {
                if statement.starts_with("CREATE") {
                    table.0 = true;
                } else if !table.0 {
                    let (code, message) = (Some(1146), "no table".to_owned());
                    return Err(AskError { code, message });
                } else if statement.starts_with("INSERT") && table.1 == 0 {
                    table.1 = 1;
                } else if let Some((_, size)) = statement.split_once(") + ") {
                    let size: u64 = size.split(' ').next().unwrap().parse().unwrap();
                    table.2 = table.1;
                    table.1 += size;
                }
            }
            Ok(vec![vec![Some(table.2.to_string().into_bytes())]])
        }
    }

    #[tokio::test]
    async fn numbers_rise_over_blocks_and_two_processes_share_none() {
        let table = Table::default();
        let block = Block {
            name: "t.id",
            size: 10,
            start: 1,
        };
        let (one, two) = (Segments::default(), Segments::default());
        assert_eq!(one.take(3, &block, &table).await.unwrap(), [1, 2, 3]);
        assert_eq!(two.take(2, &block, &table).await.unwrap(), [11, 12]);
        let more = one.take(25, &block, &table).await.unwrap();
        assert_eq!(more.len(), 25);
        assert_eq!((more[0], more[6], more[7]), (4, 10, 21));
        assert_eq!(two.take(1, &block, &table).await.unwrap(), [13]);
        assert_eq!(one.take(0, &block, &table).await.unwrap(), [0_u64; 0]);
    }
}
