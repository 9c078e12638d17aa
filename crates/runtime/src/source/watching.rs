//! The thread that sees changes and reads again.
//!
//! It owns the operating system's watches of folders, and when to look: files are replaced by rename
//! and links are swapped (which is how Kubernetes updates a ConfigMap), so it is the folders that are
//! watched, and stamps that tell. It also looks now and then without being told, for file systems
//! that report nothing. It never publishes by itself: `Published` settles what was read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::Published;
use super::reading::{self, Reading};
use super::stamp::{Stamp, Stamps, resources};

/// How long the files must be quiet before they are read: editors and tools write in several steps.
const QUIET_MS: u64 = 200;
/// How long to wait for that quiet at most.
const UNQUIET_MS_MAX: u64 = 2_000;
/// How often to look without being told.
pub(super) const LOOK_INTERVAL_MS: u64 = 5_000;
/// Wakes that wait at most; when so many do, single ones no longer matter.
const WAKES_MAX: usize = 256;
/// Folders watched at most; files elsewhere are seen by looking.
const FOLDERS_MAX: usize = 256;

/// Why the thread wakes.
pub(super) enum Wake {
    /// Somebody asked for a reload.
    Reload,
    /// Something happened to this file.
    Touched(PathBuf),
    /// Something happened, and the operating system does not say to what.
    Uncertain,
    /// The source was dropped.
    End,
}

/// Starts the thread, which ends after `published` has, and looks without being told every
/// `look_interval_ms`.
pub(super) fn start(
    path: PathBuf,
    stamps: Stamps,
    published: Arc<Published>,
    look_interval_ms: u64,
) -> SyncSender<Wake> {
    let (sender, wakes) = sync_channel(WAKES_MAX);
    let mut folders = Folders::new(sender.clone());
    folders.follow(&stamps);
    let watching = Watching {
        path,
        stamps,
        published,
        look_interval_ms,
        folders,
        wakes,
    };
    let thread = std::thread::Builder::new().name("config".to_owned());
    if let Err(error) = thread.spawn(move || watching.run()) {
        tracing::error!(%error, "changes of the configuration will not be seen");
    }
    sender
}

/// What to do after a wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Compare stamps, and read if one differs.
    Look,
    /// Read.
    Read,
    /// Be gone.
    End,
}

struct Watching {
    path: PathBuf,
    stamps: Stamps,
    published: Arc<Published>,
    look_interval_ms: u64,
    folders: Folders,
    wakes: Receiver<Wake>,
}

impl Watching {
    fn run(mut self) {
        // What changed between the first reading and the first watch was reported to nobody.
        let mut verdict = Verdict::Look;
        loop {
            let reads = match verdict {
                Verdict::End => return,
                Verdict::Read => true,
                Verdict::Look => self.current_stamps() != self.stamps,
            };
            if reads {
                let Reading { outcome, stamps } = reading::read(&self.path);
                self.stamps = stamps;
                self.published.settle(outcome);
            }
            verdict = match self.folders.follow(&self.stamps) {
                // Likewise.
                Following::More => Verdict::Look,
                Following::Same => self.next(),
            };
        }
    }

    /// Waits for a reason to look or read, and then for quiet.
    fn next(&self) -> Verdict {
        let mut verdict = match self.wait(self.look_interval_ms) {
            Some(wake) => self.judge(wake),
            None => Verdict::Look,
        };
        let start = Instant::now();
        for _ in 0..WAKES_MAX {
            if start.elapsed() > Duration::from_millis(UNQUIET_MS_MAX) || verdict == Verdict::End {
                break;
            }
            let Some(wake) = self.wait(QUIET_MS) else {
                break;
            };
            verdict = verdict.max(self.judge(wake));
        }
        if self.published.has_ended() {
            Verdict::End
        } else {
            verdict
        }
    }

    fn wait(&self, milliseconds: u64) -> Option<Wake> {
        match self.wakes.recv_timeout(Duration::from_millis(milliseconds)) {
            Ok(wake) => Some(wake),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Wake::End),
        }
    }

    /// A file of ours that was touched is read whatever its stamp says: a file written twice within
    /// one tick of the file system's clock can bear the same stamp.
    fn judge(&self, wake: Wake) -> Verdict {
        match wake {
            Wake::End => Verdict::End,
            Wake::Reload => Verdict::Read,
            Wake::Uncertain => Verdict::Look,
            Wake::Touched(file) => {
                let is_real = |stamp: &Stamp| stamp.real == file;
                let is_ours =
                    self.stamps.contains_key(&file) || self.stamps.values().flatten().any(is_real);
                if is_ours {
                    Verdict::Read
                } else {
                    Verdict::Look
                }
            }
        }
    }

    /// Stamps as they are now of everything the last reading depended on.
    fn current_stamps(&self) -> Stamps {
        let mut current = resources(&self.path);
        for file in self.stamps.keys() {
            current
                .entry(file.clone())
                .or_insert_with(|| Stamp::of(file));
        }
        current
    }
}

/// Whether folders are watched that were not before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Following {
    More,
    Same,
}

/// The watched folders.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    /// Which folder each path was when it was watched: another one may take its place.
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

impl Folders {
    fn new(wakes: SyncSender<Wake>) -> Self {
        let watcher = notify::recommended_watcher(move |event| tell(&wakes, event));
        let watcher = watcher.map_err(|error| {
            tracing::warn!(%error, "changes of the configuration are seen by looking");
        });
        Self {
            watcher: watcher.ok(),
            watched: BTreeMap::new(),
        }
    }

    /// Watches the folders of these files, as named and where links lead, and no others.
    fn follow(&mut self, stamps: &Stamps) -> Following {
        let mut following = Following::Same;
        let Some(watcher) = &mut self.watcher else {
            return following;
        };
        let mut wanted = BTreeMap::new();
        for folder in folders(stamps).into_iter().take(FOLDERS_MAX) {
            if let Some(stamp) = Stamp::of(&folder) {
                wanted.insert(folder, stamp.identity());
            }
        }
        let gone = self
            .watched
            .iter()
            .filter(|(folder, id)| wanted.get(*folder) != Some(*id));
        for (folder, _) in gone {
            // Fails when the folder is gone, and the watch with it.
            let _ = watcher.unwatch(folder);
        }
        self.watched
            .retain(|folder, id| wanted.get(folder) == Some(id));
        for (folder, id) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder, id);
                    following = Following::More;
                }
                Err(error) => tracing::debug!(?folder, %error, "folder is not watched"),
            }
        }
        following
    }
}

fn folders(stamps: &Stamps) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    for (file, stamp) in stamps {
        let real = stamp.as_ref().map(|stamp| stamp.real.as_path());
        for path in [Some(file.as_path()), real].into_iter().flatten() {
            folders.extend(path.parent().map(Path::to_owned));
            if path.is_dir() {
                folders.insert(path.to_owned());
            }
        }
    }
    folders
}

/// Passes on what may be a change. Our own reading opens and closes files, which is none.
fn tell(wakes: &SyncSender<Wake>, event: notify::Result<Event>) {
    let Ok(event) = event else {
        let _ = wakes.try_send(Wake::Uncertain);
        return;
    };
    let is_change = match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    if !is_change {
        return;
    }
    if event.need_rescan() || event.paths.is_empty() {
        let _ = wakes.try_send(Wake::Uncertain);
    }
    for file in event.paths {
        let _ = wakes.try_send(Wake::Touched(file));
    }
}
