//! The proxy as a server: verifies one client.
//!
//! Owns the exchange from the client's first answer to the verdict. A user that does not exist goes
//! through the same exchange as one with a wrong password. Must never hand out more than the verdict:
//! the error text is the caller's, and the same for every rejection. Input: the client's packets, one
//! per step. Source: MySQL source documentation, "Authentication Phase" and "Caching_sha2_password".

use super::packet::{
    AuthMoreData, AuthSwitchRequest, FAST_AUTH_OK, FULL_AUTH, REQUEST_PUBLIC_KEY,
    SHA256_REQUEST_PUBLIC_KEY,
};
use super::rsa::RsaKeyPair;
use super::secret::Secret;
use super::verifier::{FastVerdict, PasswordVerifier};
use super::{Plugin, Transport, generate_nonce};
use crate::greeting::NONCE_BYTES;
use std::sync::Arc;

/// A client that is not authenticated yet.
#[derive(Debug)]
pub struct ServerAuth {
    nonce: [u8; NONCE_BYTES],
    default_plugin: Plugin,
    transport: Transport,
    user: User,
    verifier: PasswordVerifier,
    allowed: Vec<Plugin>,
    key_pair: Option<Arc<RsaKeyPair>>,
    awaits: Awaits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    Known,
    Unknown,
}

/// What the client's next packet must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaits {
    /// Nothing but [`ServerAuth::begin`].
    Begin,
    /// The answer of the plugin that was switched to.
    Answer(Plugin),
    /// The password of this plugin: in clear text, encrypted, or a request for the public key.
    Password(Plugin),
    /// The password encrypted with the public key that was sent.
    Ciphertext(Plugin),
}

/// What to do next.
#[derive(Debug)]
pub enum ServerStep {
    /// Send this payload and give the client's next packet to the new state.
    Send(Vec<u8>, Box<ServerAuth>),
    /// The client is who it says. Send OK.
    Accept(Proof),
    /// The same, but send this payload before the OK.
    AcceptAfter(Vec<u8>, Proof),
    /// The client is not let in. Send error 1045, the same for every reason, and close.
    Reject(RejectReason),
}

/// How a client proved who it is.
#[derive(Debug)]
pub struct Proof {
    /// The plugin that was used.
    pub plugin: Plugin,
    /// The password, when the client sent it in full. A [`PasswordVerifier`] made of it spares the
    /// client the full exchange next time.
    pub password: Option<Secret>,
}

/// Why a client is not let in. For logs and metrics only: the client must not learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// There is no such user.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// No allowed plugin can verify the user over this transport.
    NoPlugin,
    /// The answer has not the form that its plugin demands.
    Malformed,
    /// The system has no random numbers.
    NoRandom,
}

impl ServerAuth {
    /// A client that was sent `nonce` for `default_plugin` in the greeting. `verifier` is `None` when
    /// the user does not exist. Of `allowed`, client_ed25519 and unknown plugins are not verifiable
    /// and count as not allowed; mysql_clear_password is used over private transports only.
    pub fn new(
        nonce: [u8; NONCE_BYTES],
        default_plugin: Plugin,
        transport: Transport,
        verifier: Option<PasswordVerifier>,
        allowed: Vec<Plugin>,
    ) -> Self {
        let user = if verifier.is_some() {
            User::Known
        } else {
            User::Unknown
        };
        // A decoy of zeros would do as well: an unknown user is rejected whatever matches.
        let verifier = verifier
            .or_else(|| PasswordVerifier::decoy().ok())
            .unwrap_or_default();
        Self {
            nonce,
            default_plugin,
            transport,
            user,
            verifier,
            allowed,
            key_pair: None,
            awaits: Awaits::Begin,
        }
    }

    /// Lets clients without TLS send their password encrypted with this key.
    #[must_use]
    pub fn with_key_pair(self, key_pair: Arc<RsaKeyPair>) -> Self {
        Self {
            key_pair: Some(key_pair),
            ..self
        }
    }

    /// Takes the answer inside the handshake response or COM_CHANGE_USER. `announced` is the plugin
    /// that the client names; `None` for a client without PLUGIN_AUTH.
    pub fn begin(self, announced: Option<&str>, response: &[u8]) -> ServerStep {
        let Some(announced) = announced else {
            // Such a client answers with mysql_native_password and cannot be asked for another.
            return match self.usable(&Plugin::Native) {
                true => self.judge(Plugin::Native, response),
                false => ServerStep::Reject(RejectReason::NoPlugin),
            };
        };
        let announced = Plugin::from_name(announced);
        if self.usable(&announced) {
            return match self.answers_greeting(&announced, response) {
                true => self.judge(announced, response),
                false => self.switch_to(announced),
            };
        }
        let candidates = std::iter::once(&self.default_plugin).chain(&self.allowed);
        match candidates
            .into_iter()
            .find(|plugin| self.usable(plugin))
            .cloned()
        {
            Some(plugin) => self.switch_to(plugin),
            None => ServerStep::Reject(RejectReason::NoPlugin),
        }
    }

    /// Takes the client's next packet.
    pub fn step(self, payload: &[u8]) -> ServerStep {
        match self.awaits.clone() {
            Awaits::Begin => ServerStep::Reject(RejectReason::Malformed),
            Awaits::Answer(plugin) => self.judge(plugin, payload),
            Awaits::Password(plugin) => self.password(plugin, payload),
            Awaits::Ciphertext(plugin) => self.ciphertext(plugin, payload),
        }
    }

    /// Whether this client can be verified by `plugin`.
    fn usable(&self, plugin: &Plugin) -> bool {
        let possible = match plugin {
            Plugin::Native => self.verifier.knows_native(),
            Plugin::CachingSha2 => self.verifier.knows_fast() || self.password_can_come(),
            Plugin::Sha256 => self.transport == Transport::Secure || self.key_pair.is_some(),
            Plugin::Clear => self.transport.is_private(),
            Plugin::Ed25519 | Plugin::Other(_) => false,
        };
        possible && self.allowed.contains(plugin)
    }

    /// Whether a password can be received in full.
    fn password_can_come(&self) -> bool {
        self.transport.is_private() || self.key_pair.is_some()
    }

    /// Whether clients of `plugin` send their password in clear text over this transport.
    fn takes_clear_text(&self, plugin: &Plugin) -> bool {
        match plugin {
            Plugin::Sha256 => self.transport == Transport::Secure,
            _ => self.transport.is_private(),
        }
    }

    /// Whether `response` looks like an answer of `plugin` to the greeting's nonce. Client libraries
    /// that are configured for another plugin than the greeting's send an empty or foreign answer.
    fn answers_greeting(&self, plugin: &Plugin, response: &[u8]) -> bool {
        match plugin {
            _ if is_empty_answer(response) => *plugin == self.default_plugin,
            Plugin::Native => response.len() == 20,
            Plugin::CachingSha2 => response.len() == 32,
            Plugin::Sha256 => true,
            Plugin::Clear => response.ends_with(&[0]),
            Plugin::Ed25519 | Plugin::Other(_) => false,
        }
    }

    fn switch_to(mut self, plugin: Plugin) -> ServerStep {
        match generate_nonce() {
            Ok(nonce) => self.nonce = nonce,
            Err(_) => return ServerStep::Reject(RejectReason::NoRandom),
        }
        let request = AuthSwitchRequest {
            plugin: plugin.name().to_owned(),
            data: self.nonce.to_vec(),
        };
        let mut payload = Vec::new();
        request.encode(&mut payload);
        self.awaits = Awaits::Answer(plugin);
        ServerStep::Send(payload, Box::new(self))
    }

    /// Judges the first answer of a plugin.
    fn judge(self, plugin: Plugin, response: &[u8]) -> ServerStep {
        match plugin {
            Plugin::Native => {
                let right = self.verifier.verify_native(&self.nonce, response);
                self.verdict(plugin, right, None)
            }
            Plugin::CachingSha2 => self.judge_fast(response),
            Plugin::Sha256 | Plugin::Clear if is_empty_answer(response) => {
                let right = self.verifier.is_empty_password();
                self.verdict(plugin, right, None)
            }
            Plugin::Sha256 => self.password(plugin, response),
            Plugin::Clear => self.clear(plugin, response),
            Plugin::Ed25519 | Plugin::Other(_) => ServerStep::Reject(RejectReason::NoPlugin),
        }
    }

    /// Judges a fast answer. A wrong one leads to the full exchange, like one that cannot be judged,
    /// as in servers: so nobody learns which hashes of a user are known.
    fn judge_fast(mut self, response: &[u8]) -> ServerStep {
        let plugin = Plugin::CachingSha2;
        if is_empty_answer(response) {
            let right = self.verifier.is_empty_password();
            return self.verdict(plugin, right, None);
        }
        if response.len() != 32 {
            return ServerStep::Reject(RejectReason::Malformed);
        }
        match self.verifier.verify_fast_sha2(&self.nonce, response) {
            FastVerdict::Match if self.user == User::Known => {
                let ok = AuthMoreData {
                    data: &[FAST_AUTH_OK],
                }
                .to_payload();
                ServerStep::AcceptAfter(
                    ok,
                    Proof {
                        plugin,
                        password: None,
                    },
                )
            }
            _ if self.password_can_come() => {
                self.awaits = Awaits::Password(plugin);
                ServerStep::Send(
                    AuthMoreData { data: &[FULL_AUTH] }.to_payload(),
                    Box::new(self),
                )
            }
            _ => self.verdict(plugin, false, None),
        }
    }

    /// Takes a password in full, or the request for the key to encrypt it with.
    fn password(mut self, plugin: Plugin, payload: &[u8]) -> ServerStep {
        let request = match plugin {
            Plugin::Sha256 => SHA256_REQUEST_PUBLIC_KEY,
            _ => REQUEST_PUBLIC_KEY,
        };
        match self.key_pair.clone() {
            // One byte without a NUL is no password, so this is a request over any transport.
            Some(pair) if payload == [request] => {
                self.awaits = Awaits::Ciphertext(plugin);
                let key = AuthMoreData {
                    data: pair.public_pem().as_bytes(),
                }
                .to_payload();
                ServerStep::Send(key, Box::new(self))
            }
            _ if self.takes_clear_text(&plugin) => self.clear(plugin, payload),
            // The client has the key already.
            _ => self.ciphertext(plugin, payload),
        }
    }

    fn ciphertext(self, plugin: Plugin, payload: &[u8]) -> ServerStep {
        let decrypted = self
            .key_pair
            .as_ref()
            .map(|pair| pair.decrypt(payload, &self.nonce));
        match decrypted {
            Some(Ok(password)) => self.full(plugin, password),
            _ => ServerStep::Reject(RejectReason::Malformed),
        }
    }

    fn clear(self, plugin: Plugin, payload: &[u8]) -> ServerStep {
        match payload.split_last() {
            Some((0, password)) => self.full(plugin, Secret::new(password)),
            _ => ServerStep::Reject(RejectReason::Malformed),
        }
    }

    fn full(self, plugin: Plugin, password: Secret) -> ServerStep {
        let right = self.verifier.verify_clear(&password);
        self.verdict(plugin, right, Some(password))
    }

    fn verdict(self, plugin: Plugin, right: bool, password: Option<Secret>) -> ServerStep {
        match (self.user, right) {
            (User::Known, true) => ServerStep::Accept(Proof { plugin, password }),
            (User::Known, false) => ServerStep::Reject(RejectReason::WrongPassword),
            (User::Unknown, _) => ServerStep::Reject(RejectReason::UnknownUser),
        }
    }
}

/// Clients answer for an empty password with nothing or with one NUL.
fn is_empty_answer(response: &[u8]) -> bool {
    matches!(response, [] | [0])
}
