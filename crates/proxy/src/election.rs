//! Who is the primary, decided from what the servers report.
//!
//! Owns the decision alone: a function from reports to a decision. It must never ask a server, keep anything, or act on what
//! it decides. Input: what is known of every member at one moment, and who was the primary before.

/// What is known of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// It can be reached, and reports that it takes writes.
    pub writable: bool,
    /// It was the primary, lost its place without giving it up, and has not reported since that it takes no writes.
    pub deposed: bool,
    /// The last role that it reported, reachable or not, was that of a primary.
    pub was_writable: bool,
}

/// Who is the primary, as a place among the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The primary.
    pub now: Option<usize>,
    /// The last one that was; the same as `now` while there is one.
    pub last: Option<usize>,
}

/// What follows from the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who is the primary from now on.
    pub place: Place,
    /// Whoever loses its place without having given it up: it may miss what is written from now on.
    pub depose: Option<usize>,
    /// Several take writes, and each has transactions that another one lacks: none is the primary.
    pub diverged: bool,
}

/// Decides who is the primary. The one confirmed first stays until it cannot be reached or does not take writes any more.
/// One that was deposed is no candidate. Of several candidates it is the one that has all transactions of the others, as
/// `covers` says of two places, or the first if that is not known; if none has, there is no primary.
pub fn decide(
    before: Place,
    reports: impl Fn(usize) -> Option<Report>,
    count: usize,
    covers: impl Fn(usize, usize) -> Option<bool>,
) -> Decision {
    let stays = before
        .now
        .and_then(&reports)
        .is_some_and(|report| report.writable);
    let mut place = before;
    let mut diverged = false;
    if !stays {
        let able = |at: &usize| reports(*at).is_some_and(|r| r.writable && !r.deposed);
        let able: Vec<usize> = (0..count).filter(able).collect();
        place.now = able.first().copied();
        if let Some(most) = most_of(&able, covers) {
            diverged = most.is_none() && able.len() > 1;
            place.now = most;
        }
    }
    let mut depose = None;
    if place.now.is_some() && place.now != before.last {
        place.last = place.now;
        depose = before
            .last
            .filter(|at| reports(*at).is_some_and(|report| report.was_writable));
    }
    Decision {
        place,
        depose,
        diverged,
    }
}

/// Of these, the first that has all transactions of the others, if there is one; nothing where that is not known.
fn most_of(able: &[usize], covers: impl Fn(usize, usize) -> Option<bool>) -> Option<Option<usize>> {
    let mut most = None;
    for one in able.iter().rev() {
        let others = able.iter().filter(|other| *other != one);
        let verdicts: Option<Vec<bool>> = others.map(|other| covers(*one, *other)).collect();
        if verdicts?.into_iter().all(|covers| covers) {
            most = Some(*one);
        }
    }
    Some(most)
}

/// Whether a member is kept from traffic: it takes writes beside the primary, or did and may miss what was written since.
#[must_use]
pub fn is_fenced(decision: &Decision, at: usize, report: Report) -> bool {
    let second = report.writable && decision.place.now != Some(at);
    report.deposed || decision.depose == Some(at) || second
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `W` takes writes; `r` reports that it takes none; `-` is down, was a primary; `.` is down, was a replica or is not
    /// known. `D` takes writes and was deposed; `d` is down and was deposed.
    fn report(letter: u8) -> Report {
        let (writable, deposed, was_writable) = match letter {
            b'W' => (true, false, true),
            b'D' => (true, true, true),
            b'd' => (false, true, true),
            b'-' => (false, false, true),
            b'r' | b'.' => (false, false, false),
            other => panic!("{other}"),
        };
        Report {
            writable,
            deposed,
            was_writable,
        }
    }

    fn place(text: &str) -> Place {
        let (now, last) = text.split_once('/').unwrap();
        let at = |t: &str| t.parse::<usize>().ok();
        Place {
            now: at(now),
            last: at(last),
        }
    }

    /// Who is the primary (now/last), what the members report, who is the primary then, who is deposed, who is fenced.
    type Case = (
        &'static str,
        &'static str,
        &'static str,
        Option<usize>,
        &'static str,
        &'static str,
    );

    const CASES: [Case; 17] = [
        ("-/-", "rr", "-/-", None, "", "nobody takes writes"),
        (
            "-/-",
            "rW",
            "1/1",
            None,
            "",
            "the only one that takes writes",
        ),
        (
            "-/-",
            "WW",
            "0/0",
            None,
            "1",
            "two at the start: the first, and the other is fenced",
        ),
        (
            "0/0",
            "WW",
            "0/0",
            None,
            "1",
            "one that is opened beside the primary is fenced",
        ),
        (
            "1/1",
            "WW",
            "1/1",
            None,
            "0",
            "who was confirmed first stays, whatever its place",
        ),
        (
            "0/0",
            "-r",
            "-/0",
            None,
            "",
            "lost, and nobody was promoted yet",
        ),
        (
            "-/0",
            "-W",
            "1/1",
            Some(0),
            "0",
            "promoted: the lost one is deposed",
        ),
        (
            "0/0",
            "-W",
            "1/1",
            Some(0),
            "0",
            "lost and promoted between two looks",
        ),
        ("-/0", "Wr", "0/0", None, "", "lost for a while, and back"),
        (
            "1/1",
            "DW",
            "1/1",
            None,
            "0",
            "the deposed one comes back and takes writes: fenced",
        ),
        (
            "1/1",
            "D-",
            "-/1",
            None,
            "0",
            "a deposed one never follows, also when nobody else is left",
        ),
        ("1/1", "dr", "-/1", None, "0", "deposed and down"),
        (
            "-/1",
            "D-W",
            "2/2",
            Some(1),
            "01",
            "a third one takes over from the second",
        ),
        (
            "0/0",
            "rW",
            "1/1",
            None,
            "",
            "switchover: it gave up its place, so it is not deposed",
        ),
        (
            "0/0",
            "rr",
            "-/0",
            None,
            "",
            "switchover: nobody for a moment",
        ),
        ("-/0", "rW", "1/1", None, "", "switchover: the new one"),
        (
            "5/5",
            "Wr",
            "0/0",
            None,
            "",
            "its place is gone after a reload",
        ),
    ];

    #[test]
    fn reports_and_what_follows() {
        for (before, members, after, deposed, fenced, what) in CASES {
            let members = members.as_bytes();
            let reports = |at: usize| members.get(at).map(|letter| report(*letter));
            let decision = decide(place(before), reports, members.len(), |_, _| None);
            assert_eq!(decision.place, place(after), "{what}");
            assert_eq!(decision.depose, deposed, "{what}");
            let found: String = (0..members.len())
                .filter(|at| is_fenced(&decision, *at, reports(*at).unwrap()))
                .map(|at| at.to_string())
                .collect();
            assert_eq!(found, fenced, "{what}: fenced");
        }
    }

    #[test]
    fn of_two_at_the_start_it_is_the_one_with_all_transactions() {
        let start = |members: &str, has: [&[u32]; 3]| {
            let members = members.as_bytes();
            let reports = |at: usize| members.get(at).map(|letter| report(*letter));
            let covers = |one: usize, other: usize| {
                // Nothing is known of who has none.
                let known = !has[one].is_empty() && !has[other].is_empty();
                known.then(|| has[other].iter().all(|t| has[one].contains(t)))
            };
            let decision = decide(place("-/-"), reports, members.len(), covers);
            (decision.place.now, decision.diverged)
        };
        assert_eq!(start("WW", [&[1], &[1, 2], &[]]), (Some(1), false));
        assert_eq!(start("WW", [&[1, 2], &[1], &[]]), (Some(0), false));
        assert_eq!(start("WW", [&[1], &[1], &[]]), (Some(0), false), "the same");
        assert_eq!(start("WW", [&[1, 2], &[1, 3], &[]]), (None, true));
        assert_eq!(start("WW", [&[1], &[], &[]]), (Some(0), false), "unknown");
        assert_eq!(start("WrW", [&[1], &[9], &[1, 2]]), (Some(2), false));
        assert_eq!(start("WDW", [&[1], &[1, 2, 3], &[1, 2]]), (Some(2), false));
        assert_eq!(start("WWW", [&[1, 2], &[1, 2, 3], &[1, 4]]), (None, true));
        assert_eq!(start("rWr", [&[1], &[2], &[3]]), (Some(1), false));
        assert_eq!(start("rrr", [&[1], &[2], &[3]]), (None, false));
    }

    #[test]
    fn there_are_never_two_and_never_a_deposed_one() {
        let letters = b"WrD-d.";
        let places = ["-/-", "-/0", "-/1", "-/2", "0/0", "1/1", "2/2"];
        for before in places {
            for code in 0..letters.len().pow(3) {
                let letter = |at: u32| letters[code / letters.len().pow(at) % letters.len()];
                let members = [letter(0), letter(1), letter(2)];
                let reports = |at: usize| members.get(at).map(|letter| report(*letter));
                let before = place(before);
                let decision = decide(before, reports, 3, |_, _| None);
                let open = (0..3).filter(|at| {
                    let report = reports(*at).unwrap();
                    report.writable && !is_fenced(&decision, *at, report)
                });
                let open: Vec<usize> = open.collect();
                assert!(open.len() <= 1, "{before:?} {members:?}: {open:?}");
                assert!(open.iter().all(|at| decision.place.now == Some(*at)));
                if let Some(now) = decision.place.now {
                    let report = reports(now).unwrap();
                    assert!(report.writable && (!report.deposed || before.now == Some(now)));
                }
            }
        }
    }
}
