//! The table of codes stands.

use super::*;

#[test]
fn the_table_of_codes_stands() {
    let table = [
        (Fault::UnknownCommand, 1047, "08S01", Blame::Client),
        (Fault::Draining, 1053, "08S01", Blame::Mesh),
        (Fault::OutOfOrder, 1156, "08S01", Blame::Client),
        (Fault::PacketTooLarge, 1153, "08S01", Blame::Client),
        (Fault::NoMemoryForCommand, 1041, "HY000", Blame::Mesh),
        (
            Fault::CommitUnknown("e".into()),
            1105,
            "08007",
            Blame::Backend,
        ),
        (
            Fault::BackendLost {
                endpoint: "e".into(),
                state_lost: true,
            },
            2013,
            "HY000",
            Blame::Backend,
        ),
        (
            Fault::PoolTimeout {
                waited_ms: 1,
                size: 1,
                endpoint: "e".into(),
            },
            1203,
            "42000",
            Blame::Mesh,
        ),
        (Fault::UnknownThread(4), 1094, "HY000", Blame::Client),
        (Fault::Denied("r".into()), 1105, "HY000", Blame::Client),
        (
            Fault::DeniedUnknown("r".into()),
            1105,
            "HY000",
            Blame::Client,
        ),
        (
            Fault::RateExceeded("r".into()),
            1226,
            "42000",
            Blame::Client,
        ),
        (Fault::TooBusy("r".into()), 1203, "42000", Blame::Client),
        (Fault::Hint("h".into()), 1064, "42000", Blame::Client),
        (Fault::HintDenied("h"), 1227, "42000", Blame::Client),
        (Fault::OperatorOnly("o"), 1227, "42000", Blame::Client),
        (Fault::AuditFailing("a".into()), 1290, "HY000", Blame::Mesh),
        (
            Fault::Overdue {
                limit_ms: 5,
                when: Overdue::Ended,
            },
            3024,
            "HY000",
            Blame::Client,
        ),
        (Fault::Sharding("s".into()), 1235, "42000", Blame::Client),
        (Fault::NotPreparable("x"), 1295, "HY000", Blame::Client),
        (Fault::NoCursor(4), 1421, "HY000", Blame::Client),
    ];
    for (fault, code, state, blame) in table {
        assert_eq!(fault.code(), (code, state), "{fault}");
        assert_eq!(fault.blame(), blame, "{fault}");
    }
}
