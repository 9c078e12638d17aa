//! What a server or the mesh says to a statement, as data, and the two connections that ask.
//!
//! Owns the connections of one comparison. Must never change what was said: values stay as the driver gives them. The driver
//! hides packets; the tests of the protocol have their own client.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mysql_async::consts::ColumnType;
use mysql_async::prelude::{Protocol, Queryable};
use mysql_async::{Conn, OptsBuilder, QueryResult, Row, Value, WhiteListFsHandler};
use tokio::runtime::Runtime;

use crate::compare::DifferenceKind;
use crate::plans::Way;
use crate::statement::{Form, Statement};
use crate::{Result, failed};

/// Longest time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// PRI_KEY, UNIQUE_KEY, MULTIPLE_KEY, BLOB, ZEROFILL, BINARY, NO_DEFAULT_VALUE, PART_KEY, GROUP: other ones where a column comes out of the server's own
/// temporary table, and whether it does depends on how many rows the server expects.
const FLAGS_OF_THE_PLAN: u16 = 0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x1000 | 0x4000 | 0x8000;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What came.
    pub outcome: Outcome,
    /// Number of warnings.
    pub warnings: u16,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Rows.
    Rows {
        /// Their columns.
        columns: Vec<Column>,
        /// The rows.
        rows: Vec<Vec<Value>>,
    },
    /// OK.
    Done {
        /// Rows changed.
        affected: u64,
        /// The id generated first.
        insert_id: u64,
        /// The text with it.
        info: String,
    },
    /// An error.
    Error {
        /// Its number.
        code: u16,
        /// Its SQLSTATE.
        state: String,
        /// Its text.
        message: String,
    },
    /// No answer: the connection broke, or the time was over.
    Lost(String),
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The alias of its table.
    pub table: String,
    /// Its type; what a temporary table widens is one: LONG and LONGLONG of expressions, the sizes of BLOB.
    pub kind: ColumnType,
    /// Its flags, without those that a server sets or not by how it runs the statement.
    pub flags: u16,
    /// Its collation.
    pub charset: u16,
    /// Longest value.
    pub length: u32,
    /// Digits after the point; 0 for texts, where servers say one thing or another.
    pub decimals: u8,
}

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A port of 127.0.0.1.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
    /// Schema.
    pub schema: String,
    /// What to say first.
    pub greeting: String,
}

impl Place {
    /// The file that a client sends there.
    fn file(&self) -> PathBuf {
        let name = format!("dbmesh-differential-{}-{}", std::process::id(), self.port);
        std::env::temp_dir().join(name)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It is there only if a statement needed it.
        drop(std::fs::remove_file(self.place.file()));
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    place: Place,
    conn: Option<Conn>,
}

/// The judge and the mesh.
#[derive(Debug)]
pub struct Pair {
    runtime: Runtime,
    judge: Client,
    mesh: Client,
}

impl Pair {
    /// Two connections.
    pub fn open(judge: Place, mesh: Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("start a runtime"))?;
        let mut pair = Self {
            runtime,
            judge: Client::new(judge),
            mesh: Client::new(mesh),
        };
        pair.runtime.block_on(pair.judge.connected())?;
        pair.runtime.block_on(pair.mesh.connected())?;
        Ok(pair)
    }

    /// What both say.
    pub fn ask(&mut self, statement: &Statement) -> (Answer, Answer) {
        let (judge, mesh) = (&mut self.judge, &mut self.mesh);
        self.runtime
            .block_on(async { tokio::join!(judge.ask(statement), mesh.ask(statement)) })
    }

    /// How long a statement takes on each side, the judge's first, one after the other.
    pub fn time(&mut self, statement: &Statement) -> [Duration; 2] {
        let (judge, mesh) = (&mut self.judge, &mut self.mesh);
        [judge, mesh].map(|client| {
            let began = Instant::now();
            self.runtime.block_on(client.ask(statement));
            began.elapsed()
        })
    }

    /// The way in which the judge gives an answer that agrees.
    pub fn otherwise(
        &mut self,
        statement: &Statement,
        ways: &[Way],
        agrees: impl Fn(&Answer) -> bool,
    ) -> Option<Way> {
        let judge = &mut self.judge;
        let asked = async {
            for way in ways {
                let Some(answer) = judge.ask_by(statement, *way).await else {
                    continue;
                };
                if agrees(&answer) {
                    return Some(*way);
                }
            }
            None
        };
        self.runtime.block_on(asked)
    }

    /// What both say to a change, the mesh first; where its answer says that nothing was done, the judge's change is taken
    /// back. Where the answers do not agree, the judge is asked in the other ways, and one that agrees counts.
    pub fn ask_change(
        &mut self,
        statement: &Statement,
        ways: impl Fn(DifferenceKind) -> Vec<Way>,
        undone: impl Fn(&Answer) -> bool,
        may_agree: impl Fn(&Answer, &Answer) -> Agreement,
    ) -> (Answer, Answer, Option<Way>) {
        let (judge, mesh) = (&mut self.judge, &mut self.mesh);
        self.runtime.block_on(async {
            let met = mesh.ask(statement).await;
            judge.ask(&Statement::plain("START TRANSACTION")).await;
            let judged = judge.ask(statement).await;
            if undone(&met) {
                judge.ask(&Statement::plain("ROLLBACK")).await;
                return (judged, met, None);
            }
            if let Agreement::Maybe(difference) = may_agree(&judged, &met) {
                for way in ways(difference) {
                    judge.ask(&Statement::plain("ROLLBACK")).await;
                    judge.ask(&Statement::plain("START TRANSACTION")).await;
                    let again = judge.ask_by(statement, way).await;
                    let agrees = |again: &Answer| may_agree(again, &met) == Agreement::Full;
                    if again.as_ref().is_some_and(agrees) {
                        judge.ask(&Statement::plain("COMMIT")).await;
                        return (judged, met, Some(way));
                    }
                }
                judge.ask(&Statement::plain("ROLLBACK")).await;
                judge.ask(&Statement::plain("START TRANSACTION")).await;
                judge.ask(statement).await;
            }
            judge.ask(&Statement::plain("COMMIT")).await;
            (judged, met, None)
        })
    }
}

/// How far two answers agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They are one.
    Full,
    /// They are not in this, but may be where the judge executes the statement in another way.
    Maybe(DifferenceKind),
    /// They are not.
    None,
}

impl Client {
    /// A connection that is made when it is needed.
    pub fn new(place: Place) -> Self {
        Self { place, conn: None }
    }

    async fn connected(&mut self) -> Result<&mut Conn> {
        let place = &self.place;
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let options = OptsBuilder::default()
                    .ip_or_hostname("127.0.0.1")
                    .tcp_port(place.port)
                    .user(Some(&place.user))
                    .pass(Some(&place.password))
                    .db_name(Some(&place.schema))
                    .prefer_socket(false)
                    .stmt_cache_size(0)
                    .local_infile_handler(Some(WhiteListFsHandler::new([place.file()])))
                    .max_allowed_packet(Some(64 << 20))
                    .wait_timeout(Some(28_800))
                    .init(vec![place.greeting.clone()]);
                let opened = Conn::new(options).await;
                opened.map_err(failed(&format!("connect to port {}", place.port)))?
            }
        };
        Ok(self.conn.insert(conn))
    }

    /// LOAD DATA with the file's contents in the place of its name: writes the file, and names it.
    fn with_file<'s>(&self, sql: &'s str) -> Result<Cow<'s, str>> {
        const HEAD: &str = "LOAD DATA LOCAL INFILE '";
        let Some((rows, rest)) = sql.strip_prefix(HEAD).and_then(|sql| sql.split_once('\'')) else {
            return Ok(Cow::Borrowed(sql));
        };
        let file = self.place.file();
        std::fs::write(&file, rows.replace("\\n", "\n")).map_err(failed("write a file"))?;
        Ok(Cow::Owned(format!("{HEAD}{}'{rest}", file.display())))
    }

    /// What it says to a statement.
    pub async fn ask(&mut self, statement: &Statement) -> Answer {
        let (sql, parameters) = (statement.sql(), statement.parameters());
        self.ask_in(statement.form, &sql, parameters).await
    }

    /// What it says to a statement that it executes in that way.
    async fn ask_by(&mut self, statement: &Statement, way: Way) -> Option<Answer> {
        let again = Statement {
            marked: way.text(&statement.marked)?,
            ..statement.clone()
        };
        if let Some(begin) = way.begin() {
            self.ask(&Statement::plain(&begin)).await;
        }
        let answer = self.ask(&again).await;
        if let Some(end) = way.end() {
            self.ask(&Statement::plain(&end)).await;
        }
        Some(answer)
    }

    /// What it says to a text with values.
    pub async fn ask_in(&mut self, form: Form, sql: &str, parameters: Vec<Value>) -> Answer {
        let asked = async {
            let sql = self.with_file(sql).map_err(Outcome::Lost)?;
            let conn = self.connected().await.map_err(Outcome::Lost)?;
            ask(conn, form, &sql, parameters).await.map_err(outcome)
        };
        let answered = tokio::time::timeout(ANSWER_LIMIT, asked).await;
        let late = || Err(Outcome::Lost(format!("no answer in {ANSWER_LIMIT:?}")));
        match answered.unwrap_or_else(|_| late()) {
            Ok(answer) => answer,
            Err(outcome) => {
                if matches!(outcome, Outcome::Lost(_)) {
                    self.conn = None;
                }
                Answer {
                    outcome,
                    warnings: 0,
                }
            }
        }
    }
}

async fn ask(
    conn: &mut Conn,
    form: Form,
    sql: &str,
    parameters: Vec<Value>,
) -> mysql_async::Result<Answer> {
    match form {
        Form::Text => read(conn.query_iter(sql).await?).await,
        Form::Prepared => {
            let prepared = conn.prep(sql).await?;
            let answer = match conn.exec_iter(&prepared, parameters).await {
                Ok(result) => read(result).await,
                Err(error) => Err(error),
            };
            if matches!(&answer, Ok(_) | Err(mysql_async::Error::Server(_))) {
                conn.close(prepared).await?;
            }
            answer
        }
    }
}

async fn read<P: Protocol>(mut result: QueryResult<'_, '_, P>) -> mysql_async::Result<Answer> {
    let columns: Vec<Column> = result.columns_ref().iter().map(column).collect();
    let rows: Vec<Row> = result.collect().await?;
    let outcome = match columns.is_empty() {
        true => Outcome::Done {
            affected: result.affected_rows(),
            insert_id: result.last_insert_id().unwrap_or(0),
            info: result.info().into_owned(),
        },
        false => Outcome::Rows {
            columns,
            rows: rows.into_iter().map(Row::unwrap).collect(),
        },
    };
    let warnings = result.warnings();
    result.drop_result().await?;
    Ok(Answer { outcome, warnings })
}

fn column(column: &mysql_async::Column) -> Column {
    plain_column(Column {
        name: column.name_str().into_owned(),
        table: column.table_str().into_owned(),
        kind: column.column_type(),
        flags: column.flags().bits(),
        charset: column.character_set(),
        length: column.column_length(),
        decimals: column.decimals(),
    })
}

/// A column without what depends on how a server runs the statement.
pub fn plain_column(column: Column) -> Column {
    let kind = match column.kind {
        ColumnType::MYSQL_TYPE_LONG if column.table.is_empty() => ColumnType::MYSQL_TYPE_LONGLONG,
        ColumnType::MYSQL_TYPE_MEDIUM_BLOB | ColumnType::MYSQL_TYPE_LONG_BLOB => {
            ColumnType::MYSQL_TYPE_BLOB
        }
        kind => kind,
    };
    let is_text = matches!(
        kind,
        ColumnType::MYSQL_TYPE_VAR_STRING
            | ColumnType::MYSQL_TYPE_STRING
            | ColumnType::MYSQL_TYPE_BLOB
    );
    Column {
        kind,
        // MariaDB says the length of a name with a prefix that no name has any more.
        length: match column.name.starts_with("Tables_in_") {
            true => 0,
            false => column.length,
        },
        flags: column.flags & !FLAGS_OF_THE_PLAN,
        decimals: match is_text {
            true => 0,
            false => column.decimals,
        },
        ..column
    }
}

fn outcome(error: mysql_async::Error) -> Outcome {
    match error {
        mysql_async::Error::Server(error) => Outcome::Error {
            code: error.code,
            state: error.state,
            message: error.message,
        },
        other => Outcome::Lost(other.to_string()),
    }
}
