//! Storage of nodes.
//!
//! Owns numbering and lists. Must never panic on a number: one of another arena gives no node. A list that is being read
//! waits in `pending` until it is complete, because its elements may hold lists of the same type.

use std::fmt;
use std::marker::PhantomData;

use super::{Ast, Expr};

/// Nodes of one type above which a cleared arena gives its memory back.
pub(crate) const RETAINED_NODES: usize = 4096;

/// The number of a node.
pub struct Id<T> {
    index: u32,
    node: PhantomData<fn() -> T>,
}

/// A run of nodes in one piece.
pub struct List<T> {
    start: u32,
    length: u32,
    node: PhantomData<fn() -> T>,
}

/// The number of an expression. A type of its own, so that lists of expressions are lists of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(pub Id<Expr>);

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.index.cmp(&other.index)
    }
}
impl<T> std::hash::Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index)
    }
}
impl<T> Id<T> {
    /// The number, as a position in [`Ast::all`].
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for List<T> {}
impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.length) == (other.start, other.length)
    }
}
impl<T> Eq for List<T> {}
impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            start: 0,
            length: 0,
            node: PhantomData,
        }
    }
}
impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", self.start, self.length)
    }
}
impl<T> List<T> {
    /// Number of elements.
    pub fn len(self) -> usize {
        self.length as usize
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    /// All nodes of an arena.
    pub(crate) fn whole(length: usize) -> Self {
        Self {
            start: 0,
            length: small(length),
            node: PhantomData,
        }
    }

    /// The number of each element.
    pub fn ids(self) -> impl Iterator<Item = Id<T>> {
        (self.start..self.start.saturating_add(self.length)).map(|index| Id {
            index,
            node: PhantomData,
        })
    }
}

/// A type of node, and where the arena keeps it.
pub trait Stored: Sized + Copy {
    #[doc(hidden)]
    fn arena(ast: &Ast) -> &Arena<Self>;
    #[doc(hidden)]
    fn arena_mut(ast: &mut Ast) -> &mut Arena<Self>;
}

/// The nodes of one type.
#[derive(Debug)]
pub struct Arena<T> {
    nodes: Vec<T>,
    pending: Vec<T>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            pending: Vec::new(),
        }
    }
}

impl<T: Copy> Arena<T> {
    #[inline]
    pub(crate) fn add(&mut self, node: T) -> Id<T> {
        let index = small(self.nodes.len());
        self.nodes.push(node);
        Id {
            index,
            node: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn node(&self, id: Id<T>) -> Option<&T> {
        self.nodes.get(id.index())
    }

    #[inline]
    pub(crate) fn node_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.nodes.get_mut(id.index())
    }

    pub(crate) fn set(&mut self, index: usize, node: T) {
        if let Some(place) = self.nodes.get_mut(index) {
            *place = node;
        }
    }

    pub(crate) fn list(&self, list: List<T>) -> &[T] {
        let start = list.start as usize;
        self.nodes
            .get(start..start + list.len())
            .unwrap_or_default()
    }

    pub(crate) fn all(&self) -> &[T] {
        &self.nodes
    }

    /// Where a list begins that is about to be read.
    #[inline]
    pub(crate) fn mark(&self) -> usize {
        self.pending.len()
    }

    #[inline]
    pub(crate) fn hold(&mut self, node: T) {
        self.pending.push(node);
    }

    /// The elements held since `mark` become a list.
    #[inline]
    pub(crate) fn seal(&mut self, mark: usize) -> List<T> {
        let start = small(self.nodes.len());
        let held = self.pending.get(mark..).unwrap_or_default();
        self.nodes.extend_from_slice(held);
        let length = small(held.len());
        self.pending.truncate(mark);
        List {
            start,
            length,
            node: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.pending.clear();
        if self.nodes.capacity() > RETAINED_NODES {
            self.nodes = Vec::new();
        }
        if self.pending.capacity() > RETAINED_NODES {
            self.pending = Vec::new();
        }
    }
}

/// Statement texts are refused above 4 GiB before they get here, and a node takes at least one byte of text.
#[inline]
fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
