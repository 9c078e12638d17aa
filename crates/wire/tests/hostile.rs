//! Any bytes at all: every decoder answers with a value or an error, and never takes more memory than
//! its input justifies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::auth::{
    AuthMoreData, AuthSwitchRequest, ClientAuth, ClientStep, PasswordVerifier, Plugin, Secret,
    ServerAuth, ServerKey, ServerStep, Transport,
};
use dbmesh_wire::codec::Reader;
use dbmesh_wire::column::Column;
use dbmesh_wire::command::*;
use dbmesh_wire::compress::{Algorithm, CompressError, Compressor, Decompressor};
use dbmesh_wire::greeting::{FirstReply, Greeting};
use dbmesh_wire::handshake::{FirstRequest, HandshakeResponse, SslRequest};
use dbmesh_wire::{Capabilities, reply, track};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Bytes that often look like lengths, markers and ends of strings.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => any::<u8>(),
        2 => Just(0u8),
        1 => prop::sample::select(vec![1u8, 2, 3, 0x0A, 0x11, 0x17, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF]),
    ];
    vec(byte, 0..200)
}

/// A message's bytes with a few of them changed, and perhaps cut.
fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, cut, cuts)| {
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes
    })
}

fn decode_everything(bytes: &[u8], caps: Capabilities, num_params: u16) {
    let _ = FirstReply::decode(bytes);
    let _ = Greeting::decode(bytes);
    let _ = FirstRequest::decode(bytes);
    let _ = HandshakeResponse::decode(bytes);
    let _ = SslRequest::decode(bytes);
    let _ = AuthSwitchRequest::decode(bytes);
    let _ = AuthMoreData::decode(bytes);
    let _ = reply::Ok::decode(bytes, caps);
    let _ = reply::Err::decode(bytes, caps);
    let _ = reply::Eof::decode(bytes);
    let _ = Column::decode(bytes);
    let _ = Column::decode_from(bytes, Capabilities::EXTENDED_METADATA);
    assert!(track::items(bytes).count() <= bytes.len());
    let _ = CommandCode::of(bytes);
    let _ = (
        InitDb::decode(bytes),
        FieldList::decode(bytes),
        ProcessKill::decode(bytes),
        SetOption::decode(bytes),
    );
    let _ = (
        StmtPrepare::decode(bytes),
        StmtSendLongData::decode(bytes),
        StmtFetch::decode(bytes),
    );
    let _ = (
        StmtClose::decode(bytes),
        StmtReset::decode(bytes),
        ChangeUser::decode(bytes, caps),
    );
    if let Ok(query) = Query::decode(bytes, caps) {
        assert_eq!(&bytes[query.sql_offset..], query.sql);
        assert_eq!(
            query.attributes.iter().filter(Result::is_ok).count(),
            query.attributes.len()
        );
        let mut again = Vec::new();
        put_query(&mut again, query.sql, &query.attributes, caps);
        assert_eq!(again, bytes, "attributes are passed on as they came");
    }
    let long_data = BTreeSet::from([0]);
    if let Ok(execute) = StmtExecute::decode(bytes, num_params, caps) {
        let types = execute.types(bytes).unwrap_or_default().to_vec();
        let walked = execute.values(bytes, &types, &long_data).count();
        assert!(walked <= execute.parameters.as_ref().map_or(0, |block| block.count));
        for caps in [Capabilities::NONE, Capabilities::QUERY_ATTRIBUTES] {
            let target = ExecuteTarget {
                stmt_id: 7,
                num_params,
                types: &types,
                long_data: &long_data,
                caps,
            };
            let mut out = Vec::new();
            if put_execute(&mut out, bytes, &execute, target).is_ok() {
                assert!(StmtExecute::decode(&out, num_params, caps).is_ok());
            }
        }
        if let Some(block) = &execute.parameters {
            let inserted = insert_types(bytes, block, b"types");
            assert!(inserted.len() <= bytes.len() + 5);
        }
    }
    let mut changed = bytes.to_vec();
    set_stmt_id(&mut changed, 9);
    assert_eq!(changed.len(), bytes.len());
}

fn read_everything(bytes: &[u8]) {
    let mut r = Reader::new(bytes);
    while !r.is_empty() {
        let before = r.offset();
        let _ = (
            r.clone().lenenc_bytes(),
            r.clone().parameter_bytes(),
            r.clone().lenenc_bytes_or_null(),
        );
        let _ = (
            r.clone().nul_bytes(),
            r.clone().nul_bytes_or_rest(),
            r.clone().array::<20>(),
            r.clone().u64(),
        );
        let _ = (r.clone().bytes(usize::MAX), r.clone().skip(usize::MAX));
        let _ = r.lenenc_int().or_else(|_| r.u8().map(u64::from));
        assert!(r.offset() > before && r.offset() <= bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn decoders(bytes in hostile(), caps: u64, num_params in 0u16..20) {
        read_everything(&bytes);
        decode_everything(&bytes, Capabilities(caps), num_params);
    }

    #[test]
    fn commands(code in prop::sample::select(vec![0x03u8, 0x11, 0x17]), bytes in hostile(), caps: u64, num_params in 0u16..20) {
        decode_everything(&[&[code], &*bytes].concat(), Capabilities(caps), num_params);
    }

    #[test]
    fn damaged_greetings(bytes in damaged(greeting())) {
        decode_everything(&bytes, Capabilities::NONE, 0);
    }

    #[test]
    fn damaged_responses(bytes in damaged(response())) {
        decode_everything(&bytes, Capabilities::NONE, 0);
    }

    #[test]
    fn damaged_executions(bytes in damaged(execution())) {
        decode_everything(&bytes, Capabilities::QUERY_ATTRIBUTES, 2);
    }

    #[test]
    fn authentication(payloads in vec(hostile(), 1..12), plugin in 0usize..6, transport in 0usize..3) {
        let plugins = [Plugin::CachingSha2, Plugin::Native, Plugin::Clear, Plugin::Sha256, Plugin::Ed25519];
        let transport = [Transport::Plain, Transport::Local, Transport::Secure][transport];
        let announced = plugins.get(plugin).map(Plugin::name);
        let verifier = PasswordVerifier::from_password(&Secret::new("secret"));
        let server = ServerAuth::new([7; 20], Plugin::CachingSha2, transport, Some(verifier), plugins.to_vec());
        let mut step = server.begin(announced, &payloads[0]);
        let mut client = Some(ClientAuth::new(Secret::new("x"), transport, "", [7; 20], ServerKey::Ask));
        for payload in &payloads {
            step = match step {
                ServerStep::Send(_, next) => next.step(payload),
                ServerStep::Accept(_) | ServerStep::AcceptAfter(..) => panic!("nobody knows the password"),
                rejected => rejected,
            };
            client = match client.map(|client| client.step(payload)) {
                Some(Ok(ClientStep::Send(_, next) | ClientStep::Receive(next))) => Some(*next),
                _ => None,
            };
        }
    }

    #[test]
    fn frames(bytes in hostile(), zstd: bool) {
        let algorithm = if zstd { Algorithm::Zstd } else { Algorithm::Zlib };
        let mut plain = Vec::new();
        let _ = Decompressor::new(algorithm).with_frame_bytes_max(1 << 16).decompress(&bytes, &mut plain);
        prop_assert!(plain.len() <= 200 * (1 << 16));
    }

    #[test]
    fn damaged_frames(bytes in damaged(frame(Algorithm::Zlib)), zstd_bytes in damaged(frame(Algorithm::Zstd))) {
        for (algorithm, bytes) in [(Algorithm::Zlib, bytes), (Algorithm::Zstd, zstd_bytes)] {
            let mut plain = Vec::new();
            let _ = Decompressor::new(algorithm).with_frame_bytes_max(1 << 16).decompress(&bytes, &mut plain);
            prop_assert!(plain.len() <= 1 << 16);
        }
    }
}

fn greeting() -> Vec<u8> {
    let mut out = Vec::new();
    Greeting {
        server_version: "8.4.0".to_owned(),
        connection_id: 7,
        nonce: *b"abcdefghijklmnopqrst",
        capabilities: Capabilities(0xdfff_ffff),
        collation: 255,
        status: dbmesh_wire::Status::AUTOCOMMIT,
        auth_plugin: "caching_sha2_password".to_owned(),
    }
    .encode(&mut out);
    out
}

fn response() -> Vec<u8> {
    let mut out = Vec::new();
    HandshakeResponse {
        capabilities: Capabilities::PLUGIN_AUTH_LENENC_DATA,
        user: b"root".to_vec(),
        auth_response: vec![7; 32],
        database: Some(b"shop".to_vec()),
        auth_plugin: Some("caching_sha2_password".to_owned()),
        attributes: Some(dbmesh_wire::handshake::ConnectAttributes(vec![(
            "_os".to_owned(),
            "Linux".to_owned(),
        )])),
        zstd_level: Some(3),
        ..HandshakeResponse::default()
    }
    .encode(&mut out);
    out
}

/// Two parameters of a statement and one query attribute.
fn execution() -> Vec<u8> {
    [
        b"\x17\x01\0\0\0\x08\x01\0\0\0\x03\x02\x01".as_slice(),
        b"\x03\0\0\xfe\0\0\xfe\0\x05trace",
        b"\x2a\0\0\0\x03abc",
    ]
    .concat()
}

fn frame(algorithm: Algorithm) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(algorithm, 0)
        .compress(&[b'x'; 500], &mut out)
        .unwrap();
    out
}

#[test]
fn the_examples_are_whole() {
    assert!(Greeting::decode(&greeting()).is_ok());
    assert!(HandshakeResponse::decode(&response()).is_ok());
    let payload = execution();
    let execute = StmtExecute::decode(&payload, 2, Capabilities::QUERY_ATTRIBUTES).unwrap();
    let types = execute.types(&payload).unwrap();
    assert!(
        execute
            .values(&payload, types, &BTreeSet::new())
            .all(|parameter| parameter.is_ok())
    );
}

/// A frame that claims another size than it holds, in both directions and algorithms.
#[test]
fn lies_about_the_size() {
    for algorithm in [Algorithm::Zlib, Algorithm::Zstd] {
        for claimed in [499u32, 501, 1, 0xFF_FFFF] {
            let mut bytes = frame(algorithm);
            bytes[4..7].copy_from_slice(&claimed.to_le_bytes()[..3]);
            let mut plain = b"before".to_vec();
            let error = Decompressor::new(algorithm)
                .decompress(&bytes, &mut plain)
                .unwrap_err();
            assert_eq!(
                error,
                CompressError::Corrupt {
                    claimed_bytes: claimed as usize
                }
            );
            assert_eq!(plain, b"before");
        }
    }
}

#[test]
fn claims_are_checked_before_memory_is_taken() {
    for algorithm in [Algorithm::Zlib, Algorithm::Zstd] {
        let mut plain = Vec::new();
        let error = Decompressor::new(algorithm)
            .with_frame_bytes_max(499)
            .decompress(&frame(algorithm), &mut plain);
        assert_eq!(
            error,
            Err(CompressError::TooLarge {
                claimed_bytes: 500,
                limit_bytes: 499
            })
        );
        assert_eq!(plain.capacity(), 0);
    }
}

#[test]
fn small_and_incompressible_pieces_are_stored() {
    for algorithm in [Algorithm::Zlib, Algorithm::Zstd] {
        let mut out = Vec::new();
        let mut compressor = Compressor::new(algorithm, 0);
        compressor.compress(&[b'x'; 49], &mut out).unwrap();
        assert_eq!(out[..7], [49, 0, 0, 0, 0, 0, 0]);
        let noise: Vec<u8> = (0..60u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        out.clear();
        compressor.compress(&noise, &mut out).unwrap();
        assert_eq!(out[..7], [60, 0, 0, 1, 0, 0, 0]);
        compressor.reset_sequence();
        out.clear();
        compressor.compress(&[b'x'; 50], &mut out).unwrap();
        assert_eq!(out[3..7], [0, 50, 0, 0]);
    }
}
