//! Whether the lines of a ledger are as they were written, all of them and in order.
//!
//! It owns the words for what is wrong, with file and line. It changes nothing. Its input is files that anybody may have
//! written.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::LINE_BYTES_MAX;
use super::chain::{End, Linked, NOTHING};
use super::writer::aside;

/// Defects listed; more are counted.
const FOUND_MAX: usize = 100;

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What.
    pub what: What,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is no line of a chain.
    Strange,
    /// The file ends in the middle of it.
    Torn,
    /// Its content does not fit its hash.
    Changed,
    /// The line before is not the one that it was written behind.
    Unlinked,
    /// This many lines are missing before it.
    Missing(u64),
    /// It stands behind a line with the same or a higher number.
    Misplaced,
    /// A new chain begins in the middle.
    Restarted,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strange => f.write_str("this is no line of an audit"),
            Self::Torn => f.write_str("the file ends in the middle of this line"),
            Self::Changed => f.write_str("this line was changed"),
            Self::Unlinked => f.write_str("the line before this one was changed or replaced"),
            Self::Missing(1) => f.write_str("a line is missing before this one"),
            Self::Missing(n) => write!(f, "{n} lines are missing before this one"),
            Self::Misplaced => f.write_str("this line is out of order, or there twice"),
            Self::Restarted => f.write_str("a new chain begins here"),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Lines looked at.
    pub lines: u64,
    /// Number of the first one; 0 if there is none.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
    /// Hash of the last one.
    pub head: String,
    /// What is wrong, up to 100 of it.
    pub found: Vec<Found>,
    /// How much is wrong.
    pub defects: u64,
    /// The files, in order.
    pub files: Vec<PathBuf>,
}

impl Report {
    fn add(&mut self, file: &Path, line: u64, what: What) {
        self.defects += 1;
        if self.found.len() < FOUND_MAX {
            self.found.push(Found {
                file: file.to_owned(),
                line,
                what,
            });
        }
    }
}

/// Looks at these files, and at those that were put aside of them (`PATH.1` and so on), in the order of their lines.
///
/// # Errors
/// A file that cannot be read.
pub fn verify(paths: &[PathBuf]) -> io::Result<Report> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        let mut number = 1;
        while aside(path, number).exists() {
            files.push(aside(path, number));
            number += 1;
        }
        files.push(path.clone());
    }
    files.sort();
    files.dedup();
    let mut ordered = Vec::new();
    for file in files {
        let named = |error| named(&file, &error);
        let first = first_seq(&file).map_err(named)?;
        ordered.push((first, file));
    }
    // A file without a line of a chain comes last: it is empty, or stands out.
    ordered.sort_by_key(|(seq, _)| seq.unwrap_or(u64::MAX));
    let (mut report, mut end) = (Report::default(), None);
    for (_, file) in ordered {
        look(&file, &mut end, &mut report).map_err(|error| named(&file, &error))?;
        report.files.push(file);
    }
    Ok(report)
}

/// An error that says which file it is of.
fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    reader
        .take(LINE_BYTES_MAX as u64 * 2)
        .read_until(b'\n', line)
}

fn first_seq(file: &Path) -> io::Result<Option<u64>> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut line = Vec::new();
    while next_line(&mut reader, &mut line)? > 0 {
        if let Some(linked) = Linked::parse(line.trim_ascii_end()) {
            return Ok(Some(linked.seq));
        }
    }
    Ok(None)
}

fn look(file: &Path, end: &mut Option<End>, report: &mut Report) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(file)?);
    let (mut line, mut number) = (Vec::new(), 0);
    while next_line(&mut reader, &mut line)? > 0 {
        number += 1;
        report.lines += 1;
        let whole = line.ends_with(b"\n");
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let Some(linked) = Linked::parse(text) else {
            let what = if whole { What::Strange } else { What::Torn };
            report.add(file, number, what);
            continue;
        };
        if let Some(what) = judge(&linked, end.as_ref()) {
            report.add(file, number, what);
        }
        if report.first == 0 {
            report.first = linked.seq;
        }
        report.last = linked.seq;
        report.head = linked.hash.to_owned();
        *end = Some(End {
            seq: linked.seq,
            hash: linked.hash.to_owned(),
        });
    }
    Ok(())
}

/// What is wrong with a line behind another one; the first may be any, as older files are removed.
fn judge(line: &Linked<'_>, before: Option<&End>) -> Option<What> {
    if !line.is_whole() {
        return Some(What::Changed);
    }
    let Some(before) = before else {
        let begins = line.seq == 1 && line.prev != NOTHING;
        return begins.then_some(What::Unlinked);
    };
    if line.seq == 1 && line.prev == NOTHING {
        return Some(What::Restarted);
    }
    let next = before.seq.saturating_add(1);
    if line.seq > next {
        return Some(What::Missing(line.seq - next));
    }
    if line.seq < next {
        return Some(What::Misplaced);
    }
    (line.prev != before.hash).then_some(What::Unlinked)
}
