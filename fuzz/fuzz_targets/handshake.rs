//! What both sides say before anybody is known: greeting, request for TLS, login. What decodes, encodes to the same.
#![no_main]

use dbmesh_wire::greeting::{FirstReply, Greeting};
use dbmesh_wire::handshake::{FirstRequest, HandshakeResponse, SslRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let _ = FirstReply::decode(payload);
    let _ = FirstRequest::decode(payload);
    let _ = SslRequest::decode(payload);
    if let Ok(greeting) = Greeting::decode(payload) {
        let mut out = Vec::new();
        greeting.encode(&mut out);
        // Lossy text may hold replacement characters, which are stable from here on.
        let again = Greeting::decode(&out).expect("what we encode, we decode");
        assert_eq!(greeting.nonce, again.nonce);
        assert_eq!(greeting.capabilities, again.capabilities);
        assert_eq!(greeting.connection_id, again.connection_id);
    }
    if let Ok(response) = HandshakeResponse::decode(payload) {
        let mut out = Vec::new();
        response.encode(&mut out);
        // A name that is no text grows when it is made one, perhaps beyond the limit.
        let plugin = response.auth_plugin.as_deref().unwrap_or_default();
        if plugin.contains('\u{FFFD}') {
            return;
        }
        let again = HandshakeResponse::decode(&out).expect("what we encode, we decode");
        assert_eq!(response.user, again.user);
        assert_eq!(response.auth_response, again.auth_response);
        assert_eq!(response.database, again.database);
        assert_eq!(response.attributes, again.attributes);
    }
});
