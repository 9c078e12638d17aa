//! Fetches a server's packages and unpacks them into the cache, without root.
//!
//! Owns `<cache>/<kind>/`. It must never leave a half-unpacked folder under the final name, because the
//! next run would take it for whole: it unpacks beside it and renames at the end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::apt::{Packages, Suite};
use crate::{Error, Kind, Result, process};

/// The folder into which the packages of `kind` are unpacked, fetching them when it does not exist.
pub fn unpacked_root(kind: Kind, cache: &Path) -> Result<PathBuf> {
    let root = cache.join(kind.folder_name());
    let lock_path = cache.join(format!("{}.lock", kind.folder_name()));
    let lock = File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
    lock.lock().map_err(Error::io("lock", &lock_path))?;
    if root.is_dir() {
        return Ok(root);
    }
    eprintln!(
        "testkit: no {kind} server found; fetching its packages into {}",
        cache.display()
    );
    let work = cache.join(format!("{}.unpacking", kind.folder_name()));
    let _ = fs::remove_dir_all(&work);
    let packages = fetch(kind, &work.join("apt"))?;
    let unpacked = work.join("root");
    fs::create_dir_all(&unpacked).map_err(Error::io("create folder", &unpacked))?;
    eprintln!("testkit: unpacking {} packages", packages.len());
    for package in &packages {
        unpack(package, &unpacked)?;
    }
    fs::rename(&unpacked, &root).map_err(Error::io("rename to", &root))?;
    let _ = fs::remove_dir_all(&work);
    Ok(root)
}

fn fetch(kind: Kind, folder: &Path) -> Result<Vec<PathBuf>> {
    match kind {
        // Debian's stable suites have no MySQL; unstable has, with libraries newer than the machine's,
        // the C library included.
        Kind::MySql => Packages::open(folder, Suite::Unstable, kind)?
            .download(&["mysql-server-core", "mysql-client-core"], &[]),
        // The plugins are in the big package, whose dependencies are of no use here.
        Kind::MariaDb => Packages::open(folder, Suite::Own, kind)?.download(
            &[
                "mariadb-server-core",
                "mariadb-client-core",
                "mariadb-client",
            ],
            &["mariadb-server"],
        ),
    }
}

fn unpack(package: &Path, into: &Path) -> Result<()> {
    let name = package.display().to_string();
    let failed = |source| Error::Io {
        doing: format!("unpack {name}"),
        source,
    };
    let mut archive = Command::new("dpkg-deb");
    archive
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped());
    let mut archive = archive.spawn().map_err(failed)?;
    let Some(tar_input) = archive.stdout.take() else {
        return Err(failed(std::io::Error::other("no output of dpkg-deb")));
    };
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--directory"])
        .arg(into)
        .stdin(tar_input);
    let extracted = process::run(tar, "tar");
    let status = archive.wait().map_err(failed)?;
    extracted?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program {
        program: format!("dpkg-deb {name}"),
        status: Some(status),
        output: String::new(),
    })
}
