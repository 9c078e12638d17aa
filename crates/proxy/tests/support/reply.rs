//! Everything an application could see of an answer.
//!
//! Owns the reading of answers into values, and their text form in which two servers are compared. It must leave nothing
//! out but what [`Shown`] names. Input: packets that the client read.

use std::fmt::Write as _;

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::Reader;
use dbmesh_wire::column::{BinaryLayout, Column, ColumnFlags, ColumnType};
use dbmesh_wire::reply::{Eof, Err as ErrPacket, Ok as OkPacket};
use dbmesh_wire::status::Status;
use dbmesh_wire::track::{self, Item};

use super::client::{Client, Shape};

/// The parts of an answer, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply(pub Vec<Part>);

/// One cell of a row; `None` is NULL.
pub type Cell = Option<Vec<u8>>;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// OK.
    Ok {
        affected_rows: u64,
        last_insert_id: u64,
        status: Status,
        warnings: u16,
        info: Vec<u8>,
        tracked: Vec<String>,
    },
    /// EOF.
    Eof { warnings: u16, status: Status },
    /// ERR.
    Error {
        code: u16,
        state: String,
        message: String,
    },
    /// Column definitions, and the EOF behind them.
    Columns {
        columns: Vec<ColumnSeen>,
        eof: Option<(u16, Status)>,
    },
    /// Rows.
    Rows(Vec<Vec<Cell>>),
    /// PREPARE's first packet.
    Prepared {
        id: u32,
        columns: u16,
        params: u16,
        warnings: u16,
    },
    /// Text of COM_STATISTICS.
    Text(String),
    /// The connection broke, or the server the protocol.
    Broken(String),
}

/// A column definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSeen {
    /// Its text form.
    pub text: String,
    kind: ColumnType,
    unsigned: bool,
}

impl Part {
    /// Decodes an OK.
    pub fn ok(payload: &[u8], caps: Capabilities) -> Result<Self, String> {
        let ok = OkPacket::decode(payload, caps).map_err(|e| e.to_string())?;
        let tracked = track::items(ok.session_state)
            .map(|item| item.map(item_text).map_err(|e| e.to_string()));
        let tracked: Vec<Option<String>> = tracked.collect::<Result<_, _>>()?;
        let tracked: Vec<String> = tracked.into_iter().flatten().collect();
        let mut status = ok.status;
        if tracked.is_empty() {
            status = status.difference(Status::SESSION_STATE_CHANGED);
        }
        Ok(Self::Ok {
            affected_rows: ok.affected_rows,
            last_insert_id: ok.last_insert_id,
            status,
            warnings: ok.warnings,
            info: ok.info.to_vec(),
            tracked,
        })
    }

    /// Decodes an ERR.
    pub fn error(payload: &[u8]) -> Self {
        match ErrPacket::decode(payload, Capabilities::PROTOCOL_41) {
            Ok(e) => Self::Error {
                code: e.code,
                state: e
                    .sqlstate
                    .map(|s| s.as_str().to_owned())
                    .unwrap_or_default(),
                message: e.text().into_owned(),
            },
            Err(_) => Self::Broken(format!(
                "a packet that begins with {:02x?}",
                payload.get(..8.min(payload.len()))
            )),
        }
    }
}

/// An item as text. MySQL sends the state of transactions to every client that tracks anything, asked or not; a proxy that
/// asks for it on its own behalf cannot tell the two apart, and leaves it out.
fn item_text(item: Item<'_>) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match item {
        // It counts what the server executes.
        Item::SystemVariable {
            name: b"statement_id",
            ..
        } => return None,
        Item::SystemVariable { name, value } => format!("{}={}", text(name), text(value)),
        Item::Schema(schema) => format!("schema={}", text(schema)),
        Item::StateChange(changed) => format!("changed={changed}"),
        // Each server has its own.
        Item::Gtids(gtids) => format!("gtids={}", text(gtids).matches(':').count()),
        Item::TransactionCharacteristics(sql) => format!("characteristics={}", text(sql)),
        Item::TransactionState(_) => return None,
        Item::Unknown(kind, bytes) => format!("unknown {kind}={}", text(bytes)),
    })
}

impl Reply {
    /// Reads one answer.
    pub fn read(client: &mut Client, shape: Shape) -> Result<Self, String> {
        let mut parts = Vec::new();
        let outcome = match shape {
            Shape::Nothing => Ok(()),
            Shape::Single | Shape::Login => read_single(client, &mut parts),
            Shape::Results => read_results(client, &mut parts, text_row),
            Shape::BinaryResults => read_results(client, &mut parts, binary_row),
            Shape::Prepare => read_prepared(client, &mut parts),
            Shape::Fields => read_columns_to_end(client, &mut parts),
            Shape::Fetch => read_rows(client, &mut parts, &[], raw_row).map(|_| ()),
            Shape::Text => client.packet().map(|p| {
                parts.push(if p.first() == Some(&0xFF) {
                    Part::error(&p)
                } else {
                    Part::Text(String::from_utf8_lossy(&p).into_owned())
                });
            }),
        };
        if let Err(why) = outcome {
            parts.push(Part::Broken(why));
        }
        Ok(Self(parts))
    }

    /// The error that ends the answer.
    pub fn error(&self) -> Option<(u16, &str)> {
        match self.0.last() {
            Some(Part::Error { code, message, .. }) => Some((*code, message)),
            _ => None,
        }
    }

    /// Why the connection is of no more use.
    pub fn broken(&self) -> Option<&str> {
        self.0.iter().find_map(|part| match part {
            Part::Broken(why) => Some(why.as_str()),
            _ => None,
        })
    }

    /// The rows of the first result set.
    pub fn rows(&self) -> &[Vec<Cell>] {
        self.0
            .iter()
            .find_map(|part| match part {
                Part::Rows(rows) => Some(rows.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// The first cell as text.
    pub fn value(&self) -> Option<String> {
        let cell = self.rows().first()?.first()?.as_deref()?;
        Some(String::from_utf8_lossy(cell).into_owned())
    }

    /// Status flags, where the last part has them.
    pub fn status(&self) -> Option<Status> {
        match self.0.last()? {
            Part::Ok { status, .. } | Part::Eof { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Id and parameter count of a prepared statement.
    pub fn prepared(&self) -> Option<(u32, u16)> {
        match self.0.first()? {
            Part::Prepared { id, params, .. } => Some((*id, *params)),
            _ => None,
        }
    }

    /// As text, one part per line.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for part in &self.0 {
            put_part(&mut out, part);
        }
        out
    }
}

fn put_part(out: &mut String, part: &Part) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let _ = match part {
        Part::Ok {
            affected_rows,
            last_insert_id,
            status,
            warnings,
            info,
            tracked,
        } => writeln!(
            out,
            "OK affected={affected_rows} id={last_insert_id} status={status:?} warnings={warnings} info={:?} tracked={tracked:?}",
            lossy(info)
        ),
        Part::Eof { warnings, status } => {
            writeln!(out, "EOF status={status:?} warnings={warnings}")
        }
        Part::Error {
            code,
            state,
            message,
        } => writeln!(out, "ERR {code} {state} {message}"),
        Part::Columns { columns, eof } => {
            for column in columns {
                let _ = writeln!(out, "  column {}", column.text);
            }
            match eof {
                Some((warnings, status)) => {
                    writeln!(out, "  EOF status={status:?} warnings={warnings}")
                }
                None => Ok(()),
            }
        }
        Part::Rows(rows) => {
            for row in rows {
                let cells: Vec<String> = row
                    .iter()
                    .map(|cell| match cell {
                        Some(bytes) if bytes.len() > 200 => {
                            format!("{} bytes, sum {}", bytes.len(), checksum(bytes))
                        }
                        Some(bytes) => bytes.escape_ascii().to_string(),
                        None => "NULL".to_owned(),
                    })
                    .collect();
                let _ = writeln!(out, "  row {}", cells.join(" | "));
            }
            Ok(())
        }
        Part::Prepared {
            columns,
            params,
            warnings,
            ..
        } => {
            writeln!(
                out,
                "PREPARED columns={columns} params={params} warnings={warnings}"
            )
        }
        Part::Text(text) => writeln!(out, "TEXT {}", text.split(':').next().unwrap_or_default()),
        Part::Broken(why) => writeln!(out, "BROKEN {why}"),
    };
}

/// FNV-1a: long cells are compared by it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, b| {
        (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn read_single(client: &mut Client, parts: &mut Vec<Part>) -> Result<(), String> {
    let payload = client.packet()?;
    parts.push(match payload.first() {
        Some(0xFE) if payload.len() < 7 => eof_part(&payload)?,
        Some(0x00 | 0xFE) => Part::ok(&payload, client.capabilities)?,
        _ => Part::error(&payload),
    });
    Ok(())
}

fn eof_part(payload: &[u8]) -> Result<Part, String> {
    let eof = Eof::decode(payload).map_err(|e| e.to_string())?;
    Ok(Part::Eof {
        warnings: eof.warnings,
        status: eof.status,
    })
}

type RowReader = fn(&[u8], &[ColumnSeen]) -> Result<Vec<Cell>, String>;

fn read_results(client: &mut Client, parts: &mut Vec<Part>, row: RowReader) -> Result<(), String> {
    loop {
        let payload = client.packet()?;
        let status = match payload.first() {
            Some(0x00) => {
                let part = Part::ok(&payload, client.capabilities)?;
                let status = Reply(vec![part.clone()]).status();
                parts.push(part);
                status
            }
            Some(0xFF) => {
                parts.push(Part::error(&payload));
                None
            }
            _ => read_set(client, parts, &payload, row)?,
        };
        if !status.is_some_and(|s| s.contains(Status::MORE_RESULTS)) {
            return Ok(());
        }
    }
}

fn read_set(
    client: &mut Client,
    parts: &mut Vec<Part>,
    first: &[u8],
    row: RowReader,
) -> Result<Option<Status>, String> {
    let count = Reader::new(first).lenenc_int().map_err(|e| e.to_string())?;
    let columns = read_columns(client, count)?;
    let mut eof = None;
    if !client.capabilities.contains(Capabilities::DEPRECATE_EOF)
        && let Part::Eof { warnings, status } = eof_part(&client.packet()?)?
    {
        eof = Some((warnings, status));
    }
    parts.push(Part::Columns {
        columns: columns.clone(),
        eof,
    });
    if eof.is_some_and(|(_, status)| status.contains(Status::CURSOR_EXISTS)) {
        return Ok(eof.map(|(_, status)| status));
    }
    read_rows(client, parts, &columns, row)
}

fn read_rows(
    client: &mut Client,
    parts: &mut Vec<Part>,
    columns: &[ColumnSeen],
    row: RowReader,
) -> Result<Option<Status>, String> {
    let mut rows = Vec::new();
    let mut read = || -> Result<Part, String> {
        loop {
            let payload = client.packet()?;
            match payload.first() {
                Some(0xFF) => return Ok(Part::error(&payload)),
                Some(0xFE) if payload.len() < 0xFF_FFFF => {
                    let deprecated = client.capabilities.contains(Capabilities::DEPRECATE_EOF);
                    return if deprecated {
                        Part::ok(&payload, client.capabilities)
                    } else {
                        eof_part(&payload)
                    };
                }
                _ => rows.push(row(&payload, columns)?),
            }
        }
    };
    let end = read();
    parts.push(Part::Rows(rows));
    let end = end?;
    let status = Reply(vec![end.clone()]).status();
    parts.push(end);
    Ok(status)
}

fn read_columns(client: &mut Client, count: u64) -> Result<Vec<ColumnSeen>, String> {
    (0..count)
        .map(|_| client.packet().and_then(|p| column_seen(&p)))
        .collect()
}

fn column_seen(payload: &[u8]) -> Result<ColumnSeen, String> {
    let c = Column::decode(payload).map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(ColumnSeen {
        text: format!(
            "{}.{}({}).{}({}) type={} flags={:#06x} collation={} length={} decimals={} default={:?}",
            text(c.schema),
            text(c.table),
            text(c.org_table),
            text(c.name),
            text(c.org_name),
            c.column_type.0,
            c.flags.0,
            c.collation,
            c.length_bytes,
            c.decimals,
            c.default_value.map(|v| v.map(text)),
        ),
        kind: c.column_type,
        unsigned: c.flags.contains(ColumnFlags::UNSIGNED),
    })
}

fn read_columns_to_end(client: &mut Client, parts: &mut Vec<Part>) -> Result<(), String> {
    let mut columns = Vec::new();
    let end = loop {
        let payload = client.packet()?;
        match payload.first() {
            Some(0xFF) => break Part::error(&payload),
            Some(0xFE) if payload.len() < 7 => break eof_part(&payload)?,
            Some(0xFE) => break Part::ok(&payload, client.capabilities)?,
            _ => columns.push(column_seen(&payload)?),
        }
    };
    parts.push(Part::Columns { columns, eof: None });
    parts.push(end);
    Ok(())
}

fn read_prepared(client: &mut Client, parts: &mut Vec<Part>) -> Result<(), String> {
    let payload = client.packet()?;
    if payload.first() != Some(&0) {
        parts.push(Part::error(&payload));
        return Ok(());
    }
    let mut r = Reader::new(payload.get(1..).unwrap_or_default());
    let mut head = || -> Result<_, dbmesh_wire::DecodeError> {
        let (id, columns, params) = (r.u32()?, r.u16()?, r.u16()?);
        r.u8()?;
        Ok((id, columns, params, r.u16()?))
    };
    let (id, columns, params, warnings) = head().map_err(|e| e.to_string())?;
    parts.push(Part::Prepared {
        id,
        columns,
        params,
        warnings,
    });
    for count in [params, columns] {
        if count == 0 {
            continue;
        }
        let columns = read_columns(client, u64::from(count))?;
        let mut eof = None;
        if !client.capabilities.contains(Capabilities::DEPRECATE_EOF)
            && let Part::Eof { warnings, status } = eof_part(&client.packet()?)?
        {
            eof = Some((warnings, status));
        }
        parts.push(Part::Columns { columns, eof });
    }
    Ok(())
}

fn text_row(payload: &[u8], columns: &[ColumnSeen]) -> Result<Vec<Cell>, String> {
    let mut r = Reader::new(payload);
    let row = columns.iter().map(|_| {
        Ok(r.lenenc_bytes_or_null()
            .map_err(|e| e.to_string())?
            .map(<[u8]>::to_vec))
    });
    row.collect()
}

/// A row whose columns are not at hand: its bytes.
fn raw_row(payload: &[u8], _: &[ColumnSeen]) -> Result<Vec<Cell>, String> {
    Ok(vec![Some(payload.to_vec())])
}

fn binary_row(payload: &[u8], columns: &[ColumnSeen]) -> Result<Vec<Cell>, String> {
    let text = |e: dbmesh_wire::DecodeError| e.to_string();
    let mut r = Reader::new(payload);
    r.u8().map_err(text)?;
    let bitmap = r.bytes((columns.len() + 9) / 8).map_err(text)?;
    let mut row = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let bit = index + 2;
        let null = bitmap.get(bit / 8).is_some_and(|b| b >> (bit % 8) & 1 == 1);
        row.push(if null {
            None
        } else {
            Some(binary_cell(&mut r, column).map_err(text)?)
        });
    }
    r.finish().map_err(text)?;
    Ok(row)
}

fn binary_cell(
    r: &mut Reader<'_>,
    column: &ColumnSeen,
) -> Result<Vec<u8>, dbmesh_wire::DecodeError> {
    Ok(match (column.kind, column.kind.binary_layout()) {
        (ColumnType::DOUBLE, _) => f64::from_le_bytes(r.array()?).to_string().into_bytes(),
        (ColumnType::FLOAT, _) => f32::from_le_bytes(r.array()?).to_string().into_bytes(),
        (_, BinaryLayout::Fixed(width)) => {
            let bytes = r.bytes(width)?;
            let mut wide = [0; 8];
            wide[..width].copy_from_slice(bytes);
            let shift = 64 - 8 * width.min(8);
            let value = u64::from_le_bytes(wide);
            if column.unsigned || width == 0 {
                value.to_string().into_bytes()
            } else {
                (((value << shift) as i64) >> shift)
                    .to_string()
                    .into_bytes()
            }
        }
        (_, BinaryLayout::ShortLength) => {
            let length = r.u8()?;
            let bytes = r.bytes(usize::from(length))?;
            format!("{bytes:?}").into_bytes()
        }
        (_, BinaryLayout::LengthEncoded) => r.lenenc_bytes()?.to_vec(),
    })
}
