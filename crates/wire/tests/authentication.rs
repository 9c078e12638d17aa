//! Both state machines against each other: every plugin, transport and kind of stored hash.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_wire::auth::{
    AuthSwitchRequest, ClientAuth, ClientAuthError, ClientStep, PasswordVerifier, Plugin,
    RejectReason, RsaKeyPair, Secret, ServerAuth, ServerKey, ServerStep, Transport, generate_nonce,
};
use dbmesh_wire::{error_code, reply};
use std::sync::{Arc, OnceLock};

const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];

fn key_pair() -> Arc<RsaKeyPair> {
    static PAIR: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
    PAIR.get_or_init(|| Arc::new(RsaKeyPair::generate().unwrap()))
        .clone()
}

/// How an exchange ended on both sides, and the first bytes of what the server sent in between.
#[derive(Debug, PartialEq)]
struct Ending {
    server: Result<Plugin, RejectReason>,
    client: Result<(), ClientAuthError>,
    sent: Vec<Vec<u8>>,
    learned: Option<Secret>,
}

struct Exchange {
    default: Plugin,
    announced: Plugin,
    transport: Transport,
    verifier: Option<PasswordVerifier>,
    allowed: Vec<Plugin>,
    password: &'static str,
    key: ServerKey,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            default: Plugin::CachingSha2,
            announced: Plugin::CachingSha2,
            transport: Transport::Plain,
            verifier: Some(PasswordVerifier::from_password(&Secret::new("secret"))),
            allowed: vec![
                Plugin::CachingSha2,
                Plugin::Native,
                Plugin::Sha256,
                Plugin::Clear,
            ],
            password: "secret",
            key: ServerKey::Ask,
        }
    }
}

impl Exchange {
    fn run(self) -> Ending {
        let nonce = generate_nonce().unwrap();
        let server = ServerAuth::new(
            nonce,
            self.default,
            self.transport,
            self.verifier,
            self.allowed,
        )
        .with_key_pair(key_pair());
        let password = Secret::new(self.password);
        let announced = self.announced.name();
        let mut client = ClientAuth::new(password, self.transport, announced, nonce, self.key);
        let first = match client.first_response() {
            Ok(first) => first,
            Err(error) => return given_up(error, vec![]),
        };
        let announced = client.plugin().name().to_owned();
        let mut sent = Vec::new();
        let mut step = server.begin(Some(&announced), &first);
        for _ in 0..10 {
            let (payload, next) = match step {
                ServerStep::Send(payload, next) => (payload, next),
                verdict => return ended(verdict, client, sent),
            };
            sent.push(payload.iter().copied().take(2).collect());
            match client.step(&payload) {
                Ok(ClientStep::Send(answer, again)) => {
                    client = *again;
                    step = next.step(&answer);
                }
                Ok(other) => panic!("{other:?} after {payload:02x?}"),
                Err(error) => return given_up(error, sent),
            }
        }
        panic!("the exchange never ends");
    }
}

/// The client went away.
fn given_up(error: ClientAuthError, sent: Vec<Vec<u8>>) -> Ending {
    Ending {
        server: Err(RejectReason::Malformed),
        client: Err(error),
        sent,
        learned: None,
    }
}

/// The server's verdict, told to the client.
fn ended(verdict: ServerStep, mut client: ClientAuth, mut sent: Vec<Vec<u8>>) -> Ending {
    let proof = match verdict {
        ServerStep::Accept(proof) => proof,
        ServerStep::AcceptAfter(payload, proof) => {
            let Ok(ClientStep::Receive(next)) = client.step(&payload) else {
                panic!("no fast OK")
            };
            client = *next;
            sent.push(payload);
            proof
        }
        ServerStep::Reject(reason) => {
            let err = reply::Err::new(error_code::ACCESS_DENIED, "Access denied").to_payload();
            let client = client.step(&err).map(|_| ());
            return Ending {
                server: Err(reason),
                client,
                sent,
                learned: None,
            };
        }
        ServerStep::Send(..) => panic!("no verdict"),
    };
    assert!(matches!(client.step(&OK), Ok(ClientStep::Done)));
    Ending {
        server: Ok(proof.plugin),
        client: Ok(()),
        sent,
        learned: proof.password,
    }
}

fn accepted(exchange: Exchange) -> (Plugin, Vec<Vec<u8>>, Option<Secret>) {
    let ending = exchange.run();
    assert_eq!(ending.client, Ok(()));
    (ending.server.unwrap(), ending.sent, ending.learned)
}

const FAST: [u8; 2] = [1, 3];
const FULL: [u8; 2] = [1, 4];
/// The start of AuthMoreData with a PEM text.
const KEY: [u8; 2] = [1, b'-'];

fn stored() -> Option<PasswordVerifier> {
    // Made by MySQL 9.7.4 (CREATE USER .. IDENTIFIED BY 'secret'), with 10,000 rounds: 0x00A thousands.
    let salt = b"\x39\x11\x70\x0a\x66\x5d\x55\x14\x6f\x17\x6a\x6b\x04\x2a\x63\x1e\x10\x65\x4c\x5d";
    let text = [
        b"$A$00A$".as_slice(),
        salt,
        b"DjvN9pBgmiKXykpsWSiUppsA0t61D3HXPIEXfkfVjJ2",
    ]
    .concat();
    Some(PasswordVerifier::from_hash(&text).unwrap())
}

#[test]
fn fast_path() {
    let (plugin, sent, learned) = accepted(Exchange::default());
    assert_eq!(
        (plugin, sent, learned),
        (Plugin::CachingSha2, vec![FAST.to_vec()], None)
    );
}

#[test]
fn full_path_by_rsa() {
    let (plugin, sent, learned) = accepted(Exchange {
        verifier: stored(),
        ..Exchange::default()
    });
    assert_eq!(
        (plugin, sent),
        (Plugin::CachingSha2, vec![FULL.to_vec(), KEY.to_vec()])
    );
    // What was learned makes the next login fast.
    let verifier = PasswordVerifier::from_password(&learned.unwrap());
    let (_, sent, _) = accepted(Exchange {
        verifier: Some(verifier),
        ..Exchange::default()
    });
    assert_eq!(sent, [FAST.to_vec()]);
}

#[test]
fn full_path_with_a_pinned_key() {
    let key = ServerKey::Pinned(key_pair().public_pem().to_owned());
    let (_, sent, _) = accepted(Exchange {
        verifier: stored(),
        key,
        ..Exchange::default()
    });
    assert_eq!(sent, [FULL.to_vec()]);
}

#[test]
fn full_path_in_clear_text_on_private_transports() {
    for transport in [Transport::Secure, Transport::Local] {
        let key = ServerKey::Refuse;
        let (_, sent, learned) = accepted(Exchange {
            verifier: stored(),
            transport,
            key,
            ..Exchange::default()
        });
        assert_eq!(
            (sent, learned),
            (vec![FULL.to_vec()], Some(Secret::new("secret")))
        );
    }
}

#[test]
fn full_path_without_a_key_is_refused_by_the_client() {
    let ending = Exchange {
        verifier: stored(),
        key: ServerKey::Refuse,
        ..Exchange::default()
    }
    .run();
    assert_eq!(ending.client, Err(ClientAuthError::NoServerKey));
}

#[test]
fn native_from_its_hash() {
    // SELECT PASSWORD('secret').
    let verifier =
        || Some(PasswordVerifier::from_hash(b"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").unwrap());
    let direct = Exchange {
        default: Plugin::Native,
        announced: Plugin::Native,
        verifier: verifier(),
        ..Exchange::default()
    };
    assert_eq!(accepted(direct).0, Plugin::Native);
    // Announced caching_sha2_password is allowed and possible in full.
    let (plugin, sent, _) = accepted(Exchange {
        verifier: verifier(),
        ..Exchange::default()
    });
    assert_eq!(
        (plugin, sent),
        (Plugin::CachingSha2, vec![FULL.to_vec(), KEY.to_vec()])
    );
}

#[test]
fn switch_when_the_announced_plugin_is_not_allowed() {
    let allowed = vec![Plugin::Native];
    let (plugin, sent, _) = accepted(Exchange {
        allowed,
        ..Exchange::default()
    });
    assert_eq!(plugin, Plugin::Native);
    assert_eq!(sent, [vec![0xFE, b'm']]);
}

#[test]
fn announced_plugin_is_taken_when_allowed() {
    let (plugin, sent, _) = accepted(Exchange {
        announced: Plugin::Native,
        ..Exchange::default()
    });
    assert_eq!((plugin, sent), (Plugin::Native, vec![]));
}

#[test]
fn an_answer_of_the_wrong_form_leads_to_a_switch() {
    let nonce = generate_nonce().unwrap();
    let verifier = Some(PasswordVerifier::from_password(&Secret::new("secret")));
    let allowed = vec![Plugin::CachingSha2, Plugin::Native];
    for (announced, response) in [
        ("mysql_native_password", &b""[..]),
        ("nonsense", b"xyz"),
        ("caching_sha2_password", b"xyz"),
    ] {
        let server = ServerAuth::new(
            nonce,
            Plugin::CachingSha2,
            Transport::Plain,
            verifier.clone(),
            allowed.clone(),
        );
        let ServerStep::Send(payload, _) = server.begin(Some(announced), response) else {
            panic!("{announced}")
        };
        let request = AuthSwitchRequest::decode(&payload).unwrap();
        let expected = if announced == "nonsense" {
            "caching_sha2_password"
        } else {
            announced
        };
        assert_eq!(request.plugin, expected);
        assert_ne!(request.data[..20], nonce, "a nonce is used once");
    }
}

#[test]
fn sha256_password() {
    let exchange = |transport, key| Exchange {
        default: Plugin::Sha256,
        announced: Plugin::Sha256,
        transport,
        key,
        ..Exchange::default()
    };
    assert_eq!(
        accepted(exchange(Transport::Secure, ServerKey::Refuse)).1,
        Vec::<Vec<u8>>::new()
    );
    assert_eq!(
        accepted(exchange(Transport::Local, ServerKey::Refuse)).1,
        [KEY.to_vec()]
    );
    assert_eq!(
        accepted(exchange(Transport::Plain, ServerKey::Ask)).1,
        [KEY.to_vec()]
    );
    let pinned = ServerKey::Pinned(key_pair().public_pem().to_owned());
    assert_eq!(
        accepted(exchange(Transport::Plain, pinned)).1,
        Vec::<Vec<u8>>::new()
    );
}

#[test]
fn clear_text_over_private_transports_only() {
    let exchange = |transport| Exchange {
        transport,
        allowed: vec![Plugin::Clear],
        ..Exchange::default()
    };
    assert_eq!(accepted(exchange(Transport::Secure)).0, Plugin::Clear);
    assert_eq!(
        exchange(Transport::Plain).run().server,
        Err(RejectReason::NoPlugin)
    );
}

#[test]
fn a_backend_that_wants_clear_text_on_a_plain_transport_does_not_get_it() {
    let nonce = generate_nonce().unwrap();
    let client = ClientAuth::new(
        Secret::new("secret"),
        Transport::Plain,
        "mysql_native_password",
        nonce,
        ServerKey::Ask,
    );
    let error = client.step(b"\xfemysql_clear_password\0").unwrap_err();
    assert_eq!(error, ClientAuthError::Insecure(Plugin::Clear));
}

#[test]
fn wrong_passwords_and_unknown_users_see_the_same() {
    for (announced, transport, allowed) in [
        (Plugin::CachingSha2, Transport::Plain, Plugin::CachingSha2),
        (Plugin::CachingSha2, Transport::Secure, Plugin::CachingSha2),
        (Plugin::Native, Transport::Plain, Plugin::Native),
        (Plugin::Native, Transport::Plain, Plugin::CachingSha2),
        (Plugin::Sha256, Transport::Plain, Plugin::Sha256),
        (Plugin::CachingSha2, Transport::Secure, Plugin::Clear),
    ] {
        for password in ["wrong", ""] {
            let run = |verifier| {
                let (announced, allowed) = (announced.clone(), vec![allowed.clone()]);
                Exchange {
                    announced,
                    transport,
                    allowed,
                    verifier,
                    password,
                    ..Exchange::default()
                }
                .run()
            };
            let wrong = run(Some(PasswordVerifier::from_password(&Secret::new(
                "secret",
            ))));
            let unknown = run(None);
            assert_eq!(
                wrong.server,
                Err(RejectReason::WrongPassword),
                "{announced} {password:?}"
            );
            assert_eq!(
                unknown.server,
                Err(RejectReason::UnknownUser),
                "{announced} {password:?}"
            );
            assert_eq!(
                (wrong.sent, wrong.client),
                (unknown.sent, unknown.client),
                "{announced} {password:?}"
            );
        }
    }
}

#[test]
fn empty_passwords() {
    let empty = || Some(PasswordVerifier::from_password(&Secret::default()));
    for announced in [Plugin::CachingSha2, Plugin::Native, Plugin::Sha256] {
        let default = announced.clone();
        let right = Exchange {
            announced: announced.clone(),
            default,
            verifier: empty(),
            password: "",
            ..Exchange::default()
        };
        assert_eq!(accepted(right).1, Vec::<Vec<u8>>::new(), "{announced}");
        let wrong = Exchange {
            announced,
            verifier: empty(),
            password: "x",
            ..Exchange::default()
        };
        assert_eq!(wrong.run().server, Err(RejectReason::WrongPassword));
    }
}

#[test]
fn clients_without_plugins_answer_natively() {
    let nonce = *b"abcdefghijklmnopqrst";
    let server = |allowed| {
        let verifier = Some(PasswordVerifier::from_password(&Secret::new("secret")));
        ServerAuth::new(
            nonce,
            Plugin::CachingSha2,
            Transport::Plain,
            verifier,
            allowed,
        )
    };
    let answer = dbmesh_wire::auth::scramble_native(b"secret", &nonce);
    assert!(matches!(
        server(vec![Plugin::Native]).begin(None, &answer),
        ServerStep::Accept(_)
    ));
    assert!(matches!(
        server(vec![Plugin::CachingSha2]).begin(None, &answer),
        ServerStep::Reject(RejectReason::NoPlugin)
    ));
}

#[test]
fn backends_cannot_ask_for_ever() {
    let nonce = *b"abcdefghijklmnopqrst";
    let mut client = ClientAuth::new(
        Secret::new("x"),
        Transport::Plain,
        "",
        nonce,
        ServerKey::Ask,
    );
    let request = [b"\xfemysql_native_password\0".as_slice(), &nonce, b"\0"].concat();
    for _ in 0..100 {
        match client.step(&request) {
            Ok(ClientStep::Send(_, next)) => client = *next,
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(error, ClientAuthError::TooManySteps);
                return;
            }
        }
    }
    panic!("it can");
}

#[test]
fn backends_faults_are_typed() {
    let client = || {
        ClientAuth::new(
            Secret::new("x"),
            Transport::Plain,
            "caching_sha2_password",
            [7; 20],
            ServerKey::Ask,
        )
    };
    let cases: [(&[u8], ClientAuthError); 7] = [
        (b"", ClientAuthError::Unexpected(0)),
        (b"\x09", ClientAuthError::Unexpected(9)),
        (b"\x02mfa\0", ClientAuthError::SecondFactor),
        (
            b"\xfedialog\0",
            ClientAuthError::UnknownPlugin("dialog".to_owned()),
        ),
        (
            b"\xfemysql_native_password\0short",
            ClientAuthError::ShortNonce(Plugin::Native),
        ),
        (b"\x01\x09", ClientAuthError::Unexpected(1)),
        // A key that was not asked for.
        (
            b"\x01-----BEGIN PUBLIC KEY-----",
            ClientAuthError::Unexpected(1),
        ),
    ];
    for (payload, expected) in cases {
        assert_eq!(
            client().step(payload).unwrap_err(),
            expected,
            "{payload:02x?}"
        );
    }
    assert!(matches!(
        client().step(b"\xfe").unwrap_err(),
        ClientAuthError::Decode(_)
    ));
    let Ok(ClientStep::Send(request, asked)) = client().step(&FULL) else {
        panic!("no request")
    };
    assert_eq!(request, [2]);
    assert!(matches!(
        asked.step(b"\x01no key").unwrap_err(),
        ClientAuthError::Rsa(_)
    ));
}

#[test]
fn secrets_stay_out_of_debug() {
    let server = ServerAuth::new(
        [7; 20],
        Plugin::Native,
        Transport::Plain,
        Some(PasswordVerifier::from_password(&Secret::new("hunter2"))),
        vec![],
    );
    let client = ClientAuth::new(
        Secret::new("hunter2"),
        Transport::Plain,
        "",
        [7; 20],
        ServerKey::Ask,
    );
    let shown = format!("{server:?} {client:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("104, 117, 110"),
        "{shown}"
    );
}
