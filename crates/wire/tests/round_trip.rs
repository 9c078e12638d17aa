//! What is encoded decodes to the same, for any value.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::codec::*;
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};
use dbmesh_wire::command::*;
use dbmesh_wire::compress::{Algorithm, Compressor, Decompressor};
use dbmesh_wire::greeting::Greeting;
use dbmesh_wire::handshake::{ConnectAttributes, HandshakeResponse};
use dbmesh_wire::reply::{self, OkForm, SqlState};
use dbmesh_wire::track::{self, Item};
use dbmesh_wire::{Capabilities, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..80)
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// The packets of `bytes`: sequence ids and payloads.
fn packets(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut out = Vec::new();
    while let Some(header) = Header::first(bytes) {
        let (payload, rest) = bytes[HEADER_BYTES..].split_at(header.len as usize);
        out.push((header.seq, payload));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a packet");
    out
}

#[test]
fn an_answer_has_the_number_behind_its_command() {
    for (length, behind) in [
        (1, 1),
        (MAX_PAYLOAD - 1, 1),
        (MAX_PAYLOAD, 2),
        (2 * MAX_PAYLOAD + 3, 3),
    ] {
        let payload = vec![0; length];
        let packets = encoded(|out| put_packet(out, &mut 0, &payload));
        assert_eq!(seq_behind(&packets), behind, "{length}");
    }
    let two = encoded(|out| {
        put_packet(out, &mut 0, &[1]);
        put_packet(out, &mut 0, &[2]);
    });
    assert_eq!(seq_behind(&two), 1);
}

proptest! {
    #[test]
    fn integers(a: u8, b: u16, c in 0u32..1 << 24, d: u32, e: u64) {
        let out = encoded(|out| {
            put_u8(out, a);
            put_u16(out, b);
            put_u24(out, c);
            put_u32(out, d);
            put_u64(out, e);
        });
        let mut r = Reader::new(&out);
        prop_assert_eq!((r.u8(), r.u16(), r.u24(), r.u32(), r.u64()), (Ok(a), Ok(b), Ok(c), Ok(d), Ok(e)));
        prop_assert!(r.is_empty());
    }

    #[test]
    fn length_encoded(value: u64, shift in 0u32..64, text in bytes()) {
        let value = value >> shift;
        let out = encoded(|out| put_lenenc_int(out, value));
        prop_assert_eq!(out.len(), lenenc_int_bytes(value));
        prop_assert_eq!(Reader::new(&out).lenenc_int(), Ok(value));
        let out = encoded(|out| put_lenenc_bytes(out, &text));
        prop_assert_eq!(Reader::new(&out).lenenc_bytes(), Ok(&*text));
        prop_assert_eq!(Reader::new(&out).lenenc_bytes_or_null(), Ok(Some(&*text)));
        prop_assert!(Reader::new(&out[..out.len() - 1]).lenenc_bytes().is_err());
    }

    #[test]
    fn packet_framing(payload in bytes(), seq: u8) {
        let mut next = seq;
        let out = encoded(|out| put_packet(out, &mut next, &payload));
        prop_assert_eq!(packets(&out), [(seq, &*payload)]);
        prop_assert_eq!(next, seq.wrapping_add(1));
        let mut next = seq;
        let in_place = encoded(|out| {
            let start = begin_packet(out);
            out.extend_from_slice(&payload);
            finish_packet(out, start, &mut next);
        });
        prop_assert_eq!(in_place, out);
    }

    #[test]
    fn greetings(
        version in "[0-9A-Za-z.-]{0,40}", connection_id: u32, nonce: [u8; 20], caps: u32, mariadb: u32,
        collation: u8, status: u16, plugin in "[a-z0-9_]{0,30}",
    ) {
        let capabilities = Capabilities::from_wire(caps, mariadb) | Capabilities::PROTOCOL_41;
        let greeting = Greeting {
            server_version: version,
            connection_id,
            nonce,
            capabilities,
            collation,
            status: Status(status),
            auth_plugin: if capabilities.contains(Capabilities::PLUGIN_AUTH) { plugin } else { String::new() },
        };
        prop_assert_eq!(Greeting::decode(&encoded(|out| greeting.encode(out))), Ok(greeting));
    }

    #[test]
    fn handshake_responses(
        caps: u32, mariadb: u32, collation: u8, max_packet_bytes: u32, user in name(), auth in bytes(), database in option::of(name()),
        plugin in option::of("[a-z0-9_]{0,30}"), attributes in option::of(vec((".{0,20}", ".{0,40}"), 0..10)),
        zstd_level in option::of(any::<u8>()),
    ) {
        let response = HandshakeResponse {
            capabilities: Capabilities::from_wire(caps, mariadb),
            max_packet_bytes,
            collation: u16::from(collation),
            user,
            auth_response: auth,
            database: database.filter(|name| !name.is_empty()),
            auth_plugin: plugin,
            attributes: attributes.map(ConnectAttributes),
            zstd_level,
        };
        let payload = encoded(|out| response.encode(out));
        let decoded = HandshakeResponse::decode(&payload).unwrap();
        let expected = HandshakeResponse { capabilities: decoded.capabilities, ..response };
        prop_assert_eq!(&decoded, &expected);
        prop_assert_eq!(encoded(|out| decoded.encode(out)), payload);
    }

    #[test]
    fn oks(
        affected_rows: u64, last_insert_id: u64, status: u16, warnings: u16, info in bytes(), state in bytes(), tracks: bool,
    ) {
        let caps = Capabilities::PROTOCOL_41 | if tracks { Capabilities::SESSION_TRACK } else { Capabilities::NONE };
        let state = if tracks { state } else { Vec::new() };
        let flag = if state.is_empty() { Status::NONE } else { Status::SESSION_STATE_CHANGED };
        let ok = reply::Ok {
            affected_rows,
            last_insert_id,
            status: Status(status).difference(Status::SESSION_STATE_CHANGED) | flag,
            warnings,
            info: &info,
            session_state: &state,
        };
        for form in [OkForm::Command, OkForm::ResultSetEnd] {
            let payload = encoded(|out| ok.encode(out, form, caps));
            prop_assert_eq!(reply::Ok::decode(&payload, caps), Ok(ok));
        }
    }

    #[test]
    fn errs(code: u16, state in option::of("[0-9A-Z]{5}"), message in name()) {
        prop_assume!(state.is_some() || !message.starts_with(b"#"));
        let sqlstate = state.map(|state| SqlState(state.as_bytes().try_into().unwrap()));
        let err = reply::Err { code, sqlstate, message: &message };
        let payload = err.to_payload();
        prop_assert_eq!(reply::Err::decode(&payload, Capabilities::PROTOCOL_41), Ok(err));
        let copy = err.to_buf();
        prop_assert_eq!(copy.as_err(), err);
    }

    #[test]
    fn session_state(a in bytes(), b in bytes(), changed: bool, kind in 6u8..) {
        let items = [
            Item::SystemVariable { name: &a, value: &b },
            Item::Schema(&a),
            Item::StateChange(changed),
            Item::Gtids(&b),
            Item::TransactionCharacteristics(&a),
            Item::TransactionState(&b),
            Item::Unknown(kind, &a),
        ];
        let list = track::encode(items);
        let decoded: Result<Vec<_>, _> = track::items(&list).collect();
        prop_assert_eq!(decoded.unwrap(), items);
    }

    #[test]
    fn column_definitions(
        texts in proptest::array::uniform6(bytes()), collation: u16, length_bytes: u32, kind: u8, flags: u16, decimals: u8,
        default_value in option::of(option::of(bytes())), extended in option::of(bytes()),
    ) {
        let [catalog, schema, table, org_table, name, org_name] = &texts;
        let column = Column {
            catalog, schema, table, org_table, name, org_name, collation, length_bytes, decimals,
            column_type: ColumnType(kind),
            flags: ColumnFlags(flags),
            default_value: default_value.as_ref().map(|value| value.as_deref()),
            extended: extended.as_deref().unwrap_or_default(),
        };
        let caps = if extended.is_some() { Capabilities::EXTENDED_METADATA } else { Capabilities::NONE };
        let payload = encoded(|out| column.encode(out, caps));
        prop_assert_eq!(Column::decode_from(&payload, caps), Ok(column));
    }

    #[test]
    fn change_users(
        user in name(), auth in vec(any::<u8>(), 0..256), database in name(), collation: u16,
        plugin in "[a-z0-9_]{1,30}", attributes in vec((".{0,20}", ".{0,40}"), 0..5),
    ) {
        let caps = Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS;
        let change = ChangeUser {
            user,
            auth_response: auth,
            database,
            collation: Some(collation),
            auth_plugin: Some(plugin),
            attributes: Some(ConnectAttributes(attributes)),
        };
        prop_assert_eq!(ChangeUser::decode(&encoded(|out| change.encode(out, caps)), caps), Ok(change));
    }

    #[test]
    fn small_commands(id: u32, rows: u32, parameter: u16, text in bytes()) {
        let sent = encoded(|out| put_init_db(out, &text));
        prop_assert_eq!(InitDb::decode(&sent), Ok(InitDb { database: &text }));
        let sent = encoded(|out| put_stmt_prepare(out, &text));
        prop_assert_eq!(StmtPrepare::decode(&sent), Ok(StmtPrepare { sql: &text }));
        let sent = encoded(|out| put_process_kill(out, id));
        prop_assert_eq!(ProcessKill::decode(&sent), Ok(ProcessKill { connection_id: id }));
        let sent = encoded(|out| put_stmt_fetch(out, id, rows));
        prop_assert_eq!(StmtFetch::decode(&sent), Ok(StmtFetch { stmt_id: id, rows }));
        let sent = encoded(|out| put_stmt_close(out, id));
        prop_assert_eq!(StmtClose::decode(&sent), Ok(StmtClose { stmt_id: id }));
        let mut sent = encoded(|out| put_stmt_reset(out, id));
        set_stmt_id(&mut sent, rows);
        prop_assert_eq!(StmtReset::decode(&sent), Ok(StmtReset { stmt_id: rows }));
        let sent = encoded(|out| put_stmt_send_long_data(out, id, parameter, &text));
        prop_assert_eq!(StmtSendLongData::decode(&sent), Ok(StmtSendLongData { stmt_id: id, parameter, data: &text }));
        for multi_statements in [MultiStatements::On, MultiStatements::Off] {
            let sent = encoded(|out| put_set_option(out, multi_statements));
            prop_assert_eq!(SetOption::decode(&sent), Ok(SetOption { multi_statements }));
        }
    }

    #[test]
    fn compression(pieces in vec(vec(0u8..8, 0..2000), 1..8), level: u8, zstd: bool, cut: prop::sample::Index) {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
        let mut compressor = Compressor::new(algorithm, level % 10);
        let mut frames = Vec::new();
        for piece in &pieces {
            compressor.compress(piece, &mut frames).unwrap();
        }
        let mut decompressor = Decompressor::new(algorithm);
        let mut plain = Vec::new();
        // In two parts, cut anywhere.
        let cut = cut.index(frames.len() + 1);
        let used = decompressor.decompress(&frames[..cut], &mut plain).unwrap();
        prop_assert!(used <= cut);
        prop_assert_eq!(decompressor.decompress(&frames[used..], &mut plain), Ok(frames.len() - used));
        prop_assert_eq!(plain, pieces.concat());
        prop_assert_eq!(decompressor.next_sequence(), compressor.next_sequence());
    }
}

#[test]
fn large_payloads_are_split() {
    for (length, expected) in [
        (MAX_PAYLOAD - 1, vec![MAX_PAYLOAD - 1]),
        (MAX_PAYLOAD, vec![MAX_PAYLOAD, 0]),
        (MAX_PAYLOAD + 1, vec![MAX_PAYLOAD, 1]),
        (2 * MAX_PAYLOAD, vec![MAX_PAYLOAD, MAX_PAYLOAD, 0]),
    ] {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut seq = 254;
        let out = encoded(|out| put_packet(out, &mut seq, &payload));
        let sent = packets(&out);
        assert_eq!(
            sent.iter()
                .map(|(_, piece)| piece.len())
                .collect::<Vec<_>>(),
            expected
        );
        let wrapped: Vec<u8> = (0..expected.len())
            .map(|i| 254u8.wrapping_add(i as u8))
            .collect();
        assert_eq!(
            sent.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
            wrapped
        );
        assert_eq!(seq, 254u8.wrapping_add(expected.len() as u8));
        assert!(sent.iter().flat_map(|(_, piece)| *piece).eq(&payload));
        let mut seq = 254;
        let in_place = encoded(|out| {
            out.extend_from_slice(b"before");
            let start = begin_packet(out);
            out.extend_from_slice(&payload);
            finish_packet(out, start, &mut seq);
        });
        assert!(in_place.strip_prefix(b"before".as_slice()) == Some(&out));
    }
}
