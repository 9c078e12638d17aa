//! Listeners: Unix sockets, shared ports, TLS, the PROXY protocol, compression.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbmesh_model::Secret;
use dbmesh_model::topology::{BackendTls, BackendTlsMode, PemFile};
use dbmesh_testkit::config::Config;
use dbmesh_testkit::folder::Folder;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::{Kind, shared};
use dbmesh_wire::caps::Capabilities;

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;

const KIND: Kind = Kind::MySql;

fn pem(path: &Path) -> PemFile {
    PemFile {
        path: path.to_owned(),
        pem: Secret::from(std::fs::read_to_string(path).unwrap().as_str()),
    }
}

/// A client of TLS, with a certificate of its own or without.
pub fn tls_client(identity: Option<(&Path, &Path)>) -> Arc<rustls::ClientConfig> {
    let tls = BackendTls {
        mode: BackendTlsMode::Required,
        ca: None,
        identity: identity.map(|(cert, key)| (pem(cert), pem(key))),
    };
    dbmesh_runtime::tls::client_config(&tls).unwrap().unwrap()
}

/// Logs in over TLS; gives the client and the proxy's certificate.
fn over_tls(port: u16, config: Arc<rustls::ClientConfig>) -> Result<(RawClient, Vec<u8>), String> {
    let mut client = RawClient::connect(port);
    let greeting = client.greeting().map_err(|r| format!("{r:?}"))?;
    let certificate = client.start_tls(config).map_err(|e| e.to_string())?;
    match client.login_after(&greeting, &Credentials::app().more(Capabilities::SSL)) {
        Reply::Ok => Ok((client, certificate)),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn a_unix_socket_serves_and_is_cleared_away() {
    let folder = Folder::create("socket").unwrap();
    let path = folder.path().join("mesh.sock");
    // A socket that a dead process left is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let port = Port::reserve().unwrap();
    let yaml = Config::new(shared(KIND), port.number(), 8).to_yaml();
    let yaml = yaml.replace(
        "      poolSize: 8\n",
        &format!("      poolSize: 8\n      socket: {}\n", path.display()),
    );
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let mut client = RawClient::connect_unix(&path);
    assert_eq!(client.login(&Credentials::app()), Reply::Ok);
    assert_eq!(client.query("SELECT 1").value(), "1");
    let mut wrong = RawClient::connect_unix(&path);
    let reply = wrong.login(&Credentials::of("app", "wrong"));
    let Reply::Error(error) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(error.code, 1045);
    assert!(
        error.message.contains("'app'@'localhost'"),
        "{}",
        error.message
    );
    drop(client);
    stage.proxy.sigterm();
    assert!(stage.proxy.wait(Duration::from_secs(10)).unwrap().success());
    assert!(!path.exists(), "the socket's file is gone");
}

#[test]
fn one_port_serves_several_databases_by_user_and_schema() {
    shared(KIND)
        .execute("CREATE DATABASE IF NOT EXISTS one; CREATE DATABASE IF NOT EXISTS two")
        .unwrap();
    let port = Port::reserve().unwrap();
    let one = Config::new(shared(KIND), port.number(), 8)
        .schema("one")
        .to_yaml();
    let (first, rest) = one.split_once("---\n").unwrap();
    let second = first
        .replace("name: testkit", "name: second")
        .replace("db: one", "db: two");
    let third = first
        .replace("name: testkit", "name: third")
        .replace("user: app", "user: third")
        .replace("app-password", "third-password")
        .replace("db: one", "db: two");
    let yaml = format!("{first}---\n{second}---\n{third}---\n{rest}");
    let stage = Stage::of_yaml(&yaml, port, &[]);
    let schema = |credentials: Credentials| {
        RawClient::logged_in(stage.port, &credentials)
            .query("SELECT DATABASE()")
            .value()
    };
    assert_eq!(schema(Credentials::app().schema("one")), "one");
    assert_eq!(schema(Credentials::app().schema("two")), "two");
    let chosen = schema(Credentials::app());
    assert!(["one", "two"].contains(&chosen.as_str()), "{chosen}");
    assert_eq!(schema(Credentials::app()), chosen, "the same every time");
    assert_eq!(schema(Credentials::of("third", "third-password")), "two");
    let (_, sessions) = stage.proxy.admin_get("/metrics").unwrap();
    assert!(
        sessions.contains("database=\"default/third\""),
        "each has metrics of its own"
    );
    let wrong = RawClient::connect(stage.port).login(&Credentials::of("third", "app-password"));
    assert_eq!(wrong.code(), Some(1045));
}

#[test]
fn required_tls_is_required() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("tls: {mode: required}")
    });
    let reply = RawClient::connect(stage.port).login(&Credentials::app());
    assert_eq!(reply.code(), Some(3159), "{reply:?}");
    let (mut client, _) = over_tls(stage.port, tls_client(None)).unwrap();
    assert_eq!(client.query("SELECT 1").value(), "1");
}

#[test]
fn disabled_tls_is_not_offered() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("tls: {mode: disabled}")
    });
    let greeting = RawClient::connect(stage.port).greeting().unwrap();
    assert!(!greeting.capabilities.contains(Capabilities::SSL));
    assert!(over_tls(stage.port, tls_client(None)).is_err());
}

#[test]
fn a_client_certificate_is_demanded_and_checked() {
    let server = shared(KIND);
    let ca = server.ca_path();
    let (cert, key) = (
        ca.with_file_name("client-cert.pem"),
        ca.with_file_name("client-key.pem"),
    );
    let stage = Stage::before(KIND, server.port(), |c| {
        c.service(&format!(
            "tls: {{mode: verifyClient, clientCa: {}}}",
            ca.display()
        ))
    });
    let (mut client, _) = over_tls(stage.port, tls_client(Some((&cert, &key)))).unwrap();
    assert_eq!(client.query("SELECT 1").value(), "1");
    assert!(
        over_tls(stage.port, tls_client(None)).is_err(),
        "no certificate"
    );
    let other = shared(Kind::MariaDb).ca_path();
    let (cert, key) = (
        other.with_file_name("client-cert.pem"),
        other.with_file_name("client-key.pem"),
    );
    assert!(
        over_tls(stage.port, tls_client(Some((&cert, &key)))).is_err(),
        "another authority's certificate"
    );
    assert_eq!(
        RawClient::connect(stage.port)
            .login(&Credentials::app())
            .code(),
        Some(3159)
    );
}

#[test]
fn a_certificate_is_replaced_without_a_restart() {
    let folder = Folder::create("certificate").unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let put = |kind: Kind, what: &str| {
        let data = shared(kind).data_path();
        for (to, name) in [
            (&cert, format!("{what}-cert.pem")),
            (&key, format!("{what}-key.pem")),
        ] {
            let new = to.with_extension("new");
            std::fs::copy(data.join(name), &new).unwrap();
            std::fs::rename(&new, to).unwrap();
        }
    };
    put(KIND, "server");
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service(&format!(
            "tls: {{mode: preferred, cert: {}, key: {}}}",
            cert.display(),
            key.display()
        ))
    });
    let (mut old, first) = over_tls(stage.port, tls_client(None)).unwrap();
    assert!(!first.is_empty());
    put(KIND, "client");
    stage.proxy.sighup();
    eventually(
        "the new certificate is shown",
        Duration::from_secs(10),
        || over_tls(stage.port, tls_client(None)).is_ok_and(|(_, now)| now != first),
    );
    assert_eq!(old.query("SELECT 1").value(), "1", "who is in stays in");
    // A certificate that cannot be used is refused as a whole; the good one serves on.
    let (_, good) = over_tls(stage.port, tls_client(None)).unwrap();
    std::fs::write(&cert, "no certificate").unwrap();
    stage.proxy.sighup();
    std::thread::sleep(Duration::from_millis(1500));
    let (mut client, now) = over_tls(stage.port, tls_client(None)).unwrap();
    assert_eq!(now, good);
    assert_eq!(client.query("SELECT 1").value(), "1");
}

#[test]
fn the_proxy_protocol_tells_who_the_client_is() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("proxyProtocol: {trustedNetworks: [127.0.0.0/8]}")
    });
    let v2 = |command: u8, family: u8, body: &[u8]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend_from_slice(&[0x20 | command, family, 0, u8::try_from(body.len()).unwrap()]);
        header.extend_from_slice(body);
        header
    };
    let mut v6 = vec![0x20, 1, 0xD, 0xB8];
    v6.resize(36, 0);
    v6[15] = 9;
    let headers = [
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.8 4567 3306\r\n".to_vec(),
            "192.0.2.7",
        ),
        (
            b"PROXY TCP6 2001:db8::9 2001:db8::1 4567 3306\r\n".to_vec(),
            "2001:db8::9",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (
            v2(1, 0x11, &[192, 0, 2, 99, 192, 0, 2, 1, 1, 1, 2, 2]),
            "192.0.2.99",
        ),
        (
            v2(
                1,
                0x11,
                &[192, 0, 2, 98, 192, 0, 2, 1, 1, 1, 2, 2, 4, 0, 1, 0],
            ),
            "192.0.2.98",
        ),
        (v2(1, 0x21, &v6), "2001:db8::9"),
        (v2(0, 0, &[]), "127.0.0.1"),
    ];
    for (header, address) in headers {
        let mut client = RawClient::connect(stage.port);
        // In two pieces, as a network may deliver it.
        client.raw(&header[..9]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        client.raw(&header[9..]).unwrap();
        assert_eq!(client.login(&Credentials::app()), Reply::Ok, "{address}");
        assert_eq!(client.query("SELECT 1").value(), "1");
        let (_, sessions) = stage.proxy.admin_get("/debug/sessions").unwrap();
        assert!(sessions.contains(address), "{address} in {sessions}");
        drop(client);
        let mut wrong = RawClient::connect(stage.port);
        wrong.raw(&header).unwrap();
        let Reply::Error(error) = wrong.login(&Credentials::of("app", "wrong")) else {
            panic!("let in")
        };
        assert!(
            error.message.contains(&format!("'app'@'{address}'")),
            "{}",
            error.message
        );
    }
}

#[test]
fn a_header_of_somebody_not_trusted_is_no_header() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("proxyProtocol: {trustedNetworks: [192.0.2.0/24]}")
    });
    let mut client = RawClient::connect(stage.port);
    client
        .raw(b"PROXY TCP4 192.0.2.7 192.0.2.8 4567 3306\r\n")
        .unwrap();
    assert!(
        client.greeting().is_ok(),
        "the greeting does not wait for a header"
    );
    assert!(client.is_closed(), "and the header is a bad login");
    assert_eq!(RawClient::app(stage.port).query("SELECT 1").value(), "1");
}

#[test]
fn compression_of_both_sides() {
    for (to_server, flag) in [
        ("zlib", Capabilities::COMPRESS),
        ("zstd", Capabilities::ZSTD_COMPRESSION_ALGORITHM),
        ("zstd", Capabilities::COMPRESS),
        ("zlib", Capabilities(0)),
    ] {
        let stage = Stage::before(KIND, shared(KIND).port(), |c| {
            c.service("compression: [zlib, zstd]")
                .endpoint(&format!("compression: [{to_server}]"))
        });
        let mut client = RawClient::logged_in(stage.port, &Credentials::app().more(flag));
        for bytes in [1, 49, 50, 51, 4_000, 70_000, 300_000, 5_000_000] {
            let text: String = (0..bytes)
                .map(|i| char::from(b'a' + (i % 251 * 7 % 23) as u8))
                .collect();
            assert_eq!(
                client.query(&format!("SELECT LENGTH('{text}')")).value(),
                bytes.to_string()
            );
            assert_eq!(
                client.query(&format!("SELECT '{text}'")).value(),
                text,
                "{bytes}"
            );
            assert_eq!(client.ping(), Reply::Ok);
        }
        assert!(
            client
                .query("SELECT nothing FROM nowhere.at_all")
                .code()
                .is_some()
        );
        several_results(stage.port, flag);
        assert_eq!(client.query("SELECT 1").value(), "1");
        let used = shared(KIND)
            .query_value("SELECT COUNT(*) FROM performance_schema.status_by_thread WHERE VARIABLE_NAME = 'Compression' AND VARIABLE_VALUE = 'ON'")
            .unwrap();
        assert_ne!(
            used.as_deref(),
            Some("0"),
            "the server's side is compressed"
        );
    }
}

/// Three results of one command: servers count on differently between them when they compress.
fn several_results(port: u16, flag: Capabilities) {
    let more = flag.union(Capabilities::MULTI_STATEMENTS);
    let mut client = RawClient::logged_in(port, &Credentials::app().more(more));
    client.begin_query("SELECT 1; DO 2; SELECT REPEAT('z', 100000)");
    assert_eq!(client.reply().value(), "1");
    assert_eq!(client.reply(), Reply::Ok);
    assert_eq!(client.reply().value().len(), 100_000);
    assert_eq!(client.query("SELECT 4").value(), "4");
}

#[test]
fn the_servers_own_client_speaks_compressed_and_over_tls() {
    let stage = Stage::before(KIND, shared(KIND).port(), |c| {
        c.service("compression: [zlib, zstd]")
    });
    for options in [
        &["--compression-algorithms=zstd", "--ssl-mode=REQUIRED"][..],
        &[
            "--compression-algorithms=zlib",
            "--ssl-mode=DISABLED",
            "--get-server-public-key",
        ],
        &[
            "--compression-algorithms=zstd",
            "--ssl-mode=DISABLED",
            "--get-server-public-key",
        ],
    ] {
        let mut command = shared(KIND).client_command("mysql").unwrap();
        command.arg(format!("--port={}", stage.port)).args(options);
        command.args(["--batch", "--skip-column-names", "-e", "SELECT LENGTH(REPEAT('x', 3000000)); SELECT REPEAT('y', 200000); SHOW WARNINGS; SELECT 7"]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {errors}");
        assert!(text.starts_with("3000000\ny"), "{options:?}");
        assert!(text.ends_with("\n7\n"), "{options:?}");
    }
}
