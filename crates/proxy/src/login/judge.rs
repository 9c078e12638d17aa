//! Whether a client is who it says, and for which service.
//!
//! Owns the verdict on credentials and the limits of users. A user that does not exist goes the same way as one with a wrong
//! password. Input: a claim, and the client's further packets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dbmesh_model::topology::{Credential, PasswordHash, Service};
use dbmesh_wire::auth::{
    PasswordVerifier, Plugin, Proof, Secret, ServerAuth, ServerStep, Transport,
};

use super::LOGIN_PACKET_BYTES_MAX;
use crate::channel::Stream;
use crate::client::Client;
use crate::fault::Fault;
use crate::logins::{Login, Logins};
use crate::process::Process;
use crate::serving::Serving;
use crate::session::Failure;

/// How passwords may be proved.
const ALLOWED: [Plugin; 4] = [
    Plugin::CachingSha2,
    Plugin::Native,
    Plugin::Sha256,
    Plugin::Clear,
];

/// Whether a claim holds, for which service, within which limits.
pub(super) async fn judge(
    process: &Process,
    services: &[Arc<Serving>],
    client: &mut Client,
    nonce: [u8; 20],
    default_plugin: &Plugin,
    claim: &Claim<'_>,
    host: &str,
) -> Result<(Arc<Serving>, Login), Failure> {
    let user = String::from_utf8_lossy(claim.user).into_owned();
    let chosen = choose_service(services, &user, claim.database);
    let verifier = chosen
        .as_ref()
        .and_then(|serving| verifier_of(process, &serving.service, &user));
    let transport = transport_of(client.channel.stream());
    let plugin = default_plugin.clone();
    let mut auth = ServerAuth::new(nonce, plugin, transport, verifier, ALLOWED.to_vec());
    // A password in full is asked for only where a hash is all that is known of one.
    let by_hash = |s: &Arc<Serving>| {
        let mut users = s.service.users.iter();
        users.any(|u| matches!(u.credential, Credential::Hash(_)))
    };
    let by_hash = services.iter().any(by_hash);
    if !client.channel.stream().is_secure()
        && by_hash
        && let Some(pair) = process.rsa().await
    {
        auth = auth.with_key_pair(pair);
    }
    let denied = Fault::AccessDenied {
        user: user.clone(),
        host: host.to_owned(),
        password: !claim.response.is_empty(),
    };
    let lockout = &process.lockout;
    let locked = || lockout.is_locked(&user, host, Instant::now());
    if locked() {
        return Err(denied.into());
    }
    let costly = chosen.as_ref().or(services.first()).filter(|_| by_hash);
    let logins = costly.map(|serving| &*serving.logins);
    let proof = prove(client, auth, claim, logins, locked).await?;
    let (Some(proof), Some(serving)) = (proof, chosen) else {
        cost_a_failure(process, services, &user, host).await;
        return Err(denied.into());
    };
    lockout.note_success(&user, host);
    if !may_log_in(&serving.service, &user, host, transport) {
        return Err(denied.into());
    }
    if let Some(schema) = claim.database {
        may_enter(&serving.service, &user, host, schema)?;
    }
    if let Some(password) = &proof.password {
        process.remember_password(&serving.service, &user, password);
    }
    let limits = &serving.service.limits;
    let login = serving
        .logins
        .enter(
            &user,
            limits.max_connections,
            limits.max_connections_per_user,
        )
        .map_err(Fault::TooManyConnections)?;
    Ok((serving, login))
}

/// Who could listen on the way.
fn transport_of(stream: &Stream) -> Transport {
    match stream {
        Stream::Unix(_) => Transport::Local,
        stream if stream.is_secure() => Transport::Secure,
        _ => Transport::Plain,
    }
}

/// Counts a failed login, which costs time.
async fn cost_a_failure(process: &Process, services: &[Arc<Serving>], user: &str, host: &str) {
    let limits = services.first().map(|s| s.service.limits.clone());
    let limits = limits.unwrap_or_default();
    let lockout = &process.lockout;
    let delay = lockout.note_failure(user, host, &limits, Instant::now());
    tokio::time::sleep(delay).await;
}

/// Whether a user may log in from here, like this, now.
fn may_log_in(service: &Service, user: &str, host: &str, transport: Transport) -> bool {
    let Some(user) = service.users.iter().find(|u| u.name == user) else {
        return false;
    };
    let rights = &user.rights;
    let networks = &rights.networks;
    let from_here = || {
        let address = host.parse::<IpAddr>();
        address.is_ok_and(|address| networks.iter().any(|n| n.contains(address)))
    };
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    };
    let valid = rights.valid_from.is_none_or(|from| from <= now())
        && rights.valid_until.is_none_or(|until| now() < until);
    let secure = !rights.require_tls || !matches!(transport, Transport::Plain);
    secure && valid && (networks.is_empty() || from_here())
}

/// Whether a user may choose a schema.
///
/// # Errors
/// As a server says it.
pub fn may_enter(service: &Service, user: &str, host: &str, schema: &[u8]) -> Result<(), Fault> {
    let known = service.users.iter().find(|u| u.name == user);
    let Some(grants) = known.and_then(|u| u.rights.grants.as_ref()) else {
        return Ok(());
    };
    let schema = String::from_utf8_lossy(schema);
    let open = schema.eq_ignore_ascii_case("information_schema");
    if open || grants.iter().any(|grant| grant.reaches(&schema)) {
        return Ok(());
    }
    Err(Fault::Forbidden {
        code: 1044,
        message: format!("Access denied for user '{user}'@'{host}' to database '{schema}'"),
    })
}

/// A step of the exchange: made here, or where a password may have to be hashed some thousand times.
async fn checked(
    logins: Option<&Logins>,
    step: impl FnOnce() -> ServerStep + Send + 'static,
) -> Result<ServerStep, Failure> {
    match logins {
        None => Ok(step()),
        Some(logins) => logins.check(step).await.ok_or(Failure::Stopped),
    }
}

/// The exchange of credentials; nothing when they are refused, or when others of the same user failed too often meanwhile:
/// then nothing tells a right password from a wrong one.
async fn prove(
    client: &mut Client,
    auth: ServerAuth,
    claim: &Claim<'_>,
    logins: Option<&Logins>,
    locked: impl Fn() -> bool,
) -> Result<Option<Proof>, Failure> {
    let plugin = claim.plugin.map(str::to_owned);
    let response = Secret::new(claim.response);
    let begin = move || auth.begin(plugin.as_deref(), response.expose());
    let mut step = checked(logins, begin).await?;
    loop {
        match step {
            ServerStep::Send(payload, next) => {
                client.packet(&payload).await?;
                let mut answer = Vec::new();
                let seq = client.seq;
                match client
                    .channel
                    .read_packet(&mut answer, seq, LOGIN_PACKET_BYTES_MAX)
                    .await
                {
                    Ok(Some(next_seq)) => client.seq = next_seq,
                    _ => return Err(Failure::ClientLost),
                }
                step = checked(logins, move || next.step(&answer)).await?;
            }
            ServerStep::Accept(_) | ServerStep::AcceptAfter(..) if locked() => return Ok(None),
            ServerStep::Accept(proof) => return Ok(Some(proof)),
            ServerStep::AcceptAfter(payload, proof) => {
                client.packet(&payload).await?;
                return Ok(Some(proof));
            }
            ServerStep::Reject(reason) => {
                let user = String::from_utf8_lossy(claim.user);
                tracing::debug!(%user, reason = ?reason, "credentials refused");
                return Ok(None);
            }
        }
    }
}

/// The service of this user: the one whose schema is asked for, else the first that knows the user.
fn choose_service(
    services: &[Arc<Serving>],
    user: &str,
    database: Option<&[u8]>,
) -> Option<Arc<Serving>> {
    let knows = |s: &&Arc<Serving>| s.service.users.iter().any(|u| u.name == user);
    let wanted = database.and_then(|d| {
        services
            .iter()
            .filter(knows)
            .find(|s| s.service.schema.as_deref().map(str::as_bytes) == Some(d))
    });
    wanted.or_else(|| services.iter().find(knows)).cloned()
}

fn verifier_of(process: &Process, service: &Service, user: &str) -> Option<PasswordVerifier> {
    let user = service.users.iter().find(|u| u.name == user)?;
    match &user.credential {
        Credential::Plain(secret) => Some(PasswordVerifier::from_password(&Secret::new(
            secret.expose().as_bytes().to_vec(),
        ))),
        Credential::Hash(hash) => {
            let text = stored_text(hash);
            let stored = PasswordVerifier::from_hash(&text).ok()?;
            // A password proved in full once spares the full exchange from then on.
            match process.remembered_password(service, &user.name) {
                Some(fast) => Some(stored.or(fast)),
                None => Some(stored),
            }
        }
    }
}

fn stored_text(hash: &PasswordHash) -> Vec<u8> {
    match hash {
        PasswordHash::NativeSha1(digest) => {
            let mut text = b"*".to_vec();
            for byte in digest {
                text.extend_from_slice(format!("{byte:02X}").as_bytes());
            }
            text
        }
        PasswordHash::CachingSha2 {
            rounds,
            salt,
            digest,
        } => {
            let mut text = format!("$A${:03X}$", rounds / 1000).into_bytes();
            text.extend_from_slice(salt);
            text.extend_from_slice(digest);
            text
        }
    }
}

/// A claim to be somebody.
pub(super) struct Claim<'a> {
    pub(super) user: &'a [u8],
    pub(super) database: Option<&'a [u8]>,
    pub(super) plugin: Option<&'a str>,
    pub(super) response: &'a [u8],
}
