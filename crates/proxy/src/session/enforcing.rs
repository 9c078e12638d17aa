//! What comes of a verdict: a refusal, a wait for a turn, a warning.
//!
//! Owns the way from a plan to an [`Admitted`], which is the only thing that is executed. Who waits here can be killed,
//! runs into its deadline, and leaves its place when it goes. Input: plans, and the verdict of the rules.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Action, Rule, RuleMode};
use dbmesh_plan::Plan;
use dbmesh_wire::relay::Outcome;

use super::judging::{AtEndpoint, Limited, Turn, Verdict};
use super::{Failure, Session};
use crate::control::Signals;
use crate::fault::Fault;
use crate::limit::{Place, Waiting};
use crate::rules::{Limiter, RuleState};
use crate::state::Warnings;
use crate::upstream::Member;

/// A statement that may run: only [`Session::govern`] makes one.
pub(crate) struct Admitted {
    pub(super) plan: Plan,
    _places: Vec<Place>,
}

/// How long a statement waits in line.
struct Patience {
    max_wait: Duration,
    max_waiting: u32,
}

impl Session {
    /// Lets a plan through, perhaps after a wait, or says which rule does not.
    pub(super) async fn govern(&mut self, plan: Plan) -> Result<Admitted, Failure> {
        // What ends a transaction makes room; the other statements of one are few.
        if !self.state.in_transaction() && self.process.memory.refuses() {
            return Err(Fault::MemoryShort.into());
        }
        let Some(mut verdict) = self.governed.verdict.take() else {
            return Ok(Admitted {
                plan,
                _places: Vec::new(),
            });
        };
        let passed = match verdict.refusal.clone() {
            Some(fault) => Err(fault.into()),
            None => Box::pin(self.pass_limits(&mut verdict)).await,
        };
        if let Err(Failure::Fault(fault)) = &passed
            && fault.is_of_rules()
        {
            let hits = &self.serving.metrics.rule_hits;
            hits.fetch_add(1, Ordering::Relaxed);
        }
        self.governed.warned = std::mem::take(&mut verdict.warnings);
        self.governed.verdict = Some(verdict);
        Ok(Admitted {
            plan,
            _places: passed?,
        })
    }

    /// The limits in the order of their rules, then the delay.
    async fn pass_limits(&mut self, verdict: &mut Verdict) -> Result<Vec<Place>, Failure> {
        let mut places = Vec::new();
        let rules = self.governed.rules().clone();
        for limited in std::mem::take(&mut verdict.limits) {
            if limited.when == Turn::AtEndpoint {
                let there = self.governed.at_endpoint.get_or_insert_default();
                there.limits.push(limited);
                continue;
            }
            let Some((rule, state)) = rules.at(limited.place) else {
                continue;
            };
            if rule.mode == RuleMode::Warn {
                match at_once(rule, state, &limited) {
                    Some(taken) => places.extend(taken),
                    None => {
                        state.refused.fetch_add(1, Ordering::Relaxed);
                        verdict.warn(rule.action.label(), &rule.name);
                    }
                }
                continue;
            }
            for key in &limited.keys {
                places.extend(self.take_turn(rule, state, *key).await?);
            }
        }
        if verdict.delay > Duration::ZERO {
            self.wait_in_line(tokio::time::sleep(verdict.delay)).await?;
        }
        Ok(places)
    }

    /// The limits that count by endpoint, before the statement gets or uses a connection there.
    pub(super) async fn pass_endpoint_limits(
        &mut self,
        member: &Arc<Member>,
    ) -> Result<(), Failure> {
        let Some(mut there) = self.governed.at_endpoint.take() else {
            return Ok(());
        };
        let passed = self.pass_limits_at(member.hash_id, &mut there).await;
        self.governed.at_endpoint = Some(there);
        passed
    }

    async fn pass_limits_at(
        &mut self,
        endpoint: u64,
        there: &mut AtEndpoint,
    ) -> Result<(), Failure> {
        let rules = self.governed.rules().clone();
        for limited in &there.limits {
            let Some((rule, state)) = rules.at(limited.place) else {
                continue;
            };
            let of_rule = |key: &u64| hash_of_all(&[*key, endpoint, limited.place as u64]);
            let keys: Vec<u64> = limited.keys.iter().map(of_rule).collect();
            let here = Limited { keys, ..*limited };
            let first = here.keys.first().copied().unwrap_or_default();
            if there.held.iter().any(|(key, _)| *key == first) {
                continue;
            }
            if rule.mode == RuleMode::Warn {
                let taken = at_once(rule, state, &here);
                if taken.is_none() {
                    state.refused.fetch_add(1, Ordering::Relaxed);
                    let mut verdict = Verdict::default();
                    verdict.warn(rule.action.label(), &rule.name);
                    self.governed.warned.append(&mut verdict.warnings);
                }
                there.held.push((first, None));
                let places = taken.into_iter().flatten();
                let held = places.map(|place| (first, Some(place)));
                there.held.extend(held);
                continue;
            }
            for key in &here.keys {
                let place = match self.take_turn(rule, state, *key).await {
                    Ok(place) => place,
                    Err(failure) => {
                        if let Failure::Fault(fault) = &failure
                            && fault.is_of_rules()
                        {
                            let hits = &self.serving.metrics.rule_hits;
                            hits.fetch_add(1, Ordering::Relaxed);
                        }
                        return Err(failure);
                    }
                };
                there.held.push((first, place));
            }
        }
        Ok(())
    }

    /// Whether any limit counts the statement by endpoint.
    pub(super) fn has_endpoint_limits(&self) -> bool {
        self.governed.at_endpoint.is_some()
    }

    /// The statement is over, or another begins.
    pub(super) fn leave_endpoint_limits(&mut self) {
        self.governed.at_endpoint = None;
    }

    /// One turn of one key.
    async fn take_turn(
        &mut self,
        rule: &Rule,
        state: &Arc<RuleState>,
        key: u64,
    ) -> Result<Option<Place>, Failure> {
        let refused = |state: &RuleState, fault: Fault| {
            state.refused.fetch_add(1, Ordering::Relaxed);
            Failure::Fault(fault)
        };
        let full = || Fault::TooBusy(rule.name.clone());
        match (&state.limit, &rule.action) {
            (Limiter::Rate(rate), Action::Rate(limit)) => {
                let patience = self.patience(limit.max_wait_ms, limit.max_waiting);
                let exceeded = || Fault::RateExceeded(rule.name.clone());
                let waiting = Waiting::enter(&state.waiting, patience.max_waiting);
                let within = match waiting {
                    Some(_) => patience.max_wait,
                    None => Duration::ZERO,
                };
                let Some(wait) = rate.take(key, Instant::now(), within) else {
                    return Err(refused(state, exceeded()));
                };
                if wait > Duration::ZERO {
                    state.waited.fetch_add(1, Ordering::Relaxed);
                    self.wait_in_line(tokio::time::sleep(wait)).await?;
                }
                Ok(None)
            }
            (Limiter::Concurrency(concurrency), Action::Concurrency(limit)) => {
                let places = concurrency.places(key);
                if let Ok(place) = places.clone().try_acquire_owned() {
                    return Ok(Some(Place::Concurrency(place)));
                }
                let patience = self.patience(limit.max_wait_ms, limit.max_waiting);
                let in_line = Waiting::enter(&state.waiting, patience.max_waiting);
                let (false, Some(_in_line)) = (patience.max_wait.is_zero(), in_line) else {
                    return Err(refused(state, full()));
                };
                state.waited.fetch_add(1, Ordering::Relaxed);
                let turn = tokio::time::timeout(patience.max_wait, places.acquire_owned());
                match self.wait_in_line(turn).await? {
                    Ok(Ok(place)) => Ok(Some(Place::Concurrency(place))),
                    Ok(Err(_)) | Err(_) => match self.overdue() {
                        Some(overdue) => Err(overdue.into()),
                        None => Err(refused(state, full())),
                    },
                }
            }
            (Limiter::Window(window), _) => match window.enter(Instant::now()) {
                Some(place) => Ok(Some(Place::Window(place))),
                None => Err(refused(state, full())),
            },
            _ => Ok(None),
        }
    }

    fn patience(&self, max_wait_ms: u64, max_waiting: u32) -> Patience {
        Patience {
            max_wait: self.within_deadline(Duration::from_millis(max_wait_ms)),
            max_waiting,
        }
    }

    /// Waits, unless the session is told otherwise or its client is gone.
    async fn wait_in_line<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Failure> {
        let control = self.handle().control.clone();
        let channel = &mut self.client.channel;
        let mut waiting = std::pin::pin!(waiting);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if channel.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failure::ClientLost));
            }
            let interrupted = control.poll(Signals::INTERRUPT, cx);
            interrupted.map(|_| Err(Fault::Interrupted.into()))
        })
        .await
    }

    /// Adds to the statement's diagnostics what the rules warn of; its answer has counted them.
    pub(super) async fn keep_warnings(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        let warned = std::mem::take(&mut self.governed.warned);
        if warned.is_empty() || outcome.error.is_some() {
            return Ok(());
        }
        let mut rows = Vec::new();
        if outcome.warnings > 0 {
            rows = self.fetch_warnings().await?;
        }
        let count = u64::from(outcome.warnings) + warned.len() as u64;
        rows.extend(warned);
        self.state.diagnostics.warnings = Warnings::Kept { rows, count };
        self.state.diagnostics.warning_count = count;
        Ok(())
    }
}

/// One key of several numbers.
fn hash_of_all(numbers: &[u64]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    numbers.hash(&mut hasher);
    hasher.finish()
}

/// The places of all keys, or the turns, if none has to be waited for.
fn at_once(rule: &Rule, state: &RuleState, limited: &Limited) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for key in &limited.keys {
        match (&state.limit, &rule.action) {
            (Limiter::Rate(rate), _) => {
                rate.take(*key, Instant::now(), Duration::ZERO)?;
            }
            (Limiter::Concurrency(concurrency), _) => {
                let place = concurrency.places(*key).try_acquire_owned().ok()?;
                places.push(Place::Concurrency(place));
            }
            (Limiter::Window(window), _) => {
                places.push(Place::Window(window.enter(Instant::now())?));
            }
            (Limiter::None, _) => {}
        }
    }
    Some(places)
}
