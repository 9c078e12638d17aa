//! `cargo xtask tidy`: keeps the house in order without anybody remembering. It owns the checks that compilers and linters do
//! not make: arrows between crates, purity, sizes, panics on outside bytes, documents. It must never change a file but the
//! ratchet, and that only with `--bless`. Input: the files of the work tree as git lists them.

mod documents;
mod manifests;
mod ratchet;
mod rust;
mod sources;
mod tree;
mod words;

use std::path::Path;
use std::time::Instant;

use ratchet::{Ratchet, Standing};
use tree::Tree;

use crate::workspace;

const RATCHET: &str = "xtask/tidy-ratchet.toml";
const USAGE: &str = "\
usage: cargo xtask tidy [--all] [--bless [--grow]]
  --all     also list the known defects that xtask/tidy-ratchet.toml tolerates
  --bless   lower the ratchet to what is left
  --grow    with --bless: record new and grown defects as well (to be defended in review)";

/// One defect: where, what, and what to do about it.
pub struct Finding {
    path: String,
    line: usize,
    what: String,
    remedy: String,
}

impl Finding {
    /// A defect at `line` (from 1) of `path`.
    pub fn new(path: &str, line: usize, what: String, remedy: &str) -> Finding {
        Finding {
            path: path.to_owned(),
            line,
            what,
            remedy: remedy.to_owned(),
        }
    }

    fn print(&self) -> String {
        format!(
            "{}:{}: {} — {}",
            self.path, self.line, self.what, self.remedy
        )
    }
}

/// What a run found: defects that fail it, and those the ratchet knows.
#[derive(Default)]
pub struct Findings {
    failing: Vec<Finding>,
    known: Vec<Finding>,
}

impl Findings {
    /// Adds a defect that fails the run.
    pub fn add(&mut self, finding: Finding) {
        self.failing.push(finding);
    }

    /// Adds a defect that fails the run unless the ratchet knows it.
    pub fn ratcheted(&mut self, finding: Finding, standing: Standing) {
        match standing {
            Standing::Known => self.known.push(finding),
            Standing::New | Standing::Grown(_) => self.failing.push(finding),
        }
    }

    /// The failing defects, one line each.
    pub fn lines(&self) -> Vec<String> {
        self.failing.iter().map(Finding::print).collect()
    }

    /// How many defects the ratchet tolerated.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.known.len()
    }
}

/// What the command line asks for.
#[derive(Default, Clone, Copy)]
struct Options {
    list_known: bool,
    bless: Option<Bless>,
}

/// How the ratchet is rewritten.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bless {
    Lower,
    Grow,
}

/// Runs the checks; prints one line per defect and a summary.
///
/// # Errors
/// When there are defects the ratchet does not know, or the tree cannot be read.
pub fn run(args: &[String]) -> Result<(), String> {
    let Some(options) = parse(args)? else {
        println!("{USAGE}");
        return Ok(());
    };
    let started = Instant::now();
    let root = workspace::root();
    let tree = Tree::read(&root)?;
    let known = match tree.file(RATCHET) {
        Some(file) => Ratchet::parse(&file.text).map_err(|error| format!("{RATCHET}: {error}"))?,
        None => Ratchet::default(),
    };
    let (findings, counted) = check(&tree, &known);
    if let Some(bless) = options.bless {
        return write_ratchet(&root, &known, &counted, bless);
    }
    if options.list_known {
        findings
            .known
            .iter()
            .for_each(|finding| println!("known: {}", finding.print()));
    }
    findings.lines().iter().for_each(|line| println!("{line}"));
    if known.lowered(&counted) != known {
        println!("note: the ratchet can be lowered: cargo xtask tidy --bless");
    }
    let summary = format!(
        "tidy: {} files, {} defects, {} known, {} ms",
        tree.files.len(),
        findings.failing.len(),
        findings.known.len(),
        started.elapsed().as_millis(),
    );
    println!("{summary}");
    if findings.failing.is_empty() {
        Ok(())
    } else {
        Err("the tree is not tidy".to_owned())
    }
}

fn parse(args: &[String]) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    for arg in args {
        match arg.as_str() {
            "--all" => options.list_known = true,
            "--bless" => options.bless = options.bless.or(Some(Bless::Lower)),
            "--grow" => options.bless = Some(Bless::Grow),
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument `{other}`\n{USAGE}")),
        }
    }
    if options.bless == Some(Bless::Grow) && !args.iter().any(|arg| arg == "--bless") {
        return Err(format!("--grow goes with --bless\n{USAGE}"));
    }
    Ok(Some(options))
}

fn check(tree: &Tree, known: &Ratchet) -> (Findings, Ratchet) {
    let (mut findings, mut counted) = (Findings::default(), Ratchet::default());
    manifests::check(tree, &mut findings);
    sources::check(&tree.sources(), known, &mut counted, &mut findings);
    words::check(tree, &mut findings);
    documents::check(tree, &mut findings);
    (findings, counted)
}

fn write_ratchet(
    root: &Path,
    known: &Ratchet,
    counted: &Ratchet,
    bless: Bless,
) -> Result<(), String> {
    let next = match bless {
        Bless::Lower => known.lowered(counted),
        Bless::Grow => counted.clone(),
    };
    for (rule, place, size) in counted.entries() {
        let grown = match known.standing(rule, place, size) {
            Standing::Known => continue,
            Standing::New => format!("{}: {place}: new, {size}", rule.section()),
            Standing::Grown(before) => format!("{}: {place}: {before} → {size}", rule.section()),
        };
        println!(
            "{}{grown}",
            if bless == Bless::Grow {
                "recorded: "
            } else {
                "not recorded (--grow would): "
            }
        );
    }
    std::fs::write(root.join(RATCHET), next.print()).map_err(|error| format!("{RATCHET}: {error}"))
}
