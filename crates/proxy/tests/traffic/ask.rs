//! Commands with query attributes, and answers of prepared statements.

use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{Reader, put_lenenc_bytes, put_lenenc_int};

use crate::faultkit::client::{Credentials, RawClient, Reply, error_packet};

/// A client that can send query attributes.
pub fn attributed(port: u16) -> RawClient {
    RawClient::logged_in(
        port,
        &Credentials::app().more(Capabilities::QUERY_ATTRIBUTES),
    )
}

/// A text type of the binary protocol.
const VAR_STRING: [u8; 2] = [0xFD, 0];

/// COM_QUERY with the attribute `mesh`.
pub fn query_with(client: &mut RawClient, hints: &str, sql: &str) -> Reply {
    let mut payload = vec![3, 1, 1, 0, 1];
    payload.extend_from_slice(&VAR_STRING);
    put_lenenc_bytes(&mut payload, b"mesh");
    put_lenenc_bytes(&mut payload, hints.as_bytes());
    payload.extend_from_slice(sql.as_bytes());
    client.command(&payload);
    client.reply()
}

/// A prepared statement: its id and the number of its parameters.
pub fn prepare(client: &mut RawClient, sql: &str) -> Result<(u32, u16), Reply> {
    let mut payload = vec![0x16];
    payload.extend_from_slice(sql.as_bytes());
    client.command(&payload);
    let first = client.packet().unwrap();
    if first.first() == Some(&0xFF) {
        return Err(Reply::Error(error_packet(&first)));
    }
    let mut reader = Reader::new(&first[1..]);
    let (id, columns, params) = (
        reader.u32().unwrap(),
        reader.u16().unwrap(),
        reader.u16().unwrap(),
    );
    for _ in 0..columns + params {
        client.packet().unwrap();
    }
    Ok((id, params))
}

/// Executes a prepared statement whose parameters are texts, with the attribute `mesh` if there are hints. Of rows, the
/// first column is shown, which must be a text.
pub fn execute(client: &mut RawClient, id: u32, values: &[&str], hints: Option<&str>) -> Reply {
    let named = client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
    let mut payload = vec![0x17];
    payload.extend_from_slice(&id.to_le_bytes());
    payload.push(if hints.is_some() { 8 } else { 0 });
    payload.extend_from_slice(&1u32.to_le_bytes());
    let all: Vec<(&str, &str)> = values
        .iter()
        .map(|value| ("", *value))
        .chain(hints.map(|hints| ("mesh", hints)))
        .collect();
    if !all.is_empty() {
        if named {
            put_lenenc_int(&mut payload, all.len() as u64);
        }
        payload.extend(std::iter::repeat_n(0, all.len().div_ceil(8)));
        payload.push(1);
        for (name, _) in &all {
            payload.extend_from_slice(&VAR_STRING);
            if named {
                put_lenenc_bytes(&mut payload, name.as_bytes());
            }
        }
        for (_, value) in &all {
            put_lenenc_bytes(&mut payload, value.as_bytes());
        }
    }
    client.command(&payload);
    answer(client)
}

pub fn answer(client: &mut RawClient) -> Reply {
    let Ok(first) = client.packet() else {
        return Reply::Closed;
    };
    match first.first() {
        Some(0) => return Reply::Ok,
        Some(0xFF) => return Reply::Error(error_packet(&first)),
        _ => {}
    }
    let columns = first[0];
    for _ in 0..columns {
        client.packet().unwrap();
    }
    let mut rows = Vec::new();
    loop {
        let payload = client.packet().unwrap();
        match payload.first() {
            Some(0xFE) => return Reply::Rows(rows),
            Some(0xFF) => return Reply::Error(error_packet(&payload)),
            _ => {
                let bitmap = (usize::from(columns) + 9) / 8;
                let mut reader = Reader::new(&payload[1 + bitmap..]);
                let cell = String::from_utf8_lossy(reader.lenenc_bytes().unwrap()).into_owned();
                rows.push(vec![Some(cell)]);
            }
        }
    }
}

/// The error's text.
pub fn message(reply: &Reply) -> &str {
    match reply {
        Reply::Error(e) => &e.message,
        other => panic!("no error: {other:?}"),
    }
}

/// That the reply is this error, and says this.
pub fn assert_error(reply: &Reply, code: u16, says: &str) {
    assert_eq!(reply.code(), Some(code), "{reply:?}");
    assert!(
        message(reply).contains(says),
        "{reply:?} does not say {says:?}"
    );
}
