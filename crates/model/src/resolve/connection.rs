//! What both sides of the mesh have in common: passwords, PEM files, hosts, sockets, schemas.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::findings::{At, Findings};
use crate::host::Host;
use crate::secret::Secret;
use crate::spec::{CompressionSpec, Password, ValueFrom};
use crate::topology::{Compression, PemFile};

/// Longest password: MySQL's own limit for `CREATE USER` is far below.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// Longest path of a Unix socket: `sun_path` of Linux without its final NUL.
const SOCKET_BYTES_MAX: usize = 107;
/// Longest schema name, in characters (MySQL 8.0, "Identifier Length Limits").
const SCHEMA_CHARS_MAX: usize = 64;
/// Longest host name.
const HOST_BYTES_MAX: usize = 253;
/// Longest user name, in characters: MariaDB's limit; MySQL's is 32.
const USER_CHARS_MAX: usize = 128;

/// The password that a field gives or points to.
pub fn password(
    at: &At<'_>,
    password: &Password,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Secret> {
    let secret = match password {
        Password::Plain(secret) => {
            if !secret.is_empty() {
                let better = "use `{valueFrom: {env: NAME}}` or `{valueFrom: {file: PATH}}`";
                findings.warning_with(at, "plain password in a file", better.to_owned());
            }
            secret.clone()
        }
        Password::From(source) => {
            value_from(&at.field("valueFrom"), &source.value_from, host, findings)?
        }
    };
    if secret.expose().contains('\0') {
        findings.error(
            at,
            "the password holds a NUL byte, which the protocol cannot carry",
        );
        return None;
    }
    if secret.expose().len() > PASSWORD_BYTES_MAX {
        findings.error(
            at,
            format!("the password is longer than {PASSWORD_BYTES_MAX} bytes"),
        );
        return None;
    }
    Some(secret)
}

fn value_from(
    at: &At<'_>,
    from: &ValueFrom,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Secret> {
    let controller = "use `env` or `file`";
    match from {
        ValueFrom {
            env: Some(name),
            file: None,
            secret_key_ref: None,
            sealed: None,
        } => {
            let Some(value) = host.env(name) else {
                let reason = format!("the environment variable `{name}` is not set");
                findings.error(&at.field("env"), reason);
                return None;
            };
            Some(Secret::from(value.as_str()))
        }
        ValueFrom {
            env: None,
            file: Some(file),
            secret_key_ref: None,
            sealed: None,
        } => {
            let (_, text) = read(&at.field("file"), file, host, findings)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            Some(Secret::from(line.strip_suffix('\r').unwrap_or(line)))
        }
        ValueFrom {
            env: None,
            file: None,
            secret_key_ref: Some(_),
            sealed: None,
        } => {
            let reason = "a key of a Kubernetes Secret needs a controller to read it";
            findings.error_with(&at.field("secretKeyRef"), reason, controller.to_owned());
            None
        }
        ValueFrom {
            env: None,
            file: None,
            secret_key_ref: None,
            sealed: Some(_),
        } => {
            let reason = "a sealed password needs a controller to open it";
            findings.error_with(&at.field("sealed"), reason, controller.to_owned());
            None
        }
        _ => {
            findings.error_with(at, "needs exactly one source", controller.to_owned());
            None
        }
    }
}

/// Reads a file that a resource names, relative to the folder of the resource.
fn read(
    at: &At<'_>,
    file: &str,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<(PathBuf, Zeroizing<String>)> {
    let folder = at.document.file.parent().unwrap_or(Path::new(""));
    let path = folder.join(file);
    match host.read(&path) {
        Ok(text) => Some((path, text)),
        Err(error) => {
            findings.error(at, format!("{} cannot be read: {error}", path.display()));
            None
        }
    }
}

/// What a PEM file must hold.
#[derive(Clone, Copy)]
pub enum PemContent {
    Certificates,
    PrivateKey,
}

/// A PEM file that a resource names.
pub fn pem_file(
    at: &At<'_>,
    file: &str,
    content: PemContent,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<PemFile> {
    let (path, text) = read(at, file, host, findings)?;
    let begins = |label: &str| {
        text.lines()
            .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(label))
    };
    let (label, wanted) = match content {
        PemContent::Certificates => ("CERTIFICATE-----", "certificate"),
        PemContent::PrivateKey => ("PRIVATE KEY-----", "private key"),
    };
    if !begins(label) {
        findings.error(
            at,
            format!("{} holds no {wanted} in PEM form", path.display()),
        );
        return None;
    }
    if matches!(content, PemContent::PrivateKey) && begins("ENCRYPTED PRIVATE KEY-----") {
        findings.error(
            at,
            format!("{} holds an encrypted private key", path.display()),
        );
        return None;
    }
    Some(PemFile {
        path,
        pem: Secret::from(text.as_str()),
    })
}

/// A certificate and its key: both or neither. Outer `None` after a defect.
pub fn identity(
    at: &At<'_>,
    files: (Option<&str>, Option<&str>),
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Option<(PemFile, PemFile)>> {
    match files {
        (None, None) => Some(None),
        (Some(cert), Some(key)) => {
            let certificates = PemContent::Certificates;
            let cert = pem_file(&at.field("cert"), cert, certificates, host, findings);
            let key = pem_file(
                &at.field("key"),
                key,
                PemContent::PrivateKey,
                host,
                findings,
            );
            Some(Some((cert?, key?)))
        }
        (Some(_), None) => {
            findings.error(&at.field("cert"), "`cert` needs `key`");
            None
        }
        (None, Some(_)) => {
            findings.error(&at.field("key"), "`key` needs `cert`");
            None
        }
    }
}

/// A host name or IP address without port, brackets or spaces.
pub fn host_name(at: &At<'_>, text: &str, findings: &mut Findings) -> Option<String> {
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    let name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.chars().all(name_char);
    if is_address || is_name {
        return Some(text.to_owned());
    }
    let suggestion = text
        .contains(':')
        .then(|| "the port has its own field, `port`".to_owned());
    findings.error_with(
        at,
        format!("{text:?} is not a host name or IP address"),
        suggestion,
    );
    None
}

/// The absolute path of a Unix socket.
pub fn socket(at: &At<'_>, text: &str, findings: &mut Findings) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    let reason = if !path.is_absolute() {
        "the path of a socket must be absolute".to_owned()
    } else if text.len() > SOCKET_BYTES_MAX {
        format!("the path of a socket cannot be longer than {SOCKET_BYTES_MAX} bytes")
    } else if text.contains('\0') {
        "the path of a socket cannot hold a NUL byte".to_owned()
    } else {
        return Some(path);
    };
    findings.error(at, reason);
    None
}

/// A schema name. Outer `None` after a defect.
pub fn schema(at: &At<'_>, text: Option<&str>, findings: &mut Findings) -> Option<Option<String>> {
    let Some(text) = text else { return Some(None) };
    if word_fits(text, SCHEMA_CHARS_MAX) {
        return Some(Some(text.to_owned()));
    }
    findings.error(
        at,
        format!("not a schema name: 1 to {SCHEMA_CHARS_MAX} characters, no NUL"),
    );
    None
}

/// The name of a MySQL user.
pub fn user_name(at: &At<'_>, text: &str, findings: &mut Findings) -> Option<String> {
    if word_fits(text, USER_CHARS_MAX) {
        return Some(text.to_owned());
    }
    findings.error(
        at,
        format!("not a user name: 1 to {USER_CHARS_MAX} characters, no NUL"),
    );
    None
}

fn word_fits(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.chars().count()) && !text.contains('\0')
}

/// Compressions in the order written, once each.
pub fn compression(written: Option<&[CompressionSpec]>) -> Vec<Compression> {
    let mut list = Vec::new();
    for one in written.unwrap_or_default() {
        let one = match one {
            CompressionSpec::Zlib => Compression::Zlib,
            CompressionSpec::Zstd => Compression::Zstd,
        };
        if !list.contains(&one) {
            list.push(one);
        }
    }
    list
}
