//! A client in the middle of its login, which does not know the password: it must never be let in.
#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use dbmesh_wire::auth::{
    PasswordVerifier, Plugin, RsaKeyPair, Secret, ServerAuth, ServerStep, Transport,
};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<Arc<RsaKeyPair>> =
    LazyLock::new(|| Arc::new(RsaKeyPair::generate().expect("an RSA key")));

#[derive(Arbitrary, Debug)]
struct Login<'a> {
    known: bool,
    secure: bool,
    native_default: bool,
    with_key: bool,
    announced: Option<u8>,
    answers: Vec<&'a [u8]>,
}

const PLUGINS: [&str; 5] = [
    "mysql_native_password",
    "caching_sha2_password",
    "sha256_password",
    "mysql_clear_password",
    "no_such_plugin",
];

fuzz_target!(|login: Login| {
    let verifier = login.known.then(|| {
        PasswordVerifier::from_password(&Secret::new(b"\x01never to be guessed \xC3".to_vec()))
    });
    let plugin = if login.native_default {
        Plugin::Native
    } else {
        Plugin::CachingSha2
    };
    let transport = if login.secure {
        Transport::Secure
    } else {
        Transport::Plain
    };
    let allowed = vec![
        Plugin::CachingSha2,
        Plugin::Native,
        Plugin::Sha256,
        Plugin::Clear,
    ];
    let mut auth = ServerAuth::new([7; 20], plugin, transport, verifier, allowed);
    if login.with_key {
        auth = auth.with_key_pair(KEY.clone());
    }
    let announced = login
        .announced
        .map(|n| PLUGINS[usize::from(n) % PLUGINS.len()]);
    let mut answers = login.answers.into_iter();
    let mut step = auth.begin(announced, answers.next().unwrap_or_default());
    for _ in 0..8 {
        step = match step {
            ServerStep::Send(_, next) => next.step(answers.next().unwrap_or_default()),
            ServerStep::Reject(_) => return,
            ServerStep::Accept(proof) | ServerStep::AcceptAfter(_, proof) => {
                panic!("let in by {proof:?}")
            }
        };
    }
    panic!("a login without end");
});
