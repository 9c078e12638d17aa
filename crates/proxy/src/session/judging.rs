//! What the rules say of the statement at hand.
//!
//! Owns the walk through the rules that it matches, in their order: each statement of a text by itself, and what PREPARE
//! and EXECUTE run. Must never let a rule that denies be passed by text that cannot be told. What comes of a verdict is
//! `enforcing`'s. Input: the statement, its hints, the rules of the service as they are now.

mod counting;
mod permitting;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dbmesh_model::topology::{Action, Rights, RouteTo, Rule, RuleBits, RuleMode, Service, Unknown};
use dbmesh_plan::rights::Denial;
use dbmesh_plan::{Found, Inner, Judge, RoleHint, Subject, inner_of};
use dbmesh_sql::{Class, Dialect, Digest, Effect, Hints, Statement, analyze_guarded, split};

use super::Session;
use super::demand::{Deadline, Place};
use crate::fault::Fault;
use crate::firewall::Firewall;
use crate::limit;
use crate::login::may_enter;
use crate::rules::{RuleState, Rules};
use crate::state::Warning;
use counting::{Counted, turn_of};

/// Statements prepared by name that are remembered with their text.
const PREPARED_MAX: usize = 256;
/// Bytes of their texts.
const PREPARED_BYTES_MAX: usize = 1 << 20;
/// How deep a text may prepare texts that prepare texts.
const DEPTH_MAX: u8 = 4;
/// Warnings that rules give one statement.
const WARNINGS_MAX: usize = 16;
/// The code of those warnings: ER_UNKNOWN_ERROR, as of what rules refuse.
pub(super) const WARNING_CODE: &[u8] = b"1105";

/// When a verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The statement is about to run.
    Runs,
    /// It is only prepared: what denies it says so, everything else waits for its execution.
    Prepared,
}

/// A rule that a statement met: what audit and logs say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The rule.
    pub rule: Arc<str>,
    /// Whether it acts.
    pub mode: RuleMode,
    /// What it does.
    pub action: &'static str,
}

/// A limit that the statement must pass.
#[derive(Clone, Debug)]
pub(super) struct Limited {
    pub place: usize,
    pub keys: Vec<u64>,
    /// When its turn is taken.
    pub when: Turn,
}

/// Limits that a statement must pass at each endpoint that it goes to.
#[derive(Debug, Default)]
pub(super) struct AtEndpoint {
    pub limits: Vec<Limited>,
    /// Its places in them, by their keys.
    pub held: Vec<(u64, Option<limit::Place>)>,
}

/// When a limit's turn is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Before the statement looks for a connection.
    First,
    /// Once it is known where it goes.
    AtEndpoint,
}

/// What the rules say of one statement.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// The rules that it met, in their order.
    pub hits: Vec<Hit>,
    /// The error that it gets.
    pub refusal: Option<Fault>,
    pub(super) limits: Vec<Limited>,
    pub(super) delay: Duration,
    pub(super) warnings: Vec<Warning>,
    timeout_ms: Option<u64>,
    route: Option<RouteTo>,
    tags: Vec<(String, String)>,
}

/// What a session knows of the rules that it is under.
#[derive(Debug)]
pub(crate) struct Governed {
    rules: Arc<Rules>,
    /// Of the configuration that they come from; 0 is none.
    epoch: u64,
    bits: RuleBits,
    address: Option<IpAddr>,
    /// What the user may do, with a number; none if everything.
    rights: Option<(Arc<Rights>, u64)>,
    /// The allow-list, with a number for it and the user.
    firewall: Option<(Arc<Firewall>, u64)>,
    /// The statement at hand as it is sent: a SHOW that leaves out what the user may not see.
    pub filtered: Option<Box<[u8]>>,
    /// Of the statement at hand; none if no rule has anything to say.
    pub verdict: Option<Box<Verdict>>,
    /// Warnings that the statement's answer must count.
    pub warned: Vec<Warning>,
    /// Limits of the statement at hand that count by endpoint; boxed, for they are rare.
    pub(super) at_endpoint: Option<Box<AtEndpoint>>,
    prepared: Option<Box<Prepared>>,
}

/// Texts prepared by name.
#[derive(Debug, Default)]
struct Prepared {
    texts: HashMap<Box<str>, Option<Arc<[u8]>>>,
    bytes: usize,
}

impl Prepared {
    fn keep(&mut self, name: Box<str>, text: Option<&[u8]>) {
        if let Some(Some(before)) = self.texts.remove(&name) {
            self.bytes -= before.len();
        }
        let length = text.map_or(0, <[u8]>::len);
        if self.texts.len() < PREPARED_MAX && self.bytes + length <= PREPARED_BYTES_MAX {
            self.bytes += length;
            self.texts.insert(name, text.map(Into::into));
        }
    }
}

impl Governed {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            epoch: 0,
            bits: RuleBits::NONE,
            address: None,
            rights: None,
            firewall: None,
            filtered: None,
            verdict: None,
            warned: Vec::new(),
            at_endpoint: None,
            prepared: None,
        }
    }

    /// Whether nobody has anything to say.
    fn is_idle(&self) -> bool {
        self.bits.is_empty() && self.rights.is_none() && self.firewall.is_none()
    }

    /// The rules.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Another user, another service, another state.
    pub(super) fn begin_anew(&mut self, rules: Arc<Rules>) {
        *self = Self::new(rules);
    }
}

thread_local! {
    static JUDGE: RefCell<Judge> = RefCell::default();
}

/// The tables that a statement uses.
pub(super) fn tables_of(subject: &Subject<'_>) -> Arc<[Box<str>]> {
    JUDGE.with_borrow_mut(|judge| judge.tables(subject))
}

impl Session {
    /// The key under which digests are guarded; none where nothing is remembered by them.
    pub(super) fn guard_key(&mut self) -> Option<u64> {
        self.follow_rules();
        (!self.governed.is_idle()).then(|| self.governed.rules.key())
    }

    /// The rules as they are now: they hold in a transaction that began under others.
    fn follow_rules(&mut self) {
        let epoch = self.process.current.epoch();
        if self.governed.epoch == epoch {
            return;
        }
        let now = self.process.current.find(&self.serving.service);
        let now = now.unwrap_or_else(|| self.serving.clone());
        let rules = now.rules.clone();
        let user = &self.handle().user;
        let users = now.service.users.iter();
        // A user that is no more may do nothing more.
        let rights = users
            .clone()
            .find(|u| u.name == *user)
            .map_or_else(|| Arc::new(Rights::nothing()), |user| user.rights.clone());
        let number = |of: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            of(&mut hasher);
            hasher.finish()
        };
        let id = number(&|h| rights.hash(h));
        let firewall = now.firewall.as_ref().map(|firewall| {
            let id = number(&|h| (firewall.id(), user).hash(h));
            (firewall.clone(), id)
        });
        self.governed.firewall = firewall;
        self.governed.rights = (!rights.is_everything()).then_some((rights, id));
        let address = self.client_ip();
        self.governed.bits = rules.of_session(&self.handle().user, address);
        self.governed.address = address;
        self.governed.rules = rules;
        self.governed.epoch = epoch;
    }

    /// The client's IP address; none of a Unix socket.
    fn client_ip(&self) -> Option<IpAddr> {
        let address: SocketAddr = self.handle().address.parse().ok()?;
        Some(address.ip().to_canonical())
    }

    /// Judges the statement, and lets the verdict say where and how long it runs.
    ///
    /// What refuses it is said by `govern`, which is the only way to an execution.
    pub(super) fn judge(
        &mut self,
        statement: &Statement,
        sql: &[u8],
        hints: Option<&Hints<'_>>,
        occasion: Occasion,
    ) {
        self.governed.verdict = None;
        self.governed.warned.clear();
        self.leave_endpoint_limits();
        self.governed.filtered = None;
        self.follow_rules();
        if self.governed.is_idle() {
            return;
        }
        let dialect = self.dialect();
        let vector = self.state.vector.clone();
        let mut prepared = self.governed.prepared.take();
        let governed = &self.governed;
        let mut walk = Walk {
            rules: &governed.rules,
            bits: governed.bits,
            user: &self.handle().user,
            rights: governed
                .rights
                .as_ref()
                .map(|(rights, id)| (&**rights, *id)),
            firewall: governed.firewall.as_ref().map(|(f, id)| (&**f, *id)),
            service: &self.serving.service,
            host: self.host(),
            filtered: None,
            whole: true,
            address: governed.address,
            dialect: &dialect,
            hints,
            occasion,
            prepared: &mut prepared,
            now: None,
            schema: vector.schema.as_deref().map(Cow::Borrowed),
            verdict: None,
        };
        JUDGE.with_borrow_mut(|judge| walk.text(judge, statement, sql, 0));
        let (verdict, filtered) = (walk.verdict, walk.filtered);
        self.governed.filtered = filtered.map(Vec::into_boxed_slice);
        self.governed.prepared = prepared;
        if let Some(verdict) = &verdict
            && occasion == Occasion::Runs
        {
            self.follow_verdict(verdict, statement);
        }
        self.governed.verdict = verdict;
    }

    fn follow_verdict(&mut self, verdict: &Verdict, statement: &Statement) {
        if !verdict.tags.is_empty() {
            self.handle().add_tags(&verdict.tags);
            self.noted.labelled = true;
        }
        match &verdict.route {
            None => {}
            Some(RouteTo::Primary) => self.demand.role = Some(RoleHint::Primary),
            Some(RouteTo::Replica) => self.demand.role = Some(RoleHint::Replica),
            Some(RouteTo::Endpoint(name)) => {
                self.demand.role = None;
                self.demand.place = Place::Named(name.clone());
            }
        }
        let shorter = |limit_ms: u64| {
            self.demand
                .deadline
                .is_none_or(|known| limit_ms < known.limit_ms)
        };
        if let Some(limit_ms) = verdict.timeout_ms.filter(|limit_ms| shorter(*limit_ms))
            && statement.class != Class::Tcl
        {
            self.demand.deadline = Some(Deadline {
                at: self.started + Duration::from_millis(limit_ms),
                limit_ms,
            });
        }
    }
}

/// One walk through the rules.
struct Walk<'a> {
    rules: &'a Rules,
    bits: RuleBits,
    user: &'a str,
    rights: Option<(&'a Rights, u64)>,
    firewall: Option<(&'a Firewall, u64)>,
    service: &'a Service,
    host: &'a str,
    /// What is sent instead.
    filtered: Option<Vec<u8>>,
    /// The text is one statement.
    whole: bool,
    address: Option<IpAddr>,
    dialect: &'a Dialect,
    hints: Option<&'a Hints<'a>>,
    occasion: Occasion,
    prepared: &'a mut Option<Box<Prepared>>,
    /// Seconds since 1970, once somebody asked.
    now: Option<u64>,
    schema: Option<Cow<'a, [u8]>>,
    verdict: Option<Box<Verdict>>,
}

impl Walk<'_> {
    /// A text, statement by statement.
    fn text(&mut self, judge: &mut Judge, statement: &Statement, sql: &[u8], depth: u8) {
        self.whole = depth == 0 && statement.statements <= 1;
        if statement.statements <= 1 {
            return self.statement(judge, statement, sql, depth);
        }
        for span in split(sql, self.dialect) {
            let part = span.of(sql);
            let statement = analyze_guarded(part, self.dialect, self.rules.key());
            if statement.statements > 0 {
                self.statement(judge, &statement, part, depth);
            }
        }
    }

    fn statement(&mut self, judge: &mut Judge, statement: &Statement, sql: &[u8], depth: u8) {
        let schema = self.schema.take();
        let subject = Subject {
            statement,
            sql,
            dialect: self.dialect,
            schema: schema.as_deref(),
        };
        let own = depth == 0 && self.whole;
        self.permitted(judge, &subject, own);
        self.listed(judge, &subject);
        let found = judge.find(self.rules.book(), self.rules.id(), &subject);
        let inner = match statement.effects.is_empty() && !has_dynamic(statement) {
            true => Vec::new(),
            false => inner_of(&subject),
        };
        self.schema = schema;
        self.rules_of(&Counted {
            digest: statement.digest,
            class: statement.class,
            found: &found,
        });
        for effect in statement.effects.iter() {
            if let Effect::Use(name) = effect {
                let entered = may_enter(self.service, self.user, self.host, name.as_bytes());
                self.refuse(entered.err());
                self.schema = Some(Cow::Owned(name.as_bytes().to_vec()));
            }
        }
        for inner in inner {
            self.inner(judge, inner, depth + 1);
        }
    }

    fn inner(&mut self, judge: &mut Judge, inner: Inner, depth: u8) {
        let (name, text) = match inner {
            Inner::Text(name, text) => (name, Some(Arc::from(text))),
            Inner::Hidden(name) => (name, None),
            Inner::Named(name) => {
                let known = self.prepared.as_ref().and_then(|p| p.texts.get(&name));
                (None, known.cloned().flatten())
            }
        };
        let text: Option<Arc<[u8]>> = text;
        if let Some(name) = name {
            let prepared = self.prepared.get_or_insert_default();
            prepared.keep(name, text.as_deref());
        }
        match text {
            Some(text) if depth <= DEPTH_MAX => {
                let statement = analyze_guarded(&text, self.dialect, self.rules.key());
                self.text(judge, &statement, &text, depth);
            }
            _ => {
                if self.rights.is_some() {
                    let denial = Denial::Other("running text that is not known");
                    self.forbid(&denial);
                }
                if let Some((firewall, _)) = self.firewall {
                    self.unlisted(firewall, Digest::default());
                }
                let found = Found::of_hidden(self.rules.book());
                self.rules_of(&Counted {
                    digest: Digest::default(),
                    class: Class::Unknown,
                    found: &found,
                });
            }
        }
    }

    /// The rules that one statement meets, in their order, until one decides.
    fn rules_of(&mut self, counted: &Counted<'_>) {
        let met = (counted.found.sure | counted.found.unknown) & self.bits;
        let rules = self.rules;
        for place in met.iter() {
            let Some((rule, state)) = rules.at(place) else {
                continue;
            };
            let sure = counted.found.sure.has(place);
            if (!sure && rule.unknown == Unknown::Pass) || !self.holds_now(rule) {
                continue;
            }
            if self.occasion == Occasion::Prepared && rule.action != Action::Deny {
                if rule.mode == RuleMode::Enforce && rule.action == Action::Allow {
                    return;
                }
                continue;
            }
            if self.meet(place, rule, state, counted, sure) {
                return;
            }
        }
    }

    /// Whether what changes from execution to execution holds.
    fn holds_now(&mut self, rule: &Rule) -> bool {
        let matches = &rule.matches;
        let tagged = matches
            .tags
            .iter()
            .all(|(name, value)| self.tag(name).is_some_and(|has| has == value));
        if !tagged || matches.times.is_empty() {
            return tagged;
        }
        let now = *self.now.get_or_insert_with(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_secs())
        });
        matches.times.iter().any(|time| time.contains(now))
    }

    /// The value of a tag: what a rule says outdoes a hint.
    fn tag(&self, name: &str) -> Option<&str> {
        let given = self.verdict.as_ref().and_then(|verdict| {
            let mut tags = verdict.tags.iter().rev();
            tags.find(|(known, _)| known == name)
        });
        if let Some((_, value)) = given {
            return Some(value);
        }
        let hinted = self.hints?.tags.iter().find(|(known, _)| *known == name);
        hinted.map(|(_, value)| *value)
    }

    /// Takes down what a rule says; gives whether the rules that follow are not looked at.
    fn meet(
        &mut self,
        place: usize,
        rule: &Rule,
        state: &RuleState,
        counted: &Counted<'_>,
        sure: bool,
    ) -> bool {
        state.matched.fetch_add(1, Ordering::Relaxed);
        let limits = matches!(
            rule.action,
            Action::Rate(_) | Action::Concurrency(_) | Action::Window(_)
        );
        let keys = match &rule.action {
            Action::Rate(limit) => self.keys(&limit.by, counted),
            Action::Concurrency(limit) => self.keys(&limit.by, counted),
            _ => vec![1],
        };
        let when = turn_of(&rule.action);
        let verdict = self.verdict.get_or_insert_default();
        verdict.hits.push(Hit {
            rule: state.name.clone(),
            mode: rule.mode,
            action: rule.action.label(),
        });
        if limits {
            verdict.limits.push(Limited { place, keys, when });
            return false;
        }
        if rule.mode == RuleMode::Warn {
            if rule.action == Action::Deny {
                state.refused.fetch_add(1, Ordering::Relaxed);
            }
            verdict.warn(rule.action.label(), &rule.name);
            return false;
        }
        match &rule.action {
            Action::Allow => return true,
            Action::Deny => {
                state.refused.fetch_add(1, Ordering::Relaxed);
                let name = rule.name.clone();
                let fault = match sure {
                    true => Fault::Denied(name),
                    false => Fault::DeniedUnknown(name),
                };
                verdict.refusal.get_or_insert(fault);
                return true;
            }
            Action::Timeout(ms) => {
                verdict.timeout_ms = Some(verdict.timeout_ms.map_or(*ms, |known| known.min(*ms)));
            }
            Action::Delay(ms) => verdict.delay += Duration::from_millis(*ms),
            Action::Route(to) => verdict.route = Some(to.clone()),
            Action::Tag(tags) => {
                let tags = tags
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()));
                verdict.tags.extend(tags);
            }
            Action::Rate(_) | Action::Concurrency(_) | Action::Window(_) => {}
        }
        false
    }
}

fn has_dynamic(statement: &Statement) -> bool {
    statement.facts.has(dbmesh_sql::Facts::DYNAMIC_SQL)
}

impl Verdict {
    /// Tells the client what a rule would have done.
    pub(super) fn warn(&mut self, action: &str, rule: &str) {
        if self.warnings.len() >= WARNINGS_MAX {
            return;
        }
        let message =
            format!("dbmesh: rule '{rule}' in mode warn matched; enforced, it would act: {action}");
        self.warnings.push(Warning {
            level: b"Warning".to_vec(),
            code: WARNING_CODE.to_vec(),
            message: message.into_bytes(),
        });
    }
}
