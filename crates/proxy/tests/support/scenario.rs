//! Scenarios: what several sessions do in turn, and what they saw.
//!
//! Owns the run of one scenario against one port and the transcript of it. A step that the proxy could not serve because other
//! sessions hold all its connections is left out of both runs if the caller says so. Input: scenario texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::client::{Client, Options, Shape};
use super::names::normalise;
use super::reply::Reply;
use super::script::Act;

/// Several sessions' steps.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What it is about.
    pub name: String,
    /// Sizes of the proxy's pool to run it with; empty for 1 and 2.
    pub pools: Vec<u32>,
    /// `mysql` or `mariadb`; both if empty.
    pub only: String,
    /// Options of sessions, by words.
    pub options: BTreeMap<char, Vec<String>>,
    /// Who does what.
    pub steps: Vec<(char, Act)>,
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What the login said, if the session had no connection before this step.
    pub login: String,
    /// All that the application saw of the step itself.
    pub text: String,
    /// The proxy said that all connections are taken, or that it no longer knows what it is asked.
    pub refusal: Option<Refusal>,
}

/// An error that one server alone would never give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Every connection of the pool is taken.
    Busy,
    /// Diagnostics of a statement whose connection was given back.
    Gone,
    /// A statement was prepared in a state that no other connection can be brought to.
    NotThere,
}

impl Scenario {
    /// Reads the scenarios of a case file: `# name`, then lines `pool N…`, `only KIND`, `options A WORD…` and steps `A …`.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            if let Some(name) = line.strip_prefix("# ") {
                all.push(Self {
                    name: name.to_owned(),
                    ..Self::default()
                });
                continue;
            }
            let scenario = all.last_mut().ok_or("a line before the first name")?;
            scenario
                .line(line)
                .map_err(|e| format!("line {}: {e}", at + 1))?;
        }
        Ok(all)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut who = word.chars();
        match (word, who.next(), who.next()) {
            ("pool", ..) => {
                self.pools = rest
                    .split(' ')
                    .map(|n| n.parse().map_err(|_| n.to_owned()))
                    .collect::<Result<_, _>>()?
            }
            ("only", ..) => self.only = rest.to_owned(),
            ("options", ..) => {
                let mut words = rest.split(' ').map(str::to_owned);
                let session = words
                    .next()
                    .and_then(|w| w.chars().next())
                    .ok_or("options of whom")?;
                self.options.insert(session, words.collect());
            }
            (_, Some(session @ 'A'..='H'), None) => {
                self.steps.push((session, Act::parse(rest.trim_start())?))
            }
            _ => return Err(format!("{line:?}")),
        }
        Ok(())
    }

    /// Whether it is for this kind of server.
    pub fn is_for(&self, kind: dbmesh_testkit::Kind) -> bool {
        self.only.is_empty() || self.only.eq_ignore_ascii_case(&kind.to_string())
    }

    /// Whether a step may change tables.
    pub fn may_write(&self) -> bool {
        const READS: [&str; 6] = ["SELECT @@", "SELECT 1", "SET ", "SHOW ", ".ping", ".pause"];
        self.steps
            .iter()
            .any(|(_, act)| !READS.iter().any(|read| act.to_string().starts_with(read)))
    }

    /// Runs it, without the steps in `left_out`.
    pub fn run(&self, port: u16, left_out: &BTreeSet<usize>) -> Vec<Seen> {
        let mut stage = Stage {
            port,
            scenario: self,
            sessions: BTreeMap::new(),
        };
        let mut transcript = Vec::new();
        for (at, (who, act)) in self.steps.iter().enumerate() {
            transcript.push(if left_out.contains(&at) {
                Seen {
                    text: "left out".to_owned(),
                    ..Seen::default()
                }
            } else {
                stage.step(*who, act)
            });
        }
        for (_, session) in stage.sessions {
            if let Some(client) = session.client {
                client.quit();
            }
        }
        transcript
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.name)?;
        if !self.pools.is_empty() {
            let pools: Vec<String> = self.pools.iter().map(u32::to_string).collect();
            writeln!(f, "pool {}", pools.join(" "))?;
        }
        if !self.only.is_empty() {
            writeln!(f, "only {}", self.only)?;
        }
        for (who, words) in &self.options {
            writeln!(f, "options {who} {}", words.join(" "))?;
        }
        self.steps
            .iter()
            .try_for_each(|(who, act)| writeln!(f, "{who} {act}"))
    }
}

#[derive(Default)]
struct Session {
    client: Option<Client>,
    statements: BTreeMap<String, (u32, u16)>,
    due: bool,
}

struct Stage<'a> {
    port: u16,
    scenario: &'a Scenario,
    sessions: BTreeMap<char, Session>,
}

impl Stage<'_> {
    fn step(&mut self, who: char, act: &Act) -> Seen {
        if let Act::Pause(ms) = act {
            std::thread::sleep(Duration::from_millis(*ms));
            return Seen::default();
        }
        let (mut login, mut text) = (String::new(), String::new());
        if self.sessions.get(&who).is_none_or(|s| s.client.is_none()) {
            login = self.log_in(who);
        }
        let replies = self.act(who, act);
        let mut refusal = None;
        for reply in &replies {
            refusal = refusal.or(refused(reply));
            text.push_str(&reply.text());
            if reply.broken().is_some() {
                self.session(who).client = None;
            }
        }
        let ids: Vec<(char, u32)> = self
            .sessions
            .iter()
            .filter_map(|(who, s)| s.client.as_ref().map(|c| (*who, c.id)))
            .collect();
        Seen {
            login,
            text: normalise(&text, act, &ids),
            refusal,
        }
    }

    fn session(&mut self, who: char) -> &mut Session {
        self.sessions.entry(who).or_default()
    }

    fn log_in(&mut self, who: char) -> String {
        let words = self.scenario.options.get(&who).cloned().unwrap_or_default();
        match Client::connect(self.port, &Options::of_words(&words)) {
            Ok(client) => {
                let text = format!("LOGIN {:?}\n{}", client.capabilities, client.welcome.text());
                *self.session(who) = Session {
                    client: Some(client),
                    ..Session::default()
                };
                text
            }
            Err(why) => format!("LOGIN failed: {why}\n"),
        }
    }

    fn act(&mut self, who: char, act: &Act) -> Vec<Reply> {
        let acts: Vec<&Act> = match act {
            Act::Pipe(acts) => acts.iter().collect(),
            other => vec![other],
        };
        let ids: BTreeMap<char, u32> = self
            .sessions
            .iter()
            .filter_map(|(who, s)| s.client.as_ref().map(|c| (*who, c.id)))
            .collect();
        let session = self.session(who);
        let Some(client) = session.client.as_mut() else {
            return Vec::new();
        };
        match act {
            Act::Quit => {
                if let Some(client) = session.client.take() {
                    client.quit();
                }
                return Vec::new();
            }
            Act::Abort => {
                session.client = None;
                return Vec::new();
            }
            Act::Receive if session.due => {
                session.due = false;
                return vec![answer(client, Shape::Results)];
            }
            Act::ChangeUser(schema) => {
                let payload = client.change_user_payload(schema.as_deref(), 45);
                let reply = client.run(&payload, Shape::Login).unwrap_or_else(broken);
                session.statements.clear();
                return vec![reply];
            }
            _ => {}
        }
        let slots = session.statements.clone();
        let packets: Vec<(Vec<u8>, Shape)> = acts
            .iter()
            .filter_map(|act| {
                act.packet(
                    client.capabilities,
                    &|slot| slots.get(slot).copied(),
                    &|who| ids.get(&who).copied(),
                )
            })
            .collect();
        let payloads: Vec<&[u8]> = packets
            .iter()
            .map(|(payload, _)| payload.as_slice())
            .collect();
        if let Err(why) = client.command(&payloads) {
            return vec![broken(why)];
        }
        if matches!(act, Act::Send(_)) {
            session.due = true;
            return Vec::new();
        }
        let mut replies = Vec::new();
        for ((_, shape), act) in packets.iter().zip(&acts) {
            let reply = answer(client, *shape);
            if let (Act::Prepare(slot, _), Some(prepared)) = (act, reply.prepared()) {
                session.statements.insert(slot.clone(), prepared);
            }
            if let Act::Close(slot) = act {
                session.statements.remove(slot);
            }
            let lost = reply.broken().is_some();
            replies.push(reply);
            if lost {
                break;
            }
        }
        replies
    }
}

fn answer(client: &mut Client, shape: Shape) -> Reply {
    client.answer(shape).unwrap_or_else(broken)
}

fn broken(why: String) -> Reply {
    Reply(vec![super::reply::Part::Broken(why)])
}

fn refused(reply: &Reply) -> Option<Refusal> {
    match reply.error()? {
        (1203, text) if text.starts_with("dbmesh") => Some(Refusal::Busy),
        (1105, text)
            if text.starts_with("dbmesh")
                && text.contains("the connection that knew the answer is shared") =>
        {
            Some(Refusal::Gone)
        }
        (1105, text)
            if text.starts_with("dbmesh") && text.contains("that only a reset leads back to") =>
        {
            Some(Refusal::NotThere)
        }
        _ => None,
    }
}
