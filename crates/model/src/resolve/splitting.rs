//! `readWriteSplitting` → `Splitting`.

use super::connection;
use super::findings::{At, Findings};
use super::strategy::{balance_of, regexes};
use crate::host::Host;
use crate::secret::Secret;
use crate::spec::{
    self, ConsistencyKind, HeartbeatClockKind, MasterHighAvailability, ReadWriteSplitting,
    RuleType, Target, TransactionalReadKind,
};
use crate::topology::{
    CATCH_UP_WAIT_MS_DEFAULT, Consistency, Heartbeat, HeartbeatClock, Matcher, Monitor,
    ProbePolicy, Role, RoleSource, Splitting, SplittingMatch, SplittingRule, TransactionalRead,
};

/// Resolves it, or reports everything that is wrong.
pub fn resolve(
    at: &At<'_>,
    spec: &ReadWriteSplitting,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Splitting> {
    let Form {
        at: at_form,
        roles,
        default_target,
        rules,
        monitor,
    } = form(at, spec, findings)?;
    let rules: Vec<Option<SplittingRule>> = rules
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, spec)| rule(&at_form.field("rules").item(index), spec, findings))
        .collect();
    let rules: Vec<SplittingRule> = rules.into_iter().collect::<Option<_>>()?;
    // Who asks for splitting without a rule means reads.
    let unwritten = if rules.is_empty() {
        Role::Replica
    } else {
        Role::Primary
    };
    let default_target = default_target.map_or(unwritten, role_of);
    let monitor = match monitor {
        Some((at, spec)) => self::monitor(&at, spec, host, findings),
        None => Some(Monitor::default()),
    };
    Some(Splitting {
        roles,
        default_target,
        matcher: Matcher::of(&rules),
        rules,
        consistency: match spec.consistency {
            Some(ConsistencyKind::Eventual) => Consistency::Eventual,
            Some(ConsistencyKind::Session) | None => Consistency::Session,
            Some(ConsistencyKind::Global) => Consistency::Global,
            Some(ConsistencyKind::Primary) => Consistency::Primary,
        },
        transactional_read: match spec.transactional_read {
            Some(TransactionalReadKind::Primary) | None => TransactionalRead::Primary,
            Some(TransactionalReadKind::Fixed) => TransactionalRead::Fixed,
            Some(TransactionalReadKind::Replica) => TransactionalRead::Replica,
        },
        catch_up_wait_ms: spec.catch_up_wait_ms.unwrap_or(CATCH_UP_WAIT_MS_DEFAULT),
        monitor: monitor?,
    })
}

/// `static` or `dynamic`, as written.
struct Form<'a> {
    at: At<'a>,
    roles: RoleSource,
    default_target: Option<Target>,
    rules: &'a Option<Vec<spec::SplittingRule>>,
    monitor: Option<(At<'a>, &'a MasterHighAvailability)>,
}

fn form<'a>(
    at: &At<'a>,
    spec: &'a ReadWriteSplitting,
    findings: &mut Findings,
) -> Option<Form<'a>> {
    match (&spec.fixed, &spec.dynamic) {
        (Some(fixed), None) => {
            let at = at.field("static");
            let monitor = fixed.monitor.as_ref().map(|m| (at.field("monitor"), m));
            Some(Form {
                at,
                roles: RoleSource::Configured,
                default_target: fixed.default_target,
                rules: &fixed.rules,
                monitor,
            })
        }
        (None, Some(dynamic)) => {
            let at = at.field("dynamic");
            let place = at.field("discovery").field("masterHighAvailability");
            let monitor = Some((place, &dynamic.discovery.master_high_availability));
            Some(Form {
                at,
                roles: RoleSource::Reported,
                default_target: dynamic.default_target,
                rules: &dynamic.rules,
                monitor,
            })
        }
        _ => {
            findings.error(at, "needs exactly one of `static` and `dynamic`");
            None
        }
    }
}

fn role_of(target: Target) -> Role {
    match target {
        Target::Read => Role::Replica,
        Target::ReadWrite => Role::Primary,
    }
}

fn rule(at: &At<'_>, spec: &spec::SplittingRule, findings: &mut Findings) -> Option<SplittingRule> {
    let patterns = match (spec.rule_type, &spec.regex) {
        (RuleType::Regex, Some(patterns)) if !patterns.is_empty() => {
            regexes(&at.field("regex"), patterns, findings).map(Some)
        }
        (RuleType::Regex, _) => {
            findings.error(at, "a rule of type `regex` needs `regex`");
            None
        }
        (RuleType::Generic, Some(_)) => {
            findings.error(
                &at.field("regex"),
                "a rule of type `generic` takes no `regex`",
            );
            None
        }
        (RuleType::Generic, None) => Some(None),
    };
    let target = match (spec.rule_type, spec.target) {
        (RuleType::Regex, None) => {
            findings.error(at, "a rule of type `regex` needs `target`");
            return None;
        }
        (RuleType::Generic, Some(_)) => {
            findings.error(
                &at.field("target"),
                "a rule of type `generic` takes no `target`",
            );
            return None;
        }
        (_, target) => target.map(role_of),
    };
    let matches = match (patterns?, target) {
        (Some(regexes), Some(role)) => SplittingMatch::Regex(regexes, role),
        _ => SplittingMatch::Generic,
    };
    Some(SplittingRule {
        name: spec.name.clone(),
        matches,
        balance: spec.algorithm_name.map(balance_of),
    })
}

fn monitor(
    at: &At<'_>,
    spec: &MasterHighAvailability,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Monitor> {
    let password = match &spec.password {
        Some(password) => {
            connection::password(&at.field("password"), password, host, findings).map(Some)
        }
        None => Some(None),
    };
    let account = match &spec.user {
        Some(user) => {
            let user = connection::user_name(&at.field("user"), user, findings)?;
            Some((user, password?.unwrap_or_else(|| Secret::from(""))))
        }
        None if spec.password.is_some() => {
            findings.error(&at.field("password"), "a password without `user`");
            return None;
        }
        None => None,
    };
    let plain = |probe: &Option<spec::Probe>| match probe {
        Some(p) => Written {
            period: p.period_milliseconds,
            timeout: p.timeout_milliseconds,
            failures: p.failure_threshold,
            successes: p.success_threshold,
        },
        None => Written::default(),
    };
    let lag = spec.replication_lag_probe.as_ref();
    let written = lag.map_or_else(Written::default, |p| Written {
        period: p.period_milliseconds,
        timeout: p.timeout_milliseconds,
        failures: p.failure_threshold,
        successes: p.success_threshold,
    });
    let heartbeat = match lag.and_then(|lag| lag.heartbeat.as_ref()) {
        Some(spec) => {
            let at = at.field("replicationLagProbe").field("heartbeat");
            Some(heartbeat(&at, spec, findings)?)
        }
        None => None,
    };
    let defaults = Monitor::default();
    let interval = spec.monitor_interval;
    Some(Monitor {
        account,
        connection: plain(&spec.connection_probe).policy(interval),
        ping: plain(&spec.ping_probe).policy(interval),
        read_only: plain(&spec.read_only_probe).policy(interval),
        lag: written.policy(interval),
        lag_ms_max: lag
            .and_then(|p| p.max_replication_lag)
            .map_or(defaults.lag_ms_max, |seconds| seconds.saturating_mul(1_000)),
        heartbeat,
    })
}

fn heartbeat(
    at: &At<'_>,
    spec: &spec::HeartbeatSpec,
    findings: &mut Findings,
) -> Option<Heartbeat> {
    let column = quoted(spec.column.as_deref().unwrap_or("ts"));
    if column.is_none() {
        findings.error(&at.field("column"), "not the name of a column");
    }
    let table = match spec.table.split_once('.') {
        Some((schema, table)) => quoted(schema).zip(quoted(table)),
        None => None,
    };
    if table.is_none() {
        findings.error(&at.field("table"), "not a table as `schema.table`");
    }
    let (schema, table) = table?;
    Some(Heartbeat {
        table: format!("{schema}.{table}"),
        column: column?,
        clock: match spec.clock {
            Some(HeartbeatClockKind::Session) | None => HeartbeatClock::Session,
            Some(HeartbeatClockKind::Utc) => HeartbeatClock::Utc,
        },
    })
}

/// A name as an identifier in SQL; none if it cannot be one.
fn quoted(name: &str) -> Option<String> {
    let fits = |c: char| !c.is_control() && !matches!(c, '`' | '.');
    let length = name.chars().count();
    ((1..=64).contains(&length) && name.chars().all(fits)).then(|| format!("`{name}`"))
}

/// A probe as it was written.
#[derive(Default)]
struct Written {
    period: Option<u64>,
    timeout: Option<u64>,
    failures: Option<u32>,
    successes: Option<u32>,
}

impl Written {
    fn policy(&self, interval_ms: Option<u64>) -> ProbePolicy {
        let defaults = ProbePolicy::default();
        ProbePolicy {
            period_ms: self.period.or(interval_ms).unwrap_or(defaults.period_ms),
            timeout_ms: self.timeout.unwrap_or(defaults.timeout_ms),
            failures: self.failures.unwrap_or(defaults.failures),
            successes: self.successes.unwrap_or(defaults.successes),
        }
    }
}
