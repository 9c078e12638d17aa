//! The text of the project as tidy sees it: every file that is, or would be, committed. It must never look into build
//! output or ignored files; its input is `git ls-files` run in the workspace root.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::rust::Code;

/// One text file of the project.
pub struct File {
    /// Its path from the workspace root, with `/` between folders.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// All text files of the project, sorted by path.
pub struct Tree {
    /// The workspace root.
    pub root: PathBuf,
    /// The files. Files that are not UTF-8 are not text and are absent.
    pub files: Vec<File>,
}

/// A Rust file with what the scanner knows of it.
pub struct Source<'a> {
    /// The file.
    pub file: &'a File,
    /// Its code.
    pub code: Code,
    /// The crate folder under `crates/`, or `xtask`, or nothing for other places.
    pub krate: &'a str,
    /// Whether the whole file is test code.
    pub is_test: bool,
}

impl Tree {
    /// Reads the tree below `root`.
    ///
    /// # Errors
    /// When git is missing or `root` is no git work tree.
    pub fn read(root: &Path) -> Result<Tree, String> {
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .map_err(|error| format!("cannot run git: {error}"))?;
        if !listed.status.success() {
            return Err(format!(
                "git ls-files: {}",
                String::from_utf8_lossy(&listed.stderr).trim()
            ));
        }
        let mut files: Vec<File> = String::from_utf8_lossy(&listed.stdout)
            .split('\0')
            .filter(|path| !path.is_empty())
            .filter_map(|path| {
                let text = std::fs::read_to_string(root.join(path)).ok()?;
                Some(File {
                    path: path.to_owned(),
                    text,
                })
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Tree {
            root: root.to_owned(),
            files,
        })
    }

    /// The file at `path`, if the project has it.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The folders under `crates/`, sorted.
    pub fn crates(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .files
            .iter()
            .filter_map(|file| {
                file.path
                    .strip_prefix("crates/")?
                    .strip_suffix("/Cargo.toml")
            })
            .filter(|name| !name.contains('/'))
            .collect();
        names.sort_unstable();
        names
    }

    /// Every Rust file, scanned.
    pub fn sources(&self) -> Vec<Source<'_>> {
        let mut sources: Vec<Source<'_>> = self
            .files
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .map(|file| Source {
                file,
                code: Code::new(&file.text),
                krate: crate_of(&file.path),
                is_test: ["/tests/", "/benches/", "/examples/"]
                    .iter()
                    .any(|part| file.path.contains(part)),
            })
            .collect();
        let test_modules: Vec<String> = sources.iter().flat_map(test_module_paths).collect();
        for source in &mut sources {
            let stem = source.file.path.trim_end_matches(".rs");
            source.is_test |= test_modules.iter().any(|module| {
                stem.strip_prefix(module.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        }
        sources
    }
}

fn crate_of(path: &str) -> &str {
    match path
        .strip_prefix("crates/")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((name, _)) => name,
        None if path.starts_with("xtask/") => "xtask",
        None => "",
    }
}

/// Paths, without `.rs`, of the modules that `source` declares for tests only.
fn test_module_paths(source: &Source<'_>) -> Vec<String> {
    let stem = source.file.path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main")) => folder,
        _ => stem,
    };
    source
        .code
        .test_modules()
        .into_iter()
        .map(|name| format!("{folder}/{name}"))
        .collect()
}
