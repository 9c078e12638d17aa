use super::*;

fn gtrid() -> Gtrid {
    Gtrid {
        mesh: 1,
        home: Shard(10),
        coordinator: 2,
        epoch: 3,
        sequence: 4,
        begun_ms: 5_000,
    }
}

fn participants(works: &[Work]) -> Vec<Participant> {
    let one = |(at, work): (usize, &Work)| Participant {
        shard: Shard(10 + u32::try_from(at).expect("few")),
        work: *work,
    };
    works.iter().enumerate().map(one).collect()
}

fn atomic(works: &[Work]) -> (Commit, Vec<Action>) {
    Commit::atomic(gtrid(), &participants(works), true, Answers::AfterBranches)
}

fn done() -> Reply {
    Reply::Done(Ack {
        affected: 1,
        ..Ack::default()
    })
}

fn run(at: usize, step: Step) -> Action {
    Action::Run { at, step }
}

/// Two writers up to the point where the home was asked to commit.
fn committing() -> Commit {
    let (mut commit, first) = atomic(&[Work::Writes, Work::Writes]);
    assert_eq!(first, [run(1, Step::Prepare)]);
    assert_eq!(commit.on(1, done()), [run(0, Step::Decide)]);
    commit
}

#[test]
fn two_writers_promise_decide_and_finish() {
    let mut commit = committing();
    assert_eq!(
        commit.on(0, done()),
        [run(1, Step::Finish(Verdict::Commit))]
    );
    let end = [
        Action::Answer(Outcome::Committed),
        Action::End { finished: true },
    ];
    assert_eq!(commit.on(1, done()), end);
}

#[test]
fn one_writer_needs_no_promise() {
    let (mut commit, first) = atomic(&[Work::Reads, Work::Writes, Work::Reads]);
    let ends = [
        run(0, Step::Commit),
        run(1, Step::CommitOnePhase),
        run(2, Step::CommitOnePhase),
    ];
    assert_eq!(first, ends);
    assert_eq!(commit.on(0, Reply::Lost), []);
    assert_eq!(commit.on(2, Reply::Error(1614)), []);
    let end = commit.on(1, done());
    assert_eq!(end.first(), Some(&Action::Answer(Outcome::Committed)));
}

#[test]
fn those_that_only_read_never_promise() {
    let (mut commit, first) = atomic(&[Work::Writes, Work::Reads, Work::Writes]);
    assert_eq!(first, [run(2, Step::Prepare)]);
    commit.on(2, done());
    let finish = [
        run(1, Step::CommitOnePhase),
        run(2, Step::Finish(Verdict::Commit)),
    ];
    assert_eq!(commit.on(0, done()), finish);
}

#[test]
fn one_refusal_rolls_everything_back() {
    let (mut commit, _) = atomic(&[Work::Writes, Work::Writes, Work::Writes]);
    assert_eq!(commit.on(2, done()), []);
    let rollback = [
        run(0, Step::Rollback),
        run(1, Step::Finish(Verdict::Rollback)),
        run(2, Step::Finish(Verdict::Rollback)),
    ];
    assert_eq!(commit.on(1, Reply::Error(1614)), rollback);
    commit.on(0, done());
    commit.on(1, done());
    let cause = Cause::Refused { at: 1, code: 1614 };
    let answer = Action::Answer(Outcome::RolledBack(cause));
    assert_eq!(commit.on(2, done()).first(), Some(&answer));
}

#[test]
fn a_lost_commit_is_fenced_and_asked() {
    let mut commit = committing();
    let ask = |step, after_ms| Action::AskHome { step, after_ms };
    assert_eq!(commit.on(0, Reply::Lost), [ask(Step::Fence, 0)]);
    assert_eq!(commit.on(0, Reply::Error(1205)), [ask(Step::Fence, 100)]);
    assert_eq!(
        commit.on(0, Reply::Error(1062)),
        [ask(Step::ReadDecision, 0)]
    );
    let decided = Reply::Done(Ack {
        decision: Some(Decision::Commit),
        ..Ack::default()
    });
    assert_eq!(
        commit.on(0, decided),
        [run(1, Step::Finish(Verdict::Commit))]
    );
}

#[test]
fn a_row_that_failed_decides_nothing() {
    for (code, cause) in [
        (1062, Cause::Fenced),
        (1048, Cause::TooLate),
        (1290, Cause::Refused { at: 0, code: 1290 }),
    ] {
        let mut commit = committing();
        let rollback = [
            run(0, Step::Rollback),
            run(1, Step::Finish(Verdict::Rollback)),
        ];
        assert_eq!(commit.on(0, Reply::Error(code)), rollback);
        commit.on(0, done());
        let end = commit.on(1, done());
        let answer = Action::Answer(Outcome::RolledBack(cause));
        assert_eq!(end.first(), Some(&answer));
    }
}

#[test]
fn a_home_that_cannot_be_asked_leaves_it_unknown() {
    let mut commit = committing();
    let mut actions = commit.on(0, Reply::Lost);
    let mut asked = 0;
    while let [Action::AskHome { .. }] = actions.as_slice() {
        asked += 1;
        actions = commit.on(0, Reply::Lost);
    }
    assert_eq!(asked, ASK_ATTEMPTS_MAX);
    let end = [
        Action::Answer(Outcome::Unknown),
        Action::End { finished: false },
    ];
    assert_eq!(actions, end);
}

#[test]
fn an_answer_nobody_waits_for_changes_nothing() {
    let mut commit = committing();
    assert_eq!(commit.on(1, done()), []);
    assert_eq!(commit.on(7, done()), []);
    assert_eq!(commit.on(0, done()).len(), 1);
}

#[test]
fn without_the_promise_the_first_writer_commits_alone() {
    let three = participants(&[Work::Reads, Work::Writes, Work::Writes]);
    let (mut commit, first) = Commit::best_effort(gtrid(), &three);
    assert_eq!(first, [run(1, Step::Commit)]);
    assert_eq!(
        commit.clone().on(1, Reply::Error(1290)),
        [run(0, Step::Rollback), run(2, Step::Rollback)]
    );
    assert_eq!(
        commit.on(1, done()),
        [run(0, Step::Commit), run(2, Step::Commit)]
    );
    commit.on(0, done());
    let partial = Outcome::Partial {
        committed: vec![1],
        failed: Cause::Lost { at: 2 },
    };
    assert_eq!(
        commit.on(2, Reply::Lost).first(),
        Some(&Action::Answer(partial))
    );
}

#[test]
fn a_home_whose_transaction_is_gone_commits_nothing() {
    let two = participants(&[Work::Writes, Work::Writes]);
    let (_, first) = Commit::atomic(gtrid(), &two, false, Answers::AfterBranches);
    assert_eq!(first, [run(0, Step::Rollback), run(1, Step::Discard)]);
}

#[test]
fn the_texts_of_a_commit() {
    let commit = committing();
    let gtrid = gtrid().to_string();
    let texts = commit.texts(1, &Step::Prepare);
    let literal = format!("X'{gtrid}',X'0000000b',1835365224");
    assert_eq!(
        texts,
        [format!("XA END {literal}"), format!("XA PREPARE {literal}")]
    );
    let decide = commit.texts(0, &Step::Decide).concat();
    let values = format!(
        "VALUES (X'{gtrid}', IF(UNIX_TIMESTAMP() < 43205, 1, NULL), '0000000000000002', '0000000b=');COMMIT"
    );
    assert!(decide.ends_with(&values), "{decide}");
}
