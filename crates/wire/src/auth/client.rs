//! The proxy as a client: logs in at one backend.
//!
//! Owns the exchange from the greeting to the backend's OK or ERR. Must never send a password in
//! clear text over a plain transport, nor go on for ever with a backend that keeps asking. Input: the
//! backend's packets, one per step; a backend may be hostile.

use super::ed25519::{ED25519_NONCE_BYTES, sign};
use super::packet::{
    AUTH_MORE_DATA_MARKER, AUTH_NEXT_FACTOR_MARKER, AUTH_SWITCH_MARKER, AuthMoreData,
    AuthSwitchRequest, FAST_AUTH_OK, FULL_AUTH, REQUEST_PUBLIC_KEY, SHA256_REQUEST_PUBLIC_KEY,
};
use super::rsa::{RsaError, encrypt};
use super::secret::Secret;
use super::{Plugin, Transport, scramble_caching_sha2, scramble_native};
use crate::caps::Capabilities;
use crate::error::DecodeError;
use crate::greeting::NONCE_BYTES;
use crate::reply::{self, ERR_MARKER, OK_MARKER};
use std::fmt;

/// Backends ask for another plugin once; a few more times do no harm.
const SWITCHES_MAX: u8 = 4;
/// Packets of a backend between the handshake response and its verdict.
const STEPS_MAX: u8 = 16;

/// Where the public key comes from that encrypts a password over a plain transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerKey {
    /// This one, in PEM form. Another is never asked for.
    Pinned(String),
    /// From the backend itself. Whoever can stand between the two can read the password.
    Ask,
    /// There is none: the full exchange over a plain transport fails.
    Refuse,
}

/// A login in progress.
#[derive(Debug)]
pub struct ClientAuth {
    password: Secret,
    transport: Transport,
    server_key: ServerKey,
    plugin: Plugin,
    nonce: Vec<u8>,
    key: Key,
    switches: u8,
    steps: u8,
}

/// Whether the backend's public key was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    NotAsked,
    Asked,
}

/// What to do next.
#[derive(Debug)]
pub enum ClientStep {
    /// Send this payload and give the backend's next packet to the new state.
    Send(Vec<u8>, Box<ClientAuth>),
    /// Send nothing and give the backend's next packet to the new state.
    Receive(Box<ClientAuth>),
    /// Logged in; the payload just given is the OK packet.
    Done,
}

/// Why a login failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuthError {
    /// The backend refused.
    Refused(reply::ErrBuf),
    /// The backend asks for a plugin that this crate does not speak.
    UnknownPlugin(String),
    /// The backend asks for the password in clear text over a plain transport.
    Insecure(Plugin),
    /// The password would have to be encrypted with a key that may not be asked for.
    NoServerKey,
    /// The backend's key does not work.
    Rsa(RsaError),
    /// The backend asks for a further factor.
    SecondFactor,
    /// The backend's nonce is too short for the plugin.
    ShortNonce(Plugin),
    /// The backend keeps asking.
    TooManySteps,
    /// The backend sent something that does not belong here; its first byte.
    Unexpected(u8),
    /// The backend sent something malformed.
    Decode(DecodeError),
}

impl fmt::Display for ClientAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(err) => write!(f, "the backend refused the login: {} {}", err.code, err.as_err().text()),
            Self::UnknownPlugin(name) => {
                write!(f, "the backend asks for the authentication plugin {name:?}, which is not supported")
            }
            Self::Insecure(plugin) => {
                write!(f, "the backend asks for {plugin} over a connection without TLS; the password was not sent")
            }
            Self::NoServerKey => f.write_str(
                "the backend asks for the password in full over a connection without TLS, and its public key is not known",
            ),
            Self::Rsa(error) => write!(f, "the password could not be encrypted for the backend: {error}"),
            Self::SecondFactor => f.write_str("the backend asks for a second factor, which is not supported"),
            Self::ShortNonce(plugin) => write!(f, "the backend's nonce is too short for {plugin}"),
            Self::TooManySteps => f.write_str("the backend never ends the authentication"),
            Self::Unexpected(byte) => write!(f, "the backend sent an unexpected packet (0x{byte:02x}) during authentication"),
            Self::Decode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientAuthError {}

impl From<DecodeError> for ClientAuthError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<RsaError> for ClientAuthError {
    fn from(error: RsaError) -> Self {
        Self::Rsa(error)
    }
}

impl ClientAuth {
    /// Starts a login with the greeting's plugin and nonce. A plugin that this crate does not speak,
    /// or may not speak over this transport, is answered with caching_sha2_password: the backend then
    /// asks for what it really wants of this user.
    pub fn new(
        password: Secret,
        transport: Transport,
        greeting_plugin: &str,
        nonce: [u8; NONCE_BYTES],
        server_key: ServerKey,
    ) -> Self {
        let plugin = match Plugin::from_name(greeting_plugin) {
            Plugin::Other(name) if name.is_empty() => Plugin::Native,
            plugin @ (Plugin::Native | Plugin::Sha256) => plugin,
            _ => Plugin::CachingSha2,
        };
        let nonce = nonce.to_vec();
        let (switches, steps) = (SWITCHES_MAX, STEPS_MAX);
        Self {
            password,
            transport,
            server_key,
            plugin,
            nonce,
            key: Key::NotAsked,
            switches,
            steps,
        }
    }

    /// The plugin in use; its name belongs into the handshake response.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The answer for the handshake response or COM_CHANGE_USER.
    ///
    /// # Errors
    /// When the password may not or cannot be sent.
    pub fn first_response(&mut self) -> Result<Vec<u8>, ClientAuthError> {
        self.answer()
    }

    /// Takes the backend's next packet.
    ///
    /// # Errors
    /// When the backend refuses, asks for something that is not possible or safe, or sends something
    /// malformed. The connection must then be closed.
    pub fn step(mut self, payload: &[u8]) -> Result<ClientStep, ClientAuthError> {
        self.steps = self
            .steps
            .checked_sub(1)
            .ok_or(ClientAuthError::TooManySteps)?;
        match payload.first() {
            Some(&OK_MARKER) => Ok(ClientStep::Done),
            Some(&ERR_MARKER) => Err(refusal(payload)?),
            Some(&AUTH_SWITCH_MARKER) => self.switch(payload),
            Some(&AUTH_MORE_DATA_MARKER) => self.more_data(AuthMoreData::decode(payload)?.data),
            Some(&AUTH_NEXT_FACTOR_MARKER) => Err(ClientAuthError::SecondFactor),
            other => Err(ClientAuthError::Unexpected(
                other.copied().unwrap_or_default(),
            )),
        }
    }

    fn switch(mut self, payload: &[u8]) -> Result<ClientStep, ClientAuthError> {
        self.switches = self
            .switches
            .checked_sub(1)
            .ok_or(ClientAuthError::TooManySteps)?;
        let request = AuthSwitchRequest::decode(payload)?;
        self.plugin = Plugin::from_name(&request.plugin);
        let length = match &self.plugin {
            Plugin::Other(name) => return Err(ClientAuthError::UnknownPlugin(name.clone())),
            Plugin::Clear => 0,
            Plugin::Ed25519 => ED25519_NONCE_BYTES,
            Plugin::CachingSha2 | Plugin::Native | Plugin::Sha256 => NONCE_BYTES,
        };
        // What follows the nonce is a NUL.
        let nonce = request
            .data
            .get(..length)
            .ok_or_else(|| ClientAuthError::ShortNonce(self.plugin.clone()))?;
        self.nonce = nonce.to_vec();
        self.key = Key::NotAsked;
        let answer = self.answer()?;
        Ok(ClientStep::Send(answer, Box::new(self)))
    }

    fn more_data(mut self, data: &[u8]) -> Result<ClientStep, ClientAuthError> {
        match (&self.plugin, self.key, data) {
            (Plugin::CachingSha2, Key::NotAsked, [FAST_AUTH_OK]) => {
                Ok(ClientStep::Receive(Box::new(self)))
            }
            (Plugin::CachingSha2, Key::NotAsked, [FULL_AUTH]) => {
                let answer = self.full_answer(REQUEST_PUBLIC_KEY)?;
                Ok(ClientStep::Send(answer, Box::new(self)))
            }
            (Plugin::CachingSha2 | Plugin::Sha256, Key::Asked, pem) => {
                let ciphertext = encrypt(&self.password, &self.nonce, pem)?;
                self.key = Key::NotAsked;
                Ok(ClientStep::Send(ciphertext, Box::new(self)))
            }
            _ => Err(ClientAuthError::Unexpected(AUTH_MORE_DATA_MARKER)),
        }
    }

    /// The first answer of the plugin in use.
    fn answer(&mut self) -> Result<Vec<u8>, ClientAuthError> {
        let password = self.password.expose();
        match &self.plugin {
            Plugin::Native | Plugin::CachingSha2 if password.is_empty() => Ok(Vec::new()),
            Plugin::Native => Ok(scramble_native(password, &self.nonce).to_vec()),
            Plugin::CachingSha2 => Ok(scramble_caching_sha2(password, &self.nonce).to_vec()),
            Plugin::Sha256 if password.is_empty() => Ok(vec![0]),
            Plugin::Sha256 => self.full_answer(SHA256_REQUEST_PUBLIC_KEY),
            Plugin::Clear if self.transport.is_private() => Ok(clear_text(&self.password)),
            Plugin::Clear => Err(ClientAuthError::Insecure(Plugin::Clear)),
            Plugin::Ed25519 => Ok(sign(password, &self.nonce).to_vec()),
            Plugin::Other(name) => Err(ClientAuthError::UnknownPlugin(name.clone())),
        }
    }

    /// The password in full, protected by the transport or by the backend's key, or else the request
    /// for that key.
    fn full_answer(&mut self, request: u8) -> Result<Vec<u8>, ClientAuthError> {
        let clear = match self.plugin {
            // Servers take sha256_password in clear text through TLS only.
            Plugin::Sha256 => self.transport == Transport::Secure,
            _ => self.transport.is_private(),
        };
        match &self.server_key {
            _ if clear => Ok(clear_text(&self.password)),
            ServerKey::Pinned(pem) => Ok(encrypt(&self.password, &self.nonce, pem.as_bytes())?),
            // Nobody stands between the two ends of a Unix socket.
            ServerKey::Refuse if self.transport == Transport::Plain => {
                Err(ClientAuthError::NoServerKey)
            }
            ServerKey::Ask | ServerKey::Refuse => {
                self.key = Key::Asked;
                Ok(vec![request])
            }
        }
    }
}

fn refusal(payload: &[u8]) -> Result<ClientAuthError, DecodeError> {
    let err = reply::Err::decode(payload, Capabilities::PROTOCOL_41)?;
    Ok(ClientAuthError::Refused(err.to_buf()))
}

fn clear_text(password: &Secret) -> Vec<u8> {
    let mut text = Vec::with_capacity(password.expose().len().saturating_add(1));
    text.extend_from_slice(password.expose());
    text.push(0);
    text
}
