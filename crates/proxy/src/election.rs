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
}

/// Decides who is the primary. The one confirmed first stays until it cannot be reached or does not take writes any more.
/// One that was deposed is no candidate.
pub fn decide(before: Place, reports: impl Fn(usize) -> Option<Report>, count: usize) -> Decision {
    let stays = before
        .now
        .and_then(&reports)
        .is_some_and(|report| report.writable);
    let mut place = before;
    if !stays {
        let able = |at: &usize| reports(*at).is_some_and(|r| r.writable && !r.deposed);
        place.now = (0..count).find(able);
    }
    let mut depose = None;
    if place.now.is_some() && place.now != before.last {
        place.last = place.now;
        depose = before
            .last
            .filter(|at| reports(*at).is_some_and(|report| report.was_writable));
    }
    Decision { place, depose }
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
            let decision = decide(place(before), reports, members.len());
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
    fn there_are_never_two_and_never_a_deposed_one() {
        let letters = b"WrD-d.";
        let places = ["-/-", "-/0", "-/1", "-/2", "0/0", "1/1", "2/2"];
        for before in places {
            for code in 0..letters.len().pow(3) {
                let letter = |at: u32| letters[code / letters.len().pow(at) % letters.len()];
                let members = [letter(0), letter(1), letter(2)];
                let reports = |at: usize| members.get(at).map(|letter| report(*letter));
                let before = place(before);
                let decision = decide(before, reports, 3);
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
