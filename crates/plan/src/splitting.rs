//! Which role a statement needs: the primary, or any replica that is fresh enough.
//!
//! Owns the order of reasons: a hint, then the rules, then the strategy's default. It must never send to a replica what is
//! not proved to read only. Input: facts of the statement, the strategy, a hint.

use std::borrow::Cow;

use dbmesh_model::topology::{
    Balance, Consistency, Role, Splitting, SplittingMatch, TransactionalRead,
};
use dbmesh_sql::RoleHint;

use crate::Proof;

/// Why a statement goes where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Reads are not split off.
    NoSplitting,
    /// It is not proved to read only.
    NotProved,
    /// A hint says so.
    Hint,
    /// The strategy's consistency is `primary`.
    Consistency,
    /// The rule of this number says so.
    Rule(usize),
    /// No rule decides.
    Default,
    /// `transactionalRead` says so.
    Transaction,
    /// What it says is of the server that answers: the primary's, or any while there is no primary.
    ServerLocal,
}

/// What a statement needs of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The role.
    pub role: Role,
    /// How one is chosen, if not the strategy's way.
    pub balance: Option<Balance>,
    /// What a replica may miss.
    pub consistency: Consistency,
    /// Why.
    pub why: Why,
}

impl Aim {
    /// The primary.
    #[must_use]
    pub const fn primary(why: Why) -> Self {
        Self {
            role: Role::Primary,
            balance: None,
            consistency: Consistency::Primary,
            why,
        }
    }
}

/// Where a statement goes.
#[must_use]
pub fn aim(splitting: Option<&Splitting>, proof: Proof, hint: Option<RoleHint>, sql: &[u8]) -> Aim {
    let Some(splitting) = splitting else {
        return Aim::primary(Why::NoSplitting);
    };
    let replica = |balance, why| Aim {
        role: Role::Replica,
        balance,
        consistency: splitting.consistency,
        why,
    };
    match (proof, hint) {
        (Proof::NotProved, _) => return Aim::primary(Why::NotProved),
        (Proof::ReadsServer, _) => return Aim::primary(Why::ServerLocal),
        (_, Some(RoleHint::Primary)) => return Aim::primary(Why::Hint),
        (_, Some(RoleHint::Replica)) => {
            return Aim {
                consistency: Consistency::Eventual,
                ..replica(None, Why::Hint)
            };
        }
        (Proof::ReadOnlyTransaction, None) => {
            return match splitting.transactional_read {
                TransactionalRead::Primary => Aim::primary(Why::Transaction),
                TransactionalRead::Fixed | TransactionalRead::Replica => {
                    replica(None, Why::Transaction)
                }
            };
        }
        (Proof::Reads, None) => {}
    }
    if splitting.consistency == Consistency::Primary {
        return Aim::primary(Why::Consistency);
    }
    let text = std::cell::LazyCell::new(|| match std::str::from_utf8(sql) {
        // Far quicker than what looks for bytes to replace.
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(sql),
    });
    let first = std::cell::LazyCell::new(|| {
        let matcher = splitting.matcher.as_ref()?;
        Some(matcher.first(text.trim()))
    });
    for (number, rule) in splitting.rules.iter().enumerate() {
        let role = match &rule.matches {
            SplittingMatch::Generic => Role::Replica,
            SplittingMatch::Regex(regexes, role) => {
                let matches = match *first {
                    Some(first) => first == Some(number),
                    None => regexes.is_match(text.trim()),
                };
                if !matches {
                    continue;
                }
                *role
            }
        };
        let why = Why::Rule(number);
        return match role {
            Role::Replica => replica(rule.balance, why),
            Role::Primary | Role::Shadow => Aim {
                balance: rule.balance,
                ..Aim::primary(why)
            },
        };
    }
    match splitting.default_target {
        Role::Replica => replica(None, Why::Default),
        Role::Primary | Role::Shadow => Aim::primary(Why::Default),
    }
}

impl Why {
    /// The reason in words.
    #[must_use]
    pub fn describe(self, splitting: Option<&Splitting>) -> String {
        match self {
            Self::NoSplitting => "reads are not split off".into(),
            Self::NotProved => "not proved to read only".into(),
            Self::Hint => "hint".into(),
            Self::Consistency => "consistency: primary".into(),
            Self::Rule(number) => {
                let name = splitting
                    .and_then(|s| s.rules.get(number))
                    .map(|r| r.name.as_str());
                format!("rule {}", name.unwrap_or("?"))
            }
            Self::Default => "defaultTarget".into(),
            Self::Transaction => "transactionalRead".into(),
            Self::ServerLocal => "it asks about the server itself".into(),
        }
    }
}
