//! The machines of `dbmesh-commit`, driven over plain sessions of a test, one step at a time.

use dbmesh_commit::{
    Ack, Action, Answers, Ask, Commit, Decision, Event, Gtrid, Listed, Outcome, Participant, Reply,
    Resolver, Shard, Step, Undone, Work, Xid, sql,
};
use dbmesh_testkit::{Error, Rows, Server, Session};

pub const MESH: u64 = 42;

/// Two servers with a table each, ready for the protocol.
pub fn prepare(server: &Server) {
    for text in sql::SCHEMA {
        server.execute(text).unwrap();
    }
    let table = "CREATE DATABASE bank; CREATE TABLE bank.account (id INT PRIMARY KEY, balance INT NOT NULL); \
                 INSERT INTO bank.account VALUES (1, 100)";
    server.execute(table).unwrap();
}

/// A transfer from the account on the home to the one on the other server.
pub struct Transfer<'a> {
    servers: [&'a Server; 2],
    sessions: [Option<Session>; 2],
    commit: Option<Commit>,
    gtrid: Gtrid,
    actions: Vec<Action>,
    pub outcome: Option<Outcome>,
}

impl<'a> Transfer<'a> {
    /// Begins it and does its work.
    pub fn begin(servers: [&'a Server; 2], sequence: u64) -> Transfer<'a> {
        Self::begun_before(servers, sequence, 0)
    }

    /// The same, by a coordinator that began so many milliseconds ago.
    pub fn begun_before(servers: [&'a Server; 2], sequence: u64, ago_ms: u64) -> Transfer<'a> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let gtrid = Gtrid {
            mesh: MESH,
            home: Shard(0),
            coordinator: 1,
            epoch: 1,
            sequence,
            begun_ms: u64::try_from(now.as_millis()).unwrap() - ago_ms,
        };
        let sessions = servers.map(|server| server.session().unwrap());
        sessions[0].execute("BEGIN").unwrap();
        sessions[0]
            .execute("UPDATE bank.account SET balance = balance - 1")
            .unwrap();
        let branch = Xid {
            gtrid,
            branch: Shard(1),
        };
        sessions[1].execute(&sql::start(&branch)).unwrap();
        sessions[1]
            .execute("UPDATE bank.account SET balance = balance + 1")
            .unwrap();
        Transfer {
            servers,
            sessions: sessions.map(Some),
            commit: None,
            gtrid,
            actions: Vec::new(),
            outcome: None,
        }
    }

    /// Runs a statement in the home's session.
    pub fn at_home(&self, text: &str) {
        self.sessions[0].as_ref().unwrap().execute(text).unwrap();
    }

    /// The first half of the decision that is due: its row.
    pub fn write_row(&mut self) {
        let decide = Action::Run {
            at: 0,
            step: Step::Decide,
        };
        assert_eq!(self.actions, [decide]);
        let branch = sql::Prepared {
            shard: Shard(1),
            gtid: None,
        };
        self.at_home(&sql::decision(&self.gtrid, &[branch]));
    }

    /// The second half: its COMMIT.
    pub fn commit_row(&mut self) {
        self.at_home(sql::COMMIT);
        let commit = self.commit.as_mut().unwrap();
        self.actions = commit.on(0, Reply::Done(Ack::default()));
    }

    /// COMMIT: makes the first actions known.
    pub fn commit(&mut self) {
        let part = |shard| Participant {
            shard: Shard(shard),
            work: Work::Writes,
        };
        let (commit, actions) = Commit::atomic(
            self.gtrid,
            &[part(0), part(1)],
            true,
            Answers::AfterBranches,
        );
        self.commit = Some(commit);
        self.actions = actions;
    }

    /// Others are the primaries now.
    pub fn moved(&mut self, servers: [&'a Server; 2]) {
        self.servers = servers;
    }

    /// Sends the next step; false when there is none.
    pub fn step(&mut self) -> bool {
        self.send(true)
    }

    /// The same, and its answer is lost with its connection.
    pub fn step_unheard(&mut self) -> bool {
        self.send(false)
    }

    fn send(&mut self, heard: bool) -> bool {
        let Some(commit) = &mut self.commit else {
            return false;
        };
        let Some(action) = (!self.actions.is_empty()).then(|| self.actions.remove(0)) else {
            return false;
        };
        let (at, step) = match action {
            Action::Run { at, step } => (at, step),
            Action::AskHome { step, .. } => {
                self.sessions[0] = self.servers[0].session().ok();
                (0, step)
            }
            Action::Answer(outcome) => {
                assert!(self.outcome.replace(outcome).is_none(), "answered twice");
                return true;
            }
            Action::End { .. } => return false,
        };
        let texts = commit.texts(at, &step);
        let mut reply = run(self.sessions[at].as_ref(), &step, &texts);
        if !heard {
            assert!(matches!(reply, Reply::Done(_)), "{step:?}: {reply:?}");
            reply = Reply::Lost;
        }
        if !matches!(reply, Reply::Done(_)) {
            self.sessions[at] = None;
        }
        self.actions.extend(commit.on(at, reply));
        true
    }

    /// Sends all that is left.
    pub fn finish(&mut self) {
        while self.step() {}
    }
}

fn run(session: Option<&Session>, step: &Step, texts: &[String]) -> Reply {
    let Some(session) = session else {
        return Reply::Lost;
    };
    let mut rows = Rows::new();
    for text in texts {
        match session.query(text) {
            Ok(found) => rows = found,
            Err(Error::Sql { code, .. }) => return Reply::Error(code),
            Err(_) => return Reply::Lost,
        }
    }
    // The driver of these tests hides how many rows an INSERT changed.
    let affected = match step {
        Step::Fence => count(session, "SELECT ROW_COUNT()"),
        _ => 1,
    };
    Reply::Done(Ack {
        affected,
        in_transaction: false,
        gtid: None,
        decision: number(&rows).and_then(Decision::of),
    })
}

fn count(session: &Session, text: &str) -> u64 {
    session
        .query(text)
        .ok()
        .and_then(|rows| number(&rows))
        .unwrap_or(1)
}

fn number(rows: &Rows) -> Option<u64> {
    rows.first()?.first()?.as_deref()?.parse().ok()
}

/// Sweeps until nothing is in doubt or undone; how many sweeps it took.
pub fn resolve(servers: [&Server; 2]) -> u32 {
    let mut resolver = Resolver::new(MESH, [Shard(0), Shard(1)]);
    for sweep in 1..=20_u32 {
        // Every sweep is that much later, so that nobody waits for the coordinator's grace.
        let now_ms = u64::from(sweep) * 2 * dbmesh_commit::GRACE_MS;
        let mut asks = resolver.sweep();
        let mut left = 0;
        while let Some(ask) = asks.pop() {
            left += usize::from(matches!(ask, Ask::Done(..)));
            let event = answer(servers, &ask);
            asks.extend(resolver.on(now_ms, &ask, event));
        }
        if sweep > 1 && left == 0 && resolver.doubts(now_ms).count() == 0 {
            return sweep;
        }
    }
    panic!(
        "still in doubt: {:?}",
        resolver.doubts(0).collect::<Vec<_>>()
    );
}

fn answer(servers: [&Server; 2], ask: &Ask) -> Event {
    let Ok(session) = servers[ask.shard().0 as usize].session() else {
        return Event::Lost;
    };
    session.execute(sql::RESOLVER_SESSION).unwrap();
    let text = match ask {
        Ask::Undone(_) => sql::undone(0),
        Ask::Recover(_) => sql::RECOVER.to_owned(),
        Ask::Fence { gtrid, clock_s } => sql::fence(gtrid, *clock_s),
        Ask::Read(gtrid) => sql::read_decision(gtrid),
        Ask::Finish(_, xid, verdict) => sql::finish(xid, *verdict),
        Ask::Holds(_, _, gtid) => sql::holds(gtid),
        Ask::Done(_, gtrids) => sql::done(gtrids),
    };
    let rows = match session.query(&text) {
        Ok(rows) => rows,
        Err(Error::Sql { code, .. }) => return Event::Error(code),
        Err(_) => return Event::Lost,
    };
    match ask {
        Ask::Undone(_) => Event::Undone {
            clock_s: count(&session, sql::CLOCK),
            rows: rows.iter().map(|row| undone(row)).collect(),
        },
        Ask::Recover(_) => Event::Listed(Listed {
            branches: rows.iter().filter_map(|row| listed(row)).collect(),
        }),
        Ask::Read(_) => Event::Decision(number(&rows).and_then(Decision::of)),
        Ask::Holds(..) => Event::Holds(number(&rows) == Some(1)),
        _ => Event::Done,
    }
}

fn undone(row: &[Option<String>]) -> Undone {
    let cell = |at: usize| row[at].as_deref().unwrap();
    Undone {
        gtrid: Gtrid::from_hex(cell(0)).unwrap(),
        participants: sql::participants_of(cell(1)),
    }
}

fn listed(row: &[Option<String>]) -> Option<Xid> {
    let cell = |at: usize| row[at].as_deref().unwrap_or_default();
    Xid::listed(cell(0), cell(1), cell(2), cell(3)).ok()
}
