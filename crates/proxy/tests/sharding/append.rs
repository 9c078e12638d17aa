//! Lists on two nodes to which transactions append while servers and proxies are killed: what was read and what is left
//! must be what one server could have done.
//!
//! Every transaction locks two lists, reads them, and appends its number to both. In the end: an acknowledged number is in
//! both lists once, a refused one in none, one of which nobody was told in both or none; whatever was read, by whomever, is
//! the beginning of the list; and the transactions have an order in which one after the other would have read and left the
//! same. `DBMESH_BANK_SECONDS` makes it longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbmesh_testkit::port::Port;
use dbmesh_testkit::{Kind, Session};

use crate::bank::{Ends, LONG, Random, Told, lasts, options, settle, told_of, torment};
use crate::ground::{Ground, yaml};

const WORKERS: u64 = 4;
/// Lists 0 to 3 are on the first node, 4 to 7 on the second.
const LISTS: u64 = 8;

/// What a transaction did, as its client knows it.
#[derive(Debug)]
struct Done {
    number: u64,
    told: Told,
    /// The two lists, as they were before it appended.
    read: Vec<(u64, Vec<u64>)>,
}

#[derive(Debug, Default)]
struct History {
    done: Vec<Done>,
    /// What was read without locks, over all nodes or one.
    seen: Vec<(u64, Vec<u64>)>,
}

#[test]
fn lists_have_one_order_under_kills() {
    lists_under_kills(lasts());
}

#[test]
#[ignore = "long"]
fn lists_have_one_order_under_kills_for_long() {
    lists_under_kills(LONG);
}

fn lists_under_kills(lasts: Duration) {
    let ground = Ground::new(Kind::MySql, &options());
    for list in 0..LISTS {
        ground.mesh().ask(&format!(
            "INSERT INTO t_order (id, user_id, blob_) VALUES ({list}, {list}, '')"
        ));
    }
    let port = Port::reserve().unwrap();
    let config = yaml(&ground.servers, port.number(), &options());
    let over = AtomicBool::new(false);
    let history = std::thread::scope(|scope| {
        let ports = [ground.stage.port, port.number()];
        let over = &over;
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let port = ports[usize::from(worker % 2 == 1)];
                scope.spawn(move || work(worker, port, over))
            })
            .collect();
        let ends = Ends(over);
        torment(&ground.servers, &config, Instant::now() + lasts);
        drop(ends);
        let mut all = History::default();
        for worker in workers {
            let history = worker.join().unwrap();
            all.done.extend(history.done);
            all.seen.extend(history.seen);
        }
        all
    });
    settle(&ground);
    let last: BTreeMap<u64, Vec<u64>> =
        (0..LISTS).map(|list| (list, left(&ground, list))).collect();
    let committed = history
        .done
        .iter()
        .filter(|done| done.told == Told::Committed);
    let committed = committed.count();
    println!(
        "{} transactions, {committed} acknowledged, {} lists read beside",
        history.done.len(),
        history.seen.len()
    );
    if let Err(why) = check(&history, &last) {
        panic!("{why}");
    }
    assert!(committed > 5, "hardly anything happened");
}

fn left(ground: &Ground, list: u64) -> Vec<u64> {
    let place = usize::from(list >= 4);
    let sql = format!("SELECT blob_ FROM shop_{place}.t_order_{list} WHERE id = {list} FOR UPDATE");
    numbers(&ground.servers[place].query_value(&sql).unwrap().unwrap())
}

fn numbers(text: &str) -> Vec<u64> {
    let all = text.split(',').filter(|number| !number.is_empty());
    all.map(|number| number.parse().unwrap()).collect()
}

fn work(worker: u64, port: u16, over: &AtomicBool) -> History {
    let mut random = Random(worker + 11);
    let mut history = History::default();
    let mut session = None;
    let mut number = worker * 1_000_000;
    while !over.load(Ordering::Relaxed) {
        let Some(client) = &session else {
            session = Session::over_tcp(port, "app", "app-password", Some("shop")).ok();
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        number += 1;
        let done = append(client, number, &mut random);
        let went_well = done.told == Told::Committed;
        history.done.push(done);
        // Over several nodes at once, without a lock.
        let lists = "SELECT id, CAST(blob_ AS CHAR) FROM t_order ORDER BY id";
        match client.query(lists) {
            Ok(rows) if went_well => {
                let cell = |cell: &Option<String>| cell.clone().unwrap_or_default();
                let read = |row: &Vec<Option<String>>| {
                    (cell(&row[0]).parse().unwrap(), numbers(&cell(&row[1])))
                };
                history.seen.extend(rows.iter().map(read));
            }
            _ => session = None,
        }
    }
    history
}

/// Lists are locked in their order: what waits in a ring over two nodes, no server finds.
fn append(client: &Session, number: u64, random: &mut Random) -> Done {
    let one = random.below(LISTS - 1);
    let other = one + 1 + random.below(LISTS - one - 1);
    let mut done = Done {
        number,
        told: Told::RolledBack,
        read: Vec::new(),
    };
    let begun = client.execute("SET innodb_lock_wait_timeout = 5").is_ok()
        && client.execute("BEGIN").is_ok();
    if !begun {
        return done;
    }
    for list in [one, other] {
        let read = format!(
            "SELECT CAST(blob_ AS CHAR) FROM t_order WHERE user_id = {list} AND id = {list} FOR UPDATE"
        );
        let Ok(rows) = client.query(&read) else {
            return done;
        };
        let text = rows[0][0].as_deref().unwrap();
        done.read.push((list, numbers(text)));
    }
    // One statement for both nodes, or one for each.
    let update = |lists: &str| {
        format!(
            "UPDATE t_order SET blob_ = CONCAT(blob_, '{number},') WHERE user_id IN ({lists}) AND id IN ({lists})"
        )
    };
    let texts = match random.below(2) {
        0 => vec![update(&format!("{one}, {other}"))],
        _ => vec![update(&one.to_string()), update(&other.to_string())],
    };
    if texts.iter().all(|text| client.execute(text).is_ok()) {
        done.told = told_of(client.execute("COMMIT"));
    }
    done
}

/// Whether one server could have done it; else, why not.
fn check(history: &History, last: &BTreeMap<u64, Vec<u64>>) -> Result<(), String> {
    for (list, numbers) in last {
        let unique: BTreeSet<&u64> = numbers.iter().collect();
        if unique.len() != numbers.len() {
            return Err(format!("list {list} has a number twice: {numbers:?}"));
        }
    }
    let is_in = |list: &u64, number: &u64| last.get(list).is_some_and(|all| all.contains(number));
    let mut known = BTreeSet::new();
    for done in &history.done {
        known.insert(done.number);
        let sides = done
            .read
            .iter()
            .filter(|(list, _)| is_in(list, &done.number))
            .count();
        let right = match done.told {
            Told::Committed => sides == 2,
            Told::RolledBack => sides == 0,
            Told::Nothing => sides == 0 || sides == 2,
        };
        if !right {
            return Err(format!("{done:?} is in {sides} lists"));
        }
    }
    if let Some(number) = last
        .values()
        .flatten()
        .find(|number| !known.contains(*number))
    {
        return Err(format!("nobody appended {number}"));
    }
    let locked = history.done.iter().flat_map(|done| &done.read);
    for (list, read) in locked.chain(&history.seen) {
        let begins = last.get(list).is_some_and(|all| all.starts_with(read));
        if !begins {
            return Err(format!(
                "list {list} was read as {read:?}, which is no beginning of {:?}",
                last.get(list)
            ));
        }
    }
    in_order(history, last)
}

/// Whether an order of transactions exists in which each read and left what it did: who is before whom has no ring.
fn in_order(history: &History, last: &BTreeMap<u64, Vec<u64>>) -> Result<(), String> {
    let mut after: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for all in last.values() {
        for pair in all.windows(2) {
            after.entry(pair[0]).or_default().insert(pair[1]);
        }
    }
    for done in history.done.iter() {
        for (list, read) in &done.read {
            let all = last.get(list).map(Vec::as_slice).unwrap_or_default();
            if !all.contains(&done.number) {
                continue;
            }
            // What it read was there before it, and nothing came in between.
            let next = all.get(read.len());
            if next != Some(&done.number) {
                return Err(format!(
                    "{} read list {list} at {}, and {next:?} came in between",
                    done.number,
                    read.len()
                ));
            }
        }
    }
    // Takes away whoever has nobody before it; what is left is a ring.
    let mut before: BTreeMap<u64, usize> = BTreeMap::new();
    for next in after.values().flatten() {
        *before.entry(*next).or_default() += 1;
    }
    let mut free: Vec<u64> = after
        .keys()
        .filter(|n| !before.contains_key(n))
        .copied()
        .collect();
    while let Some(number) = free.pop() {
        for next in after.remove(&number).unwrap_or_default() {
            let count = before.entry(next).or_default();
            *count -= 1;
            if *count == 0 {
                before.remove(&next);
                free.push(next);
            }
        }
    }
    match before.is_empty() {
        true => Ok(()),
        false => Err(format!("these are before each other: {:?}", before.keys())),
    }
}

#[test]
fn the_checker_finds_what_one_server_could_not_do() {
    let done = |number, told, read: &[(u64, &[u64])]| Done {
        number,
        told,
        read: read
            .iter()
            .map(|(list, read)| (*list, read.to_vec()))
            .collect(),
    };
    let last = |lists: &[&[u64]]| -> BTreeMap<u64, Vec<u64>> {
        (0..).zip(lists.iter().map(|l| l.to_vec())).collect()
    };
    let both = |one: &[u64], other: &[u64]| last(&[one, other]);
    let first = || done(1, Told::Committed, &[(0, &[]), (1, &[])]);
    let second = || done(2, Told::Committed, &[(0, &[1]), (1, &[1])]);
    let verdict = |all: Vec<Done>, seen: Vec<(u64, Vec<u64>)>, last: BTreeMap<u64, Vec<u64>>| {
        check(&History { done: all, seen }, &last)
            .map_err(|why| why.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        verdict(
            vec![first(), second()],
            vec![(0, vec![1])],
            both(&[1, 2], &[1, 2])
        ),
        Ok(())
    );
    let wrong = [
        verdict(vec![first()], vec![], both(&[1], &[])),
        verdict(vec![first()], vec![], both(&[1, 1], &[1])),
        verdict(
            vec![done(1, Told::RolledBack, &[(0, &[]), (1, &[])])],
            vec![],
            both(&[1], &[1]),
        ),
        verdict(
            vec![done(1, Told::Nothing, &[(0, &[]), (1, &[])])],
            vec![],
            both(&[], &[1]),
        ),
        verdict(vec![first()], vec![], both(&[1, 9], &[1])),
        verdict(vec![first()], vec![(0, vec![2])], both(&[1], &[1])),
        // Lost between its read and its write.
        verdict(
            vec![first(), done(2, Told::Committed, &[(0, &[]), (1, &[1])])],
            vec![],
            both(&[1, 2], &[1, 2]),
        ),
        // Each is before the other.
        verdict(
            vec![
                done(1, Told::Committed, &[(0, &[]), (1, &[2])]),
                done(2, Told::Committed, &[(0, &[1]), (1, &[])]),
            ],
            vec![],
            both(&[1, 2], &[2, 1]),
        ),
    ];
    for (at, verdict) in wrong.iter().enumerate() {
        assert!(verdict.is_err(), "case {at}");
    }
}
