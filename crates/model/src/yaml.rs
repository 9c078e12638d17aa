//! YAML (and JSON, which is YAML) as a tree in which every value knows its line and column.
//!
//! It owns the core schema of YAML 1.2 and the bounds on depth and size, alias expansion included.
//! It never knows a resource. Its input is a file that anybody may have written, so every oddity
//! (duplicate key, unknown tag, key that is no scalar) is a fault with its position, never a guess.

mod builder;
mod scalar;

use zeroize::Zeroizing;

use crate::path::{FieldPath, Step};

pub use builder::{Fault, TAG_FIELD, read, read_tagged};

/// Deepest nesting of mappings and lists.
pub const DEPTH_MAX: usize = 64;
/// Most values in one file, those that aliases repeat included.
pub const NODES_MAX: usize = 1_000_000;

/// A place in a file: line and column, both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// A value and where it starts.
#[derive(Clone)]
pub struct Node {
    /// Where it starts.
    pub position: Position,
    /// The value.
    pub value: Value,
}

/// A value. It is not `Debug`: a text may be a password.
#[derive(Clone)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text, wiped when dropped since it may be a password.
    Text(Zeroizing<String>),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order written, without duplicates.
    Map(Vec<Entry>),
}

/// A field of a mapping.
#[derive(Clone)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the name starts.
    pub position: Position,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// The field of a mapping, if this is one that has it.
    pub fn field(&self, name: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == name)
            .map(|entry| &entry.node)
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The fields of a mapping; none if this is none.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none if this is none.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// Where the value at `path` starts, or the nearest value around it that exists.
    pub fn locate(&self, path: &FieldPath) -> Position {
        let mut here = self;
        for step in path.steps() {
            let next = match (step, &here.value) {
                (Step::Field(name), _) => here.field(name),
                (Step::Item(index), Value::List(items)) => items.get(*index),
                (Step::Item(_), _) => None,
            };
            match next {
                Some(next) => here = next,
                None => break,
            }
        }
        here.position
    }

    /// The value as JSON, for decoding. Its depth is bounded by [`DEPTH_MAX`].
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bool) => (*bool).into(),
            Value::Integer(integer) => serde_json::Number::from_i128(*integer)
                .map_or(serde_json::Value::Null, serde_json::Value::Number),
            Value::Float(float) => (*float).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }

    /// How many values this is, itself included.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
            _ => 0usize,
        }
    }

    /// How many levels this is; 0 for a scalar.
    fn depth(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|entry| entry.node.depth())
                    .max()
                    .unwrap_or(0)
            }
            _ => 0,
        }
    }
}
