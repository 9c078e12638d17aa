//! Where scenarios run: a server, proxies with pools of several sizes in front of it, and the tables they use.
//!
//! Owns the servers and proxies of a test and the comparison of two runs. It must never compare runs that did not begin on
//! equal tables. Input: the testkit's servers and proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dbmesh_testkit::config::Config;
use dbmesh_testkit::fleet::{Fleet, FleetOptions};
use dbmesh_testkit::port::Port;
use dbmesh_testkit::query::Session;
use dbmesh_testkit::{Kind, Proxy, Server, ServerOptions};

use super::known::without_known;
use super::scenario::{Refusal, Scenario, Seen};
use super::script::{Act, Arg};

/// What is behind the proxies.
enum Behind {
    One(Server),
    /// A primary, which is also what the proxies are compared with, and replicas that the proxies read from.
    Fleet(Fleet),
}

/// A server, and proxies in front of it.
pub struct Ground {
    behind: Behind,
    root: Session,
    queue_wait_ms: u32,
    /// Whether a scenario may have changed the tables since they were brought back.
    touched: AtomicBool,
    proxies: Mutex<BTreeMap<u32, (Proxy, u16)>>,
}

/// What a comparison found.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The step.
    pub step: usize,
    /// What the server said to its own client.
    pub direct: String,
    /// What the proxy said.
    pub proxied: String,
}

/// Whether steps may be left out that the proxy refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// A refusal is a difference.
    Count,
    /// The step is left out of the direct run too.
    LeftOut,
}

/// Tables, routines and triggers of the scenarios. All of it is the same before every run.
const SCHEMA: &[&str] = &[
    "DROP DATABASE IF EXISTS twin",
    "DROP DATABASE IF EXISTS twin2",
    "CREATE DATABASE twin DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "CREATE DATABASE twin2 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "CREATE TABLE twin.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40), n INT)",
    "CREATE TABLE twin.narrow (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(3), u TINYINT UNSIGNED, k INT UNIQUE)",
    "CREATE TABLE twin.plain (a INT, b VARCHAR(20))",
    "CREATE TABLE twin.blobs (id INT PRIMARY KEY, data LONGBLOB, words LONGTEXT)",
    "CREATE TABLE twin.kinds (i INT UNSIGNED, b BIGINT, d DECIMAL(10,3), f DOUBLE, dt DATETIME(3), tm TIME, s VARCHAR(20), j TEXT)",
    "CREATE TABLE twin.logged (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40))",
    "CREATE TABLE twin.watched (id INT PRIMARY KEY, v VARCHAR(20))",
    "CREATE TABLE twin2.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40), n INT)",
    "CREATE VIEW twin.lid AS SELECT 1 AS one",
    "CREATE TRIGGER twin.watched_in BEFORE INSERT ON twin.watched FOR EACH ROW SET @seen = CONCAT(IFNULL(@seen, ''), NEW.v)",
    "CREATE FUNCTION twin.fset(x VARCHAR(20)) RETURNS VARCHAR(20) NO SQL BEGIN SET @f = x; RETURN x; END",
    "CREATE FUNCTION twin.flock(x VARCHAR(20)) RETURNS INT NO SQL RETURN GET_LOCK(x, 0)",
    "CREATE FUNCTION twin.flast() RETURNS BIGINT NO SQL RETURN LAST_INSERT_ID()",
    "CREATE FUNCTION twin.fput(x VARCHAR(20)) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO twin.logged (what) VALUES (x); RETURN 7; END",
    "CREATE FUNCTION twin.pure(x INT) RETURNS INT DETERMINISTIC NO SQL RETURN x * 2",
    "CREATE PROCEDURE twin.pset() SET @p = 'from p', time_zone = '+03:00'",
    "CREATE PROCEDURE twin.ptemp() BEGIN CREATE TEMPORARY TABLE pt (a INT); INSERT INTO pt VALUES (1), (2); END",
    "CREATE PROCEDURE twin.pctas() CREATE TEMPORARY TABLE pc AS SELECT 5 AS five",
    "CREATE PROCEDURE twin.pmany(IN a INT, OUT b INT, INOUT c INT) BEGIN SELECT a AS first_one; SELECT c AS second_one, 'x' AS x; SET b = a + 1; SET c = c * 2; END",
    "CREATE PROCEDURE twin.pfail() BEGIN SET @before = 'set'; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'on purpose'; END",
    "CREATE PROCEDURE twin.pbegin() BEGIN START TRANSACTION; INSERT INTO twin.t (v) VALUES ('in p'); END",
    "CREATE PROCEDURE twin.plock() SELECT GET_LOCK('of p', 0)",
    "CREATE PROCEDURE twin.pins() BEGIN INSERT INTO twin.t (v) VALUES ('by p'); END",
    "CREATE PROCEDURE twin.pwarn() BEGIN SELECT CAST('9x' AS SIGNED); END",
    "CREATE ROLE IF NOT EXISTS reader",
    "GRANT SELECT ON twin.* TO reader",
    "GRANT reader TO app",
];

/// Brings the tables back to what they were: quicker than dropping them.
const RESET: &str = "DROP TABLE IF EXISTS twin.made, twin.made2, twin.tt, twin2.made, twin.tmp, twin.tmp2; \
    TRUNCATE twin.t; TRUNCATE twin.narrow; TRUNCATE twin.plain; TRUNCATE twin.blobs; TRUNCATE twin.kinds; TRUNCATE twin.logged; \
    TRUNCATE twin.watched; TRUNCATE twin2.t; \
    INSERT INTO twin.t (v, n) VALUES ('one', 1), ('two', 2), ('three', 3), ('four', 4), ('five', 5), ('six', 6), ('seven', 7); \
    INSERT INTO twin.narrow (v, u, k) VALUES ('a', 1, 1), ('b', 2, 2); \
    INSERT INTO twin.plain VALUES (1, 'a'), (2, 'b'), (3, 'c'); \
    INSERT INTO twin2.t (v, n) VALUES ('other', 1); \
    INSERT INTO twin.kinds VALUES (4000000000, -5, 3.250, 1.5, '2024-02-29 12:13:14.567', '-10:11:12', 'text', 'long'), \
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";

/// Options of every server.
const ARGS: [&str; 3] = [
    "--log-bin-trust-function-creators=1",
    "--innodb-lock-wait-timeout=1",
    "--lock-wait-timeout=2",
];

impl Behind {
    fn primary(&self) -> &Server {
        match self {
            Self::One(server) => server,
            Self::Fleet(fleet) => fleet.primary(),
        }
    }

    fn config(&self, port: u16, pool: u32) -> Config {
        match self {
            Self::One(server) => Config::new(server, port, pool),
            Self::Fleet(fleet) => Config::of_fleet(fleet, port, pool).strategy(
                "loadBalance: {simpleLoadBalance: {kind: roundrobin}, \
                 readWriteSplitting: {static: {}, consistency: global}}",
            ),
        }
    }
}

impl Ground {
    /// A server with the scenarios' tables. Statements wait that long for a connection of the proxy's pool.
    pub fn start(kind: Kind, queue_wait_ms: u32) -> Self {
        let mut options = ServerOptions::new(kind);
        for arg in ARGS {
            options = options.arg(arg);
        }
        let server = Server::start(options).expect("a server");
        Self::on(Behind::One(server), queue_wait_ms)
    }

    /// The same with a replica, from which proxies read what they may.
    pub fn split(kind: Kind, queue_wait_ms: u32) -> Self {
        let mut options = FleetOptions::new(kind, 1);
        options.extra_args = ARGS.map(str::to_owned).to_vec();
        let fleet = Fleet::start(options).expect("a primary and a replica");
        Self::on(Behind::Fleet(fleet), queue_wait_ms)
    }

    fn on(behind: Behind, queue_wait_ms: u32) -> Self {
        let root = behind.primary().session().expect("a session");
        root.execute("SET lock_wait_timeout = 30")
            .expect("patience");
        for sql in SCHEMA {
            root.execute(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        Self {
            behind,
            root,
            queue_wait_ms,
            touched: AtomicBool::new(true),
            proxies: Mutex::default(),
        }
    }

    /// The server itself; of a fleet, the primary.
    pub fn server(&self) -> &Server {
        self.behind.primary()
    }

    /// MySQL or MariaDB.
    pub fn kind(&self) -> Kind {
        self.server().kind()
    }

    /// Root's session.
    pub fn root(&self) -> &Session {
        &self.root
    }

    /// The port of a proxy whose pool has this size; it is started at the first call.
    pub fn proxy(&self, pool: u32) -> u16 {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let started = proxies.entry(pool).or_insert_with(|| {
            let port = Port::reserve().expect("a port");
            let yaml = self
                .behind
                .config(port.number(), pool)
                .service(&format!("limits: {{queueWaitMs: {}}}", self.queue_wait_ms))
                .service("compression: [zlib, zstd]")
                .to_yaml();
            let number = port.number();
            std::mem::forget(port);
            (Proxy::start(&yaml, &[]).expect("a proxy"), number)
        });
        started.1
    }

    /// The tables as they were at the start, before a run that is going to do this.
    fn reset(&self, next: &Scenario) {
        if self.touched.swap(next.may_write(), Ordering::Relaxed) {
            self.root.execute(RESET).expect("the tables");
        }
        if let Behind::Fleet(fleet) = &self.behind {
            fleet.wait_until_caught_up().expect("the replica");
        }
    }

    /// Waits until no direct client is on the server: its locks and temporary tables go with it.
    fn wait_for_silence(&self, of_proxies: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let rows = self
                .root
                .query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'")
                .expect("a count");
            let count = rows[0][0]
                .as_deref()
                .and_then(|n| n.parse::<usize>().ok())
                .unwrap_or(usize::MAX);
            if count <= of_proxies {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn app_connections(&self) -> usize {
        let rows = self
            .root
            .query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'")
            .expect("a count");
        rows[0][0]
            .as_deref()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    /// Runs a scenario straight against the server.
    pub fn direct(&self, scenario: &Scenario, left_out: &BTreeSet<usize>) -> Vec<Seen> {
        self.reset(scenario);
        let before = self.app_connections();
        let seen = scenario.run(self.server().port(), left_out);
        self.wait_for_silence(before);
        seen
    }

    /// Runs a scenario through a proxy.
    pub fn proxied(&self, scenario: &Scenario, pool: u32) -> Vec<Seen> {
        let port = self.proxy(pool);
        self.reset(scenario);
        scenario.run(port, &BTreeSet::new())
    }

    /// Runs a scenario both ways and gives all differences.
    pub fn compare(&self, scenario: &Scenario, pool: u32, refusals: Refusals) -> Vec<Difference> {
        let mut proxied = self.proxied(scenario, pool);
        let mut left_out = BTreeSet::new();
        if refusals == Refusals::LeftOut {
            if let Some(end) = (0..proxied.len())
                .find(|at| proxied[*at].refusal.is_some() && half_done(&scenario.steps[*at].1))
            {
                proxied.truncate(end);
                left_out.extend(end..scenario.steps.len());
            }
            left_out.extend((0..proxied.len()).filter(|at| proxied[*at].refusal.is_some()));
        }
        let direct = self.direct(scenario, &left_out);
        let show = |seen: &Seen, at: usize| match refusals {
            Refusals::LeftOut => values(&seen.text, &scenario.steps[at].1),
            Refusals::Count => {
                let act = &scenario.steps[at].1;
                format!(
                    "{}{}",
                    without_known(&seen.login, act),
                    without_known(&seen.text, act)
                )
            }
        };
        let blurred = blurred(scenario, &left_out);
        (0..proxied.len())
            .filter(|at| !left_out.contains(at) && !blurred.contains(at))
            .map(|step| Difference {
                step,
                direct: show(&direct[step], step),
                proxied: show(&proxied[step], step),
            })
            .filter(|d| d.direct != d.proxied)
            .collect()
    }

    /// How often the proxy refused a step because all connections were taken.
    pub fn busy_steps(seen: &[Seen]) -> usize {
        seen.iter()
            .filter(|s| s.refusal == Some(Refusal::Busy))
            .count()
    }
}

/// Steps that read the diagnostics of a step that was left out: the refusal is an error of that session.
fn blurred(scenario: &Scenario, left_out: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut sessions = BTreeSet::new();
    let mut steps = BTreeSet::new();
    for (at, (who, act)) in scenario.steps.iter().enumerate() {
        let told = act.to_string();
        if left_out.contains(&at) {
            sessions.insert(*who);
        } else if ["INSERT", "UPDATE", "DELETE", "REPLACE"]
            .iter()
            .any(|verb| told.starts_with(verb))
            && !told.contains("_COUNT()")
        {
            sessions.remove(who);
        } else if sessions.contains(who) {
            steps.insert(at);
        }
    }
    steps
}

/// Whether a refusal leaves part of the step done.
fn half_done(act: &Act) -> bool {
    matches!(act, Act::Pipe(_))
        || matches!(act, Act::Execute { args, .. } if args.contains(&Arg::LongData))
}

/// An answer without what only describes columns, or how a query ran: drawn scenarios are about values.
fn values(text: &str, act: &Act) -> String {
    let keep = |line: &&str| !line.starts_with("  column ") && !line.starts_with("  EOF ");
    let mut out = String::new();
    let greeted = matches!(act, Act::ChangeUser(_));
    let deprecated = act.to_string().to_ascii_uppercase().contains("FOUND_ROWS");
    for line in text.lines().filter(keep) {
        let mut line = line
            .replace("|NO_INDEX_USED", "")
            .replace("|NO_GOOD_INDEX_USED", "")
            .replace("|SLOW", "");
        for command in [
            "mysqld_stmt_execute",
            "mysqld_stmt_reset",
            "mysqld_stmt_fetch",
            "mysql_stmt_precheck",
        ] {
            line = line.replace(command, "(a command)");
        }
        if line.starts_with("EOF ") {
            line = line.replace("|SESSION_STATE_CHANGED", "");
        }
        // Answered without asking the server when it is ON already.
        line = line.replace(
            "|SESSION_STATE_CHANGED warnings=0 info=\"\" tracked=[\"autocommit=ON\"]",
            " warnings=0 info=\"\" tracked=[]",
        );
        if greeted && line.starts_with("OK ") {
            line = line.replace("|SESSION_STATE_CHANGED", "");
            line.truncate(line.find(" tracked=").unwrap_or(line.len()));
        }
        // Both count the warnings of the statement before; MySQL adds that FOUND_ROWS() is deprecated.
        if (deprecated
            || matches!(
                act,
                Act::Ping | Act::MultiStatements(_) | Act::InitDb(_) | Act::ResetStatement(_)
            ))
            && (line.starts_with("OK ") || line.starts_with("EOF "))
        {
            line = line
                .split(" warnings=")
                .next()
                .unwrap_or_default()
                .to_owned();
        }
        line = line.replace("has no open cursor.", "has no open cursor");
        if let Some((before, list)) = line.split_once(" tracked=[") {
            let mut items: Vec<&str> = list.trim_end_matches(']').split(", ").collect();
            items.sort_unstable();
            line = format!("{before} tracked=[{}]", items.join(", "));
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Differences with the steps around them, for people.
pub fn tell(scenario: &Scenario, differences: &[Difference], pool: u32, kind: Kind) -> String {
    let mut out = format!("--- {kind}, pool {pool}: {}\n", scenario.name);
    for (who, words) in &scenario.options {
        out.push_str(&format!("options {who} {}\n", words.join(" ")));
    }
    let last = differences.last().map_or(0, |d| d.step);
    for (at, (who, act)) in scenario.steps.iter().enumerate().take(last + 1) {
        out.push_str(&format!("{who} {act}\n"));
        if let Some(difference) = differences.iter().find(|d| d.step == at) {
            tell_one(&mut out, difference);
        }
    }
    out
}

fn tell_one(out: &mut String, difference: &Difference) {
    let (direct, proxied): (Vec<&str>, Vec<&str>) = (
        difference.direct.lines().collect(),
        difference.proxied.lines().collect(),
    );
    for at in 0..direct.len().max(proxied.len()) {
        let (d, p) = (direct.get(at).copied(), proxied.get(at).copied());
        if d != p {
            out.push_str(&format!(
                "      server {}\n      proxy  {}\n",
                d.unwrap_or("(nothing)"),
                p.unwrap_or("(nothing)")
            ));
        }
    }
}
