//! `cargo xtask test`: everything that a change must pass, with progress and a summary.
//!
//! Owns the list of steps, which is the one place to add another. It must never pass over something
//! that is missing: a step whose program, server or file cannot be had fails. Its closing line is
//! `N passed, N failed`, counting single tests where a step says how many it has.

use std::time::{Duration, Instant};

use crate::tidy;

mod drivers;
mod program;
mod servers;

use program::Program;

/// Options of the tests.
#[derive(clap::Args)]
pub struct Options {
    /// Also what takes too long for every change.
    #[arg(long)]
    long: bool,
    /// Also formatting, lints, documentation and `cargo xtask tidy`, as continuous integration does.
    #[arg(long)]
    checks: bool,
    /// Only the steps with this name; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// One step of the tests.
struct Step {
    name: &'static str,
    /// What the reader sees while it runs.
    what: &'static str,
    when: When,
    limit: Duration,
    run: fn(&Step, &Options) -> Tally,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    WithChecks,
    WithLong,
}

/// How many tests a step passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// The steps, in their order.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "formatting",
        when: When::WithChecks,
        limit: minutes(2),
        run: |step, _| Program::cargo(&["fmt", "--all", "--check"]).run(step),
    },
    Step {
        name: "clippy",
        what: "lints",
        when: When::WithChecks,
        limit: minutes(20),
        run: |step, _| {
            Program::cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ])
            .run(step)
        },
    },
    Step {
        name: "doc",
        what: "documentation",
        when: When::WithChecks,
        limit: minutes(10),
        run: |step, _| {
            let doc = Program::cargo(&[
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ]);
            doc.env("RUSTDOCFLAGS", "--deny warnings").run(step)
        },
    },
    Step {
        name: "tidy",
        what: "the house's order",
        when: When::WithChecks,
        limit: minutes(1),
        run: |_, _| Tally::of(tidy::run(&[])),
    },
    Step {
        name: "build",
        what: "building everything",
        when: When::Always,
        limit: minutes(25),
        run: |step, _| Program::cargo(&["test", "--workspace", "--no-run"]).run(step),
    },
    Step {
        name: "unit",
        what: "unit, golden and property tests",
        when: When::Always,
        limit: minutes(15),
        run: |step, options| Program::tests(&["--lib", "--bins"], options).run(step),
    },
    Step {
        name: "docs",
        what: "examples in the documentation",
        when: When::Always,
        limit: minutes(10),
        run: |step, options| Program::tests(&["--doc"], options).run(step),
    },
    Step {
        name: "servers",
        what: "finding or fetching MySQL and MariaDB",
        when: When::Always,
        limit: minutes(10),
        run: |_, _| servers::run(),
    },
    Step {
        name: "integration",
        what: "tests against real servers",
        when: When::Always,
        limit: minutes(20),
        run: |step, options| Program::tests(&["--test", "*"], options).run(step),
    },
    Step {
        name: "drivers",
        what: "drivers of other languages",
        when: When::Always,
        limit: minutes(40),
        run: |step, options| drivers::run(step, options.long),
    },
    Step {
        name: "demo",
        what: "the demonstration with traffic",
        when: When::Always,
        limit: minutes(5),
        run: |step, _| Program::xtask(&["demo", "--load", "--seconds", "5"]).run(step),
    },
    Step {
        name: "demo-mariadb",
        what: "the demonstration on MariaDB",
        when: When::WithLong,
        limit: minutes(5),
        run: |step, _| {
            Program::xtask(&["demo", "--mariadb", "--load", "--seconds", "30"]).run(step)
        },
    },
];

/// Runs the steps and prints the summary. The error is empty when the summary has said it all.
pub fn run(options: &Options) -> Result<(), String> {
    dbmesh_testkit::process::exit_on_signals("\ntest: ended by a signal", 130)
        .map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;
    let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        return Err(format!(
            "no step `{unknown}`; the steps are {}",
            known.join(", ")
        ));
    }
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| step.is_chosen(options))
        .collect();
    let mut done = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!(
            "\n[{}/{}] {}: {}",
            index + 1,
            steps.len(),
            step.name,
            step.what
        );
        let begin = Instant::now();
        let tally = (step.run)(step, options);
        done.push((*step, tally, begin.elapsed()));
    }
    summarise(&done)
}

fn summarise(done: &[(&Step, Tally, Duration)]) -> Result<(), String> {
    println!(
        "\n{:<14} {:>8} {:>8} {:>9}",
        "step", "passed", "failed", "seconds"
    );
    let mut total = Tally::default();
    for (step, tally, time) in done {
        let mark = if tally.failed > 0 { "  FAILED" } else { "" };
        println!(
            "{:<14} {:>8} {:>8} {:>9.1}{mark}",
            step.name,
            tally.passed,
            tally.failed,
            time.as_secs_f64()
        );
        total = total.plus(*tally);
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 {
        Ok(())
    } else {
        Err(String::new())
    }
}

impl Step {
    fn is_chosen(&self, options: &Options) -> bool {
        if !options.only.is_empty() {
            return options.only.iter().any(|name| name == self.name);
        }
        match self.when {
            When::Always => true,
            When::WithChecks => options.checks,
            When::WithLong => options.long,
        }
    }
}

impl Tally {
    const PASSED: Tally = Tally {
        passed: 1,
        failed: 0,
    };
    const FAILED: Tally = Tally {
        passed: 0,
        failed: 1,
    };

    fn of(outcome: Result<(), String>) -> Tally {
        match outcome {
            Ok(()) => Tally::PASSED,
            Err(message) => {
                eprintln!("{message}");
                Tally::FAILED
            }
        }
    }

    fn plus(self, other: Tally) -> Tally {
        Tally {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}
