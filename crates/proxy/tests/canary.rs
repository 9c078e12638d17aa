//! Hundreds of sessions over eight connections: none ever sees another's token, and nothing of them stays on the server.
//!
//! Owns sessions in threads, each with its own token in variables, temporary tables, ids, warnings, locks and prepared
//! statements; some are killed, some leave without a word. It must never pass because sessions did nothing: steps are counted.
//! Input: a seed (`DBMESH_TWIN_SEED`) and a time (`DBMESH_TWIN_SECONDS`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    dead_code
)]

#[path = "support/support.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dbmesh_testkit::Kind;
use dbmesh_wire::command::{put_init_db, put_reset_connection, put_stmt_prepare};
use support::client::{Client, Options, Shape};
use support::draw::Dice;
use support::ground::Ground;
use support::reply::Reply;
use support::script::{Act, Arg, Types};

/// Sessions at a time.
const SESSIONS: usize = 200;
/// Connections of the pool.
const POOL: u32 = 8;
/// A session waits that long for a connection, in ms: with so many sessions, longer than any other holds one.
const QUEUE_WAIT_MS: u32 = 20_000;

/// What all sessions share.
struct Flock {
    port: u16,
    until: Instant,
    stop: AtomicBool,
    steps: AtomicU64,
    killed: AtomicU64,
    /// Connection ids of sessions that take a KILL now and then.
    victims: Mutex<Vec<u32>>,
    seen: Mutex<Vec<String>>,
}

/// How a session ended a round.
enum End {
    /// As it wanted.
    Done,
    /// Its connection broke, which only a KILL explains.
    Broken(String),
}

struct Bird<'a> {
    flock: &'a Flock,
    token: u64,
    dice: Dice,
    client: Client,
}

impl Bird<'_> {
    fn run(&mut self, sql: &str) -> Result<Reply, End> {
        self.flock.steps.fetch_add(1, Ordering::Relaxed);
        let act = Act::Query(sql.to_owned());
        let (payload, shape) = act
            .packet(self.client.capabilities, &|_| None, &|_| None)
            .unwrap();
        self.send(&payload, shape, sql)
    }

    fn send(&mut self, payload: &[u8], shape: Shape, what: &str) -> Result<Reply, End> {
        let reply = self.client.run(payload, shape).map_err(End::Broken)?;
        if let Some(why) = reply.broken() {
            return Err(End::Broken(format!("{what}: {why}")));
        }
        // A statement that was killed did not do its part: what follows would be asked in vain.
        if let Some((code @ (1317 | 2013), message)) = reply.error() {
            return Err(End::Broken(format!("{what}: {code} {message}")));
        }
        Ok(reply)
    }

    /// Runs a statement that must give this value.
    fn must(&mut self, sql: &str, value: &str) -> Result<(), End> {
        let reply = self.run(sql)?;
        let got = match reply.error() {
            Some((code @ (1317 | 2013), message)) => {
                return Err(End::Broken(format!("{sql}: {code} {message}")));
            }
            Some((code, message)) => format!("error {code} {message}"),
            None => reply.value().unwrap_or_else(|| "NULL".to_owned()),
        };
        if got != value {
            self.flock
                .seen
                .lock()
                .unwrap()
                .push(format!("token {}: {sql} -> {got}, not {value}", self.token));
        }
        Ok(())
    }

    fn round(&mut self) -> Result<(), End> {
        let token = self.token;
        match self.dice.below(12) {
            0 => self.plain_variable(),
            1 => self.server_variable(),
            2 => {
                self.run("DROP TEMPORARY TABLE IF EXISTS mine")?;
                self.run(&format!(
                    "CREATE TEMPORARY TABLE mine AS SELECT {token} AS token"
                ))?;
                self.must("SELECT token FROM mine", &token.to_string())?;
                self.must("SELECT COUNT(*) FROM mine", "1")?;
                self.run("DROP TEMPORARY TABLE mine").map(drop)
            }
            3 => self.ids(),
            4 => {
                self.run(&format!("SELECT CAST('{token}x' AS SIGNED)"))?;
                let reply = self.run("SHOW WARNINGS")?;
                let told = reply
                    .rows()
                    .first()
                    .and_then(|row| row[2].clone())
                    .unwrap_or_default();
                let told = String::from_utf8_lossy(&told).into_owned();
                if reply.error().is_none() && !told.contains(&format!("'{token}x'")) {
                    self.flock
                        .seen
                        .lock()
                        .unwrap()
                        .push(format!("token {token}: warning {told:?}"));
                }
                Ok(())
            }
            5 => {
                self.run(&format!("SELECT * FROM missing_{token}"))?;
                let reply = self.run("SHOW ERRORS")?;
                let told = reply
                    .rows()
                    .first()
                    .and_then(|row| row[2].clone())
                    .unwrap_or_default();
                if reply.error().is_none()
                    && !String::from_utf8_lossy(&told).contains(&format!("missing_{token}"))
                {
                    self.flock
                        .seen
                        .lock()
                        .unwrap()
                        .push(format!("token {token}: error {:?}", reply.text()));
                }
                Ok(())
            }
            6 => {
                self.must(&format!("SELECT GET_LOCK('lock {token}', 0)"), "1")?;
                self.must(&format!("SELECT IS_FREE_LOCK('lock {token}')"), "0")?;
                self.must(&format!("SELECT RELEASE_LOCK('lock {token}')"), "1")
            }
            7 => self.transaction(),
            8 => self.prepared(),
            9 => {
                let other = self.dice.below(20);
                self.must(&format!("UPDATE tokens SET touched = touched + 1 WHERE token = {token} AND {other} >= 0"), "NULL")?;
                self.must("SELECT ROW_COUNT()", "1")
            }
            10 => self.schema(),
            _ => {
                let mut payload = Vec::new();
                put_reset_connection(&mut payload);
                self.send(&payload, Shape::Single, "reset")?;
                self.must("SELECT @token, LAST_INSERT_ID()", "NULL")
            }
        }
    }

    fn plain_variable(&mut self) -> Result<(), End> {
        let token = self.token;
        self.run(&format!("SET @token = {token}, @word = 'w{token}'"))?;
        self.must("SELECT @token", &token.to_string())?;
        self.run("DO 1")?;
        self.must("SELECT @word", &format!("w{token}"))?;
        // A variable is never unset: nobody else may find it.
        self.must("SELECT @of_nobody", "NULL")
    }

    fn server_variable(&mut self) -> Result<(), End> {
        let token = self.token;
        self.run(&format!(
            "SET @calc = {token} + 1, group_concat_max_len = {}",
            1024 + token
        ))?;
        self.must("SELECT @calc", &(token + 1).to_string())?;
        self.must("SELECT @@group_concat_max_len", &(1024 + token).to_string())?;
        let mut payload = Vec::new();
        put_reset_connection(&mut payload);
        self.send(&payload, Shape::Single, "reset")?;
        self.must("SELECT @calc", "NULL")
    }

    fn ids(&mut self) -> Result<(), End> {
        let token = self.token;
        self.run(&format!("INSERT INTO births (token) VALUES ({token})"))?;
        self.must(
            "SELECT token FROM births WHERE id = LAST_INSERT_ID()",
            &token.to_string(),
        )?;
        self.run("SELECT 1")?;
        self.must(
            "SELECT MAX(token) FROM births WHERE id = LAST_INSERT_ID() + 0",
            &token.to_string(),
        )
    }

    fn transaction(&mut self) -> Result<(), End> {
        let token = self.token;
        self.run("BEGIN")?;
        self.run(&format!(
            "UPDATE tokens SET touched = touched + 1 WHERE token = {token}"
        ))?;
        self.run(&format!("INSERT INTO births (token) VALUES ({token})"))?;
        self.must(
            "SELECT token FROM births WHERE id = LAST_INSERT_ID()",
            &token.to_string(),
        )?;
        let end = self.dice.pick(&["COMMIT", "ROLLBACK"]);
        self.run(end).map(drop)
    }

    fn prepared(&mut self) -> Result<(), End> {
        let token = self.token;
        let mut payload = Vec::new();
        put_stmt_prepare(&mut payload, b"SELECT ?, @token");
        self.run(&format!("SET @token = {token}"))?;
        let reply = self.send(&payload, Shape::Prepare, "prepare")?;
        let Some(prepared) = reply.prepared() else {
            return Ok(());
        };
        for value in [token, token + 1] {
            let act = Act::Execute {
                slot: "s".to_owned(),
                cursor: false,
                types: Types::Bound,
                args: vec![Arg::Unsigned(value)],
            };
            let (payload, shape) = act
                .packet(self.client.capabilities, &|_| Some(prepared), &|_| None)
                .unwrap();
            let reply = self.send(&payload, shape, "execute")?;
            if reply.error().is_none() && reply.value() != Some(value.to_string()) {
                self.flock
                    .seen
                    .lock()
                    .unwrap()
                    .push(format!("token {token}: prepared gave {:?}", reply.text()));
            }
            self.run("DO 0")?;
        }
        let (close, _) = Act::Close("s".to_owned())
            .packet(self.client.capabilities, &|_| Some(prepared), &|_| None)
            .unwrap();
        self.client.command(&[&close]).map_err(End::Broken)
    }

    fn schema(&mut self) -> Result<(), End> {
        let mut payload = Vec::new();
        put_init_db(&mut payload, b"twin2");
        self.send(&payload, Shape::Single, "init_db")?;
        self.must("SELECT DATABASE()", "twin2")?;
        self.run("USE twin")?;
        self.must("SELECT DATABASE()", "twin")
    }
}

/// One session after the other with the same token, until the time is over.
fn fly(flock: &Flock, token: u64, seed: u64) {
    let mut dice = Dice::new(seed);
    while Instant::now() < flock.until && !flock.stop.load(Ordering::Relaxed) {
        let client = match Client::connect(flock.port, &Options::default()) {
            Ok(client) => client,
            Err(why) => {
                flock
                    .seen
                    .lock()
                    .unwrap()
                    .push(format!("token {token}: no login: {why}"));
                return;
            }
        };
        client.patience(Duration::from_secs(40));
        let id = client.id;
        // One in four may be killed at any moment.
        let victim = token.is_multiple_of(4);
        if victim {
            flock.victims.lock().unwrap().push(id);
        }
        let rounds = 1 + dice.below(30);
        let mut bird = Bird {
            flock,
            token,
            dice: Dice::new(seed ^ u64::from(id)),
            client,
        };
        let mut end = End::Done;
        for _ in 0..rounds {
            if Instant::now() >= flock.until {
                break;
            }
            if let Err(broken) = bird.round() {
                end = broken;
                break;
            }
        }
        if victim {
            flock.victims.lock().unwrap().retain(|v| *v != id);
        }
        match end {
            End::Broken(why) if !victim => {
                flock
                    .seen
                    .lock()
                    .unwrap()
                    .push(format!("token {token}: {why}"));
            }
            End::Broken(_) => {}
            End::Done if dice.below(3) == 0 => {
                // Leaves in the middle of something, without a word.
                let _ = bird.run(&format!("SET @calc = {token} + 0"));
                let _ = bird.run(&format!("SELECT GET_LOCK('left {token} {id}', 0)"));
                let _ = bird.run("BEGIN");
                drop(bird);
            }
            End::Done => bird.client.quit(),
        }
    }
}

/// Kills statements and sessions of those that take it.
fn hunt(flock: &Flock, seed: u64) {
    let mut dice = Dice::new(seed);
    let Ok(mut client) = Client::connect(flock.port, &Options::default()) else {
        return;
    };
    while Instant::now() < flock.until {
        std::thread::sleep(Duration::from_millis(15));
        let victim = {
            let victims = flock.victims.lock().unwrap();
            if victims.is_empty() {
                continue;
            } else {
                victims[dice.below(victims.len())]
            }
        };
        let kind = dice.pick(&["KILL QUERY", "KILL QUERY", "KILL CONNECTION"]);
        let sql = format!("{kind} {victim}");
        let (payload, shape) = Act::Query(sql)
            .packet(client.capabilities, &|_| None, &|_| None)
            .unwrap();
        match client.run(&payload, shape) {
            Ok(reply) if reply.error().is_none() => {
                flock.killed.fetch_add(1, Ordering::Relaxed);
            }
            // It was gone already.
            Ok(_) => {}
            Err(why) => {
                flock
                    .seen
                    .lock()
                    .unwrap()
                    .push(format!("the hunter: {why}"));
                return;
            }
        }
    }
    client.quit();
}

/// What sessions leave on a server if they are forgotten.
fn remains(ground: &Ground) -> Vec<(String, u64)> {
    let number = |sql: &str| -> u64 {
        let rows = ground.root().query(sql).unwrap();
        rows.first()
            .and_then(|row| row.last().cloned().flatten())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    let mut all = vec![
        (
            "transactions".to_owned(),
            number("SELECT COUNT(*) FROM information_schema.INNODB_TRX"),
        ),
        (
            "connections of app".to_owned(),
            number("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'"),
        ),
        (
            "busy connections of app".to_owned(),
            number(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app' AND COMMAND NOT IN ('Sleep', 'Daemon')",
            ),
        ),
        (
            "prepared statements".to_owned(),
            number("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'"),
        ),
    ];
    if ground.kind() == Kind::MySql {
        let locks = "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_TYPE = 'USER LEVEL LOCK'";
        all.push(("user locks".to_owned(), number(locks)));
        let tables = "SELECT COUNT(*) FROM information_schema.INNODB_TEMP_TABLE_INFO";
        all.push(("temporary tables".to_owned(), number(tables)));
    }
    all
}

fn canary(kind: Kind) {
    let ground = Ground::start(kind, QUEUE_WAIT_MS);
    ground
        .root()
        .execute("CREATE TABLE twin.births (id INT AUTO_INCREMENT PRIMARY KEY, token BIGINT)")
        .unwrap();
    ground
        .root()
        .execute("CREATE TABLE twin.tokens (token BIGINT PRIMARY KEY, touched INT)")
        .unwrap();
    for token in 1..=SESSIONS {
        ground
            .root()
            .execute(&format!("INSERT INTO twin.tokens VALUES ({token}, 0)"))
            .unwrap();
    }
    let setting = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seconds = setting("DBMESH_TWIN_SECONDS").unwrap_or(15);
    let seed = setting("DBMESH_TWIN_SEED").unwrap_or(1);
    let flock = Arc::new(Flock {
        port: ground.proxy(POOL),
        until: Instant::now() + Duration::from_secs(seconds),
        stop: AtomicBool::new(false),
        steps: AtomicU64::new(0),
        killed: AtomicU64::new(0),
        victims: Mutex::default(),
        seen: Mutex::default(),
    });
    std::thread::scope(|scope| {
        for token in 1..=SESSIONS as u64 {
            let flock = flock.clone();
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            builder
                .spawn_scoped(scope, move || {
                    fly(&flock, token, seed.wrapping_mul(1000) + token)
                })
                .unwrap();
        }
        let flock = flock.clone();
        scope.spawn(move || hunt(&flock, seed));
    });
    let (steps, killed) = (
        flock.steps.load(Ordering::Relaxed),
        flock.killed.load(Ordering::Relaxed),
    );
    let seen = flock.seen.lock().unwrap();
    println!(
        "{kind}: {steps} statements, {killed} kills, {} complaints",
        seen.len()
    );
    assert!(
        seen.is_empty(),
        "seed {seed}:\n{}",
        seen.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(steps > SESSIONS as u64 * 5, "only {steps} statements");
    assert!(killed > 0, "nobody was killed");
    wait_for_baseline(&ground);
}

/// The pool's own connections may stay; nothing on them.
fn wait_for_baseline(ground: &Ground) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let left: Vec<(String, u64)> = remains(ground)
            .into_iter()
            .filter(|(name, count)| match name.as_str() {
                "connections of app" => *count > u64::from(POOL),
                // The pool keeps statements of its idle connections prepared, a bounded number on each.
                "prepared statements" => *count > u64::from(POOL) * 64,
                _ => *count > 0,
            })
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left on the server: {left:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn sessions_keep_to_themselves_on_mysql() {
    canary(Kind::MySql);
}

#[test]
fn sessions_keep_to_themselves_on_mariadb() {
    canary(Kind::MariaDb);
}
