//! Order within Rust files: the pure crates stay pure, files and functions stay short, and code that reads what a peer sent
//! neither panics nor indexes. It must never judge test code by the rules for outside bytes. Input: the scanned sources.

use super::ratchet::{Ratchet, Rule, Standing};
use super::tree::Source;
use super::{Finding, Findings};

/// Lines a file may have.
const FILE_LINES_MAX: usize = 600;
/// Lines a function may have, from `fn` to the closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Crates that do no I/O, read no clock and spawn nothing.
const PURE: [&str; 6] = ["wire", "sql", "model", "plan", "merge", "commit"];
/// The places in them that may read files and the environment.
const LOADING: [&str; 3] = [
    "crates/model/src/load.rs",
    "crates/model/src/load/",
    "crates/model/src/host.rs",
];
/// What the pure crates must not name. Address types of `std::net` are plain data and stay allowed.
const IMPURE: [&str; 21] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
    "tokio",
    "socket2",
    "fs::",
    "std::fs",
    "File::open",
    "std::process",
    "std::env",
    "env::var",
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
    "std::thread",
    "println!",
    "eprintln!",
];

/// Crates whose code meets bytes of clients and servers.
const MEETS_OUTSIDE_BYTES: [&str; 5] = ["wire", "sql", "merge", "commit", "proxy"];
/// Calls that end the task, or the process, on a value that was not expected.
const PANICS: [&str; 6] = [
    ".unwrap()",
    ".expect(",
    "panic!",
    "unreachable!",
    "todo!",
    "unimplemented!",
];
/// On a line or the one above, with a reason after it: this one is proved.
const WAIVER: &str = "// tidy-allow: ";

/// Checks `sources`. Sizes, panics and indexing are counted into `counted` and judged against `known`.
pub fn check(
    sources: &[Source<'_>],
    known: &Ratchet,
    counted: &mut Ratchet,
    findings: &mut Findings,
) {
    for source in sources {
        purity(source, findings);
        sizes(source, known, counted, findings);
        outside_bytes(source, known, counted, findings);
    }
}

fn purity(source: &Source<'_>, findings: &mut Findings) {
    let path = source.file.path.as_str();
    let loading = LOADING.iter().any(|place| path.starts_with(place));
    if source.is_test || loading || !PURE.contains(&source.krate) || path.ends_with("/build.rs") {
        return;
    }
    for word in IMPURE {
        for at in source
            .code
            .words(word)
            .filter(|at| !source.code.is_test(*at))
        {
            let what = format!("`{word}` in the pure crate `{}`", source.krate);
            let remedy = "do the I/O in proxy or runtime and pass the value in";
            findings.add(Finding::new(path, source.code.line(at), what, remedy));
        }
    }
}

fn sizes(source: &Source<'_>, known: &Ratchet, counted: &mut Ratchet, findings: &mut Findings) {
    let path = source.file.path.as_str();
    let lines = source.file.text.lines().count();
    if lines > FILE_LINES_MAX {
        counted.count(Rule::LongFiles, path, lines);
        let what = format!("{lines} lines, more than {FILE_LINES_MAX}");
        let finding = Finding::new(path, 1, what, "split the file at a noun of the domain");
        findings.ratcheted(finding, known.standing(Rule::LongFiles, path, lines));
    }
    for function in source
        .code
        .functions()
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
    {
        let place = format!("{path}::{}", function.name);
        // Two functions of one name in one file (of two types) share an entry, which holds the longer one.
        let already = counted
            .entries()
            .find(|(rule, of, _)| *rule == Rule::LongFunctions && *of == place)
            .map_or(0, |e| e.2);
        counted.count(
            Rule::LongFunctions,
            &place,
            function.lines.saturating_sub(already),
        );
        let what = format!(
            "`{}` has {} lines, more than {FUNCTION_LINES_MAX}",
            function.name, function.lines
        );
        let finding = Finding::new(path, function.line, what, "name its steps as functions");
        findings.ratcheted(
            finding,
            known.standing(Rule::LongFunctions, &place, function.lines),
        );
    }
}

fn outside_bytes(
    source: &Source<'_>,
    known: &Ratchet,
    counted: &mut Ratchet,
    findings: &mut Findings,
) {
    let path = source.file.path.as_str();
    if source.is_test || !MEETS_OUTSIDE_BYTES.contains(&source.krate) || path.ends_with("/build.rs")
    {
        return;
    }
    let lines: Vec<&str> = source.file.text.lines().collect();
    let live = |at: &usize| !source.code.is_test(*at) && !waived(&lines, source.code.line(*at));
    let panics: Vec<usize> = PANICS
        .iter()
        .flat_map(|word| source.code.words(word))
        .filter(live)
        .collect();
    let remedy = "return a typed error, or prove it and write `// tidy-allow: why` above";
    report(
        source,
        Rule::Panics,
        &panics,
        "call that panics",
        remedy,
        (known, counted, findings),
    );

    let indexings: Vec<usize> = source.code.indexings().filter(live).collect();
    let remedy =
        "use `get`, `split_first` or a Reader, or prove it and write `// tidy-allow: why` above";
    report(
        source,
        Rule::Indexing,
        &indexings,
        "indexing that may panic",
        remedy,
        (known, counted, findings),
    );
}

/// Counts one file's breaches of a rule; when they are more than known, reports each of them.
fn report(
    source: &Source<'_>,
    rule: Rule,
    offsets: &[usize],
    what: &str,
    remedy: &str,
    (known, counted, findings): (&Ratchet, &mut Ratchet, &mut Findings),
) {
    let path = source.file.path.as_str();
    if offsets.is_empty() {
        return;
    }
    counted.count(rule, path, offsets.len());
    let standing = known.standing(rule, path, offsets.len());
    let suffix = match standing {
        Standing::Grown(before) => format!(" ({} here, {before} known)", offsets.len()),
        Standing::New | Standing::Known => String::new(),
    };
    for at in offsets {
        let line = source.code.line(*at);
        findings.ratcheted(
            Finding::new(path, line, format!("{what}{suffix}"), remedy),
            standing,
        );
    }
}

/// Whether line `number` (from 1) carries a waiver with a reason, at its end or in the comment right above.
fn waived(lines: &[&str], number: usize) -> bool {
    let reason = |line: &str| {
        line.split_once(WAIVER)
            .is_some_and(|(_, reason)| reason.trim().len() > 3)
    };
    let (above, here) = match number
        .checked_sub(1)
        .and_then(|index| lines.split_at_checked(index))
    {
        Some((above, rest)) => (above, rest.first()),
        None => return false,
    };
    let mut comment = above
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with("//"));
    here.is_some_and(|line| reason(line)) || comment.any(|line| reason(line))
}

#[cfg(test)]
mod tests {
    use super::super::rust::Code;
    use super::super::tree::File;
    use super::*;

    fn run(krate: &str, path: &str, text: &str, known: &Ratchet) -> (Findings, Ratchet) {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let source = Source {
            file: &file,
            code: Code::new(text),
            krate,
            is_test: false,
        };
        let (mut findings, mut counted) = (Findings::default(), Ratchet::default());
        check(&[source], known, &mut counted, &mut findings);
        (findings, counted)
    }

    #[test]
    fn pure_crates_do_no_io_outside_loading() {
        let text = "use std::net::IpAddr;\nfn f() { std::thread::spawn(|| {}); }\n";
        assert!(
            !run("plan", "crates/plan/src/a.rs", text, &Ratchet::default())
                .0
                .lines()
                .is_empty()
        );
        assert!(
            run("proxy", "crates/proxy/src/a.rs", text, &Ratchet::default())
                .0
                .lines()
                .is_empty()
        );
        let text = "fn f() { std::fs::read(p); }";
        assert!(
            !run(
                "model",
                "crates/model/src/resolve.rs",
                text,
                &Ratchet::default()
            )
            .0
            .lines()
            .is_empty()
        );
        assert!(
            run(
                "model",
                "crates/model/src/load.rs",
                text,
                &Ratchet::default()
            )
            .0
            .lines()
            .is_empty()
        );
        assert!(
            run(
                "plan",
                "crates/plan/src/a.rs",
                "use std::net::IpAddr;",
                &Ratchet::default()
            )
            .0
            .lines()
            .is_empty()
        );
    }

    #[test]
    fn outside_bytes_are_not_unwrapped_nor_indexed() {
        let text = "fn f(x: &[u8]) { x[0]; x.first().unwrap(); }\n#[cfg(test)]\nmod tests { fn g() { y[1]; z.unwrap() } }\n";
        let (findings, counted) = run("wire", "crates/wire/src/a.rs", text, &Ratchet::default());
        assert_eq!(findings.lines().len(), 2);
        let (findings, _) = run("wire", "crates/wire/src/a.rs", text, &counted);
        assert_eq!(
            (findings.lines().len(), findings.known()),
            (0, 2),
            "once recorded, they are known"
        );
        let grown = format!("fn h() {{ y[2] }}\n{text}");
        assert_eq!(
            run("wire", "crates/wire/src/a.rs", &grown, &counted)
                .0
                .lines()
                .len(),
            2,
            "growth shows all of the file"
        );
    }

    #[test]
    fn a_waiver_needs_a_reason() {
        let waived = "fn f() {\n    // tidy-allow: n was compared above\n    t[n];\n}\n";
        assert!(
            run("sql", "crates/sql/src/a.rs", waived, &Ratchet::default())
                .0
                .lines()
                .is_empty()
        );
        let empty = waived.replace("n was compared above", "");
        assert_eq!(
            run("sql", "crates/sql/src/a.rs", &empty, &Ratchet::default())
                .0
                .lines()
                .len(),
            1
        );
    }

    #[test]
    fn long_functions_and_files_are_found() {
        let text = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(600));
        let (findings, counted) = run("xtask", "xtask/src/a.rs", &text, &Ratchet::default());
        assert_eq!(findings.lines().len(), 2);
        assert_eq!(
            counted
                .entries()
                .map(|(_, _, size)| size)
                .collect::<Vec<_>>(),
            [602, 602]
        );
    }
}
