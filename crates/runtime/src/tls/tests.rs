//! Handshakes in memory, every mode against every kind of peer.

use std::io;

use dbmesh_model::Secret;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConnection, HandshakeKind, ProtocolVersion, ServerConnection};

use super::*;

const V1_CERTIFICATE: &str = include_str!("../../testdata/x509-v1-cert.pem");
const V1_KEY: &str = include_str!("../../testdata/x509-v1-key.pem");

fn file(name: &str, pem: &str) -> PemFile {
    PemFile {
        path: name.into(),
        pem: Secret::from(pem),
    }
}

/// An authority, and what it signs.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn file(&self) -> PemFile {
        file("ca.pem", &self.0.pem())
    }

    fn signs(&self, name: &str, last_year: i32) -> (PemFile, PemFile) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            file("cert.pem", &certificate.pem()),
            file("key.pem", &key.serialize_pem()),
        )
    }
}

fn server(identity: Option<(PemFile, PemFile)>) -> Arc<ServerConfig> {
    let tls = ListenerTls {
        identity,
        ..ListenerTls::default()
    };
    server_config(&tls).unwrap().unwrap()
}

fn client(mode: BackendTlsMode, ca: Option<PemFile>) -> Arc<ClientConfig> {
    let tls = BackendTls {
        mode,
        ca,
        identity: None,
    };
    client_config(&tls).unwrap().unwrap()
}

/// Passes bytes between the two until nobody has more to say.
fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    host: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let name = server_name(host).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..20 {
        if !client.wants_write() && !server.wants_write() {
            break;
        }
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        feed(&bytes, |rest| server.read_tls(rest).map(drop));
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        feed(&bytes, |rest| client.read_tls(rest).map(drop));
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((server, client))
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut &[u8]) -> io::Result<()>) {
    while !bytes.is_empty() {
        read(&mut bytes).unwrap();
    }
}

#[test]
fn each_mode_verifies_what_it_says() {
    use BackendTlsMode::{Preferred, Required, VerifyCa, VerifyIdentity};
    let (ca, stranger) = (Ca::new(), Ca::new());
    let peers = [
        ("named", ca.signs("db.example", 2100), [true, true]),
        ("other name", ca.signs("other.example", 2100), [true, false]),
        ("expired", ca.signs("db.example", 2001), [false, false]),
        (
            "stranger's",
            stranger.signs("db.example", 2100),
            [false, false],
        ),
    ];
    for (what, identity, verified) in peers {
        let server = server(Some(identity));
        for (mode, expected) in [
            (Preferred, true),
            (Required, true),
            (VerifyCa, verified[0]),
            (VerifyIdentity, verified[1]),
        ] {
            let client = client(mode, Some(ca.file()));
            let outcome = handshake(&server, &client, "db.example");
            assert_eq!(
                outcome.is_ok(),
                expected,
                "{what} {mode:?}: {:?}",
                outcome.err()
            );
        }
    }
}

/// A server that shows somebody else's certificate, without the key of it.
#[test]
fn the_key_must_be_proved_in_every_mode() {
    let ca = Ca::new();
    let (certificate, _) = ca.signs("db.example", 2100);
    let (_, key) = ca.signs("db.example", 2100);
    let impostor = showing(certificate.pem.expose(), key.pem.expose());
    for mode in [
        BackendTlsMode::Preferred,
        BackendTlsMode::Required,
        BackendTlsMode::VerifyCa,
        BackendTlsMode::VerifyIdentity,
    ] {
        for server in &impostor {
            let outcome = handshake(server, &client(mode, Some(ca.file())), "db.example");
            assert!(outcome.is_err(), "{mode:?}");
        }
    }
}

/// Servers, one per version, that show a certificate without looking whether it fits.
fn showing(certificate: &str, key: &str) -> Vec<Arc<ServerConfig>> {
    let chain = certificates(&file("cert.pem", certificate)).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    VERSIONS
        .iter()
        .map(|version| {
            let config = ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(&resolver) as Arc<_>);
            Arc::new(config)
        })
        .collect()
}

#[test]
fn a_certificate_of_version_1_serves_to_encrypt_but_not_to_verify() {
    for server in showing(V1_CERTIFICATE, V1_KEY) {
        let encrypting = client(BackendTlsMode::Preferred, None);
        handshake(&server, &encrypting, "db.example").unwrap();
        let ca = file("ca.pem", V1_CERTIFICATE);
        let verifying = client(BackendTlsMode::VerifyCa, Some(ca));
        assert!(handshake(&server, &verifying, "db.example").is_err());
    }
}

#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let ca = Ca::new();
    let ours = server(Some(ca.signs("db.example", 2100)));
    for version in VERSIONS {
        let mut roots = RootCertStore::empty();
        roots.add(ca.0.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        resumes(&ours, &Arc::new(client), version.version);
    }
    let (certificate, key) = ca.signs("db.example", 2100);
    for (server, version) in showing(certificate.pem.expose(), key.pem.expose())
        .iter()
        .zip(VERSIONS)
    {
        let client = client(BackendTlsMode::VerifyIdentity, Some(ca.file()));
        resumes(server, &client, version.version);
    }
}

fn resumes(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, version: ProtocolVersion) {
    let (_, first) = handshake(server, client, "db.example").unwrap();
    assert_eq!(first.protocol_version(), Some(version));
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let (_, second) = handshake(server, client, "db.example").unwrap();
    assert_eq!(
        second.handshake_kind(),
        Some(HandshakeKind::Resumed),
        "{version:?}"
    );
    let elsewhere = handshake(server, client, "localhost").ok();
    let kind = elsewhere.and_then(|(_, client)| client.handshake_kind());
    assert_ne!(
        kind,
        Some(HandshakeKind::Resumed),
        "a session of another name"
    );
}

#[test]
fn clients_prove_who_they_are_where_asked() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let tls = ListenerTls {
        mode: ClientTlsMode::VerifyClient,
        identity: None,
        client_ca: Some(ca.file()),
    };
    let server = server_config(&tls).unwrap().unwrap();
    let identities = [
        (None, false),
        (Some(ca.signs("app", 2100)), true),
        (Some(ca.signs("app", 2001)), false),
        (Some(stranger.signs("app", 2100)), false),
    ];
    for (place, (identity, expected)) in identities.into_iter().enumerate() {
        let tls = BackendTls {
            mode: BackendTlsMode::Required,
            ca: None,
            identity,
        };
        let client = client_config(&tls).unwrap().unwrap();
        let outcome = handshake(&server, &client, "localhost");
        assert_eq!(outcome.is_ok(), expected, "{place}: {:?}", outcome.err());
    }
}

#[test]
fn the_generated_certificate_is_one_and_names_this_host() {
    let encrypting = client(BackendTlsMode::Required, None);
    let shown = || {
        let (_, client) = handshake(&server(None), &encrypting, "localhost").unwrap();
        client.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let certificate = shown();
    assert_eq!(certificate, shown(), "listeners share it");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let verifying = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let verifying = Arc::new(verifying);
    for host in ["localhost", "127.0.0.1", "::1"] {
        handshake(&server(None), &verifying, host).unwrap();
    }
    assert!(handshake(&server(None), &verifying, "db.example").is_err());
}

#[test]
fn disabled_is_nothing_and_what_is_missing_is_refused() {
    let listener = |mode| ListenerTls {
        mode,
        ..ListenerTls::default()
    };
    assert!(
        server_config(&listener(ClientTlsMode::Disabled))
            .unwrap()
            .is_none()
    );
    let missing = server_config(&listener(ClientTlsMode::VerifyClient));
    assert!(matches!(missing, Err(TlsError::AuthorityMissing)));
    let backend = |mode| BackendTls {
        mode,
        ..BackendTls::default()
    };
    assert!(
        client_config(&backend(BackendTlsMode::Disabled))
            .unwrap()
            .is_none()
    );
    for mode in [BackendTlsMode::VerifyCa, BackendTlsMode::VerifyIdentity] {
        assert!(matches!(
            client_config(&backend(mode)),
            Err(TlsError::AuthorityMissing)
        ));
    }
}

#[test]
fn errors_name_the_file_and_show_no_key() {
    let ca = Ca::new();
    let (certificate, key) = ca.signs("a", 2100);
    let (_, other_key) = ca.signs("a", 2100);
    let damaged = key.pem.expose().replace("-----END PRIVATE KEY-----", "");
    let encrypted = key.pem.expose().replace("PRIVATE", "ENCRYPTED PRIVATE");
    let cases = [
        (certificate.clone(), other_key, "cert.pem"),
        (certificate.clone(), file("key.pem", &damaged), "key.pem"),
        (certificate.clone(), file("key.pem", &encrypted), "key.pem"),
        (certificate.clone(), file("key.pem", ""), "key.pem"),
        (file("cert.pem", key.pem.expose()), key.clone(), "cert.pem"),
        (
            file(
                "cert.pem",
                &format!("{}{damaged}", certificate.pem.expose()),
            ),
            key.clone(),
            "cert.pem",
        ),
    ];
    let material = key.pem.expose().lines().nth(1).unwrap();
    for (certificate, key, named) in cases {
        let tls = ListenerTls {
            identity: Some((certificate, key)),
            ..ListenerTls::default()
        };
        let error = server_config(&tls).err().unwrap();
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().starts_with(named), "{error}");
        assert!(
            !shown.contains(material) && !shown.contains("PRIVATE KEY-"),
            "{shown}"
        );
    }
}

#[test]
fn hosts_are_names_or_addresses() {
    for (host, expected) in [
        ("db.example", "db.example"),
        ("db.example.", "db.example"),
        ("mysql_1", "mysql_1"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(server_name(host).unwrap().to_str(), expected, "{host}");
    }
    for host in ["", ".", "a b", "/run/mysqld.sock", "[db.example", "a..b"] {
        assert!(
            matches!(server_name(host), Err(TlsError::Host(_))),
            "{host}"
        );
    }
}

/// Here nobody else decides: the operator can make another one, and must be told why.
#[test]
fn a_certificate_of_version_1_of_our_own_is_refused_with_the_reason() {
    let identity = Some((file("cert.pem", V1_CERTIFICATE), file("key.pem", V1_KEY)));
    let tls = ListenerTls {
        identity: identity.clone(),
        ..ListenerTls::default()
    };
    let listener = server_config(&tls).err().unwrap().to_string();
    let tls = BackendTls {
        identity,
        ..BackendTls::default()
    };
    let backend = client_config(&tls).err().unwrap().to_string();
    for error in [listener, backend] {
        assert!(
            error.starts_with("cert.pem: ") && error.contains("version 1"),
            "{error}"
        );
    }
}
