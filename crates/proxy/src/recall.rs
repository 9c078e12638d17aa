//! What a restart of the process must not forget: who was the primary, and who lost its place without giving it up.
//!
//! Owns the state file: read once before anything is served, written when something in it changes, and before a server is
//! the primary in place of one that did not give that up. It must never be written by two processes; one that takes another's
//! place waits until that has ended. A broken file keeps no process from starting, and nothing in it makes anybody the
//! primary: it only keeps a server from being one that was deposed. Input: the file of `--state`, the upstreams.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dbmesh_model::topology::Endpoint;
use dbmesh_runtime::lock::{Lock, LockError};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::listener::Entry;
use crate::serving::Services;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One service's servers, by name and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last primary.
    pub primary: Option<String>,
    /// Those that lost its place.
    pub deposed: Vec<String>,
}

/// The state file, and what is in it.
#[derive(Debug)]
pub struct Recall {
    path: PathBuf,
    written: Mutex<Written>,
}

/// What the file has, and the right to write it.
#[derive(Debug)]
struct Written {
    services: BTreeMap<String, Known>,
    lock: Option<Lock>,
    /// The log says that another process writes it.
    told: bool,
}

/// A server as the file names it: with another address it is another server.
#[must_use]
pub fn name_of(endpoint: &Endpoint) -> String {
    format!("{}@{}", endpoint.name, endpoint.address)
}

impl Recall {
    /// Tells the upstreams what the file says, if there is one.
    ///
    /// # Errors
    /// Another process writes it, whose place this one does not take.
    pub fn open(path: PathBuf, services: &Services, entry: Entry) -> Result<Arc<Self>, String> {
        let lock = match Lock::beside(&path, Duration::ZERO) {
            Ok(lock) => Some(lock),
            Err(LockError::Held { .. }) if entry == Entry::TakeOver => None,
            Err(e @ LockError::Held { .. }) => {
                return Err(format!(
                    "--state: {e}: give each proxy a file of its own, or stop that process"
                ));
            }
            Err(e) => {
                tracing::error!(path = %path.display(), error = %e, "the state file cannot be written");
                None
            }
        };
        let written = match read(&path) {
            Ok(written) => written,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => {
                tracing::error!(path = %path.display(), error = %e, "the state file cannot be read: who was deposed is not known");
                BTreeMap::new()
            }
        };
        for serving in &services.list {
            if let Some(known) = written.get(&serving.service.label()) {
                serving.upstream.recall(known);
            }
        }
        let recall = Arc::new(Self {
            path,
            written: Mutex::new(Written {
                services: written,
                lock,
                told: false,
            }),
        });
        recall.watch(services);
        Ok(recall)
    }

    /// Those that are served now tell what must be written before it holds.
    fn watch(self: &Arc<Self>, services: &Services) {
        for serving in &services.list {
            serving.upstream.write_down_in(self);
        }
    }

    /// Writes what changed.
    pub fn keep(self: &Arc<Self>, services: &Services) {
        self.watch(services);
        let now: BTreeMap<String, Known> = services
            .list
            .iter()
            .filter_map(|serving| Some((serving.service.label(), serving.upstream.known()?)))
            .collect();
        let mut written = self.written.lock();
        if now != written.services || written.lock.is_none() {
            self.put(&mut written, now);
        }
    }

    /// Writes what one service is about to hold for true; it is on the disk when this returns, or an error is in the log.
    pub fn promise(&self, service: &str, known: &Known) {
        let mut written = self.written.lock();
        if written.services.get(service) != Some(known) {
            let mut now = written.services.clone();
            now.insert(service.to_owned(), known.clone());
            self.put(&mut written, now);
        }
    }

    fn put(&self, written: &mut Written, now: BTreeMap<String, Known>) {
        if written.lock.is_none() {
            match Lock::beside(&self.path, Duration::ZERO) {
                Ok(lock) => written.lock = Some(lock),
                Err(e) => {
                    if !std::mem::replace(&mut written.told, true) {
                        tracing::warn!(error = %e, "the state file is written when that is over");
                    }
                    return;
                }
            }
        }
        match write(&self.path, &now) {
            Ok(()) => written.services = now,
            Err(e) => {
                tracing::error!(path = %self.path.display(), error = %e, "the state file cannot be written");
            }
        }
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, Known>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    let text = std::fs::read(path)?;
    let value: Value = serde_json::from_slice(&text)?;
    let services = value.get("services").and_then(Value::as_object);
    let services = services.ok_or_else(|| io::Error::other("it has no `services`"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(services
        .iter()
        .map(|(name, service)| {
            let deposed = service.get("deposed").and_then(Value::as_array);
            let known = Known {
                primary: service.get("primary").and_then(text),
                deposed: deposed.into_iter().flatten().filter_map(text).collect(),
            };
            (name.clone(), known)
        })
        .collect())
}

/// Writes a file beside it and puts that in its place, so that it is whole at any time.
fn write(path: &Path, services: &BTreeMap<String, Known>) -> io::Result<()> {
    let services: serde_json::Map<String, Value> = services
        .iter()
        .map(|(name, known)| {
            let value = json!({ "primary": known.primary, "deposed": known.deposed });
            (name.clone(), value)
        })
        .collect();
    let text = serde_json::to_vec_pretty(&json!({ "services": services }))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => std::fs::File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = std::env::temp_dir().join(format!("dbmesh-recall-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("state.json");
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let known = Known {
            primary: Some("b@127.0.0.1:3307".into()),
            deposed: vec!["a@127.0.0.1:3306".into()],
        };
        let all: BTreeMap<String, Known> = [
            ("default/shop/main".to_owned(), known),
            ("default/other/main".to_owned(), Known::default()),
        ]
        .into();
        write(&path, &all).unwrap();
        assert_eq!(read(&path).unwrap(), all);
        for broken in ["", "[]", "{\"services\": 3}", "\u{0}"] {
            std::fs::write(&path, broken).unwrap();
            assert!(read(&path).is_err(), "{broken:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
