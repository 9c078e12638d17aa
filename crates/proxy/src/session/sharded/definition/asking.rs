//! How a definition waits for the metadata locks of its tables.
//!
//! Who waits for such a lock lets nobody pass, and no server sees a circle over several of them: a change holds the table of one
//! node and waits at another behind the definition, another change the other way round. So a shard is asked for a short
//! while; where that is not enough, the request is taken back, who waits behind it goes on, and it is asked again, until
//! the session's own `lock_wait_timeout` is over. Owns for how long, and when; must never leave another limit on the connection
//! than it had, nor end a definition that runs. Input: connections of a definition, and what their servers refused.

use std::time::{Duration, Instant};

use dbmesh_sql::{Dialect, Lexer, TokenKind};
use dbmesh_wire::relay::Names;

use super::super::work::{Broken, Ended, Work, of_server};
use crate::backend::BackendError;
use crate::scatter::leg::Leg;

/// What servers say when the wait for a lock is over.
const WAITED: u16 = 1205;
/// Seconds for which a server is asked at most, unless work would be lost.
const PATIENCE_S_MAX: u64 = 16;
/// The same, when an attempt had copied rows before its wait was over: it is worth to wait for as long as it worked.
const PATIENCE_WITH_WORK_S_MAX: u64 = 60;
/// The shortest pause; it doubles three times.
const PAUSE: Duration = Duration::from_millis(50);
/// So many connections pause for times of their own, so that they do not ask, and give up, all at once.
const STEPS: u32 = 8;
/// A wait that ends so much earlier than it was asked for was ended by something else.
const EARLY: Duration = Duration::from_millis(200);

/// How one connection asks.
#[derive(Debug)]
pub(in super::super) struct Asking {
    /// The session's own limit.
    own_s: u64,
    /// What the connection has now.
    set_s: u64,
    /// Its place among the connections.
    place: u32,
    /// How often the statement at work was taken back.
    tries: u32,
    /// How long it has waited.
    waited: Duration,
    /// The longest that an attempt had worked, beside waiting.
    lost: Duration,
    asked: Instant,
    /// When it is asked again.
    rests_until: Option<Instant>,
}

impl Asking {
    fn new(own_s: u64, place: u32, now: Instant) -> Self {
        Self {
            own_s,
            set_s: own_s,
            place,
            tries: 0,
            waited: Duration::ZERO,
            lost: Duration::ZERO,
            asked: now,
            rests_until: None,
        }
    }

    fn left(&self) -> Duration {
        Duration::from_secs(self.own_s).saturating_sub(self.waited)
    }

    /// For how many seconds the server is asked now; none while it rests.
    fn ask(&mut self, now: Instant) -> Option<u64> {
        if self.rests_until.is_some_and(|until| now < until) {
            return None;
        }
        self.rests_until = None;
        self.asked = now;
        let grown = 1 << (self.tries.saturating_sub(1) / 2).min(PATIENCE_S_MAX.ilog2());
        let worked = self.lost.as_secs().min(PATIENCE_WITH_WORK_S_MAX);
        let left = self.left().as_secs().max(1);
        Some(grown.max(worked).min(left).min(self.own_s))
    }

    /// The server waited in vain. Whether it is asked again.
    fn is_asked_again(&mut self, now: Instant) -> bool {
        let (worked, patience) = (now - self.asked, Duration::from_secs(self.set_s));
        if worked + EARLY < patience {
            return false;
        }
        self.lost = self.lost.max(worked.saturating_sub(patience));
        self.waited += patience;
        if self.left() < Duration::from_secs(1) {
            return false;
        }
        self.tries += 1;
        let pause = PAUSE * (1 << (self.tries - 1).min(3)) * (1 + self.place % STEPS);
        self.waited += pause;
        self.rests_until = Some(now + pause);
        true
    }

    /// Another statement is next.
    fn begin_anew(&mut self) {
        (self.tries, self.waited, self.lost) = (0, Duration::ZERO, Duration::ZERO);
    }
}

impl Work<'_> {
    /// Asks every connection for the session's own limit. A text that says by itself how long it waits keeps its word.
    pub(in super::super) async fn begin_asking(&mut self, dialect: &Dialect) -> Result<(), Broken> {
        let text = self.nodes.first().map(|node| node.sql.as_slice());
        if self.mariadb && says_how_long(text.unwrap_or_default(), dialect) {
            return Ok(());
        }
        for at in 0..self.legs.len() {
            let Some(leg) = self.legs.get_mut(at) else {
                continue;
            };
            let own_s = match own_limit(leg).await {
                Ok(own_s) => own_s,
                Err(error) => {
                    self.lose(at, error)?;
                    0
                }
            };
            let place = u32::try_from(at).unwrap_or(u32::MAX);
            self.asking.push(Asking::new(own_s, place, Instant::now()));
        }
        Ok(())
    }

    /// Whether a connection may begin a statement now; it waits for no longer than it should then.
    pub(in super::super) async fn may_begin(&mut self, at: usize) -> Result<bool, Broken> {
        let (Some(leg), Some(asking)) = (self.legs.get_mut(at), self.asking.get_mut(at)) else {
            return Ok(true);
        };
        let Some(patience_s) = asking.ask(Instant::now()) else {
            return Ok(false);
        };
        if patience_s == asking.set_s {
            return Ok(true);
        }
        match leg.run(set(patience_s).as_bytes()).await {
            Ok(Ok(_)) => asking.set_s = patience_s,
            Ok(Err(e)) => {
                let fault = of_server(&e.payload, "", &Names::default());
                return Err(Broken::Fault(fault));
            }
            Err(error) => {
                self.lose(at, error)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// When the next connection has rested.
    pub(in super::super) fn rests_until(&self) -> Option<Instant> {
        let resting = self.asking.iter().zip(&self.legs);
        let resting = resting.filter(|(_, leg)| !leg.queue.is_empty());
        resting.filter_map(|(one, _)| one.rests_until).min()
    }

    /// The connections have the limit again that they had. False of one that has not.
    pub(in super::super) async fn end_asking(leg: &mut Leg, asking: Option<&Asking>) -> bool {
        match asking {
            Some(asking) if asking.set_s != asking.own_s => {
                matches!(leg.run(set(asking.own_s).as_bytes()).await, Ok(Ok(_)))
            }
            _ => true,
        }
    }
}

/// Whether what came of a statement is that it is asked again, later.
pub(in super::super) fn asks_again(
    leg: &mut Leg,
    asking: Option<&mut Asking>,
    number: usize,
    ended: &Ended,
) -> bool {
    let Some(asking) = asking else {
        return false;
    };
    if ended.outcome.error != Some(WAITED) || !asking.is_asked_again(Instant::now()) {
        asking.begin_anew();
        return false;
    }
    if asking.tries == 1 {
        let place = ended.place.as_str();
        tracing::info!(
            place,
            "a definition waits for a table that is in use, and lets others pass meanwhile"
        );
    }
    leg.queue.push_front(number);
    true
}

async fn own_limit(leg: &mut Leg) -> Result<u64, BackendError> {
    let rows = leg.backend()?.query(b"SELECT @@lock_wait_timeout").await?;
    let rows = rows.unwrap_or_default();
    let value = rows.first().and_then(|row| row.first()?.as_deref());
    let value = value.and_then(|value| std::str::from_utf8(value).ok());
    // MariaDB has had fractions.
    let whole = value.and_then(|value| value.split('.').next()?.parse().ok());
    Ok(whole.unwrap_or(0))
}

fn set(seconds: u64) -> String {
    format!("SET lock_wait_timeout = {seconds}")
}

/// Whether a text says NOWAIT or `WAIT n`, as definitions of MariaDB may.
fn says_how_long(sql: &[u8], dialect: &Dialect) -> bool {
    let mut waits = false;
    Lexer::new(sql, dialect).any(|token| {
        let is = |word: &[u8]| token.span.of(sql).eq_ignore_ascii_case(word);
        let word = token.kind == TokenKind::Word;
        let said = (word && is(b"nowait")) || (waits && !word && is_number(token.span.of(sql)));
        waits = word && is(b"wait");
        said
    })
}

fn is_number(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks until it is refused for good; gives the seconds of every ask.
    fn asks(own_s: u64, works: Duration) -> Vec<u64> {
        let mut now = Instant::now();
        let mut asking = Asking::new(own_s, 1, now);
        let mut asks = Vec::new();
        loop {
            let patience_s = asking.ask(now).unwrap();
            asking.set_s = patience_s;
            asks.push(patience_s);
            now += works + Duration::from_secs(patience_s);
            if !asking.is_asked_again(now) {
                return asks;
            }
            assert_eq!(asking.ask(now), None, "it rests");
            now = asking.rests_until.unwrap();
        }
    }

    #[test]
    fn it_asks_for_longer_each_time_and_no_longer_than_the_session_would() {
        assert_eq!(asks(1, Duration::ZERO), [1]);
        assert_eq!(asks(0, Duration::ZERO), [0]);
        assert_eq!(asks(3, Duration::ZERO), [1, 1], "pauses count");
        assert_eq!(asks(20, Duration::ZERO), [1, 1, 1, 2, 2, 4, 4, 1]);
        let long = asks(1_000, Duration::ZERO);
        assert_eq!(long.iter().max(), Some(&PATIENCE_S_MAX));
        let total: u64 = long.iter().sum();
        assert!((850..=1_000).contains(&total), "{total}");
    }

    #[test]
    fn who_copied_rows_waits_for_as_long_as_that_took() {
        let asked = asks(100, Duration::from_secs(30));
        assert_eq!(asked[..3], [1, 30, 30]);
        let asked = asks(1_000, Duration::from_secs(7_200));
        assert_eq!(asked[..3], [1, 60, 60]);
    }

    #[test]
    fn what_something_else_ended_is_not_asked_again() {
        let now = Instant::now();
        let mut asking = Asking::new(50, 0, now);
        asking.set_s = asking.ask(now).unwrap();
        assert!(!asking.is_asked_again(now + Duration::from_millis(300)));
    }

    #[test]
    fn a_text_may_say_how_long_it_waits() {
        let dialect = Dialect::default();
        for (sql, says) in [
            ("ALTER TABLE t WAIT 5 ADD c INT", true),
            ("drop table t nowait", true),
            ("ALTER TABLE t ADD wait INT, ADD k INT", false),
            ("ALTER TABLE t ADD c INT COMMENT 'nowait'", false),
            ("ALTER TABLE t DROP `nowait`", false),
        ] {
            assert_eq!(says_how_long(sql.as_bytes(), &dialect), says, "{sql}");
        }
    }
}
