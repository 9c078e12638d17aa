use super::*;

fn plan(seed: u64) -> Plan {
    let mut random = Random(seed ^ 0x5eed);
    let (proxies, servers) = (1 + random.place(3), 2 + random.place(3));
    let faults = random.place(6);
    let mut faults: Vec<(u64, Fault)> = (0..faults)
        .map(|_| (random.below(160), fault(&mut random, proxies, servers)))
        .collect();
    faults.sort_by_key(|(at, _)| *at);
    Plan {
        seed,
        proxies,
        servers,
        txns: 1 + random.place(3),
        shape: Shape::Any,
        faults,
        broken: None,
        weakness: None,
    }
}

fn fault(random: &mut Random, proxies: usize, servers: usize) -> Fault {
    let (proxy, server) = (random.place(proxies), random.place(servers));
    match random.below(12) {
        0..=2 => Fault::ProxyDies(proxy),
        3..=5 => Fault::ServerDies(server),
        6 | 7 => Fault::Cut(proxy, server),
        8 => Fault::Silence(proxy, server, random.below(6_000)),
        9 => Fault::ProxyStops(proxy, random.below(10_000)),
        10 => Fault::ProxyStops(proxy, random.below(120_000)),
        _ => Fault::Deadlock(server),
    }
}

/// The first of some seeds whose history is a violation.
fn violation(seeds: std::ops::Range<u64>, change: impl Fn(&mut Plan)) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let mut plan = plan(seed);
        change(&mut plan);
        Some((seed, run(&plan).err()?))
    })
}

fn histories() -> u64 {
    let asked = std::env::var("DBMESH_HISTORIES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(3_000)
}

#[test]
fn no_history_tears_a_transaction() {
    let first = std::env::var("DBMESH_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let started = std::time::Instant::now();
    let mut sum = Shown::default();
    for seed in first..first + histories() {
        match run(&plan(seed)) {
            Ok(shown) => {
                sum.events += shown.events;
                sum.committed += shown.committed;
                sum.rolled_back += shown.rolled_back;
                sum.unknown += shown.unknown;
                sum.cut += shown.cut;
                sum.fenced += shown.fenced;
            }
            Err(what) => panic!("seed {seed}: {what}\n{:#?}", plan(seed)),
        }
    }
    println!(
        "{} histories in {:?}: {sum:?}",
        histories(),
        started.elapsed()
    );
    // A simulation in which nothing of interest happens proves nothing.
    let n = histories();
    assert!(sum.committed > n / 2 && sum.rolled_back > n / 20, "{sum:?}");
    assert!(
        sum.cut > n / 50 && sum.fenced > n / 50 && sum.unknown > 0,
        "{sum:?}"
    );
}

#[test]
fn every_rule_of_the_protocol_is_needed() {
    let rules = [
        Rule::FenceBeforeAbort,
        Rule::ReadTheDecision,
        Rule::AskAfterLostCommit,
        Rule::AllPromiseFirst,
        Rule::DecideFirst,
        Rule::HomeInTransaction,
        Rule::LateIsRefused,
        Rule::CommitBehindRow,
        Rule::AnswerAfterDecision,
        Rule::FenceInTime,
        Rule::DuplicateIsFence,
    ];
    for rule in rules {
        let found = violation(1..20_000, |plan| plan.broken = Some(rule));
        let (seed, what) =
            found.unwrap_or_else(|| panic!("{rule:?} can be broken and nobody sees it"));
        println!("{rule:?}: seed {seed}: {what}");
    }
}

#[test]
fn every_promise_of_the_servers_is_needed() {
    for weakness in [
        Weakness::PreparedLost,
        Weakness::ReplicaBehind,
        Weakness::RowsForgottenEarly,
    ] {
        let found = violation(1..20_000, |plan| plan.weakness = Some(weakness));
        let (seed, what) = found.unwrap_or_else(|| panic!("{weakness:?} is seen by nobody"));
        println!("{weakness:?}: seed {seed}: {what}");
    }
}

/// Three shards that all write, and two proxies: every fault at every event.
fn at_every_event(seed: u64) -> Vec<(u64, Fault)> {
    let calm = enumerated(seed, Vec::new());
    let events = run(&calm).expect("nothing broke").events;
    let faults = (0..2).flat_map(|proxy| {
        let stops = [400, 10_000, 100_000].map(|ms| Fault::ProxyStops(proxy, ms));
        let links = (0..3).flat_map(move |server| {
            [
                Fault::Cut(proxy, server),
                Fault::Silence(proxy, server, 3_000),
            ]
        });
        stops
            .into_iter()
            .chain(links)
            .chain([Fault::ProxyDies(proxy)])
    });
    let servers = (0..3).flat_map(|server| [Fault::ServerDies(server), Fault::Deadlock(server)]);
    let faults: Vec<Fault> = faults.chain(servers).collect();
    (0..events)
        .flat_map(|event| faults.iter().map(move |fault| (event, *fault)))
        .collect()
}

fn enumerated(seed: u64, faults: Vec<(u64, Fault)>) -> Plan {
    Plan {
        seed,
        proxies: 2,
        servers: 3,
        txns: 1,
        shape: Shape::AllWrite,
        faults,
        broken: None,
        weakness: None,
    }
}

#[test]
fn every_fault_at_every_event_leaves_all_or_nothing() {
    let mut histories = 0;
    for seed in 1..=2 {
        for (event, fault) in at_every_event(seed) {
            let plan = enumerated(seed, vec![(event, fault)]);
            run(&plan).unwrap_or_else(|what| panic!("{what}\n{plan:#?}"));
            histories += 1;
        }
    }
    println!("{histories} histories");
    assert!(histories > 2_000);
}

/// Every fault at every event, then every other fault at every later event: minutes, so only when it is asked for.
#[test]
#[ignore = "long: cargo test --release -p dbmesh-commit --lib -- --ignored"]
fn every_two_faults_leave_all_or_nothing() {
    let faults = at_every_event(1);
    let mut histories = 0_u64;
    for (first, fault) in &faults {
        for (second, other) in faults.iter().filter(|(event, _)| event >= first) {
            let plan = enumerated(1, vec![(*first, *fault), (*second, *other)]);
            run(&plan).unwrap_or_else(|what| panic!("{what}\n{plan:#?}"));
            histories += 1;
        }
    }
    println!("{histories} histories");
}
