//! Who may log in to a service.

use std::sync::Arc;

use super::findings::{At, Findings};
use super::{access, connection};
use crate::host::Host;
use crate::secret::Secret;
use crate::spec::{DatabaseMySQL, Password, ServiceSpec};
use crate::topology::{Credential, Duty, PasswordHash, User};

/// The user named in `databaseMySQL`, then those of `users`; nothing after a defect.
pub fn users(
    at: &At<'_>,
    spec: &ServiceSpec,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Vec<User>> {
    let mut users: Vec<User> = Vec::new();
    let mut sound = true;
    let first = first_user(
        &at.field("databaseMySQL"),
        &spec.database_mysql,
        host,
        findings,
    );
    match first {
        Some(user) => users.extend(user),
        None => sound = false,
    }
    for (index, user) in spec.users.iter().flatten().enumerate() {
        let at = at.field("users").item(index);
        let name = connection::user_name(&at.field("name"), &user.name, findings);
        let given = (user.password.as_ref(), user.password_hash.as_ref());
        let credential = credential(&at, given, host, findings);
        let rights = access::rights(&at, user, findings);
        let (Some(name), Some(credential), Some(rights)) = (name, credential, rights) else {
            sound = false;
            continue;
        };
        if users.iter().any(|known| known.name == name) {
            findings.error(&at.field("name"), format!("duplicate user `{name}`"));
            sound = false;
            continue;
        }
        users.push(User {
            name,
            credential,
            rights: Arc::new(rights),
            duty: match user.operator {
                Some(true) => Duty::Operates,
                Some(false) | None => Duty::Uses,
            },
        });
    }
    if sound && users.is_empty() {
        findings.error(
            at,
            "nobody may log in: give `databaseMySQL.user` or `users`",
        );
        return None;
    }
    sound.then_some(users)
}

/// The user named in the service itself, if any. Outer `None` after a defect.
fn first_user(
    at: &At<'_>,
    spec: &DatabaseMySQL,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Option<User>> {
    match (&spec.user, &spec.password) {
        (None, None) => Some(None),
        (None, Some(_)) => {
            findings.error(&at.field("password"), "`password` needs `user`");
            None
        }
        (Some(user), password) => {
            let name = connection::user_name(&at.field("user"), user, findings);
            let credential = credential(at, (password.as_ref(), None), host, findings);
            Some(Some(User {
                name: name?,
                credential: credential?,
                rights: Arc::default(),
                duty: Duty::Uses,
            }))
        }
    }
}

fn credential(
    at: &At<'_>,
    given: (Option<&Password>, Option<&Secret>),
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Credential> {
    match given {
        (Some(password), None) => {
            let at = at.field("password");
            let secret = connection::password(&at, password, host, findings)?;
            if secret.is_empty() {
                findings.error(&at, "an empty password would let everybody in");
                return None;
            }
            Some(Credential::Plain(secret))
        }
        (None, Some(hash)) => {
            let parsed = PasswordHash::parse(hash.expose());
            if parsed.is_none() {
                let reason = "neither `*` and 40 hexadecimal digits nor `$A$005$…`";
                findings.error(&at.field("passwordHash"), reason);
            }
            parsed.map(Credential::Hash)
        }
        (Some(_), Some(_)) => {
            findings.error(at, "`passwordHash` does not go with `password`");
            None
        }
        (None, None) => {
            findings.error(at, "the user has no `password`");
            None
        }
    }
}
