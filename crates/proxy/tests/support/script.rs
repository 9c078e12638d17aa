//! What one session does in one step, as a line of text and as packets.
//!
//! Owns the lines of scenario files: a line is SQL, or begins with a point and is a command. What it prints it also reads, so
//! that a failing random scenario can be kept as a case. Input: case files, and the random generator.

use std::fmt;

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{put_lenenc_bytes, put_nul_bytes, put_u32};
use dbmesh_wire::command::{
    CommandCode, MultiStatements, put_init_db, put_ping, put_process_kill, put_reset_connection,
    put_set_option, put_stmt_close, put_stmt_fetch, put_stmt_prepare, put_stmt_reset,
    put_stmt_send_long_data,
};

use super::client::Shape;

/// A parameter of EXECUTE.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// `n`
    Null,
    /// `i:5`, eight bytes.
    Int(i64),
    /// `u:5`, eight bytes, unsigned.
    Unsigned(u64),
    /// `l:5`, four bytes.
    Long(i32),
    /// `f:1.5`
    Double(f64),
    /// `t:text`
    Text(String),
    /// `d`: sent before by `.long`.
    LongData,
}

/// Whether EXECUTE brings the types of its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// It does.
    Bound,
    /// The ones of the last EXECUTE hold.
    Kept,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Query(String),
    /// `.attribute name value SQL`
    Attribute(String, String, String),
    Prepare(String, String),
    Execute {
        slot: String,
        cursor: bool,
        types: Types,
        args: Vec<Arg>,
    },
    Fetch(String, u32),
    LongData(String, u16, String),
    Close(String),
    ResetStatement(String),
    InitDb(String),
    Ping,
    ResetConnection,
    ChangeUser(Option<String>),
    MultiStatements(bool),
    Fields(String),
    Statistics,
    /// `.kill B`: COM_PROCESS_KILL of another session.
    Kill(char),
    /// A command without meaning.
    Unknown,
    /// `.send SQL`: without reading the answer.
    Send(String),
    /// `.receive`: the answer of `.send`.
    Receive,
    /// `.pipe A ;; B`: several commands in one write.
    Pipe(Vec<Act>),
    Quit,
    /// Closes the socket and says nothing.
    Abort,
    /// `.pause 50`, in ms.
    Pause(u64),
}

impl Act {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let Some(command) = line.strip_prefix('.') else {
            return Ok(Self::Query(line.to_owned()));
        };
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let two = || {
            rest.split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .ok_or(format!("{line}: two words"))
        };
        let number = |text: &str| text.parse::<u32>().map_err(|e| format!("{line}: {e}"));
        Ok(match word {
            "attribute" => {
                let (name, rest) = two()?;
                let (value, sql) = rest.split_once(' ').ok_or("value")?;
                Self::Attribute(name, value.to_owned(), sql.to_owned())
            }
            "prepare" => two().map(|(slot, sql)| Self::Prepare(slot, sql))?,
            "execute" => execute(rest)?,
            "fetch" => two().and_then(|(slot, n)| Ok(Self::Fetch(slot, number(&n)?)))?,
            "long" => {
                let (slot, rest) = two()?;
                let (parameter, data) = rest.split_once(' ').ok_or("data")?;
                let parameter = parameter.parse().map_err(|e| format!("{line}: {e}"))?;
                Self::LongData(slot, parameter, data.to_owned())
            }
            "close" => Self::Close(rest.to_owned()),
            "reset" => Self::ResetStatement(rest.to_owned()),
            "db" => Self::InitDb(rest.to_owned()),
            "ping" => Self::Ping,
            "resetconnection" => Self::ResetConnection,
            "changeuser" => Self::ChangeUser((!rest.is_empty()).then(|| rest.to_owned())),
            "multi" => Self::MultiStatements(rest == "on"),
            "fields" => Self::Fields(rest.to_owned()),
            "statistics" => Self::Statistics,
            "kill" => Self::Kill(rest.chars().next().ok_or("kill whom")?),
            "unknown" => Self::Unknown,
            "send" => Self::Send(rest.to_owned()),
            "receive" => Self::Receive,
            "pipe" => Self::Pipe(
                rest.split(" ;; ")
                    .map(Self::parse)
                    .collect::<Result<_, _>>()?,
            ),
            "quit" => Self::Quit,
            "abort" => Self::Abort,
            "pause" => Self::Pause(u64::from(number(rest)?)),
            _ => return Err(format!("unknown command {line:?}")),
        })
    }

    /// The packet of this step and the shape of its answer. `statement` gives id and parameter count of a slot, `thread` the
    /// connection id of a session.
    pub fn packet(
        &self,
        caps: Capabilities,
        statement: &Slots<'_>,
        thread: &Threads<'_>,
    ) -> Option<(Vec<u8>, Shape)> {
        let mut out = Vec::new();
        let id = |slot: &str| statement(slot).map(|(id, _)| id).unwrap_or(4_000_000);
        let shape = match self {
            Self::Query(sql) | Self::Send(sql) => {
                put_query(&mut out, &with_threads(sql, thread), caps, None);
                Shape::Results
            }
            Self::Attribute(name, value, sql) => {
                put_query(&mut out, sql, caps, Some((name, value)));
                Shape::Results
            }
            Self::Prepare(_, sql) => {
                put_stmt_prepare(&mut out, with_threads(sql, thread).as_bytes());
                Shape::Prepare
            }
            Self::Execute {
                slot,
                cursor,
                types,
                args,
            } => {
                let params = statement(slot).map_or(args.len(), |(_, params)| usize::from(params));
                put_execute(&mut out, id(slot), *cursor, *types, (args, params), caps);
                Shape::BinaryResults
            }
            Self::Fetch(slot, rows) => {
                put_stmt_fetch(&mut out, id(slot), *rows);
                Shape::Fetch
            }
            Self::LongData(slot, parameter, data) => {
                put_stmt_send_long_data(&mut out, id(slot), *parameter, data.as_bytes());
                Shape::Nothing
            }
            Self::Close(slot) => {
                put_stmt_close(&mut out, id(slot));
                Shape::Nothing
            }
            Self::ResetStatement(slot) => {
                put_stmt_reset(&mut out, id(slot));
                Shape::Single
            }
            Self::InitDb(schema) => {
                put_init_db(&mut out, schema.as_bytes());
                Shape::Single
            }
            Self::Ping => {
                put_ping(&mut out);
                Shape::Single
            }
            Self::ResetConnection => {
                put_reset_connection(&mut out);
                Shape::Single
            }
            Self::MultiStatements(on) => {
                put_set_option(
                    &mut out,
                    if *on {
                        MultiStatements::On
                    } else {
                        MultiStatements::Off
                    },
                );
                Shape::Single
            }
            Self::Fields(table) => {
                out.push(CommandCode::FieldList as u8);
                put_nul_bytes(&mut out, table.as_bytes());
                Shape::Fields
            }
            Self::Statistics => {
                out.push(CommandCode::Statistics as u8);
                Shape::Text
            }
            Self::Kill(who) => {
                put_process_kill(&mut out, thread(*who).unwrap_or(4_000_000));
                Shape::Single
            }
            Self::Unknown => {
                out.push(0x77);
                Shape::Single
            }
            Self::ChangeUser(_)
            | Self::Receive
            | Self::Pipe(_)
            | Self::Quit
            | Self::Abort
            | Self::Pause(_) => return None,
        };
        Some((out, shape))
    }
}

/// Statement id and parameter count by slot.
pub type Slots<'a> = dyn Fn(&str) -> Option<(u32, u16)> + 'a;
/// Connection ids by session.
pub type Threads<'a> = dyn Fn(char) -> Option<u32> + 'a;

/// `$B` is the connection id of session B.
fn with_threads(sql: &str, thread: &Threads<'_>) -> String {
    ('A'..='H').fold(sql.to_owned(), |sql, who| match thread(who) {
        Some(id) => sql.replace(&format!("${who}"), &id.to_string()),
        None => sql,
    })
}

fn put_query(
    out: &mut Vec<u8>,
    sql: &str,
    caps: Capabilities,
    attribute: Option<(&String, &String)>,
) {
    out.push(CommandCode::Query as u8);
    if caps.contains(Capabilities::QUERY_ATTRIBUTES) {
        match attribute {
            None => out.extend_from_slice(&[0, 1]),
            Some((name, value)) => {
                out.extend_from_slice(&[1, 1, 0, 1, 0xFD, 0]);
                put_lenenc_bytes(out, name.as_bytes());
                put_lenenc_bytes(out, value.as_bytes());
            }
        }
    }
    out.extend_from_slice(sql.as_bytes());
}

fn put_execute(
    out: &mut Vec<u8>,
    id: u32,
    cursor: bool,
    types: Types,
    (args, params): (&[Arg], usize),
    caps: Capabilities,
) {
    let named = caps.contains(Capabilities::QUERY_ATTRIBUTES);
    let args: Vec<&Arg> = args
        .iter()
        .chain(std::iter::repeat(&Arg::Null))
        .take(params)
        .collect();
    out.push(CommandCode::StmtExecute as u8);
    put_u32(out, id);
    out.push(u8::from(cursor) | if named && params > 0 { 8 } else { 0 });
    put_u32(out, 1);
    if params == 0 {
        return;
    }
    if named {
        out.push(u8::try_from(params).unwrap_or(250));
    }
    let mut bitmap = vec![0; params.div_ceil(8)];
    for (at, arg) in args.iter().enumerate() {
        if **arg == Arg::Null {
            bitmap[at / 8] |= 1 << (at % 8);
        }
    }
    out.extend_from_slice(&bitmap);
    out.push(u8::from(types == Types::Bound));
    if types == Types::Bound {
        for arg in &args {
            let kind: [u8; 2] = match arg {
                Arg::Null => [6, 0],
                Arg::Int(_) => [8, 0],
                Arg::Unsigned(_) => [8, 0x80],
                Arg::Long(_) => [3, 0],
                Arg::Double(_) => [5, 0],
                Arg::Text(_) => [0xFD, 0],
                Arg::LongData => [0xFC, 0],
            };
            out.extend_from_slice(&kind);
            if named {
                out.push(0);
            }
        }
    }
    for arg in args {
        match arg {
            Arg::Null | Arg::LongData => {}
            Arg::Int(v) => out.extend_from_slice(&v.to_le_bytes()),
            Arg::Unsigned(v) => out.extend_from_slice(&v.to_le_bytes()),
            Arg::Long(v) => out.extend_from_slice(&v.to_le_bytes()),
            Arg::Double(v) => out.extend_from_slice(&v.to_le_bytes()),
            Arg::Text(text) => put_lenenc_bytes(out, text.as_bytes()),
        }
    }
}

fn execute(rest: &str) -> Result<Act, String> {
    let mut words = rest.split_ascii_whitespace();
    let slot = words.next().ok_or("execute what")?.to_owned();
    let (mut cursor, mut types, mut args) = (false, Types::Bound, Vec::new());
    for word in words {
        match word {
            "cursor" => cursor = true,
            "kept" => types = Types::Kept,
            _ => args.push(argument(word)?),
        }
    }
    Ok(Act::Execute {
        slot,
        cursor,
        types,
        args,
    })
}

fn argument(word: &str) -> Result<Arg, String> {
    let (kind, text) = word.split_once(':').unwrap_or((word, ""));
    let bad = |e: &dyn fmt::Display| format!("{word}: {e}");
    Ok(match kind {
        "n" => Arg::Null,
        "d" => Arg::LongData,
        "i" => Arg::Int(text.parse().map_err(|e| bad(&e))?),
        "u" => Arg::Unsigned(text.parse().map_err(|e| bad(&e))?),
        "l" => Arg::Long(text.parse().map_err(|e| bad(&e))?),
        "f" => Arg::Double(text.parse().map_err(|e| bad(&e))?),
        "t" => Arg::Text(text.to_owned()),
        _ => return Err(format!("unknown parameter {word:?}")),
    })
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("n"),
            Self::LongData => f.write_str("d"),
            Self::Int(v) => write!(f, "i:{v}"),
            Self::Unsigned(v) => write!(f, "u:{v}"),
            Self::Long(v) => write!(f, "l:{v}"),
            Self::Double(v) => write!(f, "f:{v}"),
            Self::Text(v) => write!(f, "t:{v}"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(sql) => f.write_str(sql),
            Self::Attribute(name, value, sql) => write!(f, ".attribute {name} {value} {sql}"),
            Self::Prepare(slot, sql) => write!(f, ".prepare {slot} {sql}"),
            Self::Execute {
                slot,
                cursor,
                types,
                args,
            } => {
                write!(f, ".execute {slot}")?;
                if *cursor {
                    f.write_str(" cursor")?;
                }
                if *types == Types::Kept {
                    f.write_str(" kept")?;
                }
                args.iter().try_for_each(|arg| write!(f, " {arg}"))
            }
            Self::Fetch(slot, rows) => write!(f, ".fetch {slot} {rows}"),
            Self::LongData(slot, parameter, data) => write!(f, ".long {slot} {parameter} {data}"),
            Self::Close(slot) => write!(f, ".close {slot}"),
            Self::ResetStatement(slot) => write!(f, ".reset {slot}"),
            Self::InitDb(schema) => write!(f, ".db {schema}"),
            Self::Ping => f.write_str(".ping"),
            Self::ResetConnection => f.write_str(".resetconnection"),
            Self::ChangeUser(None) => f.write_str(".changeuser"),
            Self::ChangeUser(Some(schema)) => write!(f, ".changeuser {schema}"),
            Self::MultiStatements(on) => write!(f, ".multi {}", if *on { "on" } else { "off" }),
            Self::Fields(table) => write!(f, ".fields {table}"),
            Self::Statistics => f.write_str(".statistics"),
            Self::Kill(who) => write!(f, ".kill {who}"),
            Self::Unknown => f.write_str(".unknown"),
            Self::Send(sql) => write!(f, ".send {sql}"),
            Self::Receive => f.write_str(".receive"),
            Self::Pipe(acts) => {
                let acts: Vec<String> = acts.iter().map(Self::to_string).collect();
                write!(f, ".pipe {}", acts.join(" ;; "))
            }
            Self::Quit => f.write_str(".quit"),
            Self::Abort => f.write_str(".abort"),
            Self::Pause(ms) => write!(f, ".pause {ms}"),
        }
    }
}
