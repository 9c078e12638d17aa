//! `cargo xtask differential`: a sharded mesh and one MySQL answer the same statements.
//!
//! Owns the command line; the harness is a crate of its own. It ends with an error if anything differs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dbmesh_differential::ground::{Ground, Opponent};
use dbmesh_differential::report::{Counts, Report};
use dbmesh_differential::run::Run;
use dbmesh_differential::schema::SHOP;
use dbmesh_differential::statement::{Form, Statement};
use dbmesh_differential::{family, grammar::Grammar, tpcc, tpch};
use dbmesh_testkit::{Kind, process};
use serde_json::{Value, json};

/// Transactions of TPC-C that are run on both sides, in each form.
const TPCC_COMPARED: usize = 300;

/// Options of the comparison.
#[derive(clap::Args)]
pub struct Options {
    /// The seed of rows and drawn statements.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// So many drawn statements, after the hand-written ones.
    #[arg(long, default_value_t = 5_000)]
    statements: usize,
    /// So many runs, one after the other, with this seed and those that follow; each has rows of its own.
    #[arg(long, default_value_t = 1, conflicts_with_all = ["tpch", "tpcc"])]
    runs: u64,
    /// Write the counts of all runs to this file, as JSON.
    #[arg(long, conflicts_with_all = ["tpch", "tpcc"])]
    summary: Option<PathBuf>,
    /// Only families whose name begins so, such as `read.group` or `random`.
    #[arg(long, default_value = "")]
    only: String,
    /// MariaDB servers instead of MySQL.
    #[arg(long)]
    mariadb: bool,
    /// Only statements in text, or only prepared ones.
    #[arg(long)]
    form: Option<FormOption>,
    /// Compare one server with another, without a mesh: the harness against itself.
    #[arg(long)]
    itself: bool,
    /// The 22 queries of TPC-H at a small scale, instead of all else.
    #[arg(long)]
    tpch: bool,
    /// TPC-C by warehouse at a small scale, instead of all else: beside one MySQL, then with many clients for the minutes.
    #[arg(long, conflicts_with_all = ["tpch", "mariadb", "itself"])]
    tpcc: bool,
    /// Kill servers while TPC-C runs.
    #[arg(long, requires = "tpcc")]
    kills: bool,
    /// Clients of TPC-C.
    #[arg(long, default_value_t = 8, requires = "tpcc")]
    clients: u64,
}

/// One of the two forms of a statement.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FormOption {
    Text,
    Prepared,
}

impl Options {
    fn sends(&self, statement: &Statement) -> bool {
        match self.form {
            None => true,
            Some(FormOption::Text) => statement.form == Form::Text,
            Some(FormOption::Prepared) => statement.form == Form::Prepared,
        }
    }

    fn wants(&self, statement: &Statement) -> bool {
        self.sends(statement) && statement.family.starts_with(&self.only)
    }
}

/// Runs all, prints the report.
pub fn run(options: &Options) -> Result<(), String> {
    process::exit_on_signals("\ndifferential: ended by a signal", 130)
        .map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let kind = match options.mariadb {
        true => Kind::MariaDb,
        false => Kind::MySql,
    };
    let opponent = match options.itself {
        true => Opponent::Same,
        false => Opponent::Mesh,
    };
    let begin = Instant::now();
    let deadline = options
        .minutes
        .map(|minutes| begin + Duration::from_secs(minutes * 60));
    if options.tpcc {
        return run_tpcc(options);
    }
    if options.tpch {
        return run_tpch(options, kind, opponent);
    }
    let mut total = Totals::default();
    for seed in (options.seed..).take(options.runs.max(1) as usize) {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        let (report, count) = one_run(options, kind, opponent, seed, deadline)?;
        total.report.absorb(report);
        total.statements += count;
        total.seeds.push(seed);
        total.seconds = begin.elapsed().as_secs_f64();
        if let Some(file) = &options.summary {
            total.write(kind, file)?;
        }
        let all = total.report.total();
        println!(
            "{kind}, seed {seed}: {count} statements; so far {} in {:.0} s, {} different, {} refused",
            total.statements, total.seconds, all.different, all.refused
        );
    }
    let report = &total.report;
    let reads = ["read", "query", "random"].map(|prefix| report.of(prefix));
    println!("\n{report}");
    println!(
        "{kind}, {} runs from seed {}: {} statements in {:.0} s; accepted of reads {:.1}%, of queries {:.1}%, of drawn \
         {:.1}%, of changes {:.1}%",
        total.seeds.len(),
        options.seed,
        total.statements,
        total.seconds,
        reads[0].accepted_percent(),
        reads[1].accepted_percent(),
        reads[2].accepted_percent(),
        report.of("change").accepted_percent(),
    );
    match report.total().different {
        0 => Ok(()),
        different => Err(format!("{different} statements differ")),
    }
}

/// What several runs counted together.
#[derive(Default)]
struct Totals {
    report: Report,
    seeds: Vec<u64>,
    statements: u64,
    seconds: f64,
}

impl Totals {
    fn write(&self, kind: Kind, file: &Path) -> Result<(), String> {
        let families: serde_json::Map<String, Value> = self
            .report
            .families()
            .map(|(name, counts)| (name.to_owned(), told(counts)))
            .collect();
        let listed = |(text, count, example): (&str, u64, &str)| json!({"what": text, "count": count, "example": example});
        let summary = json!({
            "servers": kind.to_string(),
            "seeds": self.seeds,
            "statements": self.statements,
            "seconds": self.seconds.round(),
            "all": told(self.report.total()),
            "families": families,
            "refused": self.report.refusals().map(listed).collect::<Vec<_>>(),
            "other_plans": self.report.plans().map(listed).collect::<Vec<_>>(),
            "differences": self.report.told,
        });
        std::fs::write(file, format!("{summary:#}\n"))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))
    }
}

fn told(counts: Counts) -> Value {
    json!({
        "equal": counts.equal,
        "same_error": counts.errors,
        "refused": counts.refused,
        "refused_and_error": counts.hopeless,
        "different": counts.different,
        "other_number_of_warnings": counts.warnings,
        "as_by_another_plan": counts.planned,
        "accepted_percent": counts.accepted_percent(),
    })
}

/// The statements of one seed; what came of them, and how many they were.
fn one_run(
    options: &Options,
    kind: Kind,
    opponent: Opponent,
    seed: u64,
    deadline: Option<Instant>,
) -> Result<(Report, u64), String> {
    let ground = Ground::start(SHOP, kind, opponent, seed)?;
    let mut run = Run::new(&ground)?;
    let written = family::statements(&options.only)?;
    let written = written.into_iter().filter(|s| options.wants(s));
    let mut count = run.all(written, deadline)?;
    let random = options.only.is_empty() || options.only.starts_with("random");
    if random {
        let size = match (deadline, options.runs) {
            (Some(_), 0..=1) => usize::MAX,
            _ => options.statements,
        };
        let drawn = Grammar::new(seed).filter(|s| options.wants(s)).take(size);
        count += run.all(drawn, deadline)?;
    }
    Ok((run.report, count))
}

/// TPC-C: each form beside one MySQL, then under load; the conditions decide.
fn run_tpcc(options: &Options) -> Result<(), String> {
    println!("loading TPC-C, 8 warehouses on 8 shards of two servers");
    let ground = Ground::start(tpcc::TPCC, Kind::MySql, Opponent::Mesh, options.seed)?;
    for form in [Form::Text, Form::Prepared] {
        tpcc::compare(&ground, form, options.seed, TPCC_COMPARED)?;
        println!(
            "{TPCC_COMPARED} transactions ({form:?}) read and wrote what they do on one server"
        );
    }
    let lasts = Duration::from_secs(60 * options.minutes.unwrap_or(1));
    println!("{} clients for {lasts:?}", options.clients);
    let outcome = tpcc::endure(
        &ground,
        tpcc::Endurance {
            clients: options.clients,
            lasts,
            kills: options.kills,
            seed: options.seed,
        },
    )?;
    println!("\n{outcome}");
    let mut wrong = outcome.unexplained;
    wrong.extend(tpcc::check(&ground)?);
    match wrong.is_empty() {
        true => {
            println!("all conditions of consistency hold");
            Ok(())
        }
        false => Err(wrong.join("\n")),
    }
}

/// How often each query of TPC-H is asked for its time.
const TIMES: usize = 3;

/// The queries of TPC-H, each as text and prepared, and how long they take.
fn run_tpch(options: &Options, kind: Kind, opponent: Opponent) -> Result<(), String> {
    let ground = Ground::start(tpch::TPCH, kind, opponent, options.seed)?;
    let mut run = Run::new(&ground)?;
    let queries = tpch::queries()?.into_iter();
    let queries: Vec<_> = queries.filter(|query| options.sends(query)).collect();
    run.all(queries.iter().cloned(), None)?;
    println!("\n{}", run.report);
    println!("| query | one server, ms | sharded, ms | ratio |\n|---|---|---|---|");
    let mut pair = ground.connect()?;
    let texts = queries.iter().filter(|query| query.form == Form::Text);
    for query in texts {
        let mut times = [[Duration::MAX; 2]; TIMES];
        times.fill_with(|| pair.time(query));
        let least = |side: usize| {
            let of_side = times.iter().filter_map(|time| time.get(side));
            of_side.min().map_or(0.0, Duration::as_secs_f64) * 1_000.0
        };
        let (one, sharded) = (least(0), least(1));
        println!(
            "| {} | {one:.1} | {sharded:.1} | {:.2} |",
            query.family,
            sharded / one
        );
    }
    match run.report.total().different {
        0 => Ok(()),
        different => Err(format!("{different} statements differ")),
    }
}
