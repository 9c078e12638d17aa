//! Whether a client is who it says, and for which service.
//!
//! Owns the verdict on credentials and the limits of users. A user that does not exist goes the same way as one with a wrong
//! password. Input: a claim, and the client's further packets.

use std::sync::Arc;

use dbmesh_model::topology::{Credential, PasswordHash, Service};
use dbmesh_wire::auth::{
    PasswordVerifier, Plugin, Proof, Secret, ServerAuth, ServerStep, Transport,
};

use super::LOGIN_PACKET_BYTES_MAX;
use crate::channel::Stream;
use crate::client::Client;
use crate::fault::Fault;
use crate::process::Process;
use crate::serving::{Login, Serving};
use crate::session::Failure;

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
    let transport = match client.channel.stream() {
        Stream::Unix(_) => Transport::Local,
        stream if stream.is_secure() => Transport::Secure,
        _ => Transport::Plain,
    };
    let allowed = vec![
        Plugin::CachingSha2,
        Plugin::Native,
        Plugin::Sha256,
        Plugin::Clear,
    ];
    let mut auth = ServerAuth::new(nonce, default_plugin.clone(), transport, verifier, allowed);
    // A password in full is asked for only where a hash is all that is known of one.
    let by_hash = |s: &Arc<Serving>| {
        s.service
            .users
            .iter()
            .any(|u| matches!(u.credential, Credential::Hash(_)))
    };
    if !client.channel.stream().is_secure()
        && services.iter().any(by_hash)
        && let Some(pair) = process.rsa().await
    {
        auth = auth.with_key_pair(pair);
    }
    let denied = Fault::AccessDenied {
        user: user.clone(),
        host: host.to_owned(),
        password: !claim.response.is_empty(),
    };
    let step = auth.begin(claim.plugin, claim.response);
    let Some(proof) = prove(client, step, &user).await? else {
        return Err(denied.into());
    };
    let Some(serving) = chosen else {
        return Err(denied.into());
    };
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

/// The exchange of credentials; nothing when they are refused.
async fn prove(
    client: &mut Client,
    mut step: ServerStep,
    user: &str,
) -> Result<Option<Proof>, Failure> {
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
                step = next.step(&answer);
            }
            ServerStep::Accept(proof) => return Ok(Some(proof)),
            ServerStep::AcceptAfter(payload, proof) => {
                client.packet(&payload).await?;
                return Ok(Some(proof));
            }
            ServerStep::Reject(reason) => {
                tracing::debug!(user, reason = ?reason, "credentials refused");
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
