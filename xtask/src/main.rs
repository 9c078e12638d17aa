//! The project's own commands, run as `cargo xtask <command>`.
//!
//! Owns the dispatch alone; each command is a module of its own. Nothing here may be needed by the
//! shipped binary. Its input is the command line of a developer or of the continuous integration.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod demo;
mod differential;
mod fuzz;
#[path = "../../crates/dbmesh/src/quiet.rs"]
mod quiet;
mod test;
mod tidy;
mod workspace;

/// `cargo xtask`: what a developer of dbmesh runs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a shop's catalogue on real servers behind dbmesh, and say what to try.
    Demo(demo::Options),
    /// Compare a sharded mesh with one MySQL, statement by statement.
    Differential(differential::Options),
    /// Run everything that a change must pass.
    Test(test::Options),
    /// Check what rustc cannot: dependency arrows, sizes, texts, links.
    #[command(disable_help_flag = true)]
    Tidy(Rest),
    /// Compare a direct server, a TCP proxy and dbmesh in one interleaved run.
    #[command(disable_help_flag = true)]
    Bench(Rest),
    /// Feed the decoders what nobody sends, for a while each.
    #[command(disable_help_flag = true)]
    Fuzz(Rest),
}

/// Arguments that a command parses itself.
#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    quiet::run(command)
}

fn command() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Differential(options) => differential::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Tidy(rest) => tidy::run(&rest.args),
        Command::Bench(rest) => bench::run(&rest.args),
        Command::Fuzz(rest) => fuzz::run(&rest.args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            if !message.is_empty() {
                eprintln!("xtask: {message}");
            }
            ExitCode::FAILURE
        }
    }
}
