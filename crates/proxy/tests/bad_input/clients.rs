//! Bad input from clients, before and after the login.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use dbmesh_testkit::config::Config;
use dbmesh_testkit::server::Kind;
use dbmesh_wire::caps::Capabilities;
use dbmesh_wire::compress::{Algorithm, Compressor};

use crate::faultkit::client::{Credentials, RawClient, Reply, USUAL};
use crate::faultkit::scripted::{Done, END, ScriptedServer, Wire, honest, text_row};
use crate::faultkit::stage::Stage;
use crate::faultkit::{eventually, noise};
use crate::packet;

fn stage(adapt: impl FnOnce(Config) -> Config) -> (ScriptedServer, Stage) {
    let server = ScriptedServer::start(honest);
    let stage = Stage::before(Kind::MySql, server.port, adapt);
    (server, stage)
}

#[test]
fn noise_before_the_login_ends_in_an_error_or_a_close() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        for seed in 1..200 {
            let mut client = RawClient::connect(stage.port);
            let _ = client.greeting();
            let bytes = noise(seed, usize::try_from(seed * 37 % 4096).unwrap());
            let bytes = if seed % 2 == 0 {
                packet(1, &bytes)
            } else {
                bytes
            };
            let _ = client.raw(&bytes);
            client.close_writing();
            assert!(client.is_closed(), "seed {seed}");
        }
    });
}

#[test]
fn a_login_packet_is_bounded() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        for claimed in [65_537_u32, 1 << 20, 0xFF_FFFF] {
            let mut client = RawClient::connect(stage.port);
            client.greeting().unwrap();
            let [a, b, c, _] = claimed.to_le_bytes();
            client.raw(&[a, b, c, 1]).unwrap();
            client.seq = 2;
            // The length alone is enough: nothing of the body has to come.
            assert_eq!(client.reply().code(), Some(1153), "{claimed}");
            assert!(client.is_closed());
        }
    });
}

#[test]
fn a_cut_login_leaves_nothing_behind() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        for seed in 0..60_usize {
            let mut client = RawClient::connect(stage.port);
            client.greeting().unwrap();
            let mut bytes = packet(1, &noise(7, 100));
            bytes.truncate(seed);
            client.raw(&bytes).unwrap();
            client.close_writing();
            assert!(client.is_closed());
        }
        eventually("no session left", Duration::from_secs(5), || {
            stage.metric("dbmesh_sessions") <= 1.0
        });
    });
}

#[test]
fn numbers_out_of_order_end_the_connection() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        let mut before = RawClient::connect(stage.port);
        before.greeting().unwrap();
        before.raw(&packet(2, &[0; 40])).unwrap();
        before.seq = 2;
        assert_eq!(before.reply().code(), Some(1156));
        assert!(before.is_closed());
        for seq in [1, 7, 255] {
            let mut after = RawClient::app(stage.port);
            after.raw(&packet(seq, b"\x03SELECT 1")).unwrap();
            after.seq = 1;
            let reply = after.reply();
            assert_eq!(reply.code(), Some(1156), "{reply:?}");
            assert!(after.is_closed());
        }
    });
}

#[test]
fn plain_bytes_behind_the_request_for_tls_are_no_login() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        let mut client = RawClient::connect(stage.port);
        client.greeting().unwrap();
        let capabilities = USUAL.union(Capabilities::SSL);
        let mut login = capabilities.mysql().to_le_bytes().to_vec();
        login.resize(32, 0);
        login.extend_from_slice(b"app\0\0mysql_native_password\0");
        let mut request = capabilities.mysql().to_le_bytes().to_vec();
        request.resize(32, 0);
        let mut bytes = packet(1, &request);
        bytes.extend_from_slice(&packet(2, &login));
        client.raw(&bytes).unwrap();
        // Behind the request only TLS counts: these bytes are taken for a broken hello at most, never for a login.
        assert!(client.is_closed());
    });
}

#[test]
fn half_open_handshakes_end_in_time_and_hold_up_nobody() {
    let (_server, stage) = stage(|c| c.service("limits: {handshakeTimeoutMs: 1000}"));
    stage.under_attack(|stage| {
        let mut half_open: Vec<RawClient> =
            (0..200).map(|_| RawClient::connect(stage.port)).collect();
        let began = Instant::now();
        for client in &mut half_open {
            client.greeting().unwrap();
            client.raw(&[32, 0]).unwrap();
        }
        stage.assert_serves();
        for client in &mut half_open {
            client.seq = 1;
            assert!(client.is_closed());
        }
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn commands_that_nobody_serves_are_refused_and_the_session_goes_on() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        let mut client = RawClient::app(stage.port);
        client.command(&[]);
        assert_eq!(client.reply().code(), Some(1047), "an empty packet");
        let known = [1, 2, 3, 4, 9, 12, 14, 17, 22, 23, 24, 25, 26, 27, 28, 31];
        for code in (0..=255_u8).filter(|code| !known.contains(code)) {
            client.command(&[code, 1, 2, 3]);
            let reply = client.reply();
            assert!(
                matches!(reply.code(), Some(1047 | 1227)),
                "command {code}: {reply:?}"
            );
        }
        assert_eq!(client.query("SELECT 1").value(), "1");
    });
}

#[test]
fn malformed_prepared_commands_are_refused_and_the_session_goes_on() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        let mut client = RawClient::app(stage.port);
        let refused: [&[u8]; 8] = [
            &[0x17],
            &[0x17, 1, 0, 0],
            &[0x17, 9, 0, 0, 0, 0, 1, 0, 0, 0],
            &[0x17, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x1A],
            &[0x1A, 9, 0, 0, 0],
            &[0x1C, 9, 0, 0],
            &[0x1C, 9, 0, 0, 0, 1, 0, 0, 0],
        ];
        for payload in refused {
            client.command(payload);
            let reply = client.reply();
            assert!(reply.code().is_some(), "{payload:?}: {reply:?}");
            assert_eq!(client.ping(), Reply::Ok, "{payload:?}");
        }
        // These have no answer, whatever is wrong with them.
        for payload in [
            &[0x18, 9, 0, 0, 0, 0, 0, 1, 2][..],
            &[0x18, 1],
            &[0x18],
            &[0x19],
            &[0x19, 9, 0, 0, 0],
        ] {
            client.command(payload);
            assert_eq!(client.ping(), Reply::Ok, "{payload:?}");
        }
        for payload in [&[0x1B][..], &[0x1B, 9, 9], &[0x0C], &[0x0C, 1]] {
            client.command(payload);
            assert!(client.reply().code().is_some(), "{payload:?}");
            assert_eq!(client.ping(), Reply::Ok, "{payload:?}");
        }
    });
}

#[test]
fn a_malformed_change_user_never_lets_anybody_in() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        for bytes in 1..40 {
            let mut client = RawClient::app(stage.port);
            let mut payload = noise(bytes, usize::try_from(bytes).unwrap());
            payload[0] = 0x11;
            client.command(&payload);
            match client.packet() {
                // The proxy asks for an answer to a fresh nonce: a wrong one is refused.
                Ok(first) if first.first() == Some(&0xFE) => {
                    client.send_next(&[1; 20]);
                    assert_eq!(client.reply().code(), Some(1045), "{bytes}");
                    assert!(client.is_closed());
                }
                Ok(first) => assert_eq!(first.first(), Some(&0xFF), "{bytes}: {first:?}"),
                Err(_) => {}
            }
        }
    });
}

#[test]
fn noise_as_commands_is_survived() {
    let (_server, stage) = stage(|c| c);
    stage.under_attack(|stage| {
        for seed in 1..250 {
            let mut client = RawClient::app(stage.port);
            let mut payload = noise(seed, usize::try_from(seed * 13 % 700).unwrap() + 1);
            if seed % 2 == 0 {
                payload[0] = [0x03, 0x11, 0x16, 0x17, 0x18, 0x1C, 0x1B, 0x02]
                    [usize::try_from(seed / 2 % 8).unwrap()];
            }
            client.command(&payload);
            if seed % 5 == 0 {
                let _ = client.raw(&noise(seed + 1, 50));
            }
            client.close_writing();
            assert!(client.is_closed(), "seed {seed}");
        }
    });
    stage.assert_pool_calm();
}

#[test]
fn a_command_beyond_the_limit_is_refused_before_it_came() {
    let (_server, stage) = stage(|c| c.service("limits: {maxPacketBytes: 65536}"));
    stage.under_attack(|stage| {
        let mut client = RawClient::app(stage.port);
        client.raw(&[0, 0, 2, 0, 3]).unwrap();
        client.seq = 1;
        assert_eq!(client.reply().code(), Some(1153));
        assert!(client.is_closed());
    });
}

fn frame(seq: u8, plain_bytes: usize, body: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(body.len()).unwrap().to_le_bytes();
    let [x, y, z, _] = u32::try_from(plain_bytes).unwrap().to_le_bytes();
    let mut out = vec![a, b, c, seq, x, y, z];
    out.extend_from_slice(body);
    out
}

#[test]
fn compressed_lies_end_the_connection() {
    let (_server, stage) = stage(|c| c.service("compression: [zlib, zstd]"));
    for flag in [
        Capabilities::COMPRESS,
        Capabilities::ZSTD_COMPRESSION_ALGORITHM,
    ] {
        stage.under_attack(|stage| {
            let lies = [
                frame(0, 0xFF_FFFF, b"no frame of any kind"),
                frame(0, 10, &noise(3, 300)),
                frame(0, 0xFF_FFFF, &[]),
                frame(0, 1, &noise(5, 70_000)),
            ];
            for lie in lies {
                let mut client = RawClient::logged_in(stage.port, &Credentials::app().more(flag));
                assert_eq!(client.query("SELECT 1").value(), "1");
                client.raw(&lie).unwrap();
                assert!(client.is_closed(), "{flag:?}");
            }
        });
    }
}

#[test]
fn a_bomb_in_compressed_frames_does_not_go_off() {
    let (_server, stage) =
        stage(|c| c.service("compression: [zlib, zstd]\nlimits: {maxPacketBytes: 1048576}"));
    // One packet that claims as much as its header can: it is refused by its length, not by its commands.
    let mut plain = vec![0; 0xFF_FFFF];
    plain[..3].copy_from_slice(&[0xFE, 0xFF, 0xFF]);
    for (flag, algorithm) in [
        (Capabilities::COMPRESS, Algorithm::Zlib),
        (Capabilities::ZSTD_COMPRESSION_ALGORITHM, Algorithm::Zstd),
    ] {
        let body = match algorithm {
            Algorithm::Zstd => zstd_of(&plain),
            Algorithm::Zlib => zlib_of(&plain),
        };
        let bomb: Vec<u8> = (0..60)
            .flat_map(|seq| frame(seq, plain.len(), &body))
            .collect();
        stage.under_attack(|stage| {
            let mut bombers: Vec<RawClient> = (0..2)
                .map(|_| RawClient::logged_in(stage.port, &Credentials::app().more(flag)))
                .collect();
            for client in &mut bombers {
                let _ = client.raw(&bomb);
            }
            for client in &mut bombers {
                let _ = client.tcp().shutdown(Shutdown::Write);
                assert!(client.is_closed());
            }
        });
    }
}

/// One frame's body that holds `plain`; the compressor cuts into pieces, so the engine is asked once per piece.
fn zstd_of(plain: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(Algorithm::Zstd, 3);
    let mut out = Vec::new();
    compressor.compress(&plain[..256 << 10], &mut out).unwrap();
    // Concatenated zstd frames are one zstd stream: the same piece as often as it takes.
    let piece = out.split_off(7);
    let mut last = Vec::new();
    compressor
        .compress(&plain[..(plain.len() % (256 << 10))], &mut last)
        .unwrap();
    let mut body: Vec<u8> = piece.repeat(plain.len() / (256 << 10));
    body.extend_from_slice(&last[7..]);
    body
}

fn zlib_of(plain: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(Algorithm::Zlib, 9);
    let mut out = Vec::new();
    compressor.compress(&plain[..256 << 10], &mut out).unwrap();
    // A zlib stream ends at its checksum, so that one body cannot be repeated: a lie of 16 MiB about 256 KiB.
    out.split_off(7)
}

#[test]
fn what_is_no_proxy_header_from_a_balancer_is_closed() {
    let (_server, stage) = stage(|c| c.service("proxyProtocol: {trustedNetworks: [127.0.0.0/8]}"));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n";
    let broken: Vec<Vec<u8>> = vec![
        noise(3, 300),
        b"PROXY TCP4 999.1.1.1 2 3 4\r\n".to_vec(),
        b"PROXY ".iter().copied().chain(noise(9, 200)).collect(),
        [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
        [v2.as_slice(), &[0x21, 0x11, 0xFF, 0xFF]].concat(),
        [v2.as_slice(), &[0x31, 0x11, 0, 12]].concat(),
        [v2.as_slice(), &[0x2F, 0x11, 0, 0]].concat(),
        [v2.as_slice(), &[0x21, 0x11, 0, 2, 1, 1]].concat(),
        b"\r\n\r\n\0\r\nQUIP\n1234".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for bytes in broken {
        let mut client = RawClient::connect(stage.port);
        client.raw(&bytes).unwrap();
        assert!(matches!(client.greeting(), Err(Reply::Closed)), "{bytes:?}");
    }
    let mut honest = RawClient::connect(stage.port);
    honest
        .raw(b"PROXY TCP4 192.0.2.7 192.0.2.8 4 5\r\n")
        .unwrap();
    assert_eq!(honest.login(&Credentials::app()), Reply::Ok);
}

#[test]
fn a_flood_meets_the_limits_and_the_limits_recover() {
    let (_server, stage) = stage(|c| {
        c.service("proxyProtocol: {trustedNetworks: [127.0.0.0/8]}")
            .service("limits: {maxConnectionsPerAddress: 20, maxConnectionsPerUser: 30, maxConnections: 35}")
    });
    let from = |address: &str| {
        let mut client = RawClient::connect(stage.port);
        client
            .raw(format!("PROXY TCP4 {address} 192.0.2.8 4 5\r\n").as_bytes())
            .unwrap();
        let reply = client.login(&Credentials::app());
        (client, reply)
    };
    let one: Vec<_> = (0..40).map(|_| from("192.0.2.1")).collect();
    assert_eq!(
        one.iter().filter(|(_, reply)| *reply == Reply::Ok).count(),
        20
    );
    assert_eq!(
        one.iter()
            .filter(|(_, reply)| reply.code() == Some(1040))
            .count(),
        20
    );
    let other: Vec<_> = (0..20).map(|_| from("192.0.2.2")).collect();
    assert_eq!(
        other
            .iter()
            .filter(|(_, reply)| *reply == Reply::Ok)
            .count(),
        10,
        "the user's limit"
    );
    drop((one, other));
    eventually("the limits count down", Duration::from_secs(5), || {
        stage.metric("dbmesh_sessions") == 0.0
    });
    let again: Vec<_> = (0..20).map(|_| from("192.0.2.1")).collect();
    assert!(again.iter().all(|(_, reply)| *reply == Reply::Ok));
}

#[test]
fn errors_before_the_greeting_have_no_sqlstate() {
    let (_server, stage) = stage(|c| c.service("limits: {maxConnectionsPerAddress: 1}"));
    let _one = RawClient::app(stage.port);
    let mut two = RawClient::connect(stage.port);
    let Err(Reply::Error(error)) = two.greeting() else {
        panic!("let in")
    };
    assert_eq!(
        (error.code, error.state.as_str()),
        (1040, ""),
        "nothing is agreed yet: as servers do"
    );
}

/// Answers `SELECT 'big'` with about 256 MiB of rows.
fn big(wire: &mut Wire, sql: &str) -> Done {
    if !sql.contains("'big'") {
        return Done::No;
    }
    let cell = "x".repeat(60_000);
    if wire.columns(&["a"]).is_err() {
        return Done::Close;
    }
    for _ in 0..4_400 {
        if wire.packet(&text_row(&[&cell])).is_err() {
            return Done::Close;
        }
    }
    let _ = wire.packet(&END);
    Done::Yes
}

#[test]
fn a_client_that_does_not_read_costs_no_memory_and_can_be_killed() {
    let server = ScriptedServer::start(big);
    let stage = Stage::before(Kind::MySql, server.port, |c| c);
    stage.under_attack(|stage| {
        let mut slow: Vec<RawClient> = (0..4).map(|_| RawClient::app(stage.port)).collect();
        for client in &mut slow {
            client.begin_query("SELECT 'big'");
        }
        std::thread::sleep(Duration::from_secs(2));
        stage.assert_serves();
        let mut killer = RawClient::app(stage.port);
        let mut last = slow.pop().unwrap();
        match last.reply() {
            Reply::Rows(rows) => assert_eq!(rows.len(), 4_400),
            other => panic!("{other:?}"),
        }
        for client in &slow {
            assert_eq!(killer.query(&format!("KILL {}", client.id)), Reply::Ok);
        }
        eventually("killed sessions are gone", Duration::from_secs(5), || {
            stage.metric("dbmesh_sessions") <= 3.0
        });
    });
    stage.assert_pool_calm();
}

#[test]
fn a_command_that_comes_in_drips_holds_up_nobody() {
    let (_server, stage) = stage(|c| c.service("limits: {idleTimeoutMs: 1500}"));
    stage.under_attack(|stage| {
        let mut whole = packet(
            0,
            &[b"\x03SELECT 1 /* ".as_slice(), &[b'x'; 4000], b" */"].concat(),
        );
        let rest = whole.split_off(20);
        let mut slow = RawClient::app(stage.port);
        slow.raw(&whole).unwrap();
        for piece in rest.chunks(400) {
            std::thread::sleep(Duration::from_millis(50));
            slow.raw(piece).unwrap();
        }
        slow.seq = 1;
        assert_eq!(slow.reply().value(), "1", "slow, but honest");
    });
}

#[test]
fn half_a_command_does_not_make_a_session_deaf() {
    let (_server, stage) = stage(|c| c);
    let mut killer = RawClient::app(stage.port);
    let mut half = RawClient::app(stage.port);
    half.raw(&[9, 0, 0]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(killer.query(&format!("KILL {}", half.id)), Reply::Ok);
    half.patience(Duration::from_secs(5));
    assert!(
        half.is_closed(),
        "KILL reaches a session in the middle of a command"
    );
}
