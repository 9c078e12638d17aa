//! Result sets of the proxy's own, byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::codec::{HEADER_BYTES, Header};
use dbmesh_wire::column::{Column, ColumnType};
use dbmesh_wire::result_set::{Cell, ResultSetBuilder, put_binary_row};
use dbmesh_wire::{Capabilities, Status};

fn payloads(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut out = Vec::new();
    while let Some(header) = Header::first(bytes) {
        let (payload, rest) = bytes[HEADER_BYTES..].split_at(header.len as usize);
        out.push((header.seq, payload.to_vec()));
        bytes = rest;
    }
    out
}

fn build(caps: Capabilities, binary: bool) -> (Vec<(u8, Vec<u8>)>, u8) {
    let columns = [Column::text(b"name", 255), Column::integer(b"id")];
    let mut seq = 1;
    let status = Status::AUTOCOMMIT;
    let mut set = match binary {
        true => ResultSetBuilder::binary(&mut seq, caps, status, &columns),
        false => ResultSetBuilder::text(&mut seq, caps, status, &columns),
    };
    set.row(&["ab".into(), Cell::Int(-1)]);
    set.row(&[Cell::Null]);
    set.row(&[7u64.into(), 8i64.into(), Cell::Int(9)]);
    let packets = payloads(&set.finish(3));
    (packets, seq)
}

#[test]
fn text_with_eof_packets() {
    let (packets, seq) = build(Capabilities::PROTOCOL_41, false);
    let ids: Vec<u8> = packets.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, (1..=8).collect::<Vec<_>>());
    assert_eq!(seq, 9);
    let bodies: Vec<&[u8]> = packets.iter().map(|(_, body)| body.as_slice()).collect();
    assert_eq!(bodies[0], [2]);
    assert_eq!(
        Column::decode(bodies[1]).unwrap(),
        Column::text(b"name", 255)
    );
    assert_eq!(Column::decode(bodies[2]).unwrap(), Column::integer(b"id"));
    assert_eq!(bodies[3], b"\xfe\0\0\x02\0");
    assert_eq!(bodies[4], b"\x02ab\x02-1");
    assert_eq!(bodies[5], b"\xfb\xfb", "missing cells are NULL");
    assert_eq!(bodies[6], b"\x017\x018", "surplus cells are left out");
    assert_eq!(bodies[7], b"\xfe\x03\0\x02\0");
}

#[test]
fn text_with_ok_at_the_end() {
    let (packets, seq) = build(
        Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF,
        false,
    );
    assert_eq!((packets.len(), seq), (7, 8));
    assert_eq!(packets[3].1, b"\x02ab\x02-1");
    assert_eq!(packets[6], (7, b"\xfe\0\0\x02\0\x03\0".to_vec()));
}

#[test]
fn metadata_flag() {
    let caps = Capabilities::PROTOCOL_41 | Capabilities::OPTIONAL_RESULTSET_METADATA;
    assert_eq!(build(caps, false).0[0].1, [1, 2]);
}

#[test]
fn binary() {
    let (packets, _) = build(
        Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF,
        true,
    );
    assert_eq!(packets[3].1, b"\0\0\x02ab\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(packets[4].1, b"\0\x0c", "bits 2 and 3 of the bitmap");
    assert_eq!(packets[5].1, b"\0\0\x017\x08\0\0\0\0\0\0\0");
}

#[test]
fn binary_widths() {
    let types = [
        ColumnType::TINY,
        ColumnType::SHORT,
        ColumnType::LONG,
        ColumnType::LONGLONG,
        ColumnType::DOUBLE,
        ColumnType::DATETIME,
        ColumnType::VAR_STRING,
    ];
    let mut out = Vec::new();
    put_binary_row(&mut out, &types, &[Cell::Int(-2); 7]);
    // Seven columns take two bytes of bitmap; the double and the date have no form here and are NULL.
    let expected = b"\0\xc0\x00\xfe\xfe\xff\xfe\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff\x02-2";
    assert_eq!(out, expected);
}

#[test]
fn the_answer_to_select_1_is_mysqls() {
    let mut seq = 1;
    let caps = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    let mut set =
        ResultSetBuilder::text(&mut seq, caps, Status::AUTOCOMMIT, &[Column::integer(b"1")]);
    set.row(&[Cell::Int(1)]);
    let packets = payloads(&set.finish(0));
    assert_eq!(packets[0].1, b"\x01");
    assert_eq!(packets[2].1, b"\x011");
    assert_eq!(packets[3].1, b"\xfe\0\0\x02\0\0\0");
}
