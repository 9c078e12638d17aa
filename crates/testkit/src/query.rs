//! A blocking session for set-up and checks, over a real driver.
//!
//! Owns one connection and the thread that serves it: the driver is asynchronous, and a test may itself
//! run inside a runtime, where blocking on another one is forbidden. It must never be the client whose
//! behaviour a test examines, because it hides the protocol. Its input is SQL text of the test.

use std::{path::Path, sync::mpsc, thread};

use mysql_async::{Conn, OptsBuilder, Row, Value, prelude::Queryable};

use crate::{Error, Result};

/// Rows of a result set as text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

type Request = (String, mpsc::Sender<Result<Rows>>);

/// One connection to a server; it closes when dropped.
#[derive(Debug)]
pub struct Session {
    requests: mpsc::Sender<Request>,
}

impl Session {
    /// Connects over a Unix socket as `root` without a password.
    pub fn over_socket(path: &Path) -> Result<Session> {
        let socket = path.to_string_lossy().into_owned();
        Session::open(
            OptsBuilder::default()
                .socket(Some(socket))
                .user(Some("root")),
        )
    }

    /// Connects over TCP to a port of 127.0.0.1, without TLS.
    pub fn over_tcp(
        port: u16,
        user: &str,
        password: &str,
        schema: Option<&str>,
    ) -> Result<Session> {
        Session::open(
            OptsBuilder::default()
                .ip_or_hostname("127.0.0.1")
                .tcp_port(port)
                .user(Some(user))
                .pass(Some(password))
                .db_name(schema),
        )
    }

    /// Runs one or several statements, separated by `;`, and drops their results.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.query(sql).map(drop)
    }

    /// Runs one or several statements and returns the rows of the first result set.
    pub fn query(&self, sql: &str) -> Result<Rows> {
        let lost = || Error::Connection("the session ended".to_owned());
        let (answer, rows) = mpsc::channel();
        self.requests
            .send((sql.to_owned(), answer))
            .map_err(|_| lost())?;
        rows.recv().map_err(|_| lost())?
    }

    fn open(options: OptsBuilder) -> Result<Session> {
        // Known values spare the driver its own question to the server after the handshake.
        let options = options
            .prefer_socket(false)
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(28_800));
        let (requests, incoming) = mpsc::channel::<Request>();
        let (opened, result) = mpsc::channel();
        thread::spawn(move || serve(options, &opened, &incoming));
        result
            .recv()
            .map_err(|_| Error::Connection("the driver stopped".to_owned()))??;
        Ok(Session { requests })
    }
}

fn serve(
    options: OptsBuilder,
    opened: &mpsc::Sender<Result<()>>,
    incoming: &mpsc::Receiver<Request>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(source) => {
            let doing = "start a runtime".to_owned();
            let _ = opened.send(Err(Error::Io { doing, source }));
            return;
        }
    };
    let mut connection = match runtime.block_on(Conn::new(options)) {
        Ok(connection) => connection,
        Err(error) => {
            let _ = opened.send(Err(error.into()));
            return;
        }
    };
    let _ = opened.send(Ok(()));
    for (sql, answer) in incoming {
        let rows = runtime.block_on(connection.query::<Row, _>(sql));
        let _ = answer.send(rows.map(as_text).map_err(Error::from));
    }
    let _ = runtime.block_on(connection.disconnect());
}

fn as_text(rows: Vec<Row>) -> Rows {
    rows.into_iter()
        .map(|row| {
            row.unwrap_raw()
                .into_iter()
                .map(|value| value.and_then(text))
                .collect()
        })
        .collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

impl From<mysql_async::Error> for Error {
    fn from(error: mysql_async::Error) -> Error {
        match error {
            mysql_async::Error::Server(error) => Error::Sql {
                code: error.code,
                state: error.state,
                message: error.message,
            },
            other => Error::Connection(other.to_string()),
        }
    }
}
