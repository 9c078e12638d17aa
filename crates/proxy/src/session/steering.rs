//! Statements that do not run at home: shadow statements, and those whose key another site owns.
//!
//! Owns which statements these are, and that a session stays where its transaction began. Marked statements never reach the
//! service's own servers, and no others reach a shadow: who is bound elsewhere is refused, and a shadow that cannot be
//! reached is an error. Input: the strategy's `shadow` and `units`; hints; the session's user and connection.

use dbmesh_model::topology::{Foreign, Shadow, ShadowRule, Unowned};
use dbmesh_plan::Proof;
use dbmesh_sql::effects::{Effect, XaVerb};
use dbmesh_sql::{Class, Hints, Statement};

use super::Session;
use super::demand::{Errand, Place};
use super::exchange::Lost;
use crate::fault::Fault;
use crate::metrics::UnitFate;

impl Session {
    /// Whether the session's connection is away from home.
    pub(super) fn is_away(&self) -> bool {
        self.lease.is_some() && matches!(self.lease_place, Place::Away(..))
    }

    /// Whatever led to this connection: nothing marked reaches production, and nothing else a shadow.
    pub(super) fn assure_place(&self) -> Result<(), Lost> {
        if self.lease.is_none() || self.is_in_place() {
            return Ok(());
        }
        let why = "the connection is not where the statement must run".to_owned();
        Err(Lost::Refused(Fault::Misplaced(why)))
    }

    /// Where a command runs that is no statement: where the session is bound, or where all that its user does runs.
    pub(super) fn usual_place(&self) -> Place {
        if self.is_away() && self.is_bound() {
            return self.lease_place.clone();
        }
        let user = &self.handle().user;
        let shadow = self.serving.service.strategy.shadow.as_ref();
        let listed = |rule: &ShadowRule| {
            rule.is_of_users_only() && rule.users.as_ref().is_some_and(|u| u.contains(user))
        };
        match shadow {
            Some(shadow) if shadow.rules.iter().any(listed) => place_of(shadow),
            _ => Place::Home,
        }
    }

    /// The shadow endpoint, if this is a shadow statement.
    pub(super) fn shadow_place(
        &self,
        hints: Option<&Hints<'_>>,
        sql: &[u8],
    ) -> Result<Option<Place>, Fault> {
        let hinted = hints.is_some_and(|hints| hints.shadow);
        let Some(shadow) = &self.serving.service.strategy.shadow else {
            return match hinted {
                true => Err(Fault::Hint(
                    "'shadow' needs a `shadow` endpoint in the service's TrafficStrategy".into(),
                )),
                false => Ok(None),
            };
        };
        if !hinted && !self.is_marked(shadow, hints, sql) {
            return Ok(None);
        }
        if hints.is_some_and(|h| h.endpoint.is_some() || h.role.is_some()) {
            let why = "a shadow statement runs at the shadow endpoint: 'endpoint', 'primary' and 'replica' exclude it";
            return Err(Fault::Hint(why.into()));
        }
        Ok(Some(place_of(shadow)))
    }

    /// Whether a rule makes it a shadow statement.
    fn is_marked(&self, shadow: &Shadow, hints: Option<&Hints<'_>>, sql: &[u8]) -> bool {
        let user = &self.handle().user;
        let text = std::cell::LazyCell::new(|| String::from_utf8_lossy(sql));
        let tags = hints.map(|hints| hints.tags.as_slice()).unwrap_or_default();
        shadow.rules.iter().any(|rule| {
            let user_fits = rule.users.as_ref().is_none_or(|users| users.contains(user));
            let mut wanted = rule.tags.iter();
            user_fits
                && wanted.all(|(key, value)| tags.contains(&(key.as_str(), value.as_str())))
                && (rule.regexes.as_ref()).is_none_or(|regexes| regexes.is_match(text.trim()))
        })
    }

    /// Where the owner of the statement's key has it run; at home if nobody minds.
    pub(super) fn unit_place(
        &self,
        hints: Option<&Hints<'_>>,
        statement: &Statement,
        proof: Proof,
        later: bool,
    ) -> Result<Place, Fault> {
        let key = hints.and_then(|hints| hints.unit);
        let Some(units) = &self.serving.service.strategy.units else {
            return match key {
                Some(_) => Err(Fault::Hint(
                    "'unit' needs `units` in the service's TrafficStrategy".into(),
                )),
                None => Ok(Place::Home),
            };
        };
        let refuse = |fate, why: String| {
            self.serving.metrics.unit(fate);
            Err(Fault::Unit(why))
        };
        let Some(key) = key else {
            let writes = !later && matches!(statement.class, Class::Write | Class::Ddl);
            return match units.without_key {
                Unowned::Refuse if writes => refuse(
                    UnitFate::WithoutKey,
                    "a write needs the hint 'unit' with the key of what it writes".into(),
                ),
                Unowned::Refuse | Unowned::Home => Ok(Place::Home),
            };
        };
        if proof == Proof::NotProved && units.moving.contains(key) {
            let why = "the unit's key is on its way to another site: it can be read and not written; try again later";
            return refuse(UnitFate::Moving, why.into());
        }
        let Some(site) = units.site_of(key) else {
            return match units.unknown_keys {
                Unowned::Refuse => refuse(
                    UnitFate::Unknown,
                    "the unit's key belongs to no site".into(),
                ),
                Unowned::Home => {
                    self.serving.metrics.unit(UnitFate::Unknown);
                    Ok(Place::Home)
                }
            };
        };
        if site.name == units.site {
            self.serving.metrics.unit(UnitFate::Own);
            return Ok(Place::Home);
        }
        match (&site.endpoint, units.foreign) {
            (Some(endpoint), Foreign::Forward) => {
                self.serving.metrics.unit(UnitFate::Forwarded);
                Ok(Place::Away(Errand::Site, endpoint.name.clone()))
            }
            _ => refuse(
                UnitFate::Foreign,
                format!(
                    "the unit's key belongs to site '{}', and this is site '{}'",
                    site.name, units.site
                ),
            ),
        }
    }

    /// Statements that speak of the session's transaction or of its last statement follow it, with or without a mark.
    pub(super) fn follows_transaction(statement: &Statement) -> bool {
        let begins =
            |effect: &Effect| matches!(effect, Effect::Begin { .. } | Effect::Xa(XaVerb::Start));
        let asks_back = |effect: &Effect| {
            matches!(
                effect,
                Effect::ShowWarnings { .. }
                    | Effect::ShowCountWarnings { .. }
                    | Effect::GetDiagnostics
            )
        };
        let effects = &statement.effects;
        statement.statements == 1
            && match statement.class {
                Class::Tcl => !effects.iter().any(begins),
                Class::Session => true,
                _ => !effects.is_empty() && effects.iter().all(asks_back),
            }
    }
}

fn place_of(shadow: &Shadow) -> Place {
    Place::Away(Errand::Shadow, shadow.endpoint.name.clone())
}
