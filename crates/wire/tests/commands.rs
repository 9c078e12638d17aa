//! COM_QUERY and COM_STMT_EXECUTE as drivers send them, and as they are rewritten for backends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::column::ColumnType;
use dbmesh_wire::command::*;
use dbmesh_wire::{Capabilities, DecodeError};
use std::collections::BTreeSet;

const PLAIN: Capabilities = Capabilities::PROTOCOL_41;
const ATTRIBUTES: Capabilities = Capabilities::QUERY_ATTRIBUTES;

/// Two attributes, `trace` = "abc" and `nothing` = NULL, before `SELECT 1`.
const QUERY: &[u8] = b"\x03\x02\x01\x02\x01\xfe\0\x05trace\x06\0\x07nothing\x03abcSELECT 1";

/// Statement 1 with parameters 42 (INT UNSIGNED) and NULL, without attributes.
const EXECUTE: &[u8] = b"\x17\x01\0\0\0\x01\x01\0\0\0\x02\x01\x03\x80\xfe\0\x2a\0\0\0";

/// The same under QUERY_ATTRIBUTES, with the attribute `trace` = "abc".
const EXECUTE_WITH_ATTRIBUTE: &[u8] =
    b"\x17\x01\0\0\0\x09\x01\0\0\0\x03\x02\x01\x03\x80\0\xfe\0\0\xfe\0\x05trace\x2a\0\0\0\x03abc";

fn execute(payload: &[u8], caps: Capabilities) -> StmtExecute {
    StmtExecute::decode(payload, 2, caps).unwrap()
}

fn rewritten(
    payload: &[u8],
    from: Capabilities,
    types: &[u8],
    long_data: &[u16],
    to: Capabilities,
) -> Vec<u8> {
    let long_data = long_data.iter().copied().collect();
    let target = ExecuteTarget {
        stmt_id: 0x0102_0304,
        num_params: 2,
        types,
        long_data: &long_data,
        caps: to,
    };
    let mut out = Vec::new();
    put_execute(&mut out, payload, &execute(payload, from), target).unwrap();
    out
}

#[test]
fn query_without_the_capability() {
    let query = Query::decode(b"\x03SELECT 1", PLAIN).unwrap();
    assert_eq!(
        (query.sql, query.sql_offset, query.attributes.len()),
        (b"SELECT 1".as_slice(), 1, 0)
    );
    let mut out = Vec::new();
    put_query(&mut out, query.sql, &query.attributes, ATTRIBUTES);
    assert_eq!(out, b"\x03\x00\x01SELECT 1");
    assert_eq!(Query::decode(&out, ATTRIBUTES).unwrap().sql, b"SELECT 1");
}

#[test]
fn query_attributes() {
    let query = Query::decode(QUERY, ATTRIBUTES).unwrap();
    assert_eq!(query.sql, b"SELECT 1");
    assert_eq!(&QUERY[query.sql_offset..], b"SELECT 1");
    let attributes: Vec<_> = query.attributes.iter().map(Result::unwrap).collect();
    assert_eq!(attributes[0].kind.name, b"trace");
    assert_eq!(attributes[0].value, ParameterValue::Bytes(b"abc"));
    assert_eq!(
        (attributes[1].kind.name, attributes[1].value),
        (b"nothing".as_slice(), ParameterValue::Null)
    );
    let mut out = Vec::new();
    put_query(&mut out, b"SELECT 2", &query.attributes, ATTRIBUTES);
    assert_eq!(out, [&QUERY[..QUERY.len() - 1], b"2"].concat());
    out.clear();
    put_query(&mut out, query.sql, &query.attributes, PLAIN);
    assert_eq!(out, b"\x03SELECT 1");
}

#[test]
fn malformed_query_attributes() {
    let field = |payload: &[u8]| match Query::decode(payload, ATTRIBUTES).unwrap_err() {
        DecodeError::BadValue { field, .. } | DecodeError::TooLarge { field, .. } => field,
        DecodeError::Truncated { .. } => "cut",
        other => panic!("{other}"),
    };
    assert_eq!(field(b"\x03\x00\x02SELECT 1"), "parameter set count");
    assert_eq!(field(b"\x03\x01\x01\0\0SELECT 1"), "new params bind flag");
    assert_eq!(field(b"\x03\xfd\xff\xff\xff\x01"), "parameter count");
    assert_eq!(field(&QUERY[..20]), "cut");
}

#[test]
fn the_count_is_there_without_its_flag() {
    // `SELECT ?, ?` with 1 and NULL as mysql-connector-python sends it.
    let payload = b"\x17\x01\0\0\0\0\x01\0\0\0\x02\x02\x01\x01\x80\0\x06\0\0\x01";
    let decoded = execute(payload, ATTRIBUTES);
    let types = decoded.types(payload).unwrap();
    assert_eq!(types, b"\x01\x80\0\x06\0\0");
    let none = BTreeSet::new();
    let values: Vec<_> = decoded
        .values(payload, types, &none)
        .map(|value| value.unwrap().value)
        .collect();
    assert_eq!(
        values,
        [ParameterValue::Bytes(b"\x01"), ParameterValue::Null]
    );
}

#[test]
fn execute_layout() {
    let decoded = execute(EXECUTE, PLAIN);
    assert_eq!(
        (decoded.stmt_id, decoded.flags, decoded.iteration),
        (1, ExecuteFlags::CURSOR_READ_ONLY, 1)
    );
    assert!(decoded.flags.asks_for_cursor());
    let types = decoded.types(EXECUTE).unwrap();
    assert_eq!(types, b"\x03\x80\xfe\0");
    let none = BTreeSet::new();
    let values: Vec<_> = decoded
        .values(EXECUTE, types, &none)
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        (values[0].kind.column_type, values[0].kind.unsigned),
        (ColumnType::LONG, true)
    );
    assert_eq!(values[0].value, ParameterValue::Bytes(b"\x2a\0\0\0"));
    assert_eq!(values[1].value, ParameterValue::Null);
    assert_eq!(StmtExecute::stmt_id_of(EXECUTE), Ok(1));
    assert_eq!(
        StmtExecute::decode(&EXECUTE[..10], 0, PLAIN)
            .unwrap()
            .parameters,
        None
    );
}

#[test]
fn remembered_types_are_inserted() {
    let bare = b"\x17\x01\0\0\0\0\x01\0\0\0\x02\0\x2a\0\0\0";
    let decoded = execute(bare, PLAIN);
    assert_eq!(decoded.types(bare), None);
    let block = decoded.parameters.unwrap();
    let inserted = insert_types(bare, &block, b"\x03\x80\xfe\0");
    assert_eq!(
        inserted,
        b"\x17\x01\0\0\0\0\x01\0\0\0\x02\x01\x03\x80\xfe\0\x2a\0\0\0"
    );
    let again = execute(&inserted, PLAIN).parameters.unwrap();
    assert_eq!(
        insert_types(&inserted, &again, b"others"),
        inserted,
        "own types are left alone"
    );
}

#[test]
fn statement_id_is_patched() {
    let mut payload = EXECUTE.to_vec();
    set_stmt_id(&mut payload, 0x0102_0304);
    assert_eq!(payload[..6], *b"\x17\x04\x03\x02\x01\x01");
    let mut short = b"\x19\x01\0".to_vec();
    set_stmt_id(&mut short, 7);
    assert_eq!(short, b"\x19\x01\0");
}

#[test]
fn attributes_are_stripped_for_a_backend_without_them() {
    let types = b"\x03\x80\0\xfe\0\0\xfe\0\x05trace";
    let out = rewritten(EXECUTE_WITH_ATTRIBUTE, ATTRIBUTES, types, &[], PLAIN);
    assert_eq!(
        out,
        b"\x17\x04\x03\x02\x01\x01\x01\0\0\0\x02\x01\x03\x80\xfe\0\x2a\0\0\0"
    );
}

#[test]
fn count_and_names_are_added_for_a_backend_that_has_attributes() {
    // Without the count such a backend answers 1210 "Incorrect arguments to COM_STMT_EXECUTE".
    let out = rewritten(EXECUTE, PLAIN, b"\x03\x80\xfe\0", &[], ATTRIBUTES);
    assert_eq!(
        out,
        b"\x17\x04\x03\x02\x01\x09\x01\0\0\0\x02\x02\x01\x03\x80\0\xfe\0\0\x2a\0\0\0"
    );
}

#[test]
fn attributes_pass_between_two_sides_that_have_them() {
    let types = b"\x03\x80\0\xfe\0\0\xfe\0\x05trace";
    let out = rewritten(EXECUTE_WITH_ATTRIBUTE, ATTRIBUTES, types, &[], ATTRIBUTES);
    let mut expected = EXECUTE_WITH_ATTRIBUTE.to_vec();
    set_stmt_id(&mut expected, 0x0102_0304);
    assert_eq!(out, expected);
}

#[test]
fn long_data_has_no_value_in_the_payload() {
    // Both parameters are strings; the first came by COM_STMT_SEND_LONG_DATA.
    let payload = b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\xfc\0\xfe\0\x02hi";
    let types = b"\xfc\0\xfe\0";
    let long_data = BTreeSet::from([0]);
    let decoded = execute(payload, PLAIN);
    let values: Vec<_> = decoded
        .values(payload, types, &long_data)
        .map(|p| p.unwrap().value)
        .collect();
    assert_eq!(
        values,
        [ParameterValue::LongData, ParameterValue::Bytes(b"hi")]
    );
    assert!(rewritten(payload, PLAIN, types, &[0], PLAIN).ends_with(b"\x02hi"));
}

#[test]
fn only_the_low_half_of_a_long_length_counts() {
    let payload =
        b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\xfe\0\xfe\0\xfe\x02\0\0\0\xde\xad\xbe\xefhi\x01x";
    let decoded = execute(payload, PLAIN);
    let none = BTreeSet::new();
    let values: Vec<_> = decoded
        .values(payload, decoded.types(payload).unwrap(), &none)
        .map(|p| p.unwrap().value)
        .collect();
    assert_eq!(
        values,
        [ParameterValue::Bytes(b"hi"), ParameterValue::Bytes(b"x")]
    );
}

#[test]
fn malformed_executions() {
    assert!(StmtExecute::decode(&EXECUTE[..8], 2, PLAIN).is_err());
    assert!(
        StmtExecute::decode(&EXECUTE[..14], 2, PLAIN).is_err(),
        "cut in the types"
    );
    // One parameter less than the statement has.
    let error = StmtExecute::decode(EXECUTE_WITH_ATTRIBUTE, 4, ATTRIBUTES).unwrap_err();
    assert_eq!(
        error.to_string(),
        "COM_STMT_EXECUTE: parameter count at byte 10 may not be 3"
    );
    // The value is cut: the layout is known, the walk fails.
    let cut = &EXECUTE[..EXECUTE.len() - 1];
    let decoded = execute(cut, PLAIN);
    let none = BTreeSet::new();
    assert!(
        decoded
            .values(cut, b"\x03\x80\xfe\0", &none)
            .next()
            .unwrap()
            .is_err()
    );
}

#[test]
fn change_user_of_old_clients() {
    let caps = Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
    let change = ChangeUser::decode(b"\x11root\0\0shop\0", caps).unwrap();
    assert_eq!(
        (change.user.as_slice(), change.database.as_slice()),
        (b"root".as_slice(), b"shop".as_slice())
    );
    assert_eq!((change.collation, change.auth_plugin), (None, None));
    assert!(
        ChangeUser::decode(b"\x11root\0\x14short", caps).is_err(),
        "the answer is longer than the packet"
    );
    assert!(ChangeUser::decode(b"\x11root", caps).is_err());
}

#[test]
fn every_byte_is_one_command_or_none() {
    let known: Vec<u8> = (0..=u8::MAX)
        .filter(|&byte| CommandCode::try_from(byte).is_ok())
        .collect();
    assert_eq!(known, (0..=0x21).chain([0xFA]).collect::<Vec<_>>());
    for byte in known {
        assert_eq!(CommandCode::try_from(byte).unwrap() as u8, byte);
    }
    assert_eq!(CommandCode::of(b""), None);
    assert_eq!(
        CommandCode::of(b"\x16SELECT ?"),
        Some(CommandCode::StmtPrepare)
    );
    assert_eq!(CommandCode::StmtPrepare.name(), "StmtPrepare");
    assert!(CommandCode::StmtClose.has_no_reply() && !CommandCode::Ping.has_no_reply());
    assert!(InitDb::decode(b"\x03shop").is_err(), "another command");
    assert!(SetOption::decode(b"\x1b\x02\0").is_err());
}
