//! What a server answers in single packets: OK, ERR, EOF, column definitions, session state.
#![no_main]

use dbmesh_wire::auth::{AuthMoreData, AuthSwitchRequest};
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::codec::{Header, Reader};
use dbmesh_wire::column::Column;
use dbmesh_wire::reply::{Eof, Err, Ok as OkPacket, OkForm};
use dbmesh_wire::track;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (caps, payload) = (Capabilities(input.0 | Capabilities::PROTOCOL_41.0), input.1);
    if let Ok(ok) = OkPacket::decode(payload, caps) {
        for item in track::items(ok.session_state).take(10_000) {
            let _ = item;
        }
        let mut out = Vec::new();
        ok.encode(&mut out, OkForm::Command, caps);
        let again = OkPacket::decode(&out, caps).expect("what we encode, we decode");
        assert_eq!(
            (ok.affected_rows, ok.last_insert_id),
            (again.affected_rows, again.last_insert_id)
        );
        assert_eq!(ok.warnings, again.warnings);
    }
    let read: Vec<_> = track::items(payload)
        .take(10_000)
        .filter_map(Result::ok)
        .collect();
    let encoded = track::encode(read.iter().copied());
    let again: Vec<_> = track::items(&encoded).filter_map(Result::ok).collect();
    assert_eq!(read, again, "session state goes through unchanged");
    if let Ok(err) = Err::decode(payload, caps) {
        let _ = err.text();
        let _ = err.to_buf();
    }
    let _ = Eof::decode(payload);
    if let Ok(column) = Column::decode(payload) {
        let mut out = Vec::new();
        column.encode(&mut out, Capabilities::NONE);
        assert_eq!(Column::decode(&out), Ok(column));
    }
    let _ = AuthSwitchRequest::decode(payload);
    let _ = AuthMoreData::decode(payload);
    let _ = Header::first(payload);
    let mut reader = Reader::new(payload);
    while !reader.is_empty() && reader.lenenc_bytes_or_null().is_ok() {}
});
