//! Packets recorded from MySQL 9.7.4 and MariaDB 10.11.19, decoded and encoded again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::auth::packet::{AuthMoreData, AuthSwitchRequest};
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};
use dbmesh_wire::greeting::{FirstReply, Greeting};
use dbmesh_wire::handshake::{ConnectAttributes, FirstRequest, HandshakeResponse};
use dbmesh_wire::reply::{self, OkForm};
use dbmesh_wire::track::{self, Item};
use dbmesh_wire::{Capabilities, Status};

const TRACKING: Capabilities = Capabilities(
    Capabilities::PROTOCOL_41.0 | Capabilities::SESSION_TRACK.0 | Capabilities::DEPRECATE_EOF.0,
);

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

#[test]
fn greeting_of_mysql() {
    let payload = hex(
        "0a392e372e342d3200200000004c28233f6b7f103500ffffff0200ffdf15000000000000\
         0000000044630901511c511d1d1914160063616368696e675f736861325f70617373776f726400",
    );
    let greeting = Greeting::decode(&payload).unwrap();
    assert_eq!(greeting.server_version, "9.7.4-2");
    assert_eq!(greeting.connection_id, 32);
    assert_eq!(greeting.nonce[..8], hex("4c28233f6b7f1035"));
    assert_eq!(greeting.nonce[8..], hex("44630901511c511d1d191416"));
    assert_eq!(greeting.capabilities.0, 0xdfff_ffff);
    assert_eq!(greeting.collation, 255);
    assert_eq!(greeting.status, Status::AUTOCOMMIT);
    assert_eq!(greeting.auth_plugin, "caching_sha2_password");
    assert!(!greeting.is_mariadb());
    assert_eq!(encoded(|out| greeting.encode(out)), payload);
}

#[test]
fn greeting_of_mariadb() {
    let payload = hex(
        "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275310015000000\
         245e2f6a4e256b6e00fef7080200ff81150000000000001d0000006840426d7b4527305a54777b00\
         6d7973716c5f6e61746976655f70617373776f726400",
    );
    let greeting = Greeting::decode(&payload).unwrap();
    assert_eq!(greeting.server_version, "5.5.5-10.11.19-MariaDB-0+deb12u1");
    assert!(greeting.is_mariadb());
    assert_eq!(greeting.capabilities.mariadb(), 0x1d);
    assert_eq!(greeting.auth_plugin, "mysql_native_password");
    assert_eq!(encoded(|out| greeting.encode(out)), payload);
}

#[test]
fn refusal_in_place_of_the_greeting() {
    let payload = [b"\xff\x10\x04".as_slice(), b"Too many connections"].concat();
    let FirstReply::Refused(err) = FirstReply::decode(&payload).unwrap() else {
        panic!("no refusal")
    };
    assert_eq!(
        (err.code, err.sqlstate, err.message.as_slice()),
        (1040, None, b"Too many connections".as_slice())
    );
    assert_eq!(err.as_err().to_payload(), payload);
}

#[test]
fn handshake_response() {
    let payload = hex(
        "01a2be09000000012d0000000000000000000000000000000000000000000000\
         730020876269a7887a1211102782e8f3e2bc1367b7ed6fc42babfdb3e7a2cd02925184\
         63616368696e675f736861325f70617373776f726400120c5f636c69656e745f6e616d650477697265",
    );
    let FirstRequest::Login(response) = FirstRequest::decode(&payload).unwrap() else {
        panic!("no login")
    };
    assert_eq!(response.user, b"s");
    assert_eq!(response.max_packet_bytes, 1 << 24);
    assert_eq!(response.collation, 45);
    assert_eq!(response.auth_response.len(), 32);
    assert_eq!(response.database, None);
    assert_eq!(
        response.auth_plugin.as_deref(),
        Some("caching_sha2_password")
    );
    assert_eq!(
        response
            .attributes
            .as_ref()
            .unwrap()
            .value_of("_client_name"),
        Some("wire")
    );
    assert_eq!(encoded(|out| response.encode(out)), payload);
    assert!(
        !format!("{response:?}").contains("876269"),
        "the answer is not shown"
    );
    assert!(
        !format!("{response:?}").contains("135, 98, 105"),
        "the answer is not shown"
    );
}

#[test]
fn ssl_request_is_the_head() {
    let response = HandshakeResponse {
        user: b"root".to_vec(),
        ..HandshakeResponse::default()
    };
    let request = encoded(|out| response.ssl_request().encode(out));
    assert_eq!(request.len(), 32);
    let FirstRequest::Tls(decoded) = FirstRequest::decode(&request).unwrap() else {
        panic!("no request for TLS")
    };
    assert_eq!(decoded, response.ssl_request());
    assert!(decoded.capabilities.contains(Capabilities::SSL));
}

#[test]
fn old_protocol_is_refused() {
    // Flags, a three-byte packet size, user: the handshake response of MySQL 4.0.
    let payload = b"\x85\x04\x00\x00\x00root\x00";
    let error = FirstRequest::decode(payload).unwrap_err();
    assert!(error.to_string().contains("before MySQL 4.1"), "{error}");
}

#[test]
fn database_without_nul_at_the_end() {
    let response = HandshakeResponse {
        user: b"root".to_vec(),
        database: Some(b"shop".to_vec()),
        ..HandshakeResponse::default()
    };
    let mut payload = encoded(|out| response.encode(out));
    assert_eq!(payload.pop(), Some(0));
    assert_eq!(
        HandshakeResponse::decode(&payload).unwrap().database,
        response.database
    );
}

#[test]
fn attributes_are_bounded() {
    let attributes = ConnectAttributes(vec![("a".repeat(40_000), "b".repeat(40_000))]);
    let response = HandshakeResponse {
        attributes: Some(attributes),
        ..HandshakeResponse::default()
    };
    let error = HandshakeResponse::decode(&encoded(|out| response.encode(out))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "handshake response: connection attributes: 80006 is more than the 65536 accepted"
    );
}

#[test]
fn switch_requests() {
    let mysql = hex("fe7368613235365f70617373776f726400266d4d6d1d131b3d0e44747e7b2b696a39711c3e00");
    let request = AuthSwitchRequest::decode(&mysql).unwrap();
    assert_eq!(
        (request.plugin.as_str(), request.data.len()),
        ("sha256_password", 21)
    );
    let again = AuthSwitchRequest {
        data: request.data[..20].to_vec(),
        ..request
    };
    assert_eq!(encoded(|out| again.encode(out)), mysql);

    let mariadb = hex("fe636c69656e745f6564323535313900\
         bd5d82a9d3f69430ec6e00d12e834b5f5c480944ba64d902d373c57ec5c37df9");
    let request = AuthSwitchRequest::decode(&mariadb).unwrap();
    assert_eq!(
        (request.plugin.as_str(), request.data.len()),
        ("client_ed25519", 32)
    );
    assert_eq!(AuthMoreData::decode(&hex("0103")).unwrap().data, [3]);
}

#[test]
fn ok_with_session_state() {
    let payload = hex("00000002400000005f\
         001c146368617261637465725f7365745f636c69656e74066c6174696e31\
         0020186368617261637465725f7365745f636f6e6e656374696f6e066c6174696e31\
         001d156368617261637465725f7365745f726573756c7473066c6174696e31");
    let ok = reply::Ok::decode(&payload, TRACKING).unwrap();
    assert_eq!(
        ok.status,
        Status::AUTOCOMMIT | Status::SESSION_STATE_CHANGED
    );
    let items: Vec<Item<'_>> = track::items(ok.session_state)
        .collect::<Result<_, _>>()
        .unwrap();
    let latin1 = |name| Item::SystemVariable {
        name,
        value: b"latin1",
    };
    assert_eq!(
        items,
        [
            latin1(b"character_set_client".as_slice()),
            latin1(b"character_set_connection"),
            latin1(b"character_set_results"),
        ]
    );
    assert_eq!(track::encode(items), ok.session_state);
    assert_eq!(
        encoded(|out| ok.encode(out, OkForm::Command, TRACKING)),
        payload
    );
    let stripped = encoded(|out| ok.encode(out, OkForm::Command, Capabilities::PROTOCOL_41));
    assert_eq!(
        stripped,
        hex("00000002000000"),
        "neither the state nor its flag"
    );
}

#[test]
fn result_set_end() {
    let payload = hex("fe000002000000");
    let ok = reply::Ok::decode(&payload, TRACKING).unwrap();
    assert_eq!((ok.status, ok.warnings), (Status::AUTOCOMMIT, 0));
    assert_eq!(
        encoded(|out| ok.encode(out, OkForm::ResultSetEnd, TRACKING)),
        payload
    );
    // The same bytes are an EOF packet with warnings where DEPRECATE_EOF is not negotiated.
    assert_eq!(reply::Eof::decode(&hex("fe01002200")).unwrap().warnings, 1);
}

#[test]
fn info_text_in_both_forms() {
    let info = b"Rows matched: 1  Changed: 0  Warnings: 0";
    let ok = reply::Ok {
        affected_rows: 1,
        info,
        ..reply::Ok::default()
    };
    let sent = encoded(|out| ok.encode(out, OkForm::Command, Capabilities::PROTOCOL_41));
    assert_eq!(
        reply::Ok::decode(&sent, Capabilities::PROTOCOL_41).unwrap(),
        ok
    );
    assert_eq!(reply::Ok::decode(&sent, TRACKING).unwrap(), ok);
    let unmeasured = [hex("00010000000000"), info.to_vec()].concat();
    assert_eq!(
        reply::Ok::decode(&unmeasured, Capabilities::PROTOCOL_41).unwrap(),
        ok
    );
}

#[test]
fn err_with_sqlstate() {
    let payload = [hex("ff2804233432303030"), b"You have an error".to_vec()].concat();
    let err = reply::Err::decode(&payload, TRACKING).unwrap();
    assert_eq!(
        (
            err.code,
            err.sqlstate.unwrap().as_str(),
            err.text().as_ref()
        ),
        (1064, "42000", "You have an error")
    );
    assert_eq!(err.to_payload(), payload);
}

#[test]
fn columns() {
    let payload =
        hex("0364656600000013726570656174282778272c2031303030303029000c2d00006a1800fa00001f0000");
    let column = Column::decode(&payload).unwrap();
    assert_eq!(column.name, b"repeat('x', 100000)");
    assert_eq!((column.collation, column.length_bytes), (45, 1_600_000));
    assert_eq!(
        (column.column_type, column.decimals),
        (ColumnType::MEDIUM_BLOB, 31)
    );
    assert_eq!(
        encoded(|out| column.encode(out, Capabilities::NONE)),
        payload
    );

    let integer = hex("036465660000000131000c3f0002000000088100000000");
    let column = Column::decode(&integer).unwrap();
    assert_eq!(
        column.flags,
        ColumnFlags::NOT_NULL.union(ColumnFlags::BINARY)
    );
    assert_eq!(
        encoded(|out| column.encode(out, Capabilities::NONE)),
        integer
    );
    let with_default = Column {
        default_value: Some(None),
        ..column
    };
    assert_eq!(
        Column::decode(&encoded(|out| with_default.encode(out, Capabilities::NONE))).unwrap(),
        with_default
    );
}
