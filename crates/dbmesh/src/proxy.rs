//! `dbmesh proxy`: starts the log and the data plane.

use std::process::ExitCode;
use std::time::Duration;

use dbmesh_proxy::{Options, ServeError, serve};
use dbmesh_runtime::log;

use crate::check;
use crate::cli::{LogFormat, LogLevel, ProxyArgs};

/// Serves until told to stop; fails if the configuration is wrong or the machine refuses.
pub fn run_proxy(args: &ProxyArgs) -> ExitCode {
    let format = match args.log_format {
        LogFormat::Text => log::LogFormat::Text,
        LogFormat::Json => log::LogFormat::Json,
    };
    let level = match args.log_level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    if let Err(why) = log::init(format, level) {
        eprintln!("dbmesh: cannot start the log: {why}");
        return ExitCode::FAILURE;
    }
    let options = Options {
        config: args.config.clone(),
        admin: args.admin,
        workers: args.workers,
        drain_timeout: Duration::from_secs(args.drain_timeout),
        memory_limit_bytes: args.memory_limit,
        large_commands_bytes: args.large_commands_mib.saturating_mul(1 << 20),
        merge_bytes: args.merge_memory_mib.saturating_mul(1 << 20),
        replay_bytes: args.replay_memory_mib.saturating_mul(1 << 20),
        state: args.state.clone(),
        take_over: args.take_over,
        zone: args.zone.clone().filter(|zone| !zone.is_empty()),
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeError::Configuration(defects)) => {
            check::explain(&defects.0);
            ExitCode::FAILURE
        }
        Err(ServeError::System(what)) => {
            eprintln!("dbmesh: {what}");
            ExitCode::FAILURE
        }
    }
}
