//! From a path to documents: every resource with the file, line and column it came from.
//!
//! It owns which files are read and their bounds. It never decides whether a resource is right:
//! only that it is YAML, has an `apiVersion`, a `kind` and a name. Its input is a file, or a folder
//! of which the `.yaml`, `.yml` and `.json` files are read, in order of name, without those of
//! sub-folders and without hidden ones.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::defect::{Defect, Severity};
use crate::host::read_bounded;
use crate::path::FieldPath;
use crate::yaml::{self, Node, Position};

/// Largest resource file.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most resource files in a folder.
pub const FILES_MAX: usize = 1_000;
/// Namespace of a resource that names none.
pub const NAMESPACE_DEFAULT: &str = "default";

/// A resource as read.
#[derive(Clone)]
pub struct Document {
    /// The file it is in.
    pub file: PathBuf,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its `apiVersion`; empty if absent.
    pub api_version: String,
    /// Its `kind`; empty if absent.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name; empty if absent.
    pub name: String,
    /// All of it.
    pub value: Node,
}

/// Without the value, which holds passwords.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.file.display(), self.line);
        write!(
            f,
            "{file}:{line} {} {}/{}",
            self.kind, self.namespace, self.name
        )
    }
}

/// Whether a part of the input could not be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Every document is there.
    Complete,
    /// Documents may be missing, so that a reference to a missing one means nothing.
    Partial,
}

/// What was read, and what could not be.
#[derive(Debug)]
pub struct Loaded {
    /// The resources, in the order read.
    pub documents: Vec<Document>,
    /// What could not be read.
    pub defects: Vec<Defect>,
    /// Whether documents may be missing.
    pub completeness: Completeness,
}

impl Loaded {
    fn empty() -> Self {
        Self {
            documents: Vec::new(),
            defects: Vec::new(),
            completeness: Completeness::Complete,
        }
    }

    /// Adds the documents of a file's text.
    fn add(&mut self, file: &Path, text: &str) {
        let (nodes, faults) = yaml::read(text);
        for fault in faults {
            if fault.fatal {
                self.completeness = Completeness::Partial;
            }
            self.defects
                .push(error(file, Some(fault.position), fault.reason));
        }
        self.documents
            .extend(nodes.into_iter().map(|node| document(file, node)));
    }

    fn add_unreadable(&mut self, file: &Path, error: &io::Error) {
        self.completeness = Completeness::Partial;
        self.defects
            .push(self::error(file, None, format!("cannot be read: {error}")));
    }
}

/// Reads a file, or the resource files of a folder.
pub fn load(path: &Path) -> Loaded {
    let mut loaded = Loaded::empty();
    let files = match files(path) {
        Ok(files) => files,
        Err(error) => {
            loaded.add_unreadable(path, &error);
            return loaded;
        }
    };
    if files.is_empty() {
        let reason = "the folder holds no .yaml, .yml or .json file";
        loaded.defects.push(error(path, None, reason.to_owned()));
        loaded.completeness = Completeness::Partial;
    }
    for file in files {
        match read_bounded(&file, FILE_BYTES_MAX) {
            Ok(text) => loaded.add(&file, &text),
            Err(error) => loaded.add_unreadable(&file, &error),
        }
    }
    check_any(path, &mut loaded);
    loaded
}

/// Reads resources from a text; `file` is for messages, and for the folder that relative paths in
/// the text start at.
pub fn load_text(file: &Path, text: &str) -> Loaded {
    let mut loaded = Loaded::empty();
    loaded.add(file, text);
    check_any(file, &mut loaded);
    loaded
}

/// Notes that there is nothing to resolve, unless a defect says why already.
fn check_any(path: &Path, loaded: &mut Loaded) {
    if loaded.documents.is_empty() && loaded.defects.is_empty() {
        loaded
            .defects
            .push(error(path, None, "holds no resource".to_owned()));
    }
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if is_resource_file(&file) && file.is_file() {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(io::Error::other(format!(
                "more than {FILES_MAX} resource files"
            )));
        }
    }
    files.sort();
    Ok(files)
}

fn is_resource_file(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = file.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

fn document(file: &Path, value: Node) -> Document {
    let top = |name| {
        value
            .field(name)
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned()
    };
    let metadata = |name| {
        value
            .field("metadata")?
            .field(name)?
            .text()
            .map(str::to_owned)
    };
    Document {
        file: file.to_owned(),
        line: value.position.line,
        api_version: top("apiVersion"),
        kind: top("kind"),
        namespace: metadata("namespace").unwrap_or_else(|| NAMESPACE_DEFAULT.to_owned()),
        name: metadata("name").unwrap_or_default(),
        value,
    }
}

fn error(file: &Path, position: Option<Position>, reason: String) -> Defect {
    Defect {
        severity: Severity::Error,
        file: file.to_owned(),
        line: position.map_or(0, |p| p.line),
        column: position.map_or(0, |p| p.column),
        path: FieldPath::default().to_string(),
        reason,
        suggestion: None,
    }
}
