//! The command line: sub-commands, their options, defaults and help.
//!
//! It owns every word that `--help` prints. It never acts on them: each sub-command has its module.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dbmesh_model::Kind;

/// A database mesh for MySQL: one endpoint in front of a fleet of servers.
///
/// Applications connect to dbmesh as if it were one MySQL server; it pools and
/// shares connections to the servers behind, and governs every statement on its way.
#[derive(Debug, Parser)]
#[command(
    name = "dbmesh",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "Start with `dbmesh check CONFIG`, then `dbmesh proxy --config CONFIG`.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve applications: the data plane.
    Proxy(ProxyArgs),
    /// Check a configuration and print every defect at once.
    ///
    /// Exits with 0 when it can be used (warnings allowed) and with 1 when it cannot.
    Check(CheckArgs),
    /// Print the JSON Schema of the resources.
    Schema(SchemaArgs),
}

/// `dbmesh proxy`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// Resource file, or folder of .yaml, .yml and .json files.
    #[arg(long, value_name = "PATH")]
    pub config: PathBuf,
    /// Address of the admin HTTP server; it has no authentication, so keep it on loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6070")]
    pub admin: SocketAddr,
    /// Worker threads; 0 means one per CPU, but one on machines of up to two CPUs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub workers: usize,
    /// Form of log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Least severe log line to print.
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// How long sessions may go on after SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain_timeout: u64,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Least severe log line to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Faults that need a person.
    Error,
    /// And what may become one.
    Warn,
    /// And what changes the state of the process.
    Info,
    /// And what happens to sessions and connections.
    Debug,
    /// And every statement's stages.
    Trace,
}

/// `dbmesh check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Resource file, or folder of .yaml, .yml and .json files.
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people; in colour on a terminal, unless NO_COLOR is set.
    Table,
    /// For programs.
    Json,
}

/// `dbmesh schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The kind of resource; all of them, in one object by kind, if absent.
    #[arg(value_name = "KIND", value_enum, ignore_case = true)]
    pub kind: Option<KindName>,
}

/// A kind of resource, by its name or short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindName {
    /// What applications connect to.
    #[value(name = "VirtualDatabase", alias = "vdb")]
    VirtualDatabase,
    /// Which endpoints serve, and which statements are held back.
    #[value(name = "TrafficStrategy", alias = "ts")]
    TrafficStrategy,
    /// A real server.
    #[value(name = "DatabaseEndpoint", alias = "dbep")]
    DatabaseEndpoint,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::VirtualDatabase => Kind::VirtualDatabase,
            KindName::TrafficStrategy => Kind::TrafficStrategy,
            KindName::DatabaseEndpoint => Kind::DatabaseEndpoint,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_kind_has_its_names() {
        for kind in Kind::ALL {
            for name in [kind.name(), kind.short_name()] {
                let parsed = KindName::from_str(name, true).map(Kind::from);
                assert_eq!(parsed, Ok(kind), "{name}");
            }
        }
    }
}
