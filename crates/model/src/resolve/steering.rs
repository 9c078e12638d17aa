//! What a TrafficStrategy says of statements that ask for something themselves → the topology's policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::endpoint::Candidates;
use super::findings::{At, Findings};
use super::strategy::regexes;
use crate::load::Completeness;
use crate::spec::{
    ForeignSpec, HintsModeSpec, HintsSpec, MirrorSpec, RowOperationSpec, ShadowColumnSpec,
    ShadowRuleSpec, ShadowSpec, SiteSpec, UnitsSpec, UnownedSpec,
};
use crate::suggest::suggest;
use crate::topology::{
    ColumnRef, Endpoint, Foreign, HintPolicy, MIRROR_CONNECTIONS_DEFAULT,
    MIRROR_MAX_COPIES_DEFAULT, MIRROR_TIMEOUT_MS_DEFAULT, Mirror, MirrorWrites, Role, RowOperation,
    Shadow, ShadowColumn, ShadowRule, Site, Units, Unowned,
};

/// What endpoints are named among.
pub struct Named<'n, 'a> {
    /// The strategy's namespace.
    pub namespace: &'n str,
    /// All endpoints.
    pub candidates: &'n Candidates<'a>,
    /// Those that serve the strategy's own statements.
    pub serving: &'n [Arc<Endpoint>],
}

impl Named<'_, '_> {
    /// An endpoint by its name, of this role, that is no way to the service's own servers.
    fn find(
        &self,
        at: &At<'_>,
        name: &str,
        role: Role,
        findings: &mut Findings,
    ) -> Option<Arc<Endpoint>> {
        let all = self.candidates.all.iter();
        let near: Vec<_> = all
            .filter(|candidate| candidate.document.namespace == self.namespace)
            .collect();
        let Some(candidate) = near.iter().find(|c| c.document.name == name) else {
            if self.candidates.completeness == Completeness::Complete {
                let reason = format!(
                    "there is no DatabaseEndpoint `{name}` in namespace {}",
                    self.namespace
                );
                let known = near.iter().map(|c| c.document.name.as_str());
                findings.error_with(at, reason, suggest(name, known));
            }
            return None;
        };
        let endpoint = candidate.endpoint.clone()?;
        if endpoint.role != role {
            let (has, wants) = (role_name(endpoint.role), role_name(role));
            let reason = format!("endpoint `{name}` has the role `{has}`, and needs `{wants}`");
            findings.error(at, reason);
            return None;
        }
        let same =
            |own: &&Arc<Endpoint>| own.name == endpoint.name || own.address == endpoint.address;
        if let Some(own) = self.serving.iter().find(same) {
            let reason = match own.name == endpoint.name {
                true => format!(
                    "the strategy's selector matches endpoint `{name}`: it serves the service's own statements"
                ),
                false => format!(
                    "endpoint `{name}` is the server of endpoint `{}`, which serves the service's own statements",
                    own.name
                ),
            };
            findings.error(at, reason);
            return None;
        }
        Some(endpoint)
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Replica => "replica",
        Role::Shadow => "shadow",
    }
}

/// Statements that run on a shadow endpoint instead.
pub fn shadow(
    at: &At<'_>,
    spec: Option<&ShadowSpec>,
    named: &Named<'_, '_>,
    findings: &mut Findings,
) -> Option<Option<Shadow>> {
    let Some(spec) = spec else { return Some(None) };
    let at = at.field("shadow");
    let endpoint = named.find(
        &at.field("endpoint"),
        &spec.endpoint,
        Role::Shadow,
        findings,
    );
    let rules = spec.rules.iter().flatten().enumerate();
    let rules: Vec<Option<ShadowRule>> = rules
        .map(|(index, rule)| shadow_rule(&at.field("rules").item(index), rule, findings))
        .collect();
    Some(Some(Shadow {
        rules: rules.into_iter().collect::<Option<_>>()?,
        endpoint: endpoint?,
    }))
}

fn shadow_rule(at: &At<'_>, spec: &ShadowRuleSpec, findings: &mut Findings) -> Option<ShadowRule> {
    let tags = spec.tags.clone().unwrap_or_default();
    if spec.regex.is_none() && spec.users.is_none() && tags.is_empty() && spec.columns.is_none() {
        findings.error(at, "a rule needs `regex`, `users`, `tags` or `columns`");
        return None;
    }
    let columns = spec.columns.iter().flatten().enumerate();
    let columns: Vec<Option<ShadowColumn>> = columns
        .map(|(index, column)| shadow_column(&at.field("columns").item(index), column, findings))
        .collect();
    let regexes = match &spec.regex {
        Some(patterns) => Some(regexes(&at.field("regex"), patterns, findings)?),
        None => None,
    };
    Some(ShadowRule {
        name: spec.name.clone(),
        regexes,
        users: spec.users.as_ref().map(|u| u.iter().cloned().collect()),
        tags,
        columns: columns.into_iter().collect::<Option<_>>()?,
    })
}

fn shadow_column(
    at: &At<'_>,
    spec: &ShadowColumnSpec,
    findings: &mut Findings,
) -> Option<ShadowColumn> {
    let column = column_ref(at, &spec.table, &spec.column, findings);
    if spec.values.is_none() && spec.regex.is_none() {
        findings.error(at, "a column needs `values` or `regex`");
        return None;
    }
    let regexes = match &spec.regex {
        Some(patterns) => Some(regexes(&at.field("regex"), patterns, findings)?),
        None => None,
    };
    let operation = |spec: &RowOperationSpec| match spec {
        RowOperationSpec::Insert => RowOperation::Insert,
        RowOperationSpec::Update => RowOperation::Update,
        RowOperationSpec::Delete => RowOperation::Delete,
        RowOperationSpec::Select => RowOperation::Select,
    };
    let operations = spec.operations.as_ref();
    Some(ShadowColumn {
        column: column?,
        operations: operations.map(|all| all.iter().map(operation).collect()),
        values: spec.values.iter().flatten().cloned().collect(),
        regexes,
    })
}

/// `schema.table` or `table`, and a column of it.
fn column_ref(
    at: &At<'_>,
    table: &str,
    column: &str,
    findings: &mut Findings,
) -> Option<ColumnRef> {
    let parts: Vec<&str> = table.split('.').collect();
    let (schema, table) = match parts.as_slice() {
        [table] => (None, *table),
        [schema, table] => (Some((*schema).to_owned()), *table),
        _ => (None, ""),
    };
    if table.is_empty() || schema.as_ref().is_some_and(String::is_empty) {
        let reason = "it is neither `table` nor `schema.table`";
        findings.error(&at.field("table"), reason);
        return None;
    }
    if column.is_empty() {
        findings.error(&at.field("column"), "it is empty");
        return None;
    }
    Some(ColumnRef {
        schema,
        table: table.to_owned(),
        column: column.to_owned(),
    })
}

/// Statements of which a copy runs elsewhere too.
pub fn mirror(
    at: &At<'_>,
    spec: Option<&MirrorSpec>,
    named: &Named<'_, '_>,
    findings: &mut Findings,
) -> Option<Option<Mirror>> {
    let Some(spec) = spec else { return Some(None) };
    let at = at.field("mirror");
    let endpoint = named.find(
        &at.field("endpoint"),
        &spec.endpoint,
        Role::Shadow,
        findings,
    );
    Some(Some(Mirror {
        endpoint: endpoint?,
        percent: spec.percent,
        writes: match spec.writes {
            Some(true) => MirrorWrites::Autocommit,
            Some(false) | None => MirrorWrites::Never,
        },
        max_copies: spec.max_copies.unwrap_or(MIRROR_MAX_COPIES_DEFAULT),
        connections: spec.connections.unwrap_or(MIRROR_CONNECTIONS_DEFAULT),
        timeout_ms: spec.timeout_ms.unwrap_or(MIRROR_TIMEOUT_MS_DEFAULT),
    }))
}

/// Which site owns which keys.
pub fn units(
    at: &At<'_>,
    spec: Option<&UnitsSpec>,
    named: &Named<'_, '_>,
    findings: &mut Findings,
) -> Option<Option<Units>> {
    let Some(spec) = spec else { return Some(None) };
    let at = at.field("units");
    let foreign = match spec.foreign {
        Some(ForeignSpec::Forward) => Foreign::Forward,
        Some(ForeignSpec::Refuse) | None => Foreign::Refuse,
    };
    let owners = owners(&at, spec, findings);
    let mut sites = Vec::new();
    for (index, site) in spec.sites.iter().enumerate() {
        let at = at.field("sites").item(index);
        let endpoint = site_endpoint(&at, site, site.name == spec.site, foreign, named, findings);
        sites.push(endpoint.map(|endpoint| {
            Site {
                name: site.name.clone(),
                keys: site.keys.iter().flatten().cloned().collect(),
                ranges: site
                    .ranges
                    .iter()
                    .flatten()
                    .map(|r| (r.from, r.to))
                    .collect(),
                endpoint,
            }
        }));
    }
    let unowned = |spec: Option<UnownedSpec>, absent| match spec {
        Some(UnownedSpec::Refuse) => Unowned::Refuse,
        Some(UnownedSpec::Home) => Unowned::Home,
        None => absent,
    };
    owners?;
    let columns = spec.columns.iter().flatten().enumerate();
    let columns: Vec<Option<ColumnRef>> = columns
        .map(|(index, spec)| {
            let at = at.field("columns").item(index);
            column_ref(&at, &spec.table, &spec.column, findings)
        })
        .collect();
    let units = Units {
        columns: columns.into_iter().collect::<Option<_>>()?,
        site: spec.site.clone(),
        sites: sites.into_iter().collect::<Option<_>>()?,
        moving: spec.moving.iter().flatten().cloned().collect(),
        foreign,
        unknown_keys: unowned(spec.unknown_keys, Unowned::Refuse),
        without_key: unowned(spec.without_key, Unowned::Home),
    };
    let mut sound = true;
    for (index, key) in spec.moving.iter().flatten().enumerate() {
        if units.site_of(key).is_none() {
            let at = at.field("moving").item(index);
            findings.error(&at, format!("key `{key}` belongs to no site"));
            sound = false;
        }
    }
    sound.then_some(Some(units))
}

/// Checks that the proxy's site is one, that sites differ and that no key has two.
fn owners(at: &At<'_>, spec: &UnitsSpec, findings: &mut Findings) -> Option<()> {
    let mut sound = true;
    let mut refuse = |at: &At<'_>, reason: String, suggestion: Option<String>| {
        findings.error_with(at, reason, suggestion);
        sound = false;
    };
    let names = || spec.sites.iter().map(|site| site.name.as_str());
    if !names().any(|name| name == spec.site) {
        let reason = format!("`{}` is none of the sites", spec.site);
        refuse(&at.field("site"), reason, suggest(&spec.site, names()));
    }
    let mut seen = BTreeSet::new();
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ranges: Vec<(u64, u64, &str)> = Vec::new();
    for (index, site) in spec.sites.iter().enumerate() {
        let at = at.field("sites").item(index);
        if !seen.insert(&site.name) {
            let reason = format!("duplicate site `{}`", site.name);
            refuse(&at.field("name"), reason, None);
        }
        for (place, key) in site.keys.iter().flatten().enumerate() {
            if let Some(other) = keys.insert(key, &site.name) {
                let reason = format!("key `{key}` belongs to site `{other}` already");
                refuse(&at.field("keys").item(place), reason, None);
            }
        }
        for (place, range) in site.ranges.iter().flatten().enumerate() {
            let at = at.field("ranges").item(place);
            if range.from > range.to {
                refuse(&at, "`from` is more than `to`".to_owned(), None);
            }
            let meets = |known: &&(u64, u64, &str)| known.0 <= range.to && range.from <= known.1;
            if let Some((_, _, other)) = ranges.iter().find(meets) {
                let reason = format!("part of the range belongs to site `{other}` already");
                refuse(&at, reason, None);
            }
            ranges.push((range.from, range.to, &site.name));
        }
    }
    sound.then_some(())
}

/// What executes a site's statements when they are forwarded.
fn site_endpoint(
    at: &At<'_>,
    site: &SiteSpec,
    own: bool,
    foreign: Foreign,
    named: &Named<'_, '_>,
    findings: &mut Findings,
) -> Option<Option<Arc<Endpoint>>> {
    let endpoint_at = at.field("endpoint");
    match &site.endpoint {
        Some(_) if own => {
            findings.error(
                &endpoint_at,
                "the proxy's own site is served by the selector's endpoints",
            );
            None
        }
        Some(_) if foreign == Foreign::Refuse => {
            findings.error(&endpoint_at, "`endpoint` acts only with `foreign: forward`");
            None
        }
        Some(name) => named
            .find(&endpoint_at, name, Role::Primary, findings)
            .map(Some),
        None if !own && foreign == Foreign::Forward => {
            findings.error(
                at,
                "with `foreign: forward` every other site needs `endpoint`",
            );
            None
        }
        None => Some(None),
    }
}

/// Who may use hints.
pub fn hints(at: &At<'_>, spec: Option<&HintsSpec>, findings: &mut Findings) -> Option<HintPolicy> {
    let Some(spec) = spec else {
        return Some(HintPolicy::Everybody);
    };
    match (spec.mode, &spec.users) {
        (Some(HintsModeSpec::Off), Some(_)) => {
            let at = at.field("hints").field("users");
            findings.error(&at, "`users` does not act with mode `off`");
            None
        }
        (Some(HintsModeSpec::Off), None) => Some(HintPolicy::Off),
        (_, Some(users)) => Some(HintPolicy::Listed(users.iter().cloned().collect())),
        (_, None) => Some(HintPolicy::Everybody),
    }
}
