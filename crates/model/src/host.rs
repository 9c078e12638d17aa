//! The machine that a configuration refers to: environment variables and files.
//!
//! It owns the seam that lets `resolve` be tested without either. It never writes anything. A
//! controller, which must not read its own files for somebody else's resource, has its own.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Largest file that a resource may name: a certificate bundle or a password.
pub const REFERENCED_FILE_BYTES_MAX: u64 = 4 << 20;

/// What a configuration may refer to outside of itself.
pub trait Host {
    /// The value of an environment variable, if it is set to text.
    fn env(&self, name: &str) -> Option<Zeroizing<String>>;

    /// The content of a text file of at most [`REFERENCED_FILE_BYTES_MAX`] bytes.
    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>>;

    /// The content of a file of at most `bytes_max` bytes that is no text. A host without such files says so.
    fn read_bytes(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let _ = (path, bytes_max);
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Whether files can be made in this folder. A host that does not run what it resolves need not know.
    fn keeps_files(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        Ok(())
    }
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalHost;

impl Host for LocalHost {
    fn env(&self, name: &str) -> Option<Zeroizing<String>> {
        // `std::env::var` panics on neither, but a name with `=` or NUL names nothing.
        if name.is_empty() || name.contains(['=', '\0']) {
            return None;
        }
        std::env::var(name).ok().map(Zeroizing::new)
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        read_bounded(path, REFERENCED_FILE_BYTES_MAX)
    }

    fn read_bytes(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_bounded(path, bytes_max)?.read_to_end(&mut bytes)?;
        within(bytes.len(), bytes_max)?;
        Ok(bytes)
    }

    fn keeps_files(&self, folder: &Path) -> io::Result<()> {
        keeps_files(folder)
    }
}

/// What is known of a folder without a write.
fn keeps_files(folder: &Path) -> io::Result<()> {
    let found = std::fs::metadata(folder)?;
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    match found.permissions().readonly() {
        true => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        false => Ok(()),
    }
}

/// Reads a text file that must be a regular file (or a link to one) and not larger than `bytes_max`.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    open_bounded(path, bytes_max)?.read_to_string(&mut text)?;
    within(text.len(), bytes_max)?;
    Ok(text)
}

/// A regular file, of which no more than one byte too many is read.
fn open_bounded(path: &Path, bytes_max: u64) -> io::Result<impl Read> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(File::open(path)?.take(bytes_max + 1))
}

fn within(length: usize, bytes_max: u64) -> io::Result<()> {
    if u64::try_from(length).is_ok_and(|length| length > bytes_max) {
        let reason = format!("larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_keeps_files_is_there_and_is_one() {
        let kind = |path: &Path| LocalHost.keeps_files(path).map_err(|error| error.kind());
        assert_eq!(kind(&std::env::temp_dir()), Ok(()));
        assert_eq!(
            kind(Path::new("/nowhere/at/all")),
            Err(io::ErrorKind::NotFound)
        );
        let file = std::env::current_exe().unwrap();
        assert_eq!(kind(&file), Err(io::ErrorKind::NotADirectory));
    }
}
