//! TrafficStrategy → `Strategy`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use regex::{RegexSet, RegexSetBuilder};

use super::endpoint::{Candidate, Candidates};
use super::findings::{At, Findings};
use super::kinds::{Kinds, Resource};
use super::steering::Named;
use super::{rules, selector, splitting, steering};
use crate::host::Host;
use crate::schema::Kind;
use crate::spec::{
    BalanceKind, CircuitBreak, ConcurrencyControl, FailoverSpec, HashKeyKind, LoadBalance,
    TrafficStrategy,
};
use crate::topology::{
    BUFFER_STATEMENTS_DEFAULT, BUFFER_WAIT_MS_DEFAULT, Balance, Breaker, Buffer, ConcurrencyRule,
    DenyRule, Ejection, Endpoint, HashKey, Hashing, Locality, Name, Role, RoleSource, Splitting,
    Strategy, TransactionReplay,
};

/// Memory that the compiled expressions of one rule may take.
const REGEX_BYTES_MAX: usize = 10 << 20;

/// Every strategy by namespace and name, and what they select.
#[derive(Default)]
pub struct Strategies {
    /// `None`: it is there, and wrong.
    pub by_name: BTreeMap<(String, String), Option<Arc<Strategy>>>,
    /// Namespace and name of each endpoint that a strategy selects; nothing if some selector is
    /// wrong, so that nobody knows.
    pub selected: Option<BTreeSet<(Name, Name)>>,
}

/// Resolves every strategy, wrong ones included.
pub fn resolve(
    kinds: &Kinds<'_>,
    candidates: &Candidates<'_>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Strategies {
    let mut by_name = BTreeMap::new();
    let mut selected = Some(BTreeSet::new());
    for (kind, document) in &kinds.broken {
        if *kind == Kind::TrafficStrategy {
            by_name.insert((document.namespace.clone(), document.name.clone()), None);
            selected = None;
        }
    }
    for resource in &kinds.strategies {
        let at = At::top(resource.document).field("spec").field("selector");
        let selector = &resource.content.spec.selector;
        let namespace = resource.namespace.as_str();
        let matched = selector::matching(&at, selector, namespace, candidates, findings);
        match (&matched, &mut selected) {
            (Some(matched), Some(selected)) => {
                let endpoints = matched
                    .iter()
                    .filter_map(|candidate| candidate.endpoint.as_ref());
                selected.extend(endpoints.map(|e| (e.namespace.clone(), e.name.clone())));
            }
            _ => selected = None,
        }
        let reported = reports_roles(&resource.content);
        let endpoints = matched.and_then(|matched| serving(&at, &matched, reported, findings));
        let strategy = strategy(resource, endpoints, candidates, host, findings);
        match (&strategy, &mut selected) {
            (Some(strategy), Some(selected)) => {
                let all = strategy.all_endpoints();
                selected.extend(all.map(|e| (e.namespace.clone(), e.name.clone())));
            }
            _ => selected = None,
        }
        let key = (resource.namespace.to_string(), resource.name.to_string());
        by_name.insert(key, strategy.map(Arc::new));
    }
    Strategies { by_name, selected }
}

/// Whether roles are what the servers report, whatever the endpoints say.
fn reports_roles(strategy: &TrafficStrategy) -> bool {
    let load_balance = strategy.spec.load_balance.as_ref();
    load_balance
        .and_then(|l| l.read_write_splitting.as_ref())
        .is_some_and(|splitting| splitting.dynamic.is_some())
}

/// The endpoints that serve, ordered by name; nothing after a defect, theirs included.
fn serving(
    at: &At<'_>,
    matched: &[&Candidate<'_>],
    reported: bool,
    findings: &mut Findings,
) -> Option<Vec<Arc<Endpoint>>> {
    let endpoints: Option<Vec<_>> = matched.iter().map(|c| c.endpoint.clone()).collect();
    let mut endpoints = endpoints?;
    // They serve only what names them.
    endpoints.retain(|endpoint| endpoint.role != Role::Shadow);
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    let replica = |endpoint: &Arc<Endpoint>| endpoint.role == Role::Replica;
    if endpoints.is_empty() || (!reported && endpoints.iter().all(replica)) {
        let reason = match endpoints.is_empty() {
            true => "no readwrite endpoint: every endpoint that the selector matches is `shadow`",
            false => "no readwrite endpoint: every endpoint that the selector matches is `read`",
        };
        let suggestion = "give one of them the role `readwrite`, or label one that has it";
        findings.error_with(at, reason, suggestion.to_owned());
        return None;
    }
    Some(endpoints)
}

fn strategy(
    resource: &Resource<'_, TrafficStrategy>,
    endpoints: Option<Vec<Arc<Endpoint>>>,
    candidates: &Candidates<'_>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Strategy> {
    let at = At::top(resource.document).field("spec");
    let spec = &resource.content.spec;
    let load_balance = spec.load_balance.as_ref();
    let balance = balance(load_balance);
    let splitting = match load_balance.and_then(|l| l.read_write_splitting.as_ref()) {
        Some(spec) => {
            let at = at.field("loadBalance").field("readWriteSplitting");
            splitting::resolve(&at, spec, host, findings).map(Some)
        }
        None => Some(None),
    };
    let breaks = spec.circuit_breaks.as_deref().unwrap_or_default();
    let deny = deny(&at, breaks, findings);
    let controls = spec.concurrency_controls.as_deref().unwrap_or_default();
    let concurrency = concurrency(&at, controls, findings);
    let ejection = ejection(&at, spec.failover.as_ref(), findings);
    let hints = steering::hints(&at, spec.hints.as_ref(), findings);
    let splitting = splitting?;
    let named = Named {
        namespace: &resource.namespace.to_string(),
        candidates,
        serving: endpoints.as_deref().unwrap_or_default(),
    };
    let shadow = steering::shadow(&at, spec.shadow.as_ref(), &named, findings);
    let mirror = steering::mirror(&at, spec.mirror.as_ref(), &named, findings);
    let units = steering::units(&at, spec.units.as_ref(), &named, findings);
    let endpoints = endpoints?;
    let book = rules::book(&at, spec, (&deny, &concurrency), &endpoints, findings);
    let mut primaries = endpoints
        .iter()
        .filter(|endpoint| endpoint.role == Role::Primary);
    if balance == Balance::Weighted && primaries.all(|endpoint| endpoint.weight == 0) {
        let at = at
            .field("loadBalance")
            .field("simpleLoadBalance")
            .field("kind");
        findings.error(&at, "every readwrite endpoint has weight 0");
        return None;
    }
    let rules = splitting.iter().flat_map(|splitting| &splitting.rules);
    let used = rules.filter_map(|rule| rule.balance).chain([balance]);
    let hashing = hashing(&at, load_balance, used, findings);
    let locality = locality(&at, load_balance, &endpoints, findings);
    Some(Strategy {
        name: resource.name.clone(),
        balance,
        hashing,
        locality,
        endpoints,
        rules: book?,
        deny: deny?,
        concurrency: concurrency?,
        ejection: ejection?,
        breaker: breaker(spec.failover.as_ref()),
        buffer: buffer(spec.failover.as_ref(), splitting.as_ref()),
        transaction_replay: transaction_replay(spec.failover.as_ref()),
        splitting,
        hints: hints?,
        shadow: shadow?,
        mirror: mirror?,
        units: units?,
    })
}

fn balance(load_balance: Option<&LoadBalance>) -> Balance {
    let simple = load_balance.and_then(|l| l.simple_load_balance.as_ref());
    simple.map_or(Balance::Ewma, |simple| balance_of(simple.kind))
}

/// The algorithm of this name.
pub fn balance_of(kind: BalanceKind) -> Balance {
    match kind {
        BalanceKind::Random => Balance::Random,
        BalanceKind::RoundRobin => Balance::RoundRobin,
        BalanceKind::Weighted => Balance::Weighted,
        BalanceKind::LeastConn => Balance::LeastConn,
        BalanceKind::Ewma => Balance::Ewma,
        BalanceKind::ConsistentHash => Balance::ConsistentHash,
    }
}

/// What `consistenthash` goes by; a warning if nothing does.
fn hashing(
    at: &At<'_>,
    spec: Option<&LoadBalance>,
    mut used: impl Iterator<Item = Balance>,
    findings: &mut Findings,
) -> Hashing {
    let defaults = Hashing::default();
    let Some(spec) = spec.and_then(|l| l.consistent_hash.as_ref()) else {
        return defaults;
    };
    if used.all(|balance| balance != Balance::ConsistentHash) {
        let at = at.field("loadBalance").field("consistentHash");
        let reason =
            "does not act: neither `simpleLoadBalance` nor a rule balances by `consistenthash`";
        findings.warning(&at, reason);
    }
    Hashing {
        by: match spec.by {
            Some(HashKeyKind::Client) | None => defaults.by,
            Some(HashKeyKind::User) => HashKey::User,
            Some(HashKeyKind::Hint) => HashKey::Hint,
        },
        max_load_percent: spec.max_load_percent.unwrap_or(defaults.max_load_percent),
    }
}

/// When statements leave the proxy's zone; a warning if no endpoint says where it stands.
fn locality(
    at: &At<'_>,
    spec: Option<&LoadBalance>,
    endpoints: &[Arc<Endpoint>],
    findings: &mut Findings,
) -> Locality {
    let defaults = Locality::default();
    let Some(spec) = spec.and_then(|l| l.locality.as_ref()) else {
        return defaults;
    };
    if endpoints.iter().all(|endpoint| endpoint.zone.is_none()) {
        let at = at.field("loadBalance").field("locality");
        findings.warning(
            &at,
            "does not act: no endpoint that the selector matches has a `zone`",
        );
    }
    Locality {
        spill_over_percent: spec
            .spill_over_percent
            .unwrap_or(defaults.spill_over_percent),
    }
}

fn deny(at: &At<'_>, breaks: &[CircuitBreak], findings: &mut Findings) -> Option<Vec<DenyRule>> {
    let rules: Vec<Option<DenyRule>> = breaks
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let at = at.field("circuitBreaks").item(index);
            let regexes = regexes(&at.field("regex"), &rule.regex, findings)?;
            let name = rule
                .name
                .clone()
                .unwrap_or_else(|| format!("circuitBreaks[{index}]"));
            Some(DenyRule { name, regexes })
        })
        .collect();
    rules.into_iter().collect()
}

fn concurrency(
    at: &At<'_>,
    controls: &[ConcurrencyControl],
    findings: &mut Findings,
) -> Option<Vec<ConcurrencyRule>> {
    let rules: Vec<Option<ConcurrencyRule>> = controls
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let at = at.field("concurrencyControls").item(index);
            let regexes = regexes(&at.field("regex"), &rule.regex, findings)?;
            let unnamed = || format!("concurrencyControls[{index}]");
            let name = rule.name.clone().unwrap_or_else(unnamed);
            let window = Duration::from_secs(rule.duration);
            Some(ConcurrencyRule {
                name,
                regexes,
                window,
                max: rule.max_concurrency,
            })
        })
        .collect();
    rules.into_iter().collect()
}

fn breaker(failover: Option<&FailoverSpec>) -> Option<Breaker> {
    let spec = failover?.breaker.as_ref()?;
    let defaults = Breaker::default();
    Some(Breaker {
        window_ms: spec.window_ms.unwrap_or(defaults.window_ms),
        min_volume: spec.min_volume.unwrap_or(defaults.min_volume),
        error_percent: spec.error_percent.unwrap_or(defaults.error_percent),
        slow_ms: spec.slow_ms.unwrap_or(defaults.slow_ms),
        slow_percent: spec.slow_percent.unwrap_or(defaults.slow_percent),
        open_ms: spec.open_ms.unwrap_or(defaults.open_ms),
        probes: spec.probes.unwrap_or(defaults.probes),
    })
}

fn transaction_replay(failover: Option<&FailoverSpec>) -> Option<TransactionReplay> {
    let spec = failover?.transaction_replay.as_ref()?;
    let defaults = TransactionReplay::default();
    Some(TransactionReplay {
        max_bytes: spec.max_bytes.unwrap_or(defaults.max_bytes),
        attempts: spec.attempts.unwrap_or(defaults.attempts),
        timeout_ms: spec.timeout_ms.unwrap_or(defaults.timeout_ms),
    })
}

fn buffer(failover: Option<&FailoverSpec>, splitting: Option<&Splitting>) -> Buffer {
    let spec = failover.and_then(|failover| failover.buffer.as_ref());
    let reported = splitting.is_some_and(|s| s.roles == RoleSource::Reported);
    Buffer {
        max_wait_ms: spec
            .and_then(|spec| spec.max_wait_ms)
            .unwrap_or(if reported { BUFFER_WAIT_MS_DEFAULT } else { 0 }),
        max_statements: spec
            .and_then(|spec| spec.max_statements)
            .unwrap_or(BUFFER_STATEMENTS_DEFAULT),
    }
}

/// Compiles expressions, each on its own first, so that a defect names the one that is wrong.
pub fn regexes(at: &At<'_>, patterns: &[String], findings: &mut Findings) -> Option<RegexSet> {
    let mut sound = true;
    for (index, pattern) in patterns.iter().enumerate() {
        if pattern.is_empty() {
            let reason = "an empty expression matches every text: name what is meant, or leave the field out";
            findings.error(&at.item(index), reason);
            sound = false;
        } else if let Err(error) = compile(std::slice::from_ref(pattern)) {
            findings.error(&at.item(index), in_one_line(&error));
            sound = false;
        }
    }
    if !sound {
        return None;
    }
    match compile(patterns) {
        Ok(set) => Some(set),
        Err(error) => {
            findings.error(at, in_one_line(&error));
            None
        }
    }
}

pub fn compile(patterns: &[String]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns)
        .size_limit(REGEX_BYTES_MAX)
        .build()
}

/// The last line of a syntax error says what is wrong; those before it draw the pattern.
pub fn in_one_line(error: &regex::Error) -> String {
    let text = match error {
        regex::Error::CompiledTooBig(bytes) => {
            return format!("the expression takes more than {bytes} bytes when compiled");
        }
        other => other.to_string(),
    };
    let last = text.lines().last().unwrap_or_default();
    format!(
        "not a regular expression: {}",
        last.trim_start_matches("error: ")
    )
}

fn ejection(
    at: &At<'_>,
    failover: Option<&FailoverSpec>,
    findings: &mut Findings,
) -> Option<Ejection> {
    let Some(spec) = failover.and_then(|failover| failover.ejection.as_ref()) else {
        return Some(Ejection::default());
    };
    let defaults = Ejection::default();
    let base_ejection_ms = spec.base_ejection_ms.unwrap_or(defaults.base_ejection_ms);
    let ejection = Ejection {
        consecutive_connect_failures: spec
            .consecutive_connect_failures
            .unwrap_or(defaults.consecutive_connect_failures),
        base_ejection_ms,
        // A base above the default longest ejection, with no longest given, means that base.
        max_ejection_ms: spec
            .max_ejection_ms
            .unwrap_or_else(|| defaults.max_ejection_ms.max(base_ejection_ms)),
    };
    if ejection.max_ejection_ms < ejection.base_ejection_ms {
        let at = at
            .field("failover")
            .field("ejection")
            .field("maxEjectionMs");
        findings.error(&at, "`maxEjectionMs` is less than `baseEjectionMs`");
        return None;
    }
    Some(ejection)
}
