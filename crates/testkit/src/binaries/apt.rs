//! Downloads packages with the machine's own apt, keys and mirror, in a state folder of our own.
//!
//! Owns nothing of the system: every directory that apt writes to is below the given folder, and apt's
//! own package database is empty, so that all dependencies are downloaded, the C library too. It must
//! never switch signature checks off. Its input is the machine's list of package sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{Error, Kind, Result, process};

/// How often a download says how far it is.
const PROGRESS: Duration = Duration::from_secs(3);

/// Which release to take packages from.
#[derive(Clone, Copy, Debug)]
pub enum Suite {
    /// Debian unstable.
    Unstable,
    /// The release that the machine runs.
    Own,
}

/// A private apt state with a fresh package index.
pub struct Packages {
    folder: PathBuf,
}

/// One configured source of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    signed_by: Option<String>,
}

impl Packages {
    /// Prepares the state below `folder` and downloads the index of the suite.
    pub fn open(folder: &Path, suite: Suite, kind: Kind) -> Result<Packages> {
        let missing = |what: &str| Error::Missing {
            what: what.to_owned(),
            hint: kind.install_hint(),
        };
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if release_field(&release, "ID") != Some("debian") {
            return Err(missing("Debian, whose packages could be fetched,"));
        }
        let codename = release_field(&release, "VERSION_CODENAME")
            .unwrap_or("sid")
            .to_owned();
        for program in ["apt-get", "dpkg-deb", "tar"] {
            if super::on_path(program).is_empty() {
                return Err(missing(program));
            }
        }
        let sources = configured_sources(Path::new("/etc/apt"));
        let source = main_archive(&sources, &codename)
            .ok_or_else(|| missing("a package source for this Debian release in /etc/apt"))?;
        let packages = Packages {
            folder: folder.to_owned(),
        };
        let suite = match suite {
            Suite::Unstable => "sid",
            Suite::Own => codename.as_str(),
        };
        packages.prepare(source, suite)?;
        eprintln!("testkit: reading the package index of {suite}");
        process::run(packages.apt_get(&["update"]), "apt-get update")?;
        Ok(packages)
    }

    /// Downloads packages with all that they depend on, and `alone` without. Returns the files.
    pub fn download(&self, names: &[&str], alone: &[&str]) -> Result<Vec<PathBuf>> {
        eprintln!(
            "testkit: downloading {} and what they need",
            names.join(", ")
        );
        let mut install = self.apt_get(&["install", "--download-only", "--yes"]);
        install.args(names);
        let archives = self.folder.join("cache/archives");
        showing_growth(&archives, || {
            process::run(install, "apt-get install --download-only")
        })?;
        if !alone.is_empty() {
            let mut download = self.apt_get(&["download"]);
            download.args(alone).current_dir(&archives);
            process::run(download, "apt-get download")?;
        }
        let entries = fs::read_dir(&archives).map_err(Error::io("read folder", &archives))?;
        let files = entries.flatten().map(|entry| entry.path());
        Ok(files
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect())
    }

    fn prepare(&self, source: &Source, suite: &str) -> Result<()> {
        for name in ["state/lists/partial", "cache/archives/partial"] {
            let path = self.folder.join(name);
            fs::create_dir_all(&path).map_err(Error::io("create folder", &path))?;
        }
        let options = source
            .signed_by
            .as_ref()
            .map(|key| format!("[signed-by={key}] "))
            .unwrap_or_default();
        let line = format!("deb {options}{} {suite} main\n", source.uri);
        for (name, text) in [("sources.list", line.as_str()), ("state/status", "")] {
            let path = self.folder.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        Ok(())
    }

    fn apt_get(&self, words: &[&str]) -> Command {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new("apt-get");
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        for option in [
            format!("Dir::State={}", at("state")),
            format!("Dir::State::status={}", at("state/status")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            // Root's downloads are otherwise done by a user who may not read below root's home.
            "APT::Sandbox::User=".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.args(words);
        command
    }
}

/// Runs `work` and says every few seconds how much lies in `folder`, partial files included.
fn showing_growth<T: Send>(folder: &Path, work: impl FnOnce() -> T + Send) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while waiting.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
                let files = super::children(&folder.join("partial")).into_iter();
                let files = files.chain(super::children(folder));
                let bytes: u64 = files
                    .filter_map(|file| Some(file.metadata().ok()?.len()))
                    .sum();
                eprintln!("testkit: {} MB so far", bytes / 1_000_000);
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

fn release_field<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == field)
        .map(|(_, value)| value.trim_matches('"'))
        .next()
}

/// The source that has the suite of this very release: its mirror has the other suites, too.
fn main_archive<'a>(sources: &'a [Source], codename: &str) -> Option<&'a Source> {
    let names = [codename, "stable", "testing", "unstable", "sid"];
    sources.iter().find(|source| {
        source
            .suites
            .iter()
            .any(|suite| names.contains(&suite.as_str()))
    })
}

fn configured_sources(folder: &Path) -> Vec<Source> {
    let mut files = super::children(&folder.join("sources.list.d"));
    files.push(folder.join("sources.list"));
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => sources.extend(stanzas(&text)),
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            _ => {}
        }
    }
    sources
}

/// The paragraphs of sources.list(5) in its newer form; a key written into the file is left out, and
/// apt's own keyring decides.
fn stanzas(text: &str) -> Vec<Source> {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let field = |name: &str| {
            let lines = paragraph.lines().filter_map(|line| line.split_once(':'));
            let mut values = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
            values.next().map(|(_, value)| value.trim().to_owned())
        };
        let suites = field("Suites")?
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let uri = field("URIs")?.split_whitespace().next()?.to_owned();
        let wanted = field("Types")?.split_whitespace().any(|kind| kind == "deb");
        let enabled = field("Enabled").is_none_or(|value| value != "no");
        let signed_by = field("Signed-By").filter(|key| key.starts_with('/'));
        (wanted && enabled).then_some(Source {
            uri,
            suites,
            signed_by,
        })
    });
    paragraphs.flatten().collect()
}

/// A line of sources.list(5) in its older form: `deb [options] uri suite components`.
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let suites = vec![words.next()?.to_owned()];
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    Some(Source {
        uri,
        suites,
        signed_by: signed_by.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWER: &str = "Types: deb\n# a comment\nURIs: http://mirror.invalid/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/debian.gpg\n\n\
        Types: deb-src\nURIs: http://mirror.invalid/debian\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn reads_both_forms_of_sources() {
        let newer = stanzas(NEWER);
        let expected = Source {
            uri: "http://mirror.invalid/debian".to_owned(),
            suites: vec!["bookworm".to_owned(), "bookworm-updates".to_owned()],
            signed_by: Some("/keys/debian.gpg".to_owned()),
        };
        assert_eq!(newer, vec![expected.clone()]);
        let older = one_line(
            "deb [arch=amd64 signed-by=/keys/debian.gpg] http://mirror.invalid/debian bookworm main",
        );
        let one_suite = Source {
            suites: vec!["bookworm".to_owned()],
            ..expected
        };
        assert_eq!(older, Some(one_suite));
        assert_eq!(
            one_line("# deb http://mirror.invalid/debian bookworm main"),
            None
        );
    }

    #[test]
    fn takes_the_mirror_of_the_release_and_no_other() {
        let mut sources = vec![one_line("deb http://other.invalid/tool tool main").unwrap()];
        assert_eq!(main_archive(&sources, "bookworm"), None);
        sources.extend(stanzas(NEWER));
        let found = main_archive(&sources, "bookworm").unwrap();
        assert_eq!(found.uri, "http://mirror.invalid/debian");
    }
}
