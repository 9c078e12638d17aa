//! TrafficStrategy → `Strategy`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use regex::{RegexSet, RegexSetBuilder};

use super::endpoint::{Candidate, Candidates};
use super::findings::{At, Findings};
use super::kinds::{Kinds, Resource};
use super::{connection, selector};
use crate::host::Host;
use crate::schema::Kind;
use crate::spec::{
    BalanceKind, CircuitBreak, ConcurrencyControl, DynamicSplitting, FailoverSpec, LoadBalance,
    ReadWriteSplitting, RuleType, SplittingRule, TrafficStrategy,
};
use crate::topology::{
    Balance, ConcurrencyRule, DenyRule, Ejection, Endpoint, Name, Role, Strategy,
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
        let endpoints = matched.and_then(|matched| serving(&at, &matched, findings));
        let strategy = strategy(resource, endpoints, host, findings);
        let key = (resource.namespace.to_string(), resource.name.to_string());
        by_name.insert(key, strategy.map(Arc::new));
    }
    Strategies { by_name, selected }
}

/// The endpoints that serve, ordered by name; nothing after a defect, theirs included.
fn serving(
    at: &At<'_>,
    matched: &[&Candidate<'_>],
    findings: &mut Findings,
) -> Option<Vec<Arc<Endpoint>>> {
    let endpoints: Option<Vec<_>> = matched.iter().map(|c| c.endpoint.clone()).collect();
    let mut endpoints = endpoints?;
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    if endpoints
        .iter()
        .all(|endpoint| endpoint.role == Role::Replica)
    {
        let reason = "no readwrite endpoint: every endpoint that the selector matches is `read`";
        let suggestion = "give one of them the role `readwrite`, or label one that has it";
        findings.error_with(at, reason, suggestion.to_owned());
        return None;
    }
    Some(endpoints)
}

fn strategy(
    resource: &Resource<'_, TrafficStrategy>,
    endpoints: Option<Vec<Arc<Endpoint>>>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Strategy> {
    let at = At::top(resource.document).field("spec");
    let spec = &resource.content.spec;
    let load_balance = spec.load_balance.as_ref();
    let balance = balance(&at.field("loadBalance"), load_balance, host, findings);
    let deny = deny(
        &at,
        spec.circuit_breaks.as_deref().unwrap_or_default(),
        findings,
    );
    let controls = spec.concurrency_controls.as_deref().unwrap_or_default();
    let concurrency = concurrency(&at, controls, findings);
    let ejection = ejection(&at, spec.failover.as_ref(), findings);
    let endpoints = endpoints?;
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
    Some(Strategy {
        name: resource.name.clone(),
        balance,
        endpoints,
        deny: deny?,
        concurrency: concurrency?,
        ejection: ejection?,
    })
}

fn balance(
    at: &At<'_>,
    load_balance: Option<&LoadBalance>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Balance {
    let Some(load_balance) = load_balance else {
        return Balance::Ewma;
    };
    if let Some(splitting) = &load_balance.read_write_splitting {
        let at = at.field("readWriteSplitting");
        check_splitting(&at, splitting, host, findings);
    }
    match load_balance
        .simple_load_balance
        .as_ref()
        .map(|simple| simple.kind)
    {
        Some(BalanceKind::Random) => Balance::Random,
        Some(BalanceKind::RoundRobin) => Balance::RoundRobin,
        Some(BalanceKind::Weighted) => Balance::Weighted,
        Some(BalanceKind::LeastConn) => Balance::LeastConn,
        Some(BalanceKind::Ewma) | None => Balance::Ewma,
    }
}

/// Read/write splitting is checked in full though it does not act yet, so that a configuration does
/// not turn out to be wrong on the day it does.
fn check_splitting(
    at: &At<'_>,
    splitting: &ReadWriteSplitting,
    host: &dyn Host,
    findings: &mut Findings,
) {
    let reason = "readWriteSplitting does not act yet, neither its rules nor its probes: all \
                  statements go to the readwrite endpoints";
    findings.warning(at, reason);
    let (at, rules) = match (&splitting.fixed, &splitting.dynamic) {
        (Some(fixed), None) => (at.field("static"), &fixed.rules),
        (None, Some(dynamic)) => {
            let at = at.field("dynamic");
            check_monitor(&at, dynamic, host, findings);
            (at, &dynamic.rules)
        }
        _ => {
            findings.error(at, "needs exactly one of `static` and `dynamic`");
            return;
        }
    };
    for (index, rule) in rules.iter().flatten().enumerate() {
        check_rule(&at.field("rules").item(index), rule, findings);
    }
}

fn check_monitor(
    at: &At<'_>,
    dynamic: &DynamicSplitting,
    host: &dyn Host,
    findings: &mut Findings,
) {
    let at = at.field("discovery").field("masterHighAvailability");
    let monitor = &dynamic.discovery.master_high_availability;
    connection::user_name(&at.field("user"), &monitor.user, findings);
    if let Some(password) = &monitor.password {
        connection::password(&at.field("password"), password, host, findings);
    }
}

fn check_rule(at: &At<'_>, rule: &SplittingRule, findings: &mut Findings) {
    match (rule.rule_type, &rule.regex) {
        (RuleType::Regex, Some(patterns)) if !patterns.is_empty() => {
            regexes(&at.field("regex"), patterns, findings);
        }
        (RuleType::Regex, _) => findings.error(at, "a rule of type `regex` needs `regex`"),
        (RuleType::Generic, Some(_)) => {
            findings.error(
                &at.field("regex"),
                "a rule of type `generic` takes no `regex`",
            );
        }
        (RuleType::Generic, None) => {}
    }
    match (rule.rule_type, rule.target) {
        (RuleType::Regex, None) => findings.error(at, "a rule of type `regex` needs `target`"),
        (RuleType::Generic, Some(_)) => {
            findings.error(
                &at.field("target"),
                "a rule of type `generic` takes no `target`",
            );
        }
        _ => {}
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

/// Compiles expressions, each on its own first, so that a defect names the one that is wrong.
fn regexes(at: &At<'_>, patterns: &[String], findings: &mut Findings) -> Option<RegexSet> {
    let mut sound = true;
    for (index, pattern) in patterns.iter().enumerate() {
        if let Err(error) = compile(std::slice::from_ref(pattern)) {
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

fn compile(patterns: &[String]) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns)
        .size_limit(REGEX_BYTES_MAX)
        .build()
}

/// The last line of a syntax error says what is wrong; those before it draw the pattern.
fn in_one_line(error: &regex::Error) -> String {
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
