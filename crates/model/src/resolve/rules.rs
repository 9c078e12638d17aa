//! `rules` of a TrafficStrategy, with `circuitBreaks` and `concurrencyControls` in front of them → `RuleBook`.

use std::collections::BTreeSet;
use std::sync::Arc;

use dbmesh_sql::{Class, Verb};

use super::findings::{At, Findings};
use super::strategy::{compile, in_one_line, regexes};
use crate::spec::{
    AccessSpec, ActionSpec, ClauseSpec, ConcurrencyLimitSpec, DaySpec, MatchSpec, RateLimitSpec,
    RouteRoleSpec, RouteSpec, RuleModeSpec, RuleSpec, TimeSpec, TrafficStrategySpec, UnknownSpec,
};
use crate::suggest::suggest;
use crate::topology::{
    Access, Action, BoundingClause, ColumnPattern, ConcurrencyLimit, ConcurrencyRule, DenyRule,
    Endpoint, LimitBy, Match, Name, Network, Patterns, RATE_PER_MS_DEFAULT, RULE_WAITING_DEFAULT,
    RULES_MAX, RateLimit, RouteTo, Rule, RuleBook, RuleMode, TablePattern, TimeWindow, Unknown,
};

/// For how long nobody may come, without a turn being lost, where a rate says no burst, in milliseconds.
const RATE_PAUSE_MS: u64 = 100;

/// Verbs by the names that resources have for them.
const VERBS: [(&str, Verb); 43] = [
    ("select", Verb::Select),
    ("values", Verb::Values),
    ("table", Verb::Table),
    ("insert", Verb::Insert),
    ("replace", Verb::Replace),
    ("update", Verb::Update),
    ("delete", Verb::Delete),
    ("loadData", Verb::LoadData),
    ("import", Verb::Import),
    ("call", Verb::Call),
    ("do", Verb::Do),
    ("handler", Verb::Handler),
    ("set", Verb::Set),
    ("setTransaction", Verb::SetTransaction),
    ("use", Verb::Use),
    ("begin", Verb::Begin),
    ("commit", Verb::Commit),
    ("rollback", Verb::Rollback),
    ("savepoint", Verb::Savepoint),
    ("releaseSavepoint", Verb::ReleaseSavepoint),
    ("rollbackTo", Verb::RollbackTo),
    ("xa", Verb::Xa),
    ("lockTables", Verb::LockTables),
    ("unlockTables", Verb::UnlockTables),
    ("flush", Verb::Flush),
    ("prepare", Verb::Prepare),
    ("execute", Verb::Execute),
    ("deallocate", Verb::Deallocate),
    ("kill", Verb::Kill),
    ("show", Verb::Show),
    ("explain", Verb::Explain),
    ("help", Verb::Help),
    ("create", Verb::Create),
    ("alter", Verb::Alter),
    ("drop", Verb::Drop),
    ("truncate", Verb::Truncate),
    ("rename", Verb::Rename),
    ("userAdmin", Verb::UserAdmin),
    ("maintenance", Verb::Maintenance),
    ("reset", Verb::Reset),
    ("replication", Verb::Replication),
    ("serverAdmin", Verb::ServerAdmin),
    ("compound", Verb::Compound),
];

/// Classes by their names.
const CLASSES: [(&str, Class); 8] = [
    ("read", Class::Read),
    ("write", Class::Write),
    ("ddl", Class::Ddl),
    ("tcl", Class::Tcl),
    ("session", Class::Session),
    ("admin", Class::Admin),
    ("show", Class::Show),
    ("unknown", Class::Unknown),
];

/// What limits may count by, besides `tag:NAME`.
const COUNTED: [(&str, LimitBy); 8] = [
    ("database", LimitBy::Database),
    ("table", LimitBy::Table),
    ("digest", LimitBy::Digest),
    ("class", LimitBy::Class),
    ("user", LimitBy::User),
    ("address", LimitBy::Address),
    ("tenant", LimitBy::Tenant),
    ("endpoint", LimitBy::Endpoint),
];

/// The book of a strategy; `at` is its `spec`, `endpoints` are those that `route` may name.
pub fn book(
    at: &At<'_>,
    spec: &TrafficStrategySpec,
    older: (&Option<Vec<DenyRule>>, &Option<Vec<ConcurrencyRule>>),
    endpoints: &[Arc<Endpoint>],
    findings: &mut Findings,
) -> Option<RuleBook> {
    let (Some(deny), Some(concurrency)) = older else {
        return None;
    };
    let specs = spec.rules.as_deref().unwrap_or_default();
    let endpoints: Vec<Name> = endpoints.iter().map(|e| e.name.clone()).collect();
    let at = at.field("rules");
    let mut rules: Vec<Rule> = RuleBook::of_older_form(deny, concurrency).collect();
    let mut sound = true;
    for (index, spec) in specs.iter().enumerate() {
        let at = at.item(index);
        if rules.iter().any(|rule| rule.name == spec.name) {
            findings.error(&at.field("name"), format!("duplicate rule `{}`", spec.name));
            sound = false;
        }
        match rule(&at, spec, &endpoints, findings) {
            Some(rule) => rules.push(rule),
            None => sound = false,
        }
    }
    if rules.len() > RULES_MAX {
        let reason = format!(
            "{} rules, `circuitBreaks` and `concurrencyControls` included, are more than {RULES_MAX}",
            rules.len()
        );
        findings.error(&at, reason);
        return None;
    }
    if !sound {
        return None;
    }
    let normal = patterns(&at, &rules, |rule| &rule.matches.regexes, findings)?;
    let text = patterns(&at, &rules, |rule| &rule.matches.text_regexes, findings)?;
    Some(RuleBook::new(rules, normal, text))
}

/// The expressions of all rules, each compiled before by itself, as one.
fn patterns(
    at: &At<'_>,
    rules: &[Rule],
    of: impl Fn(&Rule) -> &Vec<String>,
    findings: &mut Findings,
) -> Option<Patterns> {
    let (mut all, mut owners) = (Vec::new(), Vec::new());
    for (place, rule) in rules.iter().enumerate() {
        if rule.mode != RuleMode::Off {
            all.extend(of(rule).iter().cloned());
            owners.resize(all.len(), place);
        }
    }
    match compile(&all) {
        Ok(set) => Some(Patterns::new(set, owners)),
        Err(error) => {
            findings.error(at, format!("all rules together: {}", in_one_line(&error)));
            None
        }
    }
}

fn rule(at: &At<'_>, spec: &RuleSpec, endpoints: &[Name], findings: &mut Findings) -> Option<Rule> {
    let absent = MatchSpec::default();
    let given = spec.matches.as_ref().unwrap_or(&absent);
    let matches = matches(&at.field("match"), given, findings);
    let action = action(at, spec, endpoints, findings);
    let (matches, action) = (matches?, action?);
    let unknown = match (spec.unknown, &action) {
        (Some(UnknownSpec::Match), Action::Allow) => {
            let reason = "a rule that allows what it cannot tell would let everything through";
            findings.error(&at.field("unknown"), reason);
            return None;
        }
        (Some(UnknownSpec::Match), _) | (None, Action::Deny) => Unknown::Match,
        (Some(UnknownSpec::Pass) | None, _) => Unknown::Pass,
    };
    Some(Rule {
        name: spec.name.clone(),
        mode: match spec.mode {
            Some(RuleModeSpec::Off) => RuleMode::Off,
            Some(RuleModeSpec::Warn) => RuleMode::Warn,
            Some(RuleModeSpec::Enforce) | None => RuleMode::Enforce,
        },
        matches,
        unknown,
        action,
    })
}

fn matches(at: &At<'_>, spec: &MatchSpec, findings: &mut Findings) -> Option<Match> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let sound = [
        sound(at, "regex", &spec.regex, findings),
        sound(at, "textRegex", &spec.text_regex, findings),
    ];
    let digests = each(at, "digests", &spec.digests, findings, |text| {
        let sixteen = text.len() == 16;
        let digest = u64::from_str_radix(text, 16).ok().filter(|_| sixteen);
        digest.ok_or_else(|| {
            (
                format!("{text:?} is not a digest"),
                Some("16 hexadecimal digits".into()),
            )
        })
    });
    let verbs = each(at, "verbs", &spec.verbs, findings, |text| {
        named(text, &VERBS, "verb")
    });
    let classes = each(at, "classes", &spec.classes, findings, |text| {
        named(text, &CLASSES, "class")
    });
    let tables = each(at, "tables", &spec.tables, findings, |text| {
        let meant = Some("as in `shop.orders` or `shop.*`".to_owned());
        TablePattern::parse(text).ok_or_else(|| (format!("{text:?} names no table"), meant))
    });
    let columns = each(at, "columns", &spec.columns, findings, |text| {
        let meant = Some("as in `shop.users.password`".to_owned());
        ColumnPattern::parse(text).ok_or_else(|| (format!("{text:?} names no column"), meant))
    });
    let networks = each(at, "networks", &spec.networks, findings, network);
    let times = times(
        &at.field("times"),
        spec.times.as_deref().unwrap_or_default(),
        findings,
    );
    let (tables, columns) = (tables?, columns?);
    if spec.access.is_some() && tables.is_empty() && columns.is_empty() {
        findings.error(&at.field("access"), "`access` needs `tables` or `columns`");
        return None;
    }
    let [Some(()), Some(())] = sound else {
        return None;
    };
    Some(Match {
        digests: digests?.into_iter().collect(),
        regexes: list(&spec.regex),
        text_regexes: list(&spec.text_regex),
        verbs: verbs?,
        classes: classes?,
        tables,
        columns,
        access: match spec.access {
            Some(AccessSpec::Read) => Access::Read,
            Some(AccessSpec::Write) => Access::Write,
            Some(AccessSpec::Any) | None => Access::Any,
        },
        without: (spec.without.iter().flatten())
            .map(|clause| match clause {
                ClauseSpec::Where => BoundingClause::Where,
                ClauseSpec::Limit => BoundingClause::Limit,
            })
            .collect(),
        users: list(&spec.users).into_iter().collect::<BTreeSet<_>>(),
        networks: networks?,
        tags: spec.tags.clone().unwrap_or_default(),
        times: times?,
    })
}

/// Whether each expression of a field compiles.
fn sound(
    at: &At<'_>,
    field: &str,
    given: &Option<Vec<String>>,
    findings: &mut Findings,
) -> Option<()> {
    match given {
        Some(patterns) => regexes(&at.field(field), patterns, findings).map(|_| ()),
        None => Some(()),
    }
}

/// What is wrong with a text, and what was meant.
type Wrong = (String, Option<String>);

/// Reads each text of a list; every one that is wrong is reported.
pub fn each<T>(
    at: &At<'_>,
    field: &str,
    texts: &Option<Vec<String>>,
    findings: &mut Findings,
    read: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<Vec<T>> {
    let at = at.field(field);
    let texts = texts.iter().flatten().enumerate();
    let all: Vec<Option<T>> = texts
        .map(|(index, text)| match read(text) {
            Ok(value) => Some(value),
            Err((reason, meant)) => {
                findings.error_with(&at.item(index), reason, meant);
                None
            }
        })
        .collect();
    all.into_iter().collect()
}

/// A word of a closed list.
fn named<T: Clone>(text: &str, known: &[(&str, T)], what: &str) -> Result<T, Wrong> {
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let meant = suggest(text, known.iter().map(|(name, _)| *name));
        (format!("there is no {what} `{text}`"), meant)
    })
}

/// Reads a network.
pub fn network(text: &str) -> Result<Network, Wrong> {
    text.parse()
        .map_err(|error| (format!("{text:?} is not a network: {error}"), None))
}

fn times(at: &At<'_>, specs: &[TimeSpec], findings: &mut Findings) -> Option<Vec<TimeWindow>> {
    let all: Vec<Option<TimeWindow>> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| time(&at.item(index), spec, findings))
        .collect();
    all.into_iter().collect()
}

fn time(at: &At<'_>, spec: &TimeSpec, findings: &mut Findings) -> Option<TimeWindow> {
    let mut minute = |field: &str, text: &Option<String>, absent: u16| match text {
        None => Some(absent),
        Some(text) => {
            let minute = minute_of(text);
            if minute.is_none() {
                let reason = format!("{text:?} is no time of day");
                findings.error_with(&at.field(field), reason, "as in `22:30`".to_owned());
            }
            minute
        }
    };
    let (from, to) = (minute("from", &spec.from, 0), minute("to", &spec.to, 1440));
    let days = match &spec.days {
        None => 0x7F,
        Some(days) => days.iter().fold(0, |bits, day| bits | 1 << day_index(*day)),
    };
    let (from_minute, to_minute) = (from?, to?);
    if from_minute == to_minute {
        findings.error(&at.field("to"), "the time ends where it begins");
        return None;
    }
    Some(TimeWindow {
        days,
        from_minute,
        to_minute,
        utc_offset_minutes: spec.utc_offset_minutes.unwrap_or(0),
    })
}

fn minute_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| {
        let two = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| two)
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= 1440).then_some(minute)
}

fn day_index(day: DaySpec) -> u8 {
    match day {
        DaySpec::Mon => 0,
        DaySpec::Tue => 1,
        DaySpec::Wed => 2,
        DaySpec::Thu => 3,
        DaySpec::Fri => 4,
        DaySpec::Sat => 5,
        DaySpec::Sun => 6,
    }
}

fn action(
    at: &At<'_>,
    spec: &RuleSpec,
    endpoints: &[Name],
    findings: &mut Findings,
) -> Option<Action> {
    let given = [
        spec.action.is_some(),
        spec.rate_limit.is_some(),
        spec.concurrency_limit.is_some(),
        spec.timeout_ms.is_some(),
        spec.delay_ms.is_some(),
        spec.route.is_some(),
        spec.tag.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        let reason = "exactly one of `action`, `rateLimit`, `concurrencyLimit`, `timeoutMs`, `delayMs`, `route` and `tag` \
                      is given";
        findings.error(at, reason);
        return None;
    }
    if let Some(limit) = &spec.rate_limit {
        return rate(&at.field("rateLimit"), limit, findings).map(Action::Rate);
    }
    if let Some(limit) = &spec.concurrency_limit {
        let at = at.field("concurrencyLimit");
        return concurrency(&at, limit, findings).map(Action::Concurrency);
    }
    if let Some(route) = &spec.route {
        return route_to(&at.field("route"), route, endpoints, findings).map(Action::Route);
    }
    match (spec.action, spec.timeout_ms, spec.delay_ms, &spec.tag) {
        (Some(ActionSpec::Allow), ..) => Some(Action::Allow),
        (Some(ActionSpec::Deny), ..) => Some(Action::Deny),
        (None, Some(ms), ..) => Some(Action::Timeout(ms)),
        (None, None, Some(ms), _) => Some(Action::Delay(ms)),
        (None, None, None, Some(tags)) if !tags.is_empty() => Some(Action::Tag(tags.clone())),
        _ => {
            findings.error(&at.field("tag"), "names no tag");
            None
        }
    }
}

fn by(at: &At<'_>, names: &Option<Vec<String>>, findings: &mut Findings) -> Option<Vec<LimitBy>> {
    each(at, "by", names, findings, |text| {
        match text.strip_prefix("tag:") {
            Some(tag) if !tag.is_empty() => Ok(LimitBy::Tag(tag.to_owned())),
            _ => named(text, &COUNTED, "count by"),
        }
    })
}

fn rate(at: &At<'_>, spec: &RateLimitSpec, findings: &mut Findings) -> Option<RateLimit> {
    let by = by(at, &spec.by, findings)?;
    let max_wait_ms = spec.max_wait_ms.unwrap_or(0);
    only_for_waiters(at, spec.max_waiting, max_wait_ms, findings)?;
    Some(RateLimit {
        count: spec.count,
        per_ms: spec.per_ms.unwrap_or(RATE_PER_MS_DEFAULT),
        burst: spec
            .burst
            .unwrap_or_else(|| burst_over(spec, RATE_PAUSE_MS)),
        by,
        max_wait_ms,
        max_waiting: spec.max_waiting.unwrap_or(RULE_WAITING_DEFAULT),
    })
}

/// The burst with which no turn is lost while nobody comes for a time, nor for the interval between two turns: one, and
/// what is due meanwhile. With less, a turn that nobody is there for at once is lost, and a rate is never reached.
fn burst_over(spec: &RateLimitSpec, ms: u64) -> u32 {
    let per_ms = spec.per_ms.unwrap_or(RATE_PER_MS_DEFAULT).max(1);
    let due = u64::from(spec.count).saturating_mul(ms).div_ceil(per_ms);
    u32::try_from(due.max(1).saturating_add(1)).unwrap_or(u32::MAX)
}

fn concurrency(
    at: &At<'_>,
    spec: &ConcurrencyLimitSpec,
    findings: &mut Findings,
) -> Option<ConcurrencyLimit> {
    let by = by(at, &spec.by, findings)?;
    let max_wait_ms = spec.max_wait_ms.unwrap_or(0);
    only_for_waiters(at, spec.max_waiting, max_wait_ms, findings)?;
    Some(ConcurrencyLimit {
        count: spec.count,
        by,
        max_wait_ms,
        max_waiting: spec.max_waiting.unwrap_or(RULE_WAITING_DEFAULT),
    })
}

fn only_for_waiters(
    at: &At<'_>,
    max_waiting: Option<u32>,
    max_wait_ms: u64,
    findings: &mut Findings,
) -> Option<()> {
    if max_waiting.is_some() && max_wait_ms == 0 {
        findings.error(&at.field("maxWaiting"), "`maxWaiting` needs `maxWaitMs`");
        return None;
    }
    Some(())
}

fn route_to(
    at: &At<'_>,
    spec: &RouteSpec,
    endpoints: &[Name],
    findings: &mut Findings,
) -> Option<RouteTo> {
    match (spec.role, &spec.endpoint) {
        (Some(RouteRoleSpec::Primary), None) => Some(RouteTo::Primary),
        (Some(RouteRoleSpec::Replica), None) => Some(RouteTo::Replica),
        (None, Some(name)) => {
            let known = endpoints.iter().find(|known| known.as_str() == name);
            if known.is_none() {
                let reason = format!("the selector matches no endpoint `{name}`");
                let meant = suggest(name, endpoints.iter().map(Name::as_str));
                findings.error_with(&at.field("endpoint"), reason, meant);
            }
            known.cloned().map(RouteTo::Endpoint)
        }
        _ => {
            findings.error(at, "give `role` or `endpoint`");
            None
        }
    }
}
