//! MariaDB's EXTENDED_METADATA between two hops, of which one may lack it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::codec::put_packet;
use dbmesh_wire::column::{Column, put_definition};
use dbmesh_wire::relay::{Hops, ItemFilter, Numbering, Progress, Relay, Shape};
use dbmesh_wire::result_set::{Cell, ResultSetBuilder};
use dbmesh_wire::{Capabilities, Status};

const PLAIN: Capabilities = Capabilities(0x200 | 0x100_0000);
const EXTENDED: Capabilities = Capabilities(PLAIN.0 | Capabilities::EXTENDED_METADATA.0);

/// A column of JSON, as MariaDB tells of it: type 1 (format) is `json`.
fn json_column(caps: Capabilities) -> Vec<u8> {
    let mut plain = Vec::new();
    Column::text(b"j", 45).encode(&mut plain, PLAIN);
    if caps == PLAIN {
        return plain;
    }
    let names = plain.len() - 13;
    let mut extended = plain[..names].to_vec();
    extended.extend_from_slice(b"\x06\x01\x04json");
    extended.extend_from_slice(&plain[names..]);
    extended
}

fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seq = 1;
    for payload in payloads {
        put_packet(&mut out, &mut seq, payload);
    }
    out
}

/// What the client gets when the response comes byte by byte.
fn relayed(shape: Shape, backend: Capabilities, client: Capabilities, response: &[u8]) -> Vec<u8> {
    let mut relay = Relay::new(
        shape,
        Hops {
            backend,
            client,
            backend_seq: 1,
            client_seq: 1,
            status: Status::AUTOCOMMIT,
            numbering: Numbering::Strict,
            filter: ItemFilter::Fixed(|_| true),
            more: Status::NONE,
            names: None,
        },
    );
    let (mut out, mut begin) = (Vec::new(), 0);
    for end in 1..=response.len() {
        let (taken, progress) = relay.feed(&response[begin..end], &mut out).unwrap();
        begin += taken;
        assert_eq!(progress == Progress::Done, end == response.len());
    }
    out
}

const END: &[u8] = b"\xfe\0\0\x02\0\0\0";

#[test]
fn a_relay_adds_or_takes_away_what_only_one_hop_has() {
    for (backend, client) in [
        (EXTENDED, PLAIN),
        (PLAIN, EXTENDED),
        (PLAIN, PLAIN),
        (EXTENDED, EXTENDED),
    ] {
        let sent = json_column(backend);
        let seen = match (backend == EXTENDED, client == EXTENDED) {
            (false, true) => {
                let mut out = Vec::new();
                Column::text(b"j", 45).encode(&mut out, EXTENDED);
                out
            }
            (_, _) => json_column(client),
        };
        let response = packets(&[b"\x02", &sent, &sent, b"\x02{}\xfb", END]);
        assert_eq!(
            relayed(Shape::Results, backend, client, &response),
            packets(&[b"\x02", &seen, &seen, b"\x02{}\xfb", END]),
            "{backend:?} to {client:?}"
        );
        assert_eq!(
            relayed(Shape::Columns, backend, client, &packets(&[&sent, END])),
            packets(&[&seen, END]),
            "{backend:?} to {client:?}, COM_FIELD_LIST"
        );
    }
}

#[test]
fn a_definition_cut_short_is_an_error() {
    let whole = json_column(EXTENDED);
    for end in 0..8 {
        assert!(put_definition(&mut Vec::new(), &whole[..end], EXTENDED, PLAIN).is_err());
    }
    let mut same = Vec::new();
    put_definition(&mut same, &whole[..3], EXTENDED, EXTENDED).unwrap();
    assert_eq!(same, whole[..3], "nothing is read where nothing changes");
}

#[test]
fn answers_of_our_own_say_that_there_is_nothing_to_tell() {
    let build = |caps| {
        let mut seq = 1;
        let columns = [Column::integer(b"id")];
        let mut set = ResultSetBuilder::text(&mut seq, caps, Status::AUTOCOMMIT, &columns);
        set.row(&[Cell::Int(1)]);
        set.finish(0)
    };
    assert_eq!(
        relayed(Shape::Results, PLAIN, EXTENDED, &build(PLAIN)),
        build(EXTENDED)
    );
}
