//! The process from start to end: listen, follow the configuration, drain, stop.
//!
//! Owns the order of these steps. It must never exit because of a client, a server or a configuration. Input: the command
//! line's options and the topology source.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbmesh_merge::SharedMemory;
use dbmesh_model::{Defects, Topology};
use dbmesh_runtime::admin::{self, Admin};
use dbmesh_runtime::clock::Coarse;
use dbmesh_runtime::drain::Drain;
use dbmesh_runtime::signals::{Signal, Signals};
use dbmesh_runtime::source::Source;

use crate::admin::Pages;
use crate::allowance::Allowance;
use crate::control;
use crate::listener::{Entry, Listening, Place, bind, places};
use crate::memory::{self, MemoryGuard};
use crate::process::Process;
use crate::recall::Recall;
use crate::replay::ReplayMemory;
use crate::serving::{Common, Current};
use crate::turns::Turns;

/// Stack of a worker thread: the parser's depth limit takes up to 2 MB of it in a build for debugging.
const STACK_BYTES: usize = 8 << 20;
/// How often idle sessions are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long sessions have to say good-bye after the drain's deadline.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The command line's options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Resource file or folder.
    pub config: PathBuf,
    /// Address of the admin page.
    pub admin: SocketAddr,
    /// Worker threads; 0 chooses by the number of CPUs.
    pub workers: usize,
    /// How long sessions may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// Memory that the process may use, in bytes; 0 is no limit.
    pub memory_limit_bytes: u64,
    /// The zone of the process, if it has one: endpoints of the same zone are preferred.
    pub zone: Option<String>,
    /// Where it is kept who was the primary, if anywhere.
    pub state: Option<PathBuf>,
    /// Whether the listening sockets of the process that has them are taken over.
    pub take_over: bool,
    /// Memory that large commands of all sessions may take, in bytes.
    pub large_commands_bytes: u64,
    /// Memory that rows of several shards may take while they are put together, of all sessions, in bytes.
    pub merge_bytes: u64,
    /// Memory that statements of open transactions may take that are executed again if need be, of all sessions, in bytes.
    pub replay_bytes: u64,
}

/// Why the process could not start.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration is wrong.
    Configuration(Defects),
    /// Something of the machine.
    System(String),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Configuration(defects) => write!(f, "{defects}"),
            Self::System(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Serves until told to stop.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub fn serve(options: &Options) -> Result<(), ServeError> {
    let workers = match options.workers {
        0 => default_workers(std::thread::available_parallelism().map_or(2, usize::from)),
        n => n,
    };
    let turns = Arc::new(Turns::new(workers));
    let resting = turns.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .on_thread_park(move || resting.rest())
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|e| ServeError::System(format!("cannot start worker threads: {e}")))?;
    let result = runtime.block_on(run(options, turns));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// One worker per CPU; but where two are all there is, applications or servers share them, and one worker that is woken for
/// several events at once costs a fifth less per statement than two that wake each other.
fn default_workers(cpus: usize) -> usize {
    if cpus <= 2 { 1 } else { cpus }
}

async fn run(options: &Options, turns: Arc<Turns>) -> Result<(), ServeError> {
    let system = |what: &str, e: &dyn std::fmt::Display| ServeError::System(format!("{what}: {e}"));
    let _ = dbmesh_runtime::process::forbid_dumps();
    let _ = dbmesh_runtime::process::raise_open_files();
    let mut signals = Signals::new().map_err(|e| system("cannot handle signals", &e))?;
    let (source, topology) = Source::open(&options.config).map_err(ServeError::Configuration)?;
    let entry = match options.take_over {
        true => Entry::TakeOver,
        false => Entry::Alone,
    };
    // First of all: where another process listens, nothing is done at all.
    let bound = bind_all(&topology, entry).await?;
    let runtime = tokio::runtime::Handle::current();
    let common = common(options, turns);
    let current = Current::start(topology, runtime, options.zone.clone(), common.clone());
    let current = current.map_err(ServeError::System)?;
    let recall = options.state.clone();
    let recall = recall.map(|path| Recall::open(path, &current.services(), entry));
    let recall = recall.transpose().map_err(ServeError::System)?;
    let process = Arc::new(process(options, current, common.allowance));
    tokio::spawn(memory::watch(process.clone()));
    let keygen = process.clone();
    tokio::task::spawn_blocking(move || keygen.make_rsa());
    let mut listeners = Listeners {
        process: process.clone(),
        open: HashMap::new(),
    };
    let admin_stop = Drain::new();
    let pages = Arc::new(Pages::new(process.clone(), source));
    let admin = Admin {
        content: pages.clone(),
        stop: admin_stop.clone(),
    };
    let address = admin::serve(options.admin, admin)
        .await
        .map_err(|e| ServeError::System(admin_refused(entry, &e)))?;
    for (place, listening) in bound {
        listeners.serve(place, listening);
    }
    tracing::info!(admin = %address, revision = format!("{:016x}", process.current.services().topology.revision), "ready");
    let mut topologies = pages.source().watch();
    topologies.mark_unchanged();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Hangup => pages.source().reload(),
                Signal::Terminate => break,
            },
            changed = topologies.changed() => {
                if changed.is_err() {
                    continue;
                }
                let topology = topologies.borrow_and_update().clone();
                listeners.follow(topology).await;
            }
            _ = sweep.tick() => {
                process.registry.sweep_idle(process.clock.now_ms());
                recall.iter().for_each(|r| r.keep(&process.current.services()));
            }
        }
    }
    tokio::select! {
        () = drain(&process, &mut listeners, &pages, options.drain_timeout) => {}
        () = told_again(&mut signals) => tracing::warn!("told to stop a second time; closing at once"),
    }
    admin_stop.start();
    Ok(())
}

async fn bind_all(
    topology: &Topology,
    entry: Entry,
) -> Result<Vec<(Place, Listening)>, ServeError> {
    let mut bound = Vec::new();
    for place in places(topology.services.iter()) {
        let listening = bind(place.clone(), entry).await;
        bound.push((place, listening.map_err(ServeError::System)?));
    }
    Ok(bound)
}

/// What all sessions share, with the memory that the options give them.
fn process(options: &Options, current: Current, allowance: Arc<Allowance>) -> Process {
    Process::new(
        current,
        Coarse::start(),
        allowance,
        SharedMemory::new(usize::try_from(options.merge_bytes).unwrap_or(usize::MAX)),
        ReplayMemory::new(options.replay_bytes),
        MemoryGuard::new(options.memory_limit_bytes),
    )
}

/// What all services share.
fn common(options: &Options, turns: Arc<Turns>) -> Common {
    tokio::spawn(turns.clone().conduct());
    Common {
        turns,
        allowance: Arc::new(Allowance::new(options.large_commands_bytes)),
    }
}

fn admin_refused(entry: Entry, error: &dyn std::fmt::Display) -> String {
    match entry {
        Entry::Alone => error.to_string(),
        Entry::TakeOver => format!(
            "{error}: the process whose sockets are taken over has its admin page until it ends; choose another address with --admin"
        ),
    }
}

/// Waits for a second signal to stop.
async fn told_again(signals: &mut Signals) {
    while signals.next().await != Signal::Terminate {}
}

async fn drain(process: &Arc<Process>, listeners: &mut Listeners, pages: &Pages, limit: Duration) {
    tracing::info!(
        sessions = process.registry.len(),
        limit_s = limit.as_secs(),
        "draining"
    );
    pages.start_draining();
    process.draining.start();
    listeners.close_where(|_| true).await;
    process.registry.say_all(control::Signals::DRAIN);
    let deadline = Instant::now() + limit;
    let mut left = process.sessions_drain.guards();
    while left > 0 && Instant::now() < deadline {
        let step = (Instant::now() + Duration::from_millis(100)).min(deadline);
        left = process.sessions_drain.finished(step.into()).await;
        // Sessions that logged in while the drain began are told as well.
        process.registry.say_all(control::Signals::DRAIN);
    }
    if left > 0 {
        tracing::warn!(
            sessions = left,
            "the drain's time is up; closing what is left"
        );
        process.registry.say_all(control::Signals::CLOSE);
        process
            .sessions_drain
            .finished((Instant::now() + LAST_WORDS).into())
            .await;
    }
    for part in process.current.services().parts() {
        for member in &part.upstream.members {
            member.pool.retire();
        }
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let spans = process.current.outlets().exporters.flush();
    if tokio::time::timeout(LAST_WORDS, spans).await.is_err() {
        tracing::warn!("spans that no collector took are lost");
    }
    tracing::info!("stopped");
}

/// The listening sockets.
struct Listeners {
    process: Arc<Process>,
    open: HashMap<Place, (Drain, tokio::task::JoinHandle<()>)>,
}

impl Listeners {
    fn serve(&mut self, place: Place, listening: Listening) {
        let stop = Drain::new();
        let task = listening.serve(self.process.clone(), stop.clone());
        self.open.insert(place, (stop, task));
    }

    /// Serves a new topology: its pools first, then its listeners; old listeners close last, but for those in the way of new ones.
    async fn follow(&mut self, topology: Arc<dbmesh_model::Topology>) {
        let revision = topology.revision;
        if let Err(e) = self.process.current.replace(topology).await {
            tracing::error!(
                error = e,
                "the new configuration cannot be served; the old one goes on"
            );
            return;
        }
        self.process.forget_passwords();
        let services = self.process.current.services();
        let wanted = places(services.list.iter().map(|serving| &serving.service));
        drop(services);
        let new: Vec<Place> = wanted
            .iter()
            .filter(|place| !self.open.contains_key(place))
            .cloned()
            .collect();
        let in_the_way = |place: &Place| {
            new.iter()
                .any(|new| new.port().is_some() && new.port() == place.port())
        };
        self.close_where(|place| !wanted.contains(place) && in_the_way(place))
            .await;
        for place in new {
            match bind(place.clone(), Entry::Alone).await {
                Ok(listening) => self.serve(place, listening),
                Err(error) => tracing::error!(place = %place, error, "cannot listen"),
            }
        }
        self.close_where(|place| !wanted.contains(place)).await;
        tracing::info!(
            revision = format!("{revision:016x}"),
            "configuration applied"
        );
    }

    async fn close(&mut self, place: &Place) {
        if let Some((stop, task)) = self.open.remove(place) {
            stop.start();
            let _ = task.await;
        }
    }

    async fn close_where(&mut self, unwanted: impl Fn(&Place) -> bool) {
        let places = self.open.keys().filter(|place| unwanted(place));
        for place in places.cloned().collect::<Vec<_>>() {
            self.close(&place).await;
        }
    }
}
