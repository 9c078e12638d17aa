//! What of a source has no equivalent, or another meaning: one value per line of the list.
//!
//! It owns where, what, why, and what to do instead. It must never hold a password.

use std::path::{Path, PathBuf};

use dbmesh_model::yaml::{Entry, Node, Value};
use serde::Serialize;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something that acted is not carried over, or acts otherwise.
    Lost,
    /// Nothing that an answer depends on.
    Note,
}

/// A line of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or what stands for it.
    pub file: PathBuf,
    /// From 1; 0 for the whole.
    pub line: usize,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// How much it matters.
    pub level: Level,
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 for the whole.
    pub line: usize,
    /// What it is.
    pub what: String,
    /// Why it is not carried over as it was.
    pub why: String,
    /// What to do instead.
    pub instead: String,
}

/// All entries.
#[derive(Debug, Default)]
pub struct Listing {
    items: Vec<Item>,
}

impl Listing {
    /// Something is lost.
    pub fn lost(&mut self, at: &Place, what: impl Into<String>, why: &str, instead: &str) {
        self.add(Level::Lost, at, what.into(), why, instead);
    }

    /// Something should be known.
    pub fn note(&mut self, at: &Place, what: impl Into<String>, why: &str, instead: &str) {
        self.add(Level::Note, at, what.into(), why, instead);
    }

    fn add(&mut self, level: Level, at: &Place, what: String, why: &str, instead: &str) {
        let item = Item {
            level,
            file: at.file.clone(),
            line: at.line,
            what,
            why: why.to_owned(),
            instead: instead.to_owned(),
        };
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    /// Every field of a mapping that is not among these is lost.
    pub fn unread(&mut self, at: At<'_>, known: &[&str]) {
        for (entry, field) in at.entries() {
            if !known.contains(&entry.key.as_str()) {
                let why = "nothing here corresponds to it";
                self.lost(
                    &field.key_place(entry),
                    entry.key.clone(),
                    why,
                    "decide whether the application needs it",
                );
            }
        }
    }

    /// The entries by place.
    pub fn into_sorted(mut self) -> Vec<Item> {
        self.items
            .sort_by(|a, b| (&a.file, a.line, a.level).cmp(&(&b.file, b.line, b.level)));
        self.items
    }
}

/// A value of a source, and the file it is in.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The file.
    pub file: &'a Path,
    /// The value.
    pub node: &'a Node,
}

impl<'a> At<'a> {
    /// Where it is.
    pub fn place(self) -> Place {
        Place {
            file: self.file.to_owned(),
            line: self.node.position.line,
        }
    }

    /// Where a field's name is.
    pub fn key_place(self, entry: &Entry) -> Place {
        Place {
            file: self.file.to_owned(),
            line: entry.position.line,
        }
    }

    /// A field, unless it is null.
    pub fn field(self, name: &str) -> Option<At<'a>> {
        let node = self.node.field(name)?;
        (!matches!(node.value, Value::Null)).then_some(At { node, ..self })
    }

    /// The first of these fields.
    pub fn any_field(self, names: &[&str]) -> Option<At<'a>> {
        names.iter().find_map(|name| self.field(name))
    }

    /// The fields.
    pub fn entries(self) -> impl Iterator<Item = (&'a Entry, At<'a>)> {
        let file = self.file;
        self.node.entries().iter().map(move |entry| {
            (
                entry,
                At {
                    file,
                    node: &entry.node,
                },
            )
        })
    }

    /// The items of a list; of a text, the parts between its commas are one item.
    pub fn items(self) -> impl Iterator<Item = At<'a>> {
        let file = self.file;
        self.node.items().iter().map(move |node| At { file, node })
    }

    /// A text, number or truth as text.
    pub fn scalar(self) -> Option<String> {
        match &self.node.value {
            Value::Text(text) => Some(text.trim().to_owned()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// That of a field.
    pub fn text(self, name: &str) -> Option<String> {
        self.field(name)?.scalar()
    }

    /// A field's texts: a list, or one text with commas between.
    pub fn list(self, name: &str) -> Vec<(Place, String)> {
        let Some(field) = self.field(name) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in field.items() {
            found.extend(item.scalar().map(|text| (item.place(), text)));
        }
        if let (true, Some(text)) = (found.is_empty(), field.scalar()) {
            let parts = text
                .split(',')
                .map(|part| (field.place(), part.trim().to_owned()));
            found.extend(parts.filter(|(_, part)| !part.is_empty()));
        }
        found
    }
}
