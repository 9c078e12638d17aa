//! The binary of dbmesh: reads the command line and hands over to a sub-command.
//!
//! It owns exit codes: 0 when all is well, 1 when the answer is no, 2 when the command line is wrong.

mod audit;
mod check;
mod cli;
mod drain;
mod explain;
mod get;
mod import;
mod page;
mod password_hash;
mod proxy;
mod quiet;
mod schema;
mod terminal;
mod top;
mod transactions;

use std::process::ExitCode;

use clap::Parser;

use cli::{AuditCommand, Cli, Command};

fn main() -> ExitCode {
    quiet::run(command)
}

fn command() -> ExitCode {
    match Cli::parse().command {
        Command::Proxy(args) => proxy::run_proxy(&args),
        Command::Check(args) => check::run_check(&args),
        Command::Schema(args) => schema::run_schema(&args),
        Command::Explain(args) => explain::run_explain(&args),
        Command::Get(args) => get::run_get(&args),
        Command::Drain(args) => drain::run_drain(&args),
        Command::Undrain(args) => drain::run_undrain(&args),
        Command::Transactions(args) => transactions::run_transactions(&args),
        Command::Breaker(args) => drain::run_breaker(&args),
        Command::Top(args) => top::run_top(&args),
        Command::PasswordHash(args) => password_hash::run_password_hash(&args),
        Command::Audit(AuditCommand::Verify(args)) => audit::run_verify(&args),
        Command::Import(command) => import::run_import(&command),
    }
}
