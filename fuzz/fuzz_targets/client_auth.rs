//! A server that wants our password: it never gets it in clear text over a plain transport, and never keeps us for ever.
#![no_main]

use arbitrary::Arbitrary;
use dbmesh_wire::auth::{ClientAuth, ClientStep, Secret, ServerKey, Transport};
use libfuzzer_sys::fuzz_target;

const PASSWORD: &[u8] = b"a password that must not show";

#[derive(Arbitrary, Debug)]
struct Login<'a> {
    plugin: &'a str,
    ask_for_key: bool,
    packets: Vec<&'a [u8]>,
}

fuzz_target!(|login: Login| {
    let key = if login.ask_for_key {
        ServerKey::Ask
    } else {
        ServerKey::Refuse
    };
    let secret = Secret::new(PASSWORD.to_vec());
    let mut auth = ClientAuth::new(secret, Transport::Plain, login.plugin, [7; 20], key);
    let shows = |bytes: &[u8]| bytes.windows(PASSWORD.len()).any(|w| w == PASSWORD);
    match auth.first_response() {
        Ok(first) => assert!(!shows(&first)),
        Err(_) => return,
    }
    let mut steps = 0;
    for packet in login.packets {
        steps += 1;
        assert!(steps < 64, "kept for ever");
        match auth.step(packet) {
            Ok(ClientStep::Send(bytes, next)) => {
                assert!(!shows(&bytes), "in clear text");
                auth = *next;
            }
            Ok(ClientStep::Receive(next)) => auth = *next,
            Ok(ClientStep::Done) | Err(_) => return,
        }
    }
});
