//! The allow-list of a service: normalised texts, by user.
//!
//! Owns what was learned and the file that keeps it, one JSON object per line. It holds texts, not digests: two texts of one
//! digest are two. Must never grow beyond its limits, nor write in a session's way. Input: texts of the session's walk; the
//! file, when the service begins or reloads.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_model::topology::{Firewall as Policy, FirewallMode};
use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_runtime::lock::Lock;
use parking_lot::RwLock;
use serde_json::{Value, json};

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Longest text that is learned, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Users that are learned of.
const USERS_MAX: usize = 10_000;
/// How long another process may write the file.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// From something learned to the file.
const WRITE_DELAY: Duration = Duration::from_millis(500);

/// Numbers of lists, so that what is remembered of one is never taken for another's.
static LISTS: AtomicU64 = AtomicU64::new(1);

/// The firewall of one service.
#[derive(Debug)]
pub struct Firewall {
    /// What it does.
    pub mode: FirewallMode,
    lists: Arc<Lists>,
}

/// What is on the list.
#[derive(Debug)]
struct Lists {
    id: u64,
    file: PathBuf,
    max_digests: usize,
    by_user: RwLock<HashMap<String, HashSet<Box<str>>>>,
    /// Something was learned that the file does not have.
    changed: AtomicBool,
    /// A write is due.
    writing: AtomicBool,
    learned: AtomicU64,
    refused: AtomicU64,
}

impl Firewall {
    /// A firewall with what its file has; a reload keeps what is being learned.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not there though it must be.
    pub fn new(policy: &Policy, before: Option<&Self>) -> Result<Self, String> {
        let learning =
            before.filter(|b| b.mode == FirewallMode::Learn && b.lists.file == policy.file);
        let max_digests = usize::try_from(policy.max_digests).unwrap_or(usize::MAX);
        let lists = match learning {
            Some(before) if before.lists.max_digests == max_digests => before.lists.clone(),
            Some(before) => Arc::new(before.lists.with_max(max_digests)),
            None => {
                let by_user = read(&policy.file, policy.mode)
                    .map_err(|e| format!("firewall {}: {e}", policy.file.display()))?;
                Arc::new(Lists::new(policy.file.clone(), max_digests, by_user))
            }
        };
        Ok(Self {
            mode: policy.mode,
            lists,
        })
    }

    /// The number of the list.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.lists.id
    }

    /// Whether the text is on the user's list; what is being learned is from now on.
    pub fn lists(&self, user: &str, text: &str) -> bool {
        let known = |texts: &HashSet<Box<str>>| texts.contains(text);
        if self.lists.by_user.read().get(user).is_some_and(known) {
            return true;
        }
        self.mode == FirewallMode::Learn && self.lists.learn(user, text)
    }

    /// Counts a statement that is not on the list.
    pub fn note_refused(&self) {
        self.lists.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Texts learned, and statements that were not on the list.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let count = |c: &AtomicU64| c.load(Ordering::Relaxed);
        (count(&self.lists.learned), count(&self.lists.refused))
    }
}

impl Lists {
    fn new(file: PathBuf, max_digests: usize, by_user: HashMap<String, HashSet<Box<str>>>) -> Self {
        Self {
            id: LISTS.fetch_add(1, Ordering::Relaxed),
            file,
            max_digests,
            by_user: RwLock::new(by_user),
            changed: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            learned: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn with_max(&self, max_digests: usize) -> Self {
        let lists = Self::new(self.file.clone(), max_digests, self.by_user.read().clone());
        lists.changed.store(true, Ordering::Release);
        lists
    }

    /// Adds a text, if there is room, and sees to it that the file has it soon.
    fn learn(self: &Arc<Self>, user: &str, text: &str) -> bool {
        if text.len() > TEXT_BYTES_MAX {
            return false;
        }
        {
            let mut by_user = self.by_user.write();
            if by_user.len() >= USERS_MAX && !by_user.contains_key(user) {
                return false;
            }
            let texts = by_user.entry(user.to_owned()).or_default();
            if texts.len() >= self.max_digests {
                return false;
            }
            texts.insert(text.into());
        }
        self.learned.fetch_add(1, Ordering::Relaxed);
        self.changed.store(true, Ordering::Release);
        if !self.writing.swap(true, Ordering::AcqRel) {
            let lists = self.clone();
            // It ends by itself; what it does not write, the last owner does.
            tokio::spawn(async move {
                tokio::time::sleep(WRITE_DELAY).await;
                lists.writing.store(false, Ordering::Release);
                let _ = tokio::task::spawn_blocking(move || lists.save()).await;
            });
        }
        true
    }

    fn save(&self) {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.write() {
            self.changed.store(true, Ordering::Release);
            tracing::error!(file = %self.file.display(), error, "what the firewall learned is not written");
        }
    }

    /// Writes what was learned, and what another process that learns into the same file wrote since.
    fn write(&self) -> Result<(), String> {
        let _lock = Lock::beside(&self.file, LOCK_WAIT).map_err(|e| e.to_string())?;
        let written = read(&self.file, FirewallMode::Learn)?;
        let all = {
            let mut by_user = self.by_user.write();
            for (user, texts) in written {
                if by_user.len() >= USERS_MAX && !by_user.contains_key(&user) {
                    continue;
                }
                let known = by_user.entry(user).or_default();
                let room = self.max_digests.saturating_sub(known.len());
                let new: Vec<_> = texts.into_iter().filter(|t| !known.contains(t)).collect();
                known.extend(new.into_iter().take(room));
            }
            by_user.clone()
        };
        write(&self.file, &all).map_err(|e| e.to_string())
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        self.save();
    }
}

fn read(file: &Path, mode: FirewallMode) -> Result<HashMap<String, HashSet<Box<str>>>, String> {
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        Err(e) if e.kind() == io::ErrorKind::NotFound && mode == FirewallMode::Learn => {
            return Ok(HashMap::new());
        }
        Err(e) => return Err(e.to_string()),
    };
    let mut by_user: HashMap<String, HashSet<Box<str>>> = HashMap::new();
    for (number, line) in BufReader::new(opened.take(FILE_BYTES_MAX))
        .lines()
        .enumerate()
    {
        let line = line.map_err(|e| e.to_string())?;
        if line.trim().is_empty() {
            continue;
        }
        let value: Value =
            serde_json::from_str(&line).map_err(|e| format!("line {}: {e}", number + 1))?;
        let field = |name: &str| value.get(name).and_then(Value::as_str);
        let (Some(user), Some(text)) = (field("user"), field("text")) else {
            return Err(format!("line {}: `user` or `text` is missing", number + 1));
        };
        by_user
            .entry(user.to_owned())
            .or_default()
            .insert(text.into());
    }
    Ok(by_user)
}

/// Writes beside the file and renames: a reader sees the old or the new one.
fn write(file: &Path, by_user: &HashMap<String, HashSet<Box<str>>>) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let mut out = io::BufWriter::new(std::fs::File::create(&beside)?);
    let mut users: Vec<_> = by_user.iter().collect();
    users.sort_unstable_by_key(|(user, _)| user.as_str());
    for (user, texts) in users {
        let mut texts: Vec<_> = texts.iter().collect();
        texts.sort_unstable();
        for text in texts {
            writeln!(out, "{}", json!({ "user": user, "text": text }))?;
        }
    }
    out.into_inner()?.sync_all()?;
    std::fs::rename(&beside, file)
}

/// Writes the metrics of the firewalls of all services.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn expose<'a>(all: impl Iterator<Item = (String, &'a Firewall)> + Clone, out: &mut Text) {
    out.family(
        "dbmesh_firewall_learned_total",
        "Texts that a firewall learned.",
        Kind::Counter,
    );
    for (service, firewall) in all.clone() {
        out.sample(&[("service", &service)], firewall.counts().0 as f64);
    }
    out.family(
        "dbmesh_firewall_refused_total",
        "Statements that were not on the list: refused, or in mode warn only counted.",
        Kind::Counter,
    );
    for (service, firewall) in all {
        out.sample(&[("service", &service)], firewall.counts().1 as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_processes_learn_into_one_file_is_there_together() {
        let folder = std::env::temp_dir().join(format!("dbmesh-learned-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("list.jsonl");
        let lists = || Lists::new(file.clone(), 3, HashMap::new());
        let [first, second] = [lists(), lists()];
        let learn = |lists: &Lists, text: &str| {
            let mut by_user = lists.by_user.write();
            by_user
                .entry("app".to_owned())
                .or_default()
                .insert(text.into());
            lists.changed.store(true, Ordering::Release);
        };
        learn(&first, "SELECT ?");
        first.save();
        learn(&second, "SHOW TABLES");
        second.save();
        learn(&first, "BEGIN");
        first.save();
        let written = read(&file, FirewallMode::Enforce).unwrap();
        let mut texts: Vec<&str> = written["app"].iter().map(AsRef::as_ref).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["BEGIN", "SELECT ?", "SHOW TABLES"]);
        // No user has more than may be.
        learn(&second, "COMMIT");
        second.save();
        assert_eq!(read(&file, FirewallMode::Enforce).unwrap()["app"].len(), 3);
        drop((first, second));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
