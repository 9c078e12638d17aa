//! The command line: sub-commands, their options, defaults and help.
//!
//! It owns every word that `--help` prints. It never acts on them: each sub-command has its module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Explain what would become of a statement, from a configuration alone.
    ///
    /// The rule, role and endpoints that it would get, whether it is proved to read only, what it would pin. The statement
    /// runs nowhere. On a connection through the proxy, `EXPLAIN MESH statement` says the same of the session as it is.
    Explain(ExplainArgs),
    /// List what a running proxy serves, and how it stands.
    Get(GetArgs),
    /// Take an endpoint of a running proxy out of service, without losing a statement.
    ///
    /// It gets no new statements; idle connections are closed at once, others when their transactions end. Shows how many
    /// are left, and exits with 0 when there is none, with 1 when the time is up: the endpoint stays draining then.
    Drain(DrainArgs),
    /// Let an endpoint serve again that was drained.
    Undrain(OrderArgs),
    /// List transactions over several nodes that are in doubt, or force the outcome of one.
    Transactions(TransactionsArgs),
    /// Hold an endpoint's breaker open or closed, or let it decide itself again.
    Breaker(BreakerArgs),
    /// Watch a running proxy: statements, endpoints, sessions and pools, live.
    ///
    /// Keys: 1 to 4 or Tab choose the view, s the order, / filters, Space pauses, q ends.
    Top(TopArgs),
    /// Make what a resource keeps of a password (`passwordHash`) instead of the password itself.
    ///
    /// Asks for the password on a terminal, without showing it; else reads one line from standard input, or from a file. It is
    /// never taken from the command line, which other processes may read.
    PasswordHash(PasswordHashArgs),
    /// Look at files of the audit.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Convert the configuration of another proxy to resources.
    ///
    /// The resources go to standard output and pass `dbmesh check`. What has no equivalent is listed on standard error:
    /// where it stands, what it is, why, and what to do instead.
    #[command(subcommand)]
    Import(ImportCommand),
}

/// `dbmesh import`.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Configuration files of ShardingSphere 5, of its Proxy or of JDBC.
    Shardingsphere(ShardingSphereArgs),
    /// A configuration file of ProxySQL, or the tables of a running one.
    Proxysql(ProxySqlArgs),
}

/// `dbmesh import shardingsphere`.
#[derive(Debug, Args)]
pub struct ShardingSphereArgs {
    /// Its YAML files: those of databases, and the global one (`global.yaml`, `server.yaml`).
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// How a sharding key is compared, as `t_user.name=string`; the source does not say it. May be given more than once.
    #[arg(long = "key-type", value_name = "TABLE.COLUMN=TYPE", value_parser = key_type)]
    pub key_types: Vec<(String, String, String)>,
    /// How to answer.
    #[command(flatten)]
    pub common: ImportArgs,
}

/// `dbmesh import proxysql`.
#[derive(Debug, Args)]
pub struct ProxySqlArgs {
    /// Its configuration file, or `mysql://USER[:PASSWORD]@HOST[:PORT]` of its admin interface. A password that is left out
    /// is taken from the environment variable DBMESH_IMPORT_PASSWORD.
    #[arg(value_name = "FILE|DSN")]
    pub source: String,
    /// How to answer.
    #[command(flatten)]
    pub common: ImportArgs,
}

/// How an import answers.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Form of the list of what has no equivalent.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Write nothing, and exit with 1, if anything is lost.
    #[arg(long)]
    pub strict: bool,
    /// What becomes of passwords.
    #[arg(long, value_enum, default_value_t = ImportSecrets::Plain)]
    pub secrets: ImportSecrets,
}

/// What becomes of passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportSecrets {
    /// They are carried over as the source has them.
    Plain,
    /// Plain ones become names of environment variables, which are listed.
    Env,
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
    /// Memory that the process may use, such as 512MiB or 2GiB; near it, new work is refused. 0 is no limit.
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    pub memory_limit: u64,
    /// Where this proxy stands: endpoints with the same `zone` are preferred.
    #[arg(long, value_name = "ZONE", env = "DBMESH_ZONE")]
    pub zone: Option<String>,
    /// File in which the proxy keeps who was the primary, so that a restart does not forget who was deposed.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Take over the listening sockets of the dbmesh that has them, which then can be told to drain: an upgrade that drops no
    /// connection. Without this, a place where somebody listens is an error.
    #[arg(long)]
    pub take_over: bool,
    /// Memory that commands larger than 1 MiB may take, of all sessions together; beyond, they are refused.
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    pub large_commands_mib: u64,
    /// Memory that rows of several shards may take while they are put together, of all sessions together; near it, statements
    /// use files early, beyond, they are refused.
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    pub merge_memory_mib: u64,
    /// Memory that statements of open transactions may take that are executed again when their server is lost, of all
    /// sessions together; beyond, transactions go on and are lost with their server.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub replay_memory_mib: u64,
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
    /// Also connect to every endpoint: what its server is, whether it keeps what the configuration promises, whether the
    /// tables of the shards are there. Nothing is written anywhere.
    #[arg(long)]
    pub live: bool,
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

/// Where the running proxy is.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Address of the proxy's admin page, as its own `--admin`.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6070")]
    pub admin: String,
}

/// `dbmesh explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Resource file, or folder of .yaml, .yml and .json files.
    #[arg(long, value_name = "PATH")]
    pub config: PathBuf,
    /// The service, as `service`, `database/service` or `namespace/database/service`; not needed if there is one.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The VirtualDatabase to which the service belongs.
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// The statement.
    #[arg(value_name = "SQL")]
    pub sql: String,
}

/// `dbmesh get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to list.
    #[arg(value_enum)]
    pub what: Listing,
    /// Where the running proxy is.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = GetFormat::Table)]
    pub output: GetFormat,
}

/// What `dbmesh get` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Who is the primary, who may answer reads.
    #[value(alias = "service", alias = "svc")]
    Services,
    /// Role, state, lag and load of every server.
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    /// Connections to servers, and who waits for one.
    #[value(alias = "pool")]
    Pools,
    /// Who is connected, and what keeps a connection.
    #[value(alias = "session")]
    Sessions,
    /// What statements have in common: calls, errors, time, by user; those first that took the most time.
    #[value(alias = "digest")]
    Digests,
}

/// Form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GetFormat {
    /// For people; in colour on a terminal, unless NO_COLOR is set.
    Table,
    /// The same with every column.
    Wide,
    /// For programs: all that the proxy says.
    Json,
}

/// `dbmesh audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Say whether every line is as it was written, where it was written, and none is missing.
    ///
    /// Exits with 0 when all is well, with 1 when anything is wrong. Files put aside (PATH.1 and so on) are looked at too.
    Verify(VerifyArgs),
}

/// `dbmesh audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Files of one audit.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Hash of the last line, as noted elsewhere: without it, nobody can tell whether lines are missing at the end.
    #[arg(long, value_name = "HASH")]
    pub head: Option<String>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// `dbmesh top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Where the running proxy is.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The view to begin with.
    #[arg(long, value_enum, default_value_t = View::Digests)]
    pub view: View,
    /// Time between two looks, as in `2s`.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    pub interval: Duration,
    /// Show the view once, as it is after one interval, and end.
    #[arg(long)]
    pub once: bool,
    /// Form of the answer with `--once`.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table, requires = "once")]
    pub output: OutputFormat,
    /// Only rows that hold this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
}

/// What `dbmesh top` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// Statements by digest: rate, errors, time.
    Digests,
    /// Servers: rate, latency, state.
    Endpoints,
    /// Clients.
    Sessions,
    /// Connections to servers.
    Pools,
}

/// `dbmesh undrain`.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// Name of the DatabaseEndpoint.
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: String,
    /// Only in this service, as `service`, `database/service` or `namespace/database/service`; in all if absent.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Where the running proxy is.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `dbmesh transactions`.
#[derive(Debug, Args)]
pub struct TransactionsArgs {
    /// Where the running proxy is.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// What to do; lists if absent.
    #[command(subcommand)]
    pub command: Option<TransactionsCommand>,
}

/// What to do with a transaction.
#[derive(Debug, Subcommand)]
pub enum TransactionsCommand {
    /// Decide a transaction that nobody can decide otherwise.
    ///
    /// The decision is written at its home node, and refused if there is one already. The log says who ordered it.
    Force {
        /// The transaction's name, as listed.
        #[arg(value_name = "GTRID")]
        gtrid: String,
        /// What becomes of it.
        #[arg(value_enum)]
        outcome: ForceOutcome,
    },
}

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ForceOutcome {
    /// Its branches are committed.
    Commit,
    /// Its branches are rolled back.
    Rollback,
}

/// `dbmesh drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which endpoint.
    #[command(flatten)]
    pub order: OrderArgs,
    /// How long to wait for its connections, such as 500ms, 60s or 5m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

/// `dbmesh breaker`.
#[derive(Debug, Args)]
pub struct BreakerArgs {
    /// Which endpoint.
    #[command(flatten)]
    pub order: OrderArgs,
    /// The state.
    #[arg(value_enum)]
    pub state: BreakerState,
}

/// What a breaker is held at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BreakerState {
    /// New statements fail at once, or go elsewhere.
    Open,
    /// Everything passes.
    Closed,
    /// It decides by what fails.
    Auto,
}

/// `TABLE.COLUMN=TYPE`.
fn key_type(text: &str) -> Result<(String, String, String), String> {
    const TYPES: [&str; 5] = ["integer", "string", "collatedString", "date", "datetime"];
    let wanted = || format!("as `t_user.name=string`; types are {}", TYPES.join(", "));
    let (column, kind) = text.split_once('=').ok_or_else(wanted)?;
    let (table, column) = column.split_once('.').ok_or_else(wanted)?;
    match TYPES.contains(&kind) && !table.is_empty() && !column.is_empty() {
        true => Ok((table.to_owned(), column.to_owned(), kind.to_owned())),
        false => Err(wanted()),
    }
}

/// A number with `KiB`, `MiB` or `GiB`; bytes without.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(format!("`{unit}` is no unit here: KiB, MiB or GiB")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number of bytes is expected, such as 512MiB".to_owned())?;
    let bytes = number.checked_mul(1 << shift);
    bytes.ok_or_else(|| "more bytes than there are".to_owned())
}

/// A number with `ms`, `s` or `m`; seconds without.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number with ms, s or m is expected, such as 60s".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(format!("`{unit}` is no unit here: ms, s or m")),
    }
}

/// `dbmesh password-hash`.
#[derive(Debug, Args)]
pub struct PasswordHashArgs {
    /// File that holds the password in one line.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The form, by the authentication plugin that stores it.
    #[arg(long, value_enum, default_value_t = HashPlugin::CachingSha2Password)]
    pub plugin: HashPlugin,
}

/// A form in which servers store passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HashPlugin {
    /// `$A$005$…`: slow to guess.
    #[value(name = "caching_sha2_password")]
    CachingSha2Password,
    /// `*` and 40 digits: quick to guess, for clients that know nothing else.
    #[value(name = "mysql_native_password")]
    MysqlNativePassword,
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
    /// How tables spread over servers.
    #[value(name = "DataShard", alias = "ds")]
    DataShard,
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::VirtualDatabase => Kind::VirtualDatabase,
            KindName::TrafficStrategy => Kind::TrafficStrategy,
            KindName::DatabaseEndpoint => Kind::DatabaseEndpoint,
            KindName::DataShard => Kind::DataShard,
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
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("60"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "-1s", "1h", "1.5s", "s1"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
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
