//! Where the servers' programs come from, and how each is executed.
//!
//! Looks in this order: `DBMESH_MYSQLD` / `DBMESH_MARIADBD`, PATH, what an earlier run fetched, a fetch
//! from the machine's own package mirror. It must never install anything into the system: what it
//! fetches stays in a cache folder (`DBMESH_CACHE`, else `~/.cache/dbmesh`).

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::{Error, Kind, Result, process};

mod apt;
mod fetch;

/// Environment variables with the path of a server program, and folders that PATH often lacks.
const VARIABLES: [(Kind, &str); 2] = [
    (Kind::MySql, "DBMESH_MYSQLD"),
    (Kind::MariaDb, "DBMESH_MARIADBD"),
];
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin"];

/// The programs of one MySQL or MariaDB version.
#[derive(Clone, Debug)]
pub struct Installation {
    kind: Kind,
    server: PathBuf,
    version: String,
    unpacked: Option<Unpacked>,
}

/// A folder into which packages were unpacked, with the C library that the programs need.
#[derive(Clone, Debug)]
struct Unpacked {
    root: PathBuf,
    loader: PathBuf,
    library_path: String,
}

impl Installation {
    /// Finds or fetches the programs. The answer is remembered for the life of the process.
    pub fn find(kind: Kind) -> Result<Installation> {
        static FOUND: Mutex<Vec<Installation>> = Mutex::new(Vec::new());
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.iter().find(|known| known.kind == kind) {
            return Ok(known.clone());
        }
        let new = Installation::search(kind)?;
        found.push(new.clone());
        Ok(new)
    }

    /// MySQL or MariaDB.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the server says of itself, such as `9.7.4-2` or `10.11.19-MariaDB-deb12`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The server program's path.
    pub fn server_path(&self) -> &Path {
        &self.server
    }

    /// The server, with the options that tell it where its own files are.
    pub fn server_command(&self) -> Command {
        let mut command = self.execute(&self.server);
        command.arg("--no-defaults");
        // SAFETY: geteuid has no precondition.
        if unsafe { libc::geteuid() } == 0 {
            command.arg("--user=root");
        }
        if self.kind == Kind::MySql {
            // Debian's default is a folder that only its package scripts make.
            command.arg("--secure-file-priv=");
        }
        if let Some(unpacked) = &self.unpacked {
            let share = unpacked.root.join("usr/share/mysql");
            command
                .arg(format!("--basedir={}", unpacked.root.join("usr").display()))
                .arg(format!("--lc-messages-dir={}", share.display()))
                .arg(format!(
                    "--character-sets-dir={}",
                    share.join("charsets").display()
                ))
                .arg(format!(
                    "--plugin-dir={}",
                    unpacked.root.join("usr/lib/mysql/plugin").display()
                ));
        }
        command
    }

    /// Another program of the same version, such as `mysql` or `mysqldump`, without its option files.
    pub fn client_command(&self, program: &str) -> Result<Command> {
        let folder = self.server.parent().unwrap_or(Path::new("/"));
        let sibling = folder.parent().map(|parent| parent.join("bin"));
        let candidates = [Some(folder.to_owned()), sibling].into_iter().flatten();
        let own = candidates
            .map(|folder| folder.join(program))
            .find(|path| path.is_file());
        let path = match (own, &self.unpacked) {
            (Some(path), _) => Some(path),
            (None, Some(_)) => None,
            (None, None) => on_path(program).into_iter().next(),
        };
        let path = path.ok_or_else(|| Error::Missing {
            what: format!("the program {program} of {} {}", self.kind, self.version),
            hint: format!("install the client programs of {}", self.kind),
        })?;
        let mut command = self.execute(&path);
        command.arg("--no-defaults");
        Ok(command)
    }

    /// True for a MariaDB with the ed25519 authentication plugin.
    pub(crate) fn has_ed25519(&self) -> bool {
        self.kind == Kind::MariaDb && self.has_plugin("auth_ed25519.so")
    }

    fn has_plugin(&self, file: &str) -> bool {
        let folders = match &self.unpacked {
            Some(unpacked) => vec![unpacked.root.join("usr/lib/mysql/plugin")],
            None => {
                let base = self
                    .server
                    .parent()
                    .and_then(Path::parent)
                    .unwrap_or(Path::new("/usr"));
                ["lib/mysql/plugin", "lib/plugin", "lib64/mysql/plugin"]
                    .map(|folder| base.join(folder))
                    .into()
            }
        };
        folders.iter().any(|folder| folder.join(file).is_file())
    }

    /// A file of the installation's share folder, such as a bootstrap script.
    pub(crate) fn share_file(&self, name: &str) -> Result<Vec<u8>> {
        let base = match &self.unpacked {
            Some(unpacked) => unpacked.root.join("usr"),
            None => self
                .server
                .parent()
                .and_then(Path::parent)
                .unwrap_or(Path::new("/usr"))
                .to_owned(),
        };
        let folders = ["share/mysql", "share/mariadb", "share"].map(|folder| base.join(folder));
        let path = folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file());
        let path = path.unwrap_or_else(|| base.join("share/mysql").join(name));
        fs::read(&path).map_err(Error::io("read", &path))
    }

    fn search(kind: Kind) -> Result<Installation> {
        let variable = VARIABLES
            .iter()
            .find(|(of, _)| *of == kind)
            .map_or("", |(_, name)| *name);
        if let Some(path) = env::var_os(variable) {
            return Installation::probe(kind, PathBuf::from(path), None);
        }
        let names: &[&str] = match kind {
            Kind::MySql => &["mysqld"],
            Kind::MariaDb => &["mariadbd", "mysqld"],
        };
        let installed = names.iter().flat_map(|name| on_path(name));
        for path in installed {
            // A program of that name may be the other kind, or too old: the next place may have it.
            if let Ok(installation) = Installation::probe(kind, path, None) {
                return Ok(installation);
            }
        }
        let root = fetch::unpacked_root(kind, &cache_folder()?)?;
        let unpacked = Unpacked::at(root)?;
        let program = match kind {
            Kind::MySql => "usr/sbin/mysqld",
            Kind::MariaDb => "usr/sbin/mariadbd",
        };
        Installation::probe(kind, unpacked.root.join(program), Some(unpacked))
    }

    /// Asks a server program for its version and checks that it is of the kind wanted.
    fn probe(kind: Kind, server: PathBuf, unpacked: Option<Unpacked>) -> Result<Installation> {
        let mut installation = Installation {
            kind,
            server,
            version: String::new(),
            unpacked,
        };
        let mut command = installation.execute(&installation.server);
        command.args(["--no-defaults", "--version"]);
        let text = process::run(command, &installation.server.to_string_lossy())?;
        let version = text
            .split_whitespace()
            .skip_while(|word| *word != "Ver")
            .nth(1)
            .unwrap_or("");
        let major: u32 = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or(0);
        let fits = match kind {
            Kind::MySql => !text.contains("MariaDB") && major >= 8,
            Kind::MariaDb => text.contains("MariaDB") && major >= 10,
        };
        if !fits {
            return Err(Error::Missing {
                what: format!(
                    "{kind} in {}, which says {:?}",
                    installation.server.display(),
                    text.trim()
                ),
                hint: kind.install_hint(),
            });
        }
        installation.version = version.to_owned();
        Ok(installation)
    }

    fn execute(&self, program: &Path) -> Command {
        let Some(unpacked) = &self.unpacked else {
            return Command::new(program);
        };
        let mut command = Command::new(&unpacked.loader);
        command.arg0(program);
        command.args([
            "--inhibit-cache",
            "--library-path",
            &unpacked.library_path,
            "--argv0",
        ]);
        command.args([program.as_os_str(), program.as_os_str()]);
        command
    }
}

impl Unpacked {
    /// Finds the dynamic loader and the library folders below `root`.
    fn at(root: PathBuf) -> Result<Unpacked> {
        let mut folders = Vec::new();
        for base in ["usr/lib", "lib"] {
            folders.extend(
                children(&root.join(base))
                    .into_iter()
                    .filter(|path| path.is_dir()),
            );
        }
        // The C library may lie below one base and other libraries below the other: what counts is the
        // name of its folder, which is the machine's.
        let machine = folders
            .iter()
            .find(|folder| {
                children(folder)
                    .iter()
                    .any(|file| is_named(file, "libc.so"))
            })
            .and_then(|folder| folder.file_name())
            .map(OsStr::to_owned);
        folders.retain(|folder| folder.file_name() == machine.as_deref());
        let loader = folders
            .iter()
            .flat_map(|folder| children(folder))
            .find(|file| is_named(file, "ld-linux"))
            .ok_or_else(|| Error::Missing {
                what: format!("the dynamic loader in {}", root.display()),
                hint: "remove that folder, so that it is fetched again".to_owned(),
            })?;
        folders.push(root.join("usr/lib/mysql/private"));
        let paths: Vec<_> = folders
            .iter()
            .map(|folder| folder.to_string_lossy())
            .collect();
        Ok(Unpacked {
            library_path: paths.join(":"),
            root,
            loader,
        })
    }
}

/// Where fetched programs and initialised data folders are kept between runs.
pub fn cache_folder() -> Result<PathBuf> {
    let chosen = env::var_os("DBMESH_CACHE").map(PathBuf::from);
    let system =
        || env::var_os("XDG_CACHE_HOME").map(|folder| PathBuf::from(folder).join("dbmesh"));
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/dbmesh"));
    let folder = chosen
        .or_else(system)
        .or_else(home)
        .ok_or_else(|| Error::Missing {
            what: "a cache folder".to_owned(),
            hint: "set DBMESH_CACHE to a folder with 500 MB of room".to_owned(),
        })?;
    fs::create_dir_all(&folder).map_err(Error::io("create folder", &folder))?;
    Ok(folder)
}

/// Every file of that name on PATH and in the system's folders for servers.
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
        .collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn is_named(file: &Path, prefix: &str) -> bool {
    file.file_name()
        .is_some_and(|name: &OsStr| name.to_string_lossy().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn libraries_are_found_below_both_bases_and_of_this_machine_only() -> Result<()> {
        let folder = Folder::create("binaries")?;
        let root = folder.path();
        for file in [
            "lib/x86_64-linux-gnu/libc.so.6",
            "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/liburing.so.2",
            "usr/lib/mysql/plugin/auth.so",
        ] {
            let path = root.join(file);
            let parent = path.parent().unwrap_or(root);
            fs::create_dir_all(parent).map_err(Error::io("create folder", parent))?;
            fs::write(&path, "").map_err(Error::io("write", &path))?;
        }
        let unpacked = Unpacked::at(root.to_owned())?;
        let found: Vec<_> = unpacked.library_path.split(':').map(Path::new).collect();
        assert_eq!(
            found,
            [
                root.join("usr/lib/x86_64-linux-gnu"),
                root.join("lib/x86_64-linux-gnu"),
                root.join("usr/lib/mysql/private"),
            ]
        );
        Ok(())
    }
}
