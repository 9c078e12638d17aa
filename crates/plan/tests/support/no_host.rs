//! What sharding cases need of a machine.

use std::io;
use std::path::Path;

use dbmesh_model::host::Host;
use zeroize::Zeroizing;

/// A host that has nothing but the modules of the cases.
pub struct NoHost;

impl Host for NoHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Zeroizing<String>> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    /// A module beside the cases, from its text.
    fn read_bytes(&self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
        let name = path.file_name().unwrap();
        Ok(wat::parse_file(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("cases/shard")
                .join(name),
        )
        .unwrap())
    }
}
