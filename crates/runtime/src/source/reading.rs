//! One reading of the configuration: the outcome, and which files it depends on.
//!
//! It owns the record of those files, each stamped before it was read, so that a change during the
//! reading is seen afterwards. It keeps no content. Its input is the path and what is there.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use dbmesh_model::host::{Host, LocalHost};
use dbmesh_model::load::load;
use dbmesh_model::resolve::resolve;
use dbmesh_model::{Defects, Topology};
use zeroize::Zeroizing;

use super::stamp::{Stamp, Stamps, absolute, resources};

/// What a reading came to.
pub(super) struct Reading {
    /// The topology, or every defect.
    pub outcome: Result<Topology, Defects>,
    /// The files it depends on, those that could not be read included.
    pub stamps: Stamps,
}

/// Reads and resolves the file or folder.
pub(super) fn read(path: &Path) -> Reading {
    let host = RecordingHost {
        stamps: RefCell::new(resources(path)),
    };
    let outcome = resolve(load(path), &host);
    Reading {
        outcome,
        stamps: host.stamps.into_inner(),
    }
}

/// This machine, remembering which files it was asked for: certificates, keys, passwords, modules.
struct RecordingHost {
    stamps: RefCell<Stamps>,
}

impl Host for RecordingHost {
    fn env(&self, name: &str) -> Option<Zeroizing<String>> {
        LocalHost.env(name)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        self.record(path);
        LocalHost.read(path)
    }

    fn read_bytes(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.record(path);
        LocalHost.read_bytes(path, bytes_max)
    }

    fn keeps_files(&self, folder: &Path) -> io::Result<()> {
        LocalHost.keeps_files(folder)
    }
}

impl RecordingHost {
    fn record(&self, path: &Path) {
        let stamp = Stamp::of(path);
        // The first stamp counts where a file is named twice.
        self.stamps
            .borrow_mut()
            .entry(absolute(path))
            .or_insert(stamp);
    }
}
