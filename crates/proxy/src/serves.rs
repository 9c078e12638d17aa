//! In which role an endpoint serves now, or why in none.
//!
//! Owns the one answer that the balancer, the admin page and EXPLAIN MESH give. It must never change anything. Input: the
//! strategy, what the monitor saw, what an operator said.

use std::fmt;
use std::sync::Arc;

use dbmesh_model::topology::{Role, RoleSource};

use crate::standing::{AdminState, Astray, Lag};
use crate::upstream::{Member, Upstream};

/// Why an endpoint serves in no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// An operator drains it.
    Draining,
    /// Its server has not said whether it is read-only.
    RoleUnknown,
    /// Probes do not reach it.
    Down,
    /// It takes writes, and another server is the primary.
    Fenced,
    /// It takes writes, as others do, and each has transactions that another one lacks.
    Diverged,
    /// It takes writes and is not confirmed as the primary yet.
    NotConfirmed,
    /// It is too far behind, or nobody knows how far.
    Behind(Lag),
}

impl Idle {
    /// The name in JSON and tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::RoleUnknown => "role_unknown",
            Self::Down => "down",
            Self::Fenced => "fenced",
            Self::Diverged => "diverged",
            Self::NotConfirmed => "not_confirmed",
            Self::Behind(_) => "behind",
        }
    }
}

const DIVERGED: &str = "several servers take writes, and each has transactions that another one lacks: none is the primary until all but one \
     are set to read_only";

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => write!(f, "an operator drains it"),
            Self::RoleUnknown => write!(f, "its server has not reported a role yet"),
            Self::Down => write!(f, "probes do not reach it"),
            Self::Fenced => write!(f, "fenced: another server is the primary"),
            Self::Diverged => f.write_str(DIVERGED),
            Self::NotConfirmed => write!(f, "not confirmed as the primary yet"),
            Self::Behind(lag) => write!(f, "not fresh enough: {lag}"),
        }
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "its lag is not known"),
            Self::NoReplica => write!(f, "it replicates from nobody"),
            Self::Behind(ms) => write!(f, "{} s behind", ms / 1_000),
            Self::Disconnected => write!(f, "it cannot reach its source"),
            Self::Stopped => write!(f, "replication is stopped"),
            Self::Denied => write!(f, "the probe's user may not ask for its lag"),
            Self::Astray(Astray::Minority) => write!(f, "it sees no majority of its group"),
            Self::Astray(Astray::Joining) => write!(f, "it is joining its group"),
            Self::Astray(Astray::Failed) => write!(f, "it failed in its group, or was expelled"),
        }
    }
}

impl Upstream {
    /// The role in which a member serves now.
    ///
    /// # Errors
    /// Why it serves in none.
    pub fn serving_role(&self, member: &Arc<Member>) -> Result<Role, Idle> {
        let standing = &member.pool.standing;
        if standing.admin_state() == AdminState::Draining {
            return Err(Idle::Draining);
        }
        let source = self.splitting().map(|s| s.roles);
        let role = match source {
            None => return Ok(member.endpoint.role),
            Some(RoleSource::Configured) => member.endpoint.role,
            Some(RoleSource::Reported) => standing.role().ok_or(Idle::RoleUnknown)?,
        };
        let reported = source == Some(RoleSource::Reported);
        if !standing.is_up() && (reported || role == Role::Replica) {
            return Err(Idle::Down);
        }
        match role {
            Role::Primary if reported => {
                let confirmed = self.primary().is_some_and(|p| Arc::ptr_eq(p, member));
                match confirmed {
                    true => Ok(role),
                    false if self.is_diverged() && !standing.is_deposed() => Err(Idle::Diverged),
                    false if standing.is_fenced() => Err(Idle::Fenced),
                    false => Err(Idle::NotConfirmed),
                }
            }
            Role::Primary => Ok(role),
            // No role leads to it.
            Role::Shadow => Err(Idle::NotConfirmed),
            // Without a primary nobody writes, and a replica that lost it is as fresh as can be.
            Role::Replica
                if standing.is_fresh() || (standing.is_stranded() && !self.primary_is_up()) =>
            {
                Ok(role)
            }
            Role::Replica => Err(Idle::Behind(standing.lag())),
        }
    }

    /// Why nobody serves as primary, for the client that is refused.
    #[must_use]
    pub fn why_no_primary(&self) -> String {
        let mut drained = self.members.iter().filter(|m| {
            let was = match self.reports_roles() {
                true => m.pool.standing.role(),
                false => Some(m.endpoint.role),
            };
            was == Some(Role::Primary) && m.pool.is_draining()
        });
        match drained.next() {
            Some(member) => format!("the primary {} is being drained", member.endpoint.name),
            None if self.is_diverged() => DIVERGED.to_owned(),
            None => "no endpoint of the strategy is a primary".to_owned(),
        }
    }
}
