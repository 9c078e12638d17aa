//! Scenarios drawn from a seed: sessions that change, read and lose state in turn.
//!
//! Owns the choice of steps and a rough idea of which sessions hold a connection, so that a pool of one or two is not blocked
//! most of the time. It must never draw what is not the same twice on one server: no clock, no random function. Input: a seed.

use std::collections::BTreeSet;

use super::scenario::Scenario;
use super::script::{Act, Arg, Types};

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678_9ABC_DEF0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap_or(0)
    }

    /// One of them.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Why a session is thought to hold a connection.
type Holds = BTreeSet<&'static str>;

struct Drawn {
    who: char,
    holds: Holds,
    slots: Vec<(String, usize)>,
    steps_held: usize,
}

/// Draws a scenario of that many steps.
pub fn scenario(seed: u64, pool: u32, steps: usize) -> Scenario {
    let mut dice = Dice::new(seed);
    let mut scenario = Scenario {
        name: format!("drawn from seed {seed}"),
        pools: vec![pool],
        ..Scenario::default()
    };
    let mut sessions: Vec<Drawn> = ['A', 'B', 'C']
        .into_iter()
        .map(|who| Drawn {
            who,
            holds: Holds::new(),
            slots: Vec::new(),
            steps_held: 0,
        })
        .collect();
    for session in &sessions {
        let mut words: Vec<String> = Vec::new();
        for (word, percent) in [
            ("eof", 25),
            ("track", 25),
            ("found_rows", 8),
            ("multi", 40),
            ("collation=8", 8),
        ] {
            if dice.chance(percent) {
                words.push(word.to_owned());
            }
        }
        // Another set of such flags is another connection: most sessions should share.
        if !words.is_empty() && dice.chance(60) {
            words.retain(|w| w != "multi" && w != "found_rows");
        }
        if !words.is_empty() {
            scenario.options.insert(session.who, words);
        }
    }
    while scenario.steps.len() < steps {
        let at = choose(&mut dice, &sessions, pool as usize);
        let session = &mut sessions[at];
        let acts = if session.steps_held > 8 {
            release(session)
        } else {
            act(&mut dice, session)
        };
        session.steps_held = if session.holds.is_empty() {
            0
        } else {
            session.steps_held + 1
        };
        scenario.steps.extend(acts);
    }
    scenario
}

/// A session that can probably have a connection.
fn choose(dice: &mut Dice, sessions: &[Drawn], pool: usize) -> usize {
    let holding: Vec<usize> = (0..sessions.len())
        .filter(|at| !sessions[*at].holds.is_empty())
        .collect();
    if holding.len() >= pool && !dice.chance(3) {
        return holding[dice.below(holding.len())];
    }
    dice.below(sessions.len())
}

fn release(session: &mut Drawn) -> Vec<(char, Act)> {
    session.holds.clear();
    session.slots.clear();
    vec![(session.who, Act::ResetConnection)]
}

fn act(dice: &mut Dice, session: &mut Drawn) -> Vec<(char, Act)> {
    let who = session.who;
    let acts = match dice.below(100) {
        0..15 => vec![sql(variables(dice))],
        15..20 => vec![schema(dice)],
        20..36 => vec![sql(write(dice, who))],
        36..40 => vec![found_rows(dice)],
        40..54 => vec![sql(read_state(dice))],
        54..62 => vec![sql(fail_or_warn(dice))],
        62..66 => transaction(dice, session),
        66..73 => holding(dice, session),
        73..86 => prepared(dice, session),
        86..90 => routine(dice, session),
        90..93 => vec![several(dice)],
        93..95 => vec![Act::Pipe(vec![
            sql(write(dice, who)),
            sql(read_state(dice)),
            sql(variables(dice)),
        ])],
        95..96 => {
            session.holds.clear();
            session.slots.clear();
            vec![if dice.chance(50) {
                Act::ResetConnection
            } else {
                Act::ChangeUser(Some("twin".to_owned()))
            }]
        }
        96..97 => {
            session.holds.clear();
            session.slots.clear();
            vec![if dice.chance(50) {
                Act::Quit
            } else {
                Act::Abort
            }]
        }
        _ => vec![
            dice.pick(&[
                &Act::Ping,
                &Act::Statistics,
                &Act::MultiStatements(true),
                &Act::MultiStatements(false),
            ])
            .clone(),
        ],
    };
    acts.into_iter().map(|act| (who, act)).collect()
}

fn sql(text: String) -> Act {
    Act::Query(text)
}

fn variables(dice: &mut Dice) -> String {
    let n = dice.below(9);
    let fixed = [
        "SET NAMES utf8mb4",
        "SET NAMES latin1",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci, sql_mode = 'ANSI_QUOTES'",
        "SET character_set_results = NULL",
        "SET character_set_results = latin1",
        "SET character_set_connection = latin1",
        "SET collation_connection = utf8mb4_unicode_ci",
        "SET sql_mode = 'ANSI_QUOTES'",
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "SET sql_mode = ''",
        "SET sql_mode = DEFAULT",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')",
        "SET time_zone = '+03:00'",
        "SET @@session.time_zone = '-01:30'",
        "SET time_zone = DEFAULT",
        "SET sql_select_limit = 2",
        "SET sql_select_limit = DEFAULT, group_concat_max_len = 5",
        "SET foreign_key_checks = 0",
        "SET foreign_key_checks = 1, unique_checks = 0",
        "SET sql_safe_updates = 1",
        "SET sql_safe_updates = 0",
        "SET max_error_count = 1",
        "SET max_error_count = DEFAULT",
        "SET auto_increment_increment = 5, auto_increment_offset = 2",
        "SET auto_increment_increment = DEFAULT, auto_increment_offset = DEFAULT",
        "SET lc_time_names = 'de_DE'",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET SESSION TRANSACTION READ WRITE",
        "SET sql_auto_is_null = 1",
        "SET sql_auto_is_null = 0",
        "SET div_precision_increment = 2",
        "SET last_insert_id = 44",
        "SET @a = 'x', time_zone = '+01:00', @b = 2",
        "SET @s = 'it''s'",
        "SET @s = 'a\\\\b'",
        "SET @a = NULL",
        "SET @b = -2.50, @a = 1e2",
    ];
    match dice.below(fixed.len() + 6) {
        at if at < fixed.len() => fixed[at].to_owned(),
        at if at % 2 == 0 => format!("SET @a = {n}"),
        _ => format!("SET @b = {n}, @s = 'v{n}'"),
    }
}

fn schema(dice: &mut Dice) -> Act {
    let of = ["twin", "twin2", "twin", "no_such"];
    let name = dice.pick(&of).to_owned();
    if dice.chance(50) {
        Act::InitDb(name)
    } else {
        sql(format!("USE {name}"))
    }
}

fn write(dice: &mut Dice, who: char) -> String {
    let (n, row) = (dice.below(50), (who as u8 - b'A') as usize * 2 + 1);
    match dice.below(19) {
        0 | 1 => format!("INSERT INTO twin.t (v, n) VALUES ('{who}{n}', {n})"),
        2 => format!("INSERT INTO twin.t (v) VALUES ('{who}'), ('{who}{n}'), ('z')"),
        3 => format!(
            "INSERT INTO twin.t (id, v) VALUES ({}, 'given')",
            1000 + dice.below(20)
        ),
        4 => format!("INSERT INTO twin.t (id, v) VALUES (NULL, '{who}')"),
        5 => "INSERT INTO twin.logged (what) VALUES ('l')".to_owned(),
        6 => format!(
            "INSERT INTO twin.t (id, v) VALUES ({row}, 'd') ON DUPLICATE KEY UPDATE v = '{who}{n}'"
        ),
        7 => format!(
            "INSERT INTO twin.t (id, v) VALUES ({row}, 'd') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), n = {n}"
        ),
        8 => format!("UPDATE twin.t SET n = {n} WHERE id = {row}"),
        9 => format!("UPDATE twin.t SET n = LAST_INSERT_ID(n + 1) WHERE id = {row}"),
        10 => format!("REPLACE INTO twin.t (id, v) VALUES ({row}, '{who}{n}')"),
        11 => "INSERT IGNORE INTO twin.narrow (v, u) VALUES ('toolong', 300)".to_owned(),
        12 => "INSERT INTO twin.plain VALUES (LAST_INSERT_ID(), 'id')".to_owned(),
        13 => "INSERT INTO twin.plain VALUES (ROW_COUNT(), 'rc')".to_owned(),
        14 => "INSERT INTO twin.t (v) SELECT b FROM twin.plain WHERE a <= 2".to_owned(),
        15 => format!("INSERT INTO twin.narrow (k) VALUES ({n})"),
        16 => "INSERT INTO t (v) VALUES ('here')".to_owned(),
        17 => format!("DELETE FROM twin.plain WHERE a = {}", dice.below(4)),
        _ => format!(
            "INSERT INTO twin.t (id, v) VALUES ({}, 'a'), (NULL, 'b')",
            2000 + dice.below(9)
        ),
    }
}

fn read_state(dice: &mut Dice) -> String {
    let of = [
        "SELECT LAST_INSERT_ID()",
        "SELECT LAST_INSERT_ID() AS x, @@identity",
        "SELECT (SELECT LAST_INSERT_ID()) + 1",
        "/* x */ select last_insert_id ( ) from dual limit 1",
        "SELECT ROW_COUNT()",
        "SELECT ROW_COUNT() AS r, LAST_INSERT_ID()",
        "SELECT @@warning_count",
        "SELECT @@warning_count AS w, @@error_count",
        "SHOW WARNINGS",
        "SHOW WARNINGS LIMIT 1",
        "SHOW ERRORS",
        "SHOW COUNT(*) WARNINGS",
        "SHOW COUNT(*) ERRORS",
        "SELECT @a, @b, @s",
        "SELECT @a, COLLATION(@s), @nothing",
        "SELECT DATABASE(), @@autocommit, @@sql_mode, @@time_zone",
        "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection",
        "SELECT @@foreign_key_checks, @@unique_checks, @@sql_safe_updates, @@sql_select_limit < 9, @@max_error_count",
        "SELECT @@auto_increment_increment, @@lc_time_names, @@div_precision_increment, @@sql_auto_is_null",
        "SELECT 'a' = 'A', \"v\", 'x' || 'y', 'it\\\\s' FROM twin.t WHERE id = 1",
        "SELECT id, v FROM t ORDER BY id LIMIT 3",
        "SELECT COUNT(*) FROM twin.t",
        "SELECT SQL_CALC_FOUND_ROWS id FROM twin.t ORDER BY id LIMIT 2",
        "SELECT * FROM tmp",
        "SELECT FROM_UNIXTIME(0), 1/3",
        "SHOW VARIABLES LIKE 't%_isolation'",
        "SELECT id FROM twin.t WHERE id IS NULL",
        "SELECT 1",
        "DO 1",
        "SELECT CONNECTION_ID()",
    ];
    dice.pick(&of).to_owned()
}

/// FOUND_ROWS() behind its statement; and behind it, because MySQL warns of it, one that clears the warnings.
fn found_rows(dice: &mut Dice) -> Act {
    let of = [
        "SELECT id FROM twin.t ORDER BY id LIMIT 3",
        "SELECT SQL_CALC_FOUND_ROWS id FROM twin.t ORDER BY id LIMIT 2",
        "SELECT id FROM twin.t WHERE id > 5000",
        "SHOW TABLES LIKE 't'",
    ];
    let first = sql(dice.pick(&of).to_owned());
    let count = sql("SELECT COUNT(*) FROM twin.plain".to_owned());
    Act::Pipe(vec![first, sql("SELECT FOUND_ROWS()".to_owned()), count])
}

fn fail_or_warn(dice: &mut Dice) -> String {
    let of = [
        "SELECT * FROM missing",
        "SELECT SYNTAX ERROR",
        "INSERT INTO twin.narrow (k) VALUES (1)",
        "INSERT INTO twin.t (v) VALUES ('first'), (REPEAT('x', 100))",
        "SELECT CAST('9x' AS SIGNED), CAST('8y' AS SIGNED)",
        "SELECT 1/0",
        "DROP TABLE IF EXISTS nothing_here",
        "INSERT INTO twin.narrow (v, u) VALUES ('toolong', 1)",
        "SET no_such = 1",
        "SET time_zone = '+02:00', sql_mode = 'NONSENSE'",
        "SET @a = 'before', no_such = 2",
        "UPDATE twin.t SET v = 'unsafe' WHERE n = 99",
        "SELECT fset('f'), no_such_column",
        "EXECUTE nothing",
    ];
    dice.pick(&of).to_owned()
}

fn transaction(dice: &mut Dice, session: &mut Drawn) -> Vec<Act> {
    if session.holds.contains("transaction") {
        let of = [
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT s",
            "ROLLBACK TO s",
            "RELEASE SAVEPOINT s",
            "COMMIT AND CHAIN",
            "CREATE TABLE IF NOT EXISTS twin.made (a INT)",
            "COMMIT",
            "SET autocommit = 1",
        ];
        let text = dice.pick(&of).to_owned();
        if !text.contains("SAVEPOINT") && !text.contains("ROLLBACK TO") && !text.contains("CHAIN") {
            session.holds.remove("transaction");
        }
        return vec![sql(text)];
    }
    let of = [
        "BEGIN",
        "START TRANSACTION READ ONLY",
        "START TRANSACTION",
        "SET autocommit = 0",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION READ ONLY",
        "COMMIT",
        "ROLLBACK",
        "SET autocommit = 1",
    ];
    let text = dice.pick(&of).to_owned();
    if !matches!(text.as_str(), "COMMIT" | "ROLLBACK" | "SET autocommit = 1") {
        session.holds.insert("transaction");
    }
    vec![sql(text)]
}

/// State that only one connection has, and its end.
fn holding(dice: &mut Dice, session: &mut Drawn) -> Vec<Act> {
    let kinds: [(&'static str, &[&'static str], &[&'static str]); 6] = [
        (
            "temporary",
            &[
                "CREATE TEMPORARY TABLE tmp (a INT)",
                "CREATE TEMPORARY TABLE tmp AS SELECT 1 AS one",
                "CREATE TEMPORARY TABLE tmp LIKE twin.t",
            ],
            &[
                "DROP TEMPORARY TABLE tmp",
                "DROP TABLE tmp",
                "ALTER TABLE tmp ADD COLUMN extra INT",
                "INSERT INTO tmp VALUES (5)",
            ],
        ),
        (
            "lock",
            &[
                "SELECT GET_LOCK('l', 0)",
                "DO GET_LOCK('l', 0)",
                "SELECT GET_LOCK(CONCAT('l', 2), 0)",
            ],
            &[
                "SELECT RELEASE_LOCK('l')",
                "SELECT RELEASE_ALL_LOCKS()",
                "DO RELEASE_ALL_LOCKS()",
                "SELECT IS_FREE_LOCK('l')",
            ],
        ),
        (
            "tables",
            &[
                "LOCK TABLES twin.blobs READ",
                "LOCK TABLES twin.blobs WRITE",
            ],
            &["UNLOCK TABLES", "SELECT COUNT(*) FROM twin.blobs", "BEGIN"],
        ),
        (
            "handler",
            &["HANDLER twin.t OPEN AS h"],
            &[
                "HANDLER h CLOSE",
                "HANDLER h READ FIRST",
                "HANDLER h READ NEXT",
            ],
        ),
        (
            "prepared",
            &[
                "PREPARE p FROM 'SELECT ? + 1, LAST_INSERT_ID()'",
                "PREPARE p FROM 'SET time_zone = ''+09:00'''",
            ],
            &["DEALLOCATE PREPARE p", "EXECUTE p", "EXECUTE p USING @a"],
        ),
        (
            "variable",
            &[
                "SET @a = @a + 1",
                "SELECT @b := 7",
                "SELECT v INTO @s FROM twin.t WHERE id = 2",
            ],
            &["SELECT @a, @b, @s"],
        ),
    ];
    let (name, begin, go_on) = kinds[dice.below(kinds.len())];
    if session.holds.contains(name) {
        let text = dice.pick(go_on).to_owned();
        if text.contains("DROP")
            || text.contains("RELEASE_ALL")
            || text.contains("UNLOCK")
            || text.contains("CLOSE")
            || text.contains("DEALLOCATE")
        {
            session.holds.remove(name);
        }
        return vec![sql(text)];
    }
    session.holds.insert(name);
    vec![sql(dice.pick(begin).to_owned())]
}

fn prepared(dice: &mut Dice, session: &mut Drawn) -> Vec<Act> {
    if session.slots.is_empty() || (session.slots.len() < 5 && dice.chance(35)) {
        let of: [(&str, usize); 13] = [
            ("SELECT ? AS x, ? AS y", 2),
            ("SELECT LAST_INSERT_ID() + ? AS z", 1),
            ("INSERT INTO twin.t (v, n) VALUES (?, ?)", 2),
            ("INSERT INTO twin.t (id, v) VALUES (?, ?)", 2),
            ("SELECT id, v FROM t WHERE id <= ? ORDER BY id", 1),
            ("SELECT id FROM twin.t ORDER BY id LIMIT ?", 1),
            ("UPDATE twin.plain SET b = ? WHERE a = ?", 2),
            ("SELECT CAST(? AS SIGNED)", 1),
            ("SELECT LENGTH(?), ?", 2),
            ("SELECT DATABASE(), @@time_zone, @a, ?", 1),
            ("SET time_zone = ?", 1),
            ("SELECT * FROM missing WHERE a = ?", 1),
            ("SELECT 'a' = 'A', 'q' || ?", 1),
        ];
        let (text, params) = of[dice.below(of.len())];
        let query = if text.starts_with("SELECT") { "q" } else { "" };
        let slot = format!("s{}{query}", dice.below(6));
        session.slots.retain(|(name, _)| *name != slot);
        session.slots.push((slot.clone(), params));
        if text.contains("ROW_COUNT") {
            session.holds.insert("diagnostics");
        }
        return vec![Act::Prepare(slot, text.to_owned())];
    }
    let (slot, params) = session.slots[dice.below(session.slots.len())].clone();
    let args: Vec<Arg> = (0..params).map(|_| argument(dice)).collect();
    match dice.below(20) {
        0 => {
            session.slots.retain(|(name, _)| *name != slot);
            vec![Act::Close(slot)]
        }
        1 => vec![Act::ResetStatement(slot)],
        2 if params > 0 => {
            let mut args = args;
            args[0] = Arg::LongData;
            let part = |text: &str| Act::LongData(slot.clone(), 0, text.to_owned());
            vec![
                part("long"),
                part("er"),
                Act::Execute {
                    slot: slot.clone(),
                    cursor: false,
                    types: Types::Bound,
                    args,
                },
            ]
        }
        3 | 4 if slot.ends_with('q') => vec![
            Act::Execute {
                slot: slot.clone(),
                cursor: true,
                types: Types::Bound,
                args,
            },
            Act::Fetch(slot.clone(), 2),
            if dice.chance(50) {
                Act::Fetch(slot, 100)
            } else {
                Act::ResetStatement(slot)
            },
        ],
        5..8 => vec![
            Act::Execute {
                slot: slot.clone(),
                cursor: false,
                types: Types::Bound,
                args: vec![Arg::Int(3); params],
            },
            Act::Execute {
                slot,
                cursor: false,
                types: Types::Kept,
                args: vec![Arg::Int(1); params],
            },
        ],
        _ => vec![Act::Execute {
            slot,
            cursor: false,
            types: Types::Bound,
            args,
        }],
    }
}

fn argument(dice: &mut Dice) -> Arg {
    match dice.below(7) {
        0 => Arg::Null,
        1 => Arg::Text("+04:00".to_owned()),
        2 => Arg::Text("9x".to_owned()),
        3 => Arg::Long(2),
        4 => Arg::Double(1.5),
        5 => Arg::Unsigned(3),
        _ => Arg::Int(i64::try_from(dice.below(9)).unwrap_or(0)),
    }
}

fn routine(dice: &mut Dice, session: &mut Drawn) -> Vec<Act> {
    let of = [
        "CALL twin.pset()",
        "SELECT twin.fset('from f'), @f",
        "CALL twin.ptemp()",
        "CALL twin.pmany(1, @b, @a)",
        "CALL twin.pins()",
        "CALL twin.pwarn()",
        "CALL twin.pfail()",
        "SELECT twin.fput('x'), LAST_INSERT_ID()",
        "SELECT twin.flast()",
        "SELECT twin.pure(3)",
        "INSERT INTO twin.watched VALUES (1, 'w') ON DUPLICATE KEY UPDATE v = 'w'",
        "SELECT @seen, @p, @f, @before",
        "CALL twin.pbegin()",
    ];
    let text = dice.pick(&of).to_owned();
    if !text.contains("pure") && !text.contains("flast") && !text.starts_with("SELECT @") {
        session.holds.insert("routine");
    }
    vec![sql(text)]
}

fn several(dice: &mut Dice) -> Act {
    let of = [
        "SELECT 1; SELECT 2",
        "INSERT INTO twin.t (v) VALUES ('m'); SELECT LAST_INSERT_ID(); SELECT ROW_COUNT()",
        "SET time_zone = '+06:00'; USE twin2; SET @a = 'm'",
        "INSERT INTO twin.t (v) VALUES ('m'); SELECT * FROM missing; SET time_zone = '+08:00'",
        "SET @b = 1; SELECT SYNTAX ERR",
        "SELECT CAST('1x' AS SIGNED); SELECT 1",
        "SELECT 1; SELECT CAST('1x' AS SIGNED)",
        "BEGIN; INSERT INTO twin.t (v) VALUES ('m'); COMMIT",
        "USE twin; SELECT DATABASE();",
    ];
    sql(dice.pick(&of).to_owned())
}
