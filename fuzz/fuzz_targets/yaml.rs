//! Resources of an operator who may be wrong anywhere: every text is a topology or a list of defects.
#![no_main]

use std::io;
use std::path::Path;

use dbmesh_model::host::Host;
use dbmesh_model::{load_text, resolve};
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

/// A machine without variables and files.
struct Nowhere;

impl Host for Nowhere {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Zeroizing<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fuzz_target!(|text: &str| {
    let loaded = load_text(Path::new("fuzz.yaml"), text);
    match resolve(loaded, &Nowhere) {
        Ok(topology) => {
            let _ = topology.redacted();
        }
        Err(defects) => {
            assert!(defects.errors() > 0, "refused without an error");
            let _ = defects.to_string();
        }
    }
});
