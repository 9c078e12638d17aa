//! Normalised texts of digests, remembered for who writes one for every statement.
//!
//! Owns a bounded table per worker. It must never hold a literal. Input: texts of clients with their digests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use dbmesh_sql::{Dialect, digest_text};

use crate::redact::safe_dialect;

/// Texts per worker; beyond, all are forgotten.
const TEXTS_MAX: usize = 1024;
/// Longest text, in bytes.
const BYTES_MAX: usize = 4096;

/// The normalised text of a statement.
pub fn text_of(digest: u64, sql: &[u8], dialect: Dialect) -> Arc<str> {
    thread_local! {
        static TEXTS: RefCell<HashMap<u64, Arc<str>>> = RefCell::default();
    }
    TEXTS.with_borrow_mut(|texts| {
        if let Some(known) = texts.get(&digest) {
            return known.clone();
        }
        if texts.len() >= TEXTS_MAX {
            texts.clear();
        }
        let text: Arc<str> = digest_text(sql, &safe_dialect(sql, dialect), BYTES_MAX).into();
        texts.insert(digest, text.clone());
        text
    })
}
