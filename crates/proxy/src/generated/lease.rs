//! How generators ask a server for leases.

use std::future::Future;

use crate::backend::Cell;

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskError {
    /// The server's error number; none if it was not reached.
    pub code: Option<u16>,
    /// Words.
    pub message: String,
}

/// `no such table`.
const NO_TABLE: u16 = 1146;

/// A server that has leases: statements of one connection, outside of any client's transaction.
pub trait Ask: Send + Sync {
    /// Runs the statements one after the other, and gives the rows of the last.
    fn ask(
        &self,
        statements: Vec<String>,
    ) -> impl Future<Output = Result<Vec<Vec<Cell>>, AskError>> + Send;
}

/// The same, after the table was made if it is not there.
pub(super) async fn ask_of_table(
    ask: &impl Ask,
    create: &str,
    statements: &[String],
) -> Result<Vec<Vec<Cell>>, String> {
    let first = match ask.ask(statements.to_vec()).await {
        Err(error) if error.code == Some(NO_TABLE) => {
            let mut all = vec![create.to_owned()];
            all.extend_from_slice(statements);
            ask.ask(all).await
        }
        answer => answer,
    };
    first.map_err(|error| error.message)
}

/// A cell as a number.
pub(super) fn number(row: Option<&Vec<Cell>>, place: usize) -> Option<u64> {
    let cell = row?.get(place)?.as_deref()?;
    std::str::from_utf8(cell).ok()?.parse().ok()
}
