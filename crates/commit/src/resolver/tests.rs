use super::*;

const HOME: Shard = Shard(1);
const OTHER: Shard = Shard(2);

fn fence(gtrid: Gtrid) -> Ask {
    Ask::Fence { gtrid, clock_s: 9 }
}

fn xid(mesh: u64, home: Shard) -> Xid {
    let gtrid = Gtrid {
        mesh,
        home,
        coordinator: 1,
        epoch: 1,
        sequence: 1,
        begun_ms: 1,
    };
    Xid {
        gtrid,
        branch: OTHER,
    }
}

/// A sweep in which `OTHER` lists these branches and `HOME` has these rows.
fn sweep(resolver: &mut Resolver, now_ms: u64, rows: &[Undone], branches: &[Xid]) -> Vec<Ask> {
    assert_eq!(resolver.sweep(), [Ask::Undone(HOME), Ask::Undone(OTHER)]);
    resolver.on(
        now_ms,
        &Ask::Undone(HOME),
        Event::Undone {
            clock_s: 9,
            rows: rows.to_vec(),
        },
    );
    let recover = resolver.on(now_ms, &Ask::Undone(OTHER), Event::Lost);
    assert_eq!(recover, [Ask::Recover(HOME), Ask::Recover(OTHER)]);
    let none = Listed {
        branches: Vec::new(),
    };
    resolver.on(now_ms, &Ask::Recover(HOME), Event::Listed(none));
    let branches = branches.to_vec();
    resolver.on(
        now_ms,
        &Ask::Recover(OTHER),
        Event::Listed(Listed { branches }),
    )
}

#[test]
fn an_old_branch_is_fenced_and_told() {
    let mut resolver = Resolver::new(7, [HOME, OTHER]);
    let branch = xid(7, HOME);
    assert_eq!(sweep(&mut resolver, 0, &[], &[branch]), []);
    assert_eq!(
        sweep(&mut resolver, GRACE_MS, &[], &[branch]),
        [fence(branch.gtrid)]
    );
    let finish = Ask::Finish(OTHER, branch, Verdict::Rollback);
    assert_eq!(
        resolver.on(GRACE_MS, &fence(branch.gtrid), Event::Done),
        std::slice::from_ref(&finish)
    );
    assert_eq!(resolver.doubts(GRACE_MS).count(), 1);
    resolver.on(GRACE_MS, &finish, Event::Done);
    assert_eq!(resolver.doubts(GRACE_MS).count(), 0);
    assert_eq!(
        (resolver.tally().fenced, resolver.tally().rolled_back),
        (1, 1)
    );
}

#[test]
fn a_decision_that_is_there_is_followed() {
    let mut resolver = Resolver::new(7, [HOME, OTHER]);
    let branch = xid(7, HOME);
    sweep(&mut resolver, 0, &[], &[branch]);
    sweep(&mut resolver, GRACE_MS, &[], &[branch]);
    let read = resolver.on(GRACE_MS, &fence(branch.gtrid), Event::Error(1062));
    assert_eq!(read, [Ask::Read(branch.gtrid)]);
    let decided = Event::Decision(Some(Decision::Commit));
    let told = resolver.on(GRACE_MS, &Ask::Read(branch.gtrid), decided);
    assert_eq!(told, [Ask::Finish(OTHER, branch, Verdict::Commit)]);
}

#[test]
fn a_home_that_cannot_be_asked_decides_nothing() {
    let mut resolver = Resolver::new(7, [HOME, OTHER]);
    let branch = xid(7, HOME);
    sweep(&mut resolver, 0, &[], &[branch]);
    sweep(&mut resolver, GRACE_MS, &[], &[branch]);
    for event in [Event::Lost, Event::Error(1205), Event::Error(1290)] {
        assert_eq!(resolver.on(GRACE_MS, &fence(branch.gtrid), event), []);
    }
    let doubt = resolver.doubts(2 * GRACE_MS).next().expect("still there");
    assert_eq!(
        (doubt.why, doubt.age_ms),
        (Why::HomeUnreachable, 2 * GRACE_MS)
    );
}

#[test]
fn other_meshes_and_unknown_homes_are_left_alone() {
    let mut resolver = Resolver::new(7, [HOME, OTHER]);
    let branches = [xid(8, HOME), xid(7, Shard(99))];
    sweep(&mut resolver, 0, &[], &branches);
    assert_eq!(sweep(&mut resolver, GRACE_MS, &[], &branches), []);
    let why: Vec<Why> = resolver.doubts(GRACE_MS).map(|d| d.why).collect();
    assert_eq!(why, [Why::HomeUnknown]);
}

#[test]
fn a_decision_without_branches_is_done_when_its_promises_were_kept() {
    let mut resolver = Resolver::new(7, [HOME, OTHER]);
    let gtrid = xid(7, HOME).gtrid;
    let promise = |gtid: Option<&str>| Undone {
        gtrid,
        participants: Some(vec![Prepared {
            shard: OTHER,
            gtid: gtid.map(str::to_owned),
        }]),
    };
    assert_eq!(
        sweep(&mut resolver, 0, &[promise(None)], &[]),
        [Ask::Done(HOME, vec![gtrid])]
    );
    let holds = Ask::Holds(OTHER, gtrid, "u:1".to_owned());
    assert_eq!(
        sweep(&mut resolver, 0, &[promise(Some("u:1"))], &[]),
        std::slice::from_ref(&holds)
    );
    assert_eq!(
        resolver.on(0, &holds, Event::Holds(true)),
        [Ask::Done(HOME, vec![gtrid])]
    );
    sweep(&mut resolver, 0, &[promise(Some("u:1"))], &[]);
    assert_eq!(resolver.on(0, &holds, Event::Holds(false)), []);
    assert_eq!(resolver.torn().collect::<Vec<_>>(), [&gtrid]);
    assert_eq!(resolver.tally().lost, 1);
}

#[test]
fn a_decision_with_branches_or_without_a_list_of_them_is_not_done() {
    let mut resolver = Resolver::new(7, [HOME, OTHER]);
    let branch = xid(7, HOME);
    let undone = |participants| Undone {
        gtrid: branch.gtrid,
        participants,
    };
    let promised = vec![Prepared {
        shard: OTHER,
        gtid: None,
    }];
    assert_eq!(
        sweep(
            &mut resolver,
            0,
            &[undone(Some(promised.clone()))],
            &[branch]
        ),
        []
    );
    assert_eq!(sweep(&mut resolver, 0, &[undone(None)], &[]), []);
    let elsewhere = vec![Prepared {
        shard: Shard(99),
        gtid: None,
    }];
    assert_eq!(sweep(&mut resolver, 0, &[undone(Some(elsewhere))], &[]), []);
}
