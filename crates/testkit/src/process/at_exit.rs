//! What is left when the process exits while servers run: statics are never dropped, so a handler of
//! exit(3) kills the children and removes the folders that are still registered here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, Once, PoisonError},
};

static LEFT: Mutex<Left> = Mutex::new(Left {
    processes: BTreeSet::new(),
    folders: BTreeSet::new(),
});

struct Left {
    processes: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
}

/// Registers a child to be killed.
pub fn kill_process(id: u32) {
    with(|left| left.processes.insert(id));
}

/// The child was reaped: its id may belong to another process from now on.
pub fn forget_process(id: u32) {
    with(|left| left.processes.remove(&id));
}

/// Registers a folder to be removed.
pub fn remove_folder(path: &Path) {
    with(|left| left.folders.insert(path.to_owned()));
}

/// The folder was removed.
pub fn forget_folder(path: &Path) {
    with(|left| left.folders.remove(path));
}

fn with(change: impl FnOnce(&mut Left) -> bool) {
    static REGISTERED: Once = Once::new();
    // SAFETY: atexit takes a function pointer, which lasts as long as the program.
    REGISTERED.call_once(|| unsafe {
        libc::atexit(clean);
    });
    change(&mut LEFT.lock().unwrap_or_else(PoisonError::into_inner));
}

extern "C" fn clean() {
    // Another thread may hold the lock for ever now: try only.
    let Ok(mut left) = LEFT.try_lock() else {
        return;
    };
    for id in std::mem::take(&mut left.processes) {
        let Ok(pid) = i32::try_from(id) else { continue };
        // SAFETY: kill and waitpid take integers and a null status pointer, which waitpid allows. The id
        // was not reaped, or it would have been forgotten, and every child leads a group of its own.
        unsafe {
            libc::kill(-pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    }
    for folder in std::mem::take(&mut left.folders) {
        let _ = fs::remove_dir_all(folder);
    }
}
