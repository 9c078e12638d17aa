//! TLS material: from what a topology says to what rustls takes, for both sides of the proxy.
//!
//! It owns the protocol versions (1.2 and 1.3), the provider (aws-lc, named explicitly, so that no
//! process-wide default is needed) and what each mode verifies. It opens no socket and reads no
//! file: the PEM texts come with the topology. It never shows a key, not even in an error.

mod generated;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use dbmesh_model::topology::{BackendTls, BackendTlsMode, ClientTlsMode, ListenerTls, PemFile};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// The versions that both sides speak, best first.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
/// Sessions that a client configuration remembers in order to resume them. An endpoint has its own
/// configuration, so this is per endpoint.
const RESUMABLE_SESSIONS_MAX: usize = 256;

/// Why TLS cannot be set up.
#[derive(Debug)]
pub enum TlsError {
    /// A PEM file does not hold what it should.
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The mode verifies the peer, but no authority is given.
    AuthorityMissing,
    /// The host is neither an IP address nor a DNS name.
    Host(String),
    /// The certificate of this process could not be generated.
    Generate(String),
    /// The material was read but cannot be used: a key that does not belong to the certificate, a
    /// kind of key that is not supported.
    Unusable {
        /// The file it is about, if it is about one.
        file: Option<PathBuf>,
        /// What rustls says.
        reason: String,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Pem { file, reason } => write!(f, "{}: {reason}", file.display()),
            TlsError::AuthorityMissing => {
                f.write_str("the TLS mode verifies the peer, but no certificate authority is given")
            }
            TlsError::Host(host) => write!(f, "`{host}` is neither an IP address nor a DNS name"),
            TlsError::Generate(reason) => {
                write!(f, "the TLS certificate cannot be generated: {reason}")
            }
            TlsError::Unusable {
                file: Some(file),
                reason,
            } => {
                write!(f, "{}: cannot be used: {reason}", file.display())
            }
            TlsError::Unusable { file: None, reason } => write!(f, "cannot be used: {reason}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// A certificate chain, leaf first, and the key of the leaf.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What a listener needs in order to offer TLS; nothing when it is disabled. Without an identity of
/// its own it takes the certificate that this process generated for all such listeners. Whether a
/// login without TLS is refused (`Required`, `VerifyClient`) is the listener's to enforce.
///
/// # Errors
/// If a PEM text does not hold what it should, or certificate and key do not belong together.
pub fn server_config(tls: &ListenerTls) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    if tls.mode == ClientTlsMode::Disabled {
        return Ok(None);
    }
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| unusable(None, &error))?;
    let builder = if tls.mode == ClientTlsMode::VerifyClient {
        let ca = tls.client_ca.as_ref().ok_or(TlsError::AuthorityMissing)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, provider)
            .build()
            .map_err(|error| unusable(Some(ca), &error))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = match &tls.identity {
        Some(files) => identity(files)?,
        None => generated::identity()?,
    };
    let certificate = tls.identity.as_ref().map(|(certificate, _)| certificate);
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unfit(certificate, &error))?;
    // Tickets keep nothing here and resume on both versions; the keys rotate by themselves.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| unusable(None, &error))?;
    Ok(Some(Arc::new(config)))
}

/// What a connection to a server needs in order to use TLS; nothing when it is disabled. Make one
/// per endpoint and keep it: sessions are resumed only within one configuration.
///
/// `Preferred` and `Required` encrypt without knowing to whom, as MySQL's clients do. `VerifyCa`
/// wants a chain to the given authority and ignores names. `VerifyIdentity` wants the host among the
/// certificate's alternative names; the common name, which MySQL's clients also accept, is ignored.
///
/// # Errors
/// If a PEM text does not hold what it should, or certificate and key do not belong together.
pub fn client_config(tls: &BackendTls) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if tls.mode == BackendTlsMode::Disabled {
        return Ok(None);
    }
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&VERSIONS)
        .map_err(|error| unusable(None, &error))?;
    let authority = || tls.ca.as_ref().ok_or(TlsError::AuthorityMissing);
    let builder = match tls.mode {
        BackendTlsMode::Disabled => return Ok(None),
        BackendTlsMode::Preferred | BackendTlsMode::Required => {
            let verifier = verify::Nobody::new(&provider);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        BackendTlsMode::VerifyCa => {
            let verifier = verify::Authority::new(roots(authority()?)?, &provider);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        BackendTlsMode::VerifyIdentity => {
            let ca = authority()?;
            let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca)?, provider)
                .build()
                .map_err(|error| unusable(Some(ca), &error))?;
            builder.with_webpki_verifier(verifier)
        }
    };
    let mut config = match &tls.identity {
        Some(files) => {
            let (chain, key) = identity(files)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unfit(Some(&files.0), &error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(RESUMABLE_SESSIONS_MAX);
    Ok(Some(Arc::new(config)))
}

/// The name of a server for the handshake: an IP address (IPv6 with or without brackets) or a DNS
/// name, with or without the dot at its end. For a server behind a Unix socket, give `localhost`.
///
/// # Errors
/// If it is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let bare = bare.unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::Host(host.to_owned()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn identity((certificate, key): &(PemFile, PemFile)) -> Result<Identity, TlsError> {
    let parsed = PrivateKeyDer::from_pem_slice(key.pem.expose().as_bytes());
    // The parser's error may hold a part of the text: a key must not get into a log.
    let parsed = parsed.map_err(|_| {
        pem(
            key,
            "holds no private key in PEM form (PKCS#8, PKCS#1 or SEC1, not encrypted)",
        )
    })?;
    Ok((certificates(certificate)?, parsed))
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(file.pem.expose().as_bytes()).collect();
    // Operators put key and certificate into one file: no part of the text into the error either.
    let parsed = parsed.map_err(|_| pem(file, "is damaged: a PEM block cannot be read"))?;
    if parsed.is_empty() {
        return Err(pem(file, "holds no certificate in PEM form"));
    }
    Ok(parsed)
}

fn roots(file: &PemFile) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for (place, certificate) in certificates(file)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            pem(
                file,
                &format!("certificate {} is no authority: {error}", place + 1),
            )
        })?;
    }
    Ok(Arc::new(roots))
}

fn pem(file: &PemFile, reason: &str) -> TlsError {
    TlsError::Pem {
        file: file.path.clone(),
        reason: reason.to_owned(),
    }
}

/// Why a certificate and its key are refused. The words of rustls for a certificate that it cannot
/// read are about a peer.
fn unfit(certificate: Option<&PemFile>, error: &rustls::Error) -> TlsError {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            let reason = "the certificate is damaged or of X.509 version 1, which is what \
                          `openssl x509 -req` makes unless extensions are given";
            unusable(certificate, &reason)
        }
        other => unusable(certificate, other),
    }
}

fn unusable(file: Option<&PemFile>, error: &dyn fmt::Display) -> TlsError {
    TlsError::Unusable {
        file: file.map(|file| file.path.clone()),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
