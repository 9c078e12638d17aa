//! Who gets in, with which proof, and that nobody learns who exists.

use std::time::{Duration, Instant};

use dbmesh_testkit::config::{Backend, Config};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, shared};
use dbmesh_wire::caps::Capabilities;

use super::entrances::tls_client;
use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const KIND: Kind = Kind::MySql;
const NATIVE: &str = "mysql_native_password";
/// SHA1(SHA1("native-password")), as `mysql.user` has it.
const NATIVE_HASH: &str = "*3266A0E5B2E3278603E70A9444575348E45DCA3E";
const SHA2: &str = "caching_sha2_password";

/// A service whose users are given by what MySQL keeps of their passwords.
fn with_hashes() -> Stage {
    let server = shared(KIND);
    server
        .execute(
            "SET GLOBAL print_identified_with_as_hex = ON; \
             CREATE USER IF NOT EXISTS hashed IDENTIFIED WITH caching_sha2_password BY 'hashed-password'",
        )
        .unwrap();
    let hex = server
        .query_value("SELECT HEX(authentication_string) FROM mysql.user WHERE user = 'hashed'")
        .unwrap()
        .unwrap();
    let stage = Stage::before(KIND, server.port(), |c| {
        c.service("limits: {handshakeTimeoutMs: 60000}").service(&format!(
            "users: [{{name: hashed, passwordHash: \"0x{hex}\"}}, {{name: native, passwordHash: \"{NATIVE_HASH}\"}}]"
        ))
    });
    // A build for debugging makes its RSA key slowly, on a busy machine more slowly than a login has time.
    eventually("the RSA key is made", Duration::from_secs(60), || {
        let (_, reply) = login(&stage, &Credentials::of("early", "wrong"), false);
        reply.code() == Some(1045)
    });
    stage
}

fn login(stage: &Stage, credentials: &Credentials, tls: bool) -> (RawClient, Reply) {
    let mut client = RawClient::connect(stage.port);
    if !tls {
        let reply = client.login(credentials);
        return (client, reply);
    }
    let greeting = client.greeting().unwrap();
    client.start_tls(tls_client(None)).unwrap();
    let reply = client.login_after(&greeting, &credentials.clone().more(Capabilities::SSL));
    (client, reply)
}

#[test]
fn a_hash_of_caching_sha2_lets_in_by_rsa_and_by_tls() {
    for tls in [false, true] {
        let stage = with_hashes();
        let right = Credentials::of("hashed", "hashed-password");
        let (_, reply) = login(&stage, &Credentials::of("hashed", "wrong-password"), tls);
        assert_eq!(reply.code(), Some(1045), "tls {tls}");
        let (mut first, reply) = login(&stage, &right, tls);
        assert_eq!(reply, Reply::Ok, "tls {tls}");
        assert!(
            first.login_packets.contains(&vec![1, 4]),
            "the password is asked for in full: {:?}",
            first.login_packets
        );
        assert_eq!(first.query("SELECT 1").value(), "1");
        let (second, reply) = login(&stage, &right, tls);
        assert_eq!(reply, Reply::Ok);
        assert!(
            second.login_packets.contains(&vec![1, 3]),
            "known from the first time: {:?}",
            second.login_packets
        );
        let (_, reply) = login(&stage, &Credentials::of("hashed", "wrong-password"), tls);
        assert_eq!(
            reply.code(),
            Some(1045),
            "a remembered password is no open door"
        );
    }
}

#[test]
fn a_hash_of_native_password_lets_in() {
    let stage = with_hashes();
    for tls in [false, true] {
        for plugin in [NATIVE, SHA2] {
            let (mut client, reply) = login(
                &stage,
                &Credentials::of("native", "native-password").plugin(plugin),
                tls,
            );
            assert_eq!(reply, Reply::Ok, "{plugin}, tls {tls}");
            assert_eq!(client.query("SELECT 1").value(), "1");
            let (_, reply) = login(
                &stage,
                &Credentials::of("native", "native-passwore").plugin(plugin),
                tls,
            );
            assert_eq!(reply.code(), Some(1045), "{plugin}, tls {tls}");
        }
    }
}

#[test]
fn an_empty_password_is_no_password() {
    let stage = with_hashes();
    for user in ["app", "hashed", "native", "", "nobody"] {
        for plugin in [NATIVE, SHA2] {
            let (_, reply) = login(&stage, &Credentials::of(user, "").plugin(plugin), false);
            assert_eq!(reply.code(), Some(1045), "{user}, {plugin}");
        }
    }
}

/// What a client sees of a refused login: shapes of packets, and texts without the name.
fn seen(client: &RawClient, user: &str) -> Vec<String> {
    let shape = |payload: &Vec<u8>| match payload.first() {
        Some(0xFF) => String::from_utf8_lossy(payload).replace(user, "USER"),
        // A switch names the plugin and carries a nonce, which differs each time.
        Some(0xFE) => {
            String::from_utf8_lossy(payload.split(|b| *b == 0).next().unwrap_or_default())
                .into_owned()
        }
        _ => format!("{payload:?}"),
    };
    client.login_packets.iter().map(shape).collect()
}

#[test]
fn an_unknown_user_looks_like_a_wrong_password() {
    let stage = with_hashes();
    for tls in [false, true] {
        for plugin in [NATIVE, SHA2, "mysql_clear_password", "sha256_password"] {
            if plugin == "mysql_clear_password" && !tls {
                continue;
            }
            let of = |user: &str| {
                let (client, reply) =
                    login(&stage, &Credentials::of(user, "wrong").plugin(plugin), tls);
                assert_eq!(reply.code(), Some(1045), "{user}, {plugin}");
                seen(&client, user)
            };
            // One answer in 256 ends in a zero by chance, and looks like a password as it is: three in a row do not.
            let alike = (0..3).any(|_| of("app") == of("nob"));
            assert!(alike, "{plugin}, tls {tls}");
        }
    }
    let of = |credentials: Credentials| {
        let user = credentials.user.clone();
        let (client, _) = login(&stage, &credentials, false);
        seen(&client, &user)
    };
    assert_eq!(
        of(Credentials::of("hashed", "wrong")),
        of(Credentials::of("nobody", "wrong")),
        "by hash"
    );
    let elsewhere = |user: &str| of(Credentials::of(user, "wrong").schema("no_such_schema"));
    assert_eq!(elsewhere("app"), elsewhere("nob"));
}

/// How often times are compared.
const ROUNDS: usize = 4;

/// The middle of many refused logins' times.
fn time_of(stage: &Stage, user: &str, tls: bool) -> Duration {
    let mut times: Vec<Duration> = (0..25)
        .map(|_| {
            let mut client = RawClient::connect(stage.port);
            let greeting = client.greeting().unwrap();
            let mut credentials = Credentials::of(user, "wrong");
            if tls {
                client.start_tls(tls_client(None)).unwrap();
                credentials = credentials.more(Capabilities::SSL);
            }
            let began = Instant::now();
            assert_eq!(
                client.login_after(&greeting, &credentials).code(),
                Some(1045)
            );
            began.elapsed()
        })
        .collect();
    times.sort();
    times[12]
}

#[test]
fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let stage = with_hashes();
    for tls in [true, false] {
        // A busy machine may slow one of them down, but not the same one each time.
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| (time_of(&stage, "app", tls), time_of(&stage, "nob", tls)))
            .collect();
        println!("tls {tls}: known and unknown {rounds:?}");
        let alike = |(known, unknown): &(Duration, Duration)| {
            *known.max(unknown) < *known.min(unknown) * 2 + Duration::from_millis(2)
        };
        assert!(rounds.iter().any(alike), "tls {tls}: {rounds:?}");
    }
}

/// COM_CHANGE_USER with a wrong first answer, so that a fresh nonce is asked for; then the right one.
fn change_user(client: &mut RawClient, user: &str, password: &str) -> Reply {
    let mut payload = vec![0x11];
    payload.extend_from_slice(user.as_bytes());
    payload.extend_from_slice(&[0, 0, 0, 45, 0]);
    payload.extend_from_slice(NATIVE.as_bytes());
    payload.push(0);
    client.command(&payload);
    let switch = client.packet().unwrap();
    if switch.first() == Some(&0xFF) {
        return Reply::Error(crate::faultkit::client::error_packet(&switch));
    }
    assert_eq!(switch.first(), Some(&0xFE), "{switch:?}");
    let at = switch.iter().position(|b| *b == 0).unwrap() + 1;
    let nonce: [u8; 20] = switch[at..at + 20].try_into().unwrap();
    let secret = dbmesh_wire::auth::Secret::new(password.as_bytes().to_vec());
    let mut auth = dbmesh_wire::auth::ClientAuth::new(
        secret,
        dbmesh_wire::auth::Transport::Plain,
        NATIVE,
        nonce,
        dbmesh_wire::auth::ServerKey::Refuse,
    );
    let answer = auth.first_response().unwrap();
    client.send_next(&answer);
    client.reply()
}

#[test]
fn change_user_leaves_nothing_of_the_old_session() {
    let stage = with_hashes();
    let mut client = RawClient::app(stage.port);
    let id = client.id.to_string();
    assert_eq!(
        client.query("SET @mine = 'secret', time_zone = '+03:00'"),
        Reply::Ok
    );
    assert_eq!(
        client.query("CREATE TEMPORARY TABLE mysql.temporary_mine (id INT)"),
        Reply::Ok
    );
    assert_eq!(
        change_user(&mut client, "native", "native-password"),
        Reply::Ok
    );
    assert_eq!(client.query("SELECT @mine").value(), "NULL");
    assert_ne!(client.query("SELECT @@time_zone").value(), "+03:00");
    assert!(
        client
            .query("SELECT * FROM mysql.temporary_mine")
            .code()
            .is_some()
    );
    assert_eq!(
        client.query("SELECT CONNECTION_ID()").value(),
        id,
        "the id stays"
    );
    assert_eq!(
        change_user(&mut client, "native", "wrong").code(),
        Some(1045)
    );
    assert!(client.is_closed());
}

#[test]
fn change_user_does_not_count_twice() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("limits: {maxConnectionsPerUser: 1}")
    });
    let mut client = RawClient::app(stage.port);
    assert_eq!(change_user(&mut client, "app", "app-password"), Reply::Ok);
    assert_eq!(client.query("SELECT 1").value(), "1");
    assert_eq!(
        RawClient::connect(stage.port)
            .login(&Credentials::app())
            .code(),
        Some(1040)
    );
    drop(client);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        RawClient::connect(stage.port).login(&Credentials::app()),
        Reply::Ok,
        "the count went down again"
    );
}

#[test]
fn a_collation_that_mariadb_does_not_know_is_its_default_whatever_ran_before() {
    let kind = Kind::MariaDb;
    let server = shared(kind);
    let port = Port::reserve().unwrap();
    let backend = Backend {
        kind,
        port: server.port(),
    };
    let yaml = Config::new(backend, port.number(), 1).to_yaml();
    let stage = Stage::of_yaml(&yaml, port, &[]);
    server
        .execute("CREATE DATABASE IF NOT EXISTS collations")
        .unwrap();
    let default = server.query_value("SELECT @@global.collation_connection");
    let default = default.unwrap().unwrap();
    let ask = "SELECT @@collation_connection";
    // As clients of MySQL 8 and later ask for.
    let mut client = RawClient::logged_in(stage.port, &Credentials::app().collation(255));
    for _ in 0..3 {
        assert_eq!(client.query(ask).value(), default);
        // The server keeps what a connection asked for in a place that the next one may inherit.
        drop(RawClient::logged_in(
            server.port(),
            &Credentials::app().collation(28),
        ));
        let mut other = RawClient::logged_in(stage.port, &Credentials::app().collation(255));
        let pins = "CREATE TEMPORARY TABLE left_to_a_reset (a INT)";
        assert_eq!(other.query("USE collations"), Reply::Ok);
        assert_eq!(other.query(pins), Reply::Ok);
        drop(other);
        assert_eq!(client.query(ask).value(), default);
    }
}
