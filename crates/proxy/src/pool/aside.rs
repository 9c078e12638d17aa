//! Connections beside the pool, for one question of the proxy's own: they wait for nobody.
//!
//! Owns nothing: each is opened and closed again. Input: KILL, and questions about tables.

use std::sync::Arc;

use super::Pool;
use crate::backend::{Answer, Backend, Cell, ConnectError, Flags};
use crate::vector::{Charset, Vector};

/// The collation of connections on which the proxy itself asks: utf8mb4_general_ci, which every server knows.
const ASIDE_COLLATION: u16 = 45;

impl Pool {
    /// Sends one command to the endpoint over a connection of its own: KILL.
    ///
    /// # Errors
    /// When the endpoint cannot be reached.
    pub async fn run_aside(&self, vector: &Arc<Vector>, sql: &str) -> Result<(), ConnectError> {
        self.aside(vector, sql).await.map(|_| ())
    }

    /// Asks the endpoint something over a connection of its own; nothing if it refuses.
    ///
    /// # Errors
    /// When the endpoint cannot be reached.
    pub async fn ask_aside(&self, sql: &str) -> Result<Vec<Vec<Cell>>, ConnectError> {
        let vector = Vector::fresh(None, Charset::Handshake(ASIDE_COLLATION));
        self.aside(&Arc::new(vector), sql).await
    }

    /// A connection beside the pool.
    ///
    /// # Errors
    /// When the endpoint cannot be reached.
    pub(crate) async fn connect_aside(&self) -> Result<Backend, ConnectError> {
        let vector = Arc::new(Vector::fresh(None, Charset::Handshake(ASIDE_COLLATION)));
        let none = Flags::of(dbmesh_wire::Capabilities(0));
        self.dialer.connect(&vector, none, self.facts()).await
    }

    /// Asks the endpoint several things over one connection of its own, and gives the rows of the last; ends at the first that
    /// it refuses.
    ///
    /// # Errors
    /// When the endpoint cannot be reached.
    pub async fn ask_all_aside(
        &self,
        statements: &[String],
    ) -> Result<Answer<Vec<Vec<Cell>>>, ConnectError> {
        let vector = Arc::new(Vector::fresh(None, Charset::Handshake(ASIDE_COLLATION)));
        let flags = Flags::of(dbmesh_wire::Capabilities(0));
        let connected = self.dialer.connect(&vector, flags, self.facts());
        let mut backend = connected.await?;
        let mut last = Ok(Vec::new());
        for sql in statements {
            last = match backend.query(sql.as_bytes()).await {
                Ok(answer) => answer,
                Err(e) => return Err(ConnectError::Unreachable(e.to_string())),
            };
            if last.is_err() {
                break;
            }
        }
        backend.quit().await;
        Ok(last)
    }

    async fn aside(&self, vector: &Arc<Vector>, sql: &str) -> Result<Vec<Vec<Cell>>, ConnectError> {
        // Whatever schema the session has, the server need not have it.
        let vector = Arc::new(Vector::fresh(None, vector.charset.clone()));
        let mut backend = self
            .dialer
            .connect(
                &vector,
                Flags::of(dbmesh_wire::Capabilities(0)),
                self.facts(),
            )
            .await?;
        let answer = backend.query(sql.as_bytes()).await;
        let done = match answer {
            Ok(rows) => Ok(rows.unwrap_or_default()),
            Err(e) => Err(ConnectError::Unreachable(e.to_string())),
        };
        backend.quit().await;
        done
    }
}
