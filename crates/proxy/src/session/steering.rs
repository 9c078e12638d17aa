//! Statements that do not run at home: shadow statements, and those whose key another site owns.
//!
//! Owns which statements these are, and that a session stays where its transaction began. Marked statements never reach the
//! service's own servers, and no others reach a shadow: who is bound elsewhere is refused, and a shadow that cannot be
//! reached is an error. Input: the strategy's `shadow` and `units`; hints; the session's user and connection.

use dbmesh_model::topology::{Foreign, Shadow, ShadowRule, Site, Units, Unowned};
use dbmesh_plan::Proof;
use dbmesh_sql::effects::{Effect, XaVerb};
use dbmesh_sql::{Class, Hints, Statement};

use super::Session;
use super::columns::{Keys, Read};
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
        &mut self,
        hints: Option<&Hints<'_>>,
        read: &Read<'_>,
    ) -> Result<Option<Place>, Fault> {
        let hinted = hints.is_some_and(|hints| hints.shadow);
        if self.serving.service.strategy.shadow.is_none() {
            return match hinted {
                true => Err(Fault::Hint(
                    "'shadow' needs a `shadow` endpoint in the service's TrafficStrategy".into(),
                )),
                false => Ok(None),
            };
        }
        let service = self.serving.service.clone();
        let Some(shadow) = &service.strategy.shadow else {
            return Ok(None);
        };
        if !hinted && !self.is_marked(shadow, hints, read)? {
            return Ok(None);
        }
        if hints.is_some_and(|h| h.endpoint.is_some() || h.role.is_some()) {
            let why = "a shadow statement runs at the shadow endpoint: 'endpoint', 'primary' and 'replica' exclude it";
            return Err(Fault::Hint(why.into()));
        }
        Ok(Some(place_of(shadow)))
    }

    /// Whether a rule makes it a shadow statement.
    fn is_marked(
        &mut self,
        shadow: &Shadow,
        hints: Option<&Hints<'_>>,
        read: &Read<'_>,
    ) -> Result<bool, Fault> {
        let text = std::cell::LazyCell::new(|| String::from_utf8_lossy(read.sql));
        let tags = hints.map(|hints| hints.tags.as_slice()).unwrap_or_default();
        let user = &self.handle().user;
        let fits = |rule: &&ShadowRule| {
            let user_fits = rule.users.as_ref().is_none_or(|users| users.contains(user));
            let mut wanted = rule.tags.iter();
            user_fits
                && wanted.all(|(key, value)| tags.contains(&(key.as_str(), value.as_str())))
                && (rule.regexes.as_ref()).is_none_or(|regexes| regexes.is_match(text.trim()))
        };
        let fitting: Vec<&ShadowRule> = shadow.rules.iter().filter(fits).collect();
        if fitting.iter().any(|rule| rule.columns.is_empty()) {
            return Ok(true);
        }
        match fitting.is_empty() {
            true => Ok(false),
            false => self.is_marked_by_columns(fitting.into_iter(), read),
        }
    }

    /// Where the owner of the statement's key has it run; at home if nobody minds.
    pub(super) fn unit_place(
        &mut self,
        hints: Option<&Hints<'_>>,
        read: &Read<'_>,
        proof: Proof,
        later: bool,
    ) -> Result<Place, Fault> {
        let hinted = hints.and_then(|hints| hints.unit);
        if self.serving.service.strategy.units.is_none() {
            return match hinted {
                Some(_) => Err(Fault::Hint(
                    "'unit' needs `units` in the service's TrafficStrategy".into(),
                )),
                None => Ok(Place::Home),
            };
        }
        let service = self.serving.service.clone();
        let Some(units) = &service.strategy.units else {
            return Ok(Place::Home);
        };
        let mut keys = self.keys_of(&units.columns, read);
        keys.known.extend(hinted.map(str::to_owned));
        let placed = place_of_keys(
            units,
            &keys,
            read.statement,
            (hinted.is_some(), proof, later),
        );
        let (fate, placed) = match placed {
            Ok((fate, place)) => (fate, Ok(place)),
            Err((fate, why)) => (Some(fate), Err(Fault::Unit(why))),
        };
        if let Some(fate) = fate {
            self.serving.metrics.unit(fate);
        }
        placed
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

/// Where a statement with these keys runs, and what is counted; or why it is refused.
fn place_of_keys(
    units: &Units,
    keys: &Keys,
    statement: &Statement,
    (hinted, proof, later): (bool, Proof, bool),
) -> Result<(Option<UnitFate>, Place), (UnitFate, String)> {
    // A hint speaks for rows of which nothing else is known.
    let whole = !keys.known.is_empty() && (hinted || !keys.unknown);
    let writes = !later && matches!(statement.class, Class::Write | Class::Ddl);
    if !whole && writes && units.without_key == Unowned::Refuse {
        let why = match units.columns.is_empty() {
            true => "a write needs the hint 'unit' with the key of what it writes",
            false => {
                "a write needs the key of what it writes, in a column of `units` or by the hint 'unit'"
            }
        };
        return Err((UnitFate::WithoutKey, why.into()));
    }
    if keys.known.is_empty() {
        return Ok((None, Place::Home));
    }
    let moves = |key: &String| units.moving.contains(key);
    if proof == Proof::NotProved && keys.known.iter().any(moves) {
        let why = "the unit's key is on its way to another site: it can be read and not written; try again later";
        return Err((UnitFate::Moving, why.into()));
    }
    let mut sites: Vec<Option<&Site>> = keys.known.iter().map(|key| units.site_of(key)).collect();
    let unowned = sites.iter().all(Option::is_none);
    if sites.iter().any(Option::is_none) && units.unknown_keys == Unowned::Refuse {
        return Err((
            UnitFate::Unknown,
            "the unit's key belongs to no site".into(),
        ));
    }
    let mut names: Vec<&str> = (sites.iter())
        .map(|site| site.map_or(units.site.as_str(), |site| &site.name))
        .collect();
    names.dedup();
    if let [one, other, ..] = names.as_slice() {
        let why = format!(
            "its rows belong to several sites, '{one}' and '{other}': send one statement for each"
        );
        return Err((UnitFate::Foreign, why));
    }
    match sites.pop().flatten() {
        _ if unowned => Ok((Some(UnitFate::Unknown), Place::Home)),
        Some(site) if site.name != units.site => match (&site.endpoint, units.foreign) {
            (Some(endpoint), Foreign::Forward) => {
                let away = Place::Away(Errand::Site, endpoint.name.clone());
                Ok((Some(UnitFate::Forwarded), away))
            }
            _ => Err((
                UnitFate::Foreign,
                format!(
                    "the unit's key belongs to site '{}', and this is site '{}'",
                    site.name, units.site
                ),
            )),
        },
        _ => Ok((Some(UnitFate::Own), Place::Home)),
    }
}
