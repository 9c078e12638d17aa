//! `cargo xtask differential`: a sharded mesh and one MySQL answer the same statements.
//!
//! Owns the command line; the harness is a crate of its own. It ends with an error if anything differs.

use std::time::{Duration, Instant};

use dbmesh_differential::ground::{Ground, Opponent};
use dbmesh_differential::run::Run;
use dbmesh_differential::schema::SHOP;
use dbmesh_differential::statement::{Form, Statement};
use dbmesh_differential::{family, grammar::Grammar, tpcc, tpch};
use dbmesh_testkit::{Kind, process};

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
    let ground = Ground::start(SHOP, kind, opponent, options.seed)?;
    let mut run = Run::new(&ground)?;
    let written = family::statements(&options.only)?;
    let written = written.into_iter().filter(|s| options.wants(s));
    let mut count = run.all(written, deadline)?;
    let random = options.only.is_empty() || options.only.starts_with("random");
    if random {
        let size = match deadline {
            Some(_) => usize::MAX,
            None => options.statements,
        };
        let drawn = Grammar::new(options.seed)
            .filter(|s| options.wants(s))
            .take(size);
        count += run.all(drawn, deadline)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let reads = ["read", "query", "random"].map(|prefix| run.report.of(prefix));
    println!("\n{}", run.report);
    println!(
        "{kind}, seed {}: {count} statements in {seconds:.0} s; accepted of reads {:.1}%, of queries {:.1}%, of drawn \
         {:.1}%, of changes {:.1}%",
        options.seed,
        reads[0].accepted_percent(),
        reads[1].accepted_percent(),
        reads[2].accepted_percent(),
        run.report.of("change").accepted_percent(),
    );
    match run.report.total().different {
        0 => Ok(()),
        different => Err(format!("{different} statements differ")),
    }
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

/// The queries of TPC-H, each as text and prepared.
fn run_tpch(options: &Options, kind: Kind, opponent: Opponent) -> Result<(), String> {
    let ground = Ground::start(tpch::TPCH, kind, opponent, options.seed)?;
    let mut run = Run::new(&ground)?;
    let queries = tpch::queries()?.into_iter();
    run.all(queries.filter(|query| options.sends(query)), None)?;
    println!("\n{}", run.report);
    match run.report.total().different {
        0 => Ok(()),
        different => Err(format!("{different} statements differ")),
    }
}
