//! Hints: what a client asks of the mesh in comments of its text, or in the query attribute `mesh`.
//!
//! Owns their grammar: `mesh:` and items with commas between them, and the keys of ShardingSphere's hints that mean the
//! same. Must never pass over an item that it does not know: who wrote it counts on it. Input: comments that the scanner
//! found (nothing inside of strings or of code), and the text of an attribute, both of a client that may be hostile.

use std::fmt;

use crate::facts::Facts;
use crate::lexer::Span;

/// The role that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleHint {
    /// The primary.
    Primary,
    /// A replica, as stale as it may be, if the statement is proved to read only.
    Replica,
}

/// Most comments with hints in one text.
pub const HINT_COMMENTS_MAX: usize = 8;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 16;
/// Longest value, in bytes.
pub const HINT_VALUE_BYTES_MAX: usize = 256;
/// Most tags in one text.
pub const TAGS_MAX: usize = 16;
/// Longest time limit, in ms: a day.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// What a client asks for; parts of its own text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints<'a> {
    /// `primary`, `replica`.
    pub role: Option<RoleHint>,
    /// `endpoint=NAME`.
    pub endpoint: Option<&'a str>,
    /// `timeout_ms=N`, at least 1.
    pub timeout_ms: Option<u64>,
    /// `shadow`.
    pub shadow: bool,
    /// `hash=KEY`.
    pub hash: Option<&'a str>,
    /// `unit=KEY`.
    pub unit: Option<&'a str>,
    /// `shard=VALUE`.
    pub shard: Option<&'a str>,
    /// `tenant=NAME`.
    pub tenant: Option<&'a str>,
    /// `traceparent=…`, well-formed.
    pub traceparent: Option<&'a str>,
    /// `tag.KEY=VALUE`, in order, keys without `tag.`.
    pub tags: Vec<(&'a str, &'a str)>,
}

/// Why hints are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintError {
    /// No such hint.
    Unknown(String),
    /// A hint of ShardingSphere's, or of later versions, that dbmesh does not follow.
    NotFollowed(String),
    /// It needs a value.
    ValueMissing(String),
    /// It takes no value.
    ValueUnwanted(String),
    /// Its value is none that it can have.
    Value(String, &'static str),
    /// It stands there twice, with different values.
    Twice(String),
    /// The text is none.
    Malformed(&'static str),
}

impl fmt::Display for HintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => write!(f, "there is no hint '{key}'"),
            Self::NotFollowed(key) => write!(f, "hint '{key}' is not followed by this version"),
            Self::ValueMissing(key) => write!(f, "hint '{key}' needs a value"),
            Self::ValueUnwanted(key) => write!(f, "hint '{key}' takes no value"),
            Self::Value(key, wanted) => write!(f, "hint '{key}' needs {wanted}"),
            Self::Twice(key) => write!(f, "hint '{key}' is given twice"),
            Self::Malformed(what) => write!(f, "hints cannot be read: {what}"),
        }
    }
}

impl std::error::Error for HintError {}

/// Whose words an item is in.
#[derive(Clone, Copy)]
enum Words {
    Mesh,
    ShardingSphere,
}

/// Whether a comment, its marks included, holds hints.
#[inline]
pub(crate) fn is_hint(comment: &[u8]) -> bool {
    body(comment).is_some()
}

/// What an optimizer hint is to the mesh.
pub(crate) fn facts(hint: &[u8]) -> Facts {
    let word: &[u8] = b"set_var";
    let sets = |text: &[u8]| text.eq_ignore_ascii_case(word);
    match hint.windows(word.len()).any(sets) {
        true => Facts::HINT | Facts::SET_VAR_HINT,
        false => Facts::HINT,
    }
}

/// What stands behind `mesh:`, or behind ShardingSphere's word, and whose words follow.
fn body(comment: &[u8]) -> Option<(&[u8], Words)> {
    let (text, block) = match comment {
        [b'/', b'*', text @ ..] => (text, true),
        [b'-', b'-', text @ ..] | [b'#', text @ ..] => (text, false),
        _ => return None,
    };
    let text = text.trim_ascii_start();
    let (rest, words) = if let Some(rest) = strip(text, b"mesh:") {
        (rest, Words::Mesh)
    } else {
        (strip(text, b"shardingsphere_hint:")?, Words::ShardingSphere)
    };
    let rest = match block {
        true => rest.strip_suffix(b"*/").unwrap_or(rest),
        false => rest,
    };
    Some((rest, words))
}

fn strip<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl<'a> Hints<'a> {
    /// The hints of a text's comments, as the scanner found them.
    ///
    /// # Errors
    /// The first item that cannot be followed.
    pub fn of_comments(sql: &'a [u8], comments: &[Span]) -> Result<Self, HintError> {
        let mut hints = Self::default();
        if comments.len() > HINT_COMMENTS_MAX {
            return Err(HintError::Malformed("too many comments with hints"));
        }
        for comment in comments {
            if let Some((text, words)) = body(comment.of(sql)) {
                hints.read(text, words)?;
            }
        }
        Ok(hints)
    }

    /// The hints of a query attribute: the items alone.
    ///
    /// # Errors
    /// The first item that cannot be followed.
    pub fn of_attribute(text: &'a [u8]) -> Result<Self, HintError> {
        let mut hints = Self::default();
        hints.read(text, Words::Mesh)?;
        Ok(hints)
    }

    /// These hints, and where they say nothing, those.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        // A server that is named says more than a role, so one does not complete the other.
        let says_where = self.role.is_some() || self.endpoint.is_some();
        self.role = self.role.or(other.role.filter(|_| !says_where));
        self.endpoint = self.endpoint.or(other.endpoint.filter(|_| !says_where));
        self.timeout_ms = self.timeout_ms.or(other.timeout_ms);
        self.shadow |= other.shadow;
        self.hash = self.hash.or(other.hash);
        self.unit = self.unit.or(other.unit);
        self.shard = self.shard.or(other.shard);
        self.tenant = self.tenant.or(other.tenant);
        self.traceparent = self.traceparent.or(other.traceparent);
        for (key, value) in other.tags {
            if !self.tags.iter().any(|(own, _)| *own == key) {
                self.tags.push((key, value));
            }
        }
        self
    }

    fn read(&mut self, text: &'a [u8], words: Words) -> Result<(), HintError> {
        let text = std::str::from_utf8(text).map_err(|_| HintError::Malformed("not UTF-8"))?;
        if text.trim().is_empty() {
            return Err(HintError::Malformed("no hint behind the colon"));
        }
        let mut rest = text;
        loop {
            let (item, more) = next_item(rest)?;
            match words {
                Words::Mesh => self.item(item)?,
                Words::ShardingSphere => self.sharding_sphere_item(item)?,
            }
            match more {
                Some(more) => rest = more,
                None => return Ok(()),
            }
        }
    }

    fn item(&mut self, item: Item<'a>) -> Result<(), HintError> {
        let key = item.key;
        if let Some(tag) = strip_prefix_ignoring_case(key, "tag.") {
            return self.tag(tag, item.value(key)?);
        }
        let mut lower = [0; KEY_BYTES_MAX];
        match lowered(key, &mut lower) {
            "primary" => item
                .alone()
                .and_then(|()| self.set_role(RoleHint::Primary, key)),
            "replica" => item
                .alone()
                .and_then(|()| self.set_role(RoleHint::Replica, key)),
            "shadow" => {
                item.alone()?;
                self.shadow = true;
                Ok(())
            }
            "endpoint" => set(&mut self.endpoint, item.value(key)?, key),
            "hash" => set(&mut self.hash, item.value(key)?, key),
            "unit" => set(&mut self.unit, item.value(key)?, key),
            "tenant" => set(&mut self.tenant, item.value(key)?, key),
            "timeout_ms" => {
                let wanted = "a whole number of milliseconds, 1 to 86400000";
                let ms = item.value(key)?.parse().ok();
                let ms = ms.filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms));
                let ms = ms.ok_or_else(|| HintError::Value(shown(key), wanted))?;
                set(&mut self.timeout_ms, ms, key)
            }
            "traceparent" => {
                let value = item.value(key)?;
                if !is_traceparent(value) {
                    let wanted = "version, trace id, parent id and flags, as in W3C Trace Context";
                    return Err(HintError::Value(shown(key), wanted));
                }
                set(&mut self.traceparent, value, key)
            }
            "shard" => set(&mut self.shard, item.value(key)?, key),
            _ => Err(HintError::Unknown(shown(key))),
        }
    }

    /// What ShardingSphere's keys mean here.
    fn sharding_sphere_item(&mut self, item: Item<'a>) -> Result<(), HintError> {
        let key = item.key;
        let flag = || match item.value(key)?.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(HintError::Value(shown(key), "true or false")),
        };
        match key.to_ascii_uppercase().as_str() {
            "WRITE_ROUTE_ONLY" if flag()? => self.set_role(RoleHint::Primary, key),
            "SHADOW" => {
                self.shadow |= flag()?;
                Ok(())
            }
            "WRITE_ROUTE_ONLY" => Ok(()),
            "DATA_SOURCE_NAME" => set(&mut self.endpoint, item.value(key)?, key),
            _ => Err(HintError::NotFollowed(shown(key))),
        }
    }

    fn set_role(&mut self, role: RoleHint, key: &str) -> Result<(), HintError> {
        set(&mut self.role, role, key)
    }

    fn tag(&mut self, key: &'a str, value: &'a str) -> Result<(), HintError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if key.is_empty() || !key.chars().all(is_name) {
            return Err(HintError::Malformed(
                "the key of a tag is letters, digits and _ - .",
            ));
        }
        if self.tags.iter().any(|(known, _)| *known == key) {
            return Err(HintError::Twice(shown(key)));
        }
        if self.tags.len() >= TAGS_MAX {
            return Err(HintError::Malformed("too many tags"));
        }
        self.tags.push((key, value));
        Ok(())
    }
}

/// A key in lower case, in `room`; what is too long for that is no key.
fn lowered<'r>(key: &str, room: &'r mut [u8; KEY_BYTES_MAX]) -> &'r str {
    let Some(lower) = room.get_mut(..key.len()) else {
        return "";
    };
    lower.copy_from_slice(key.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).unwrap_or_default()
}

fn set<T: PartialEq>(slot: &mut Option<T>, value: T, key: &str) -> Result<(), HintError> {
    match slot {
        Some(known) if *known != value => Err(HintError::Twice(shown(key))),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

/// A client's own word, short enough for an error.
fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// `key` or `key=value`.
#[derive(Clone, Copy)]
struct Item<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

impl<'a> Item<'a> {
    fn alone(self) -> Result<(), HintError> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(HintError::ValueUnwanted(shown(self.key))),
        }
    }

    fn value(self, key: &str) -> Result<&'a str, HintError> {
        match self.value {
            None | Some("") => Err(HintError::ValueMissing(shown(key))),
            Some(value) if value.len() > HINT_VALUE_BYTES_MAX => {
                Err(HintError::Value(shown(key), "at most 256 bytes"))
            }
            Some(value) if value.chars().any(char::is_control) => Err(HintError::Value(
                shown(key),
                "a value without control characters",
            )),
            Some(value) => Ok(value),
        }
    }
}

/// The first item of a text, and what stands behind its comma.
fn next_item(text: &str) -> Result<(Item<'_>, Option<&str>), HintError> {
    let end = text.find(['=', ',']).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    let key = key.trim();
    if key.is_empty() {
        return Err(HintError::Malformed("a hint without a name"));
    }
    if key.contains(char::is_whitespace) {
        return Err(HintError::Malformed("hints are separated by commas"));
    }
    let Some(rest) = rest.strip_prefix('=') else {
        let item = Item { key, value: None };
        return Ok((item, rest.strip_prefix(',')));
    };
    let rest = rest.trim_start();
    if let Some(quote @ ('\'' | '"')) = rest.chars().next() {
        let (value, behind) = rest
            .get(1..)
            .and_then(|inside| inside.split_once(quote))
            .ok_or(HintError::Malformed("a quote is not closed"))?;
        let behind = behind.trim();
        let value = Some(value);
        return match behind.strip_prefix(',') {
            Some(more) => Ok((Item { key, value }, Some(more))),
            None if behind.is_empty() => Ok((Item { key, value }, None)),
            None => Err(HintError::Malformed("hints are separated by commas")),
        };
    }
    let (value, more) = match rest.split_once(',') {
        Some((value, more)) => (value, Some(more)),
        None => (rest, None),
    };
    let value = value.trim();
    if value.contains(char::is_whitespace) {
        return Err(HintError::Malformed(
            "a value with blanks stands in quotes, and hints are separated by commas",
        ));
    }
    let value = Some(value);
    Ok((Item { key, value }, more))
}

/// `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, neither id all zeros. Source: W3C Trace Context, "traceparent".
fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits
            && part
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    let mut parts = value.split('-');
    let mut part = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (part(), part(), part(), part());
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && some(trace)
        && hex(parent, 16)
        && some(parent)
        && hex(flags, 2)
        && (parts.next().is_none() || version != "00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, analyze};

    fn hints(sql: &str) -> Result<Hints<'_>, HintError> {
        let statement = analyze(sql.as_bytes(), &Dialect::default());
        Hints::of_comments(sql.as_bytes(), &statement.hints)
    }

    #[test]
    fn comments_of_every_form_and_place_hold_hints() {
        for sql in [
            "/* mesh: primary */ SELECT 1",
            "/*mesh:primary*/SELECT 1",
            "SELECT 1 /* MESH: Primary */",
            "SELECT /* mesh: primary */ 1",
            "-- mesh: primary\nSELECT 1",
            "SELECT 1 -- mesh: primary",
            "# mesh: primary\r\nSELECT 1",
            "/* app */ /* mesh: primary */ SELECT 1 # end",
            "/* mesh: primary */ SELECT 1 /* mesh: primary */",
            "/* SHARDINGSPHERE_HINT: WRITE_ROUTE_ONLY=true */ SELECT 1",
            "/* ShardingSphere_Hint: write_route_only = TRUE */ SELECT 1",
        ] {
            let expected = Hints {
                role: Some(RoleHint::Primary),
                ..Hints::default()
            };
            assert_eq!(hints(sql), Ok(expected), "{sql}");
        }
    }

    #[test]
    fn what_only_looks_like_a_hint_is_none() {
        for sql in [
            "SELECT 1",
            "SELECT '/* mesh: primary */'",
            "SELECT \"-- mesh: primary\"",
            "SELECT `/* mesh: primary */` FROM t",
            "/* meshed: primary */ SELECT 1",
            "/* see mesh: primary */ SELECT 1",
            "/*+ mesh: primary */ SELECT 1",
            "SELECT 1 --mesh: primary",
            "/*!99999 mesh: primary */ SELECT 1",
            "/* SHARDINGSPHERE_HINT: WRITE_ROUTE_ONLY=false */ SELECT 1",
        ] {
            assert_eq!(hints(sql), Ok(Hints::default()), "{sql}");
        }
    }

    #[test]
    fn every_item_is_read() {
        let sql = "/* mesh: replica, endpoint=db-1, timeout_ms = 500,shadow , unit='k, 1', shard=7, hash=h, tag.a=b, tag.c = \"d e\", \
                   tenant=t, traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 */ SELECT 1";
        let expected = Hints {
            role: Some(RoleHint::Replica),
            endpoint: Some("db-1"),
            timeout_ms: Some(500),
            shadow: true,
            hash: Some("h"),
            unit: Some("k, 1"),
            shard: Some("7"),
            tenant: Some("t"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            tags: vec![("a", "b"), ("c", "d e")],
        };
        assert_eq!(hints(sql), Ok(expected));
        let sql = "/* SHARDINGSPHERE_HINT: DATA_SOURCE_NAME=ds_0, SHADOW=true */ SELECT 1";
        let got = hints(sql).unwrap();
        assert_eq!((got.endpoint, got.shadow), (Some("ds_0"), true));
    }

    #[test]
    fn what_cannot_be_followed_is_an_error_that_says_so() {
        for (sql, expected) in [
            ("/* mesh: */ SELECT 1", "no hint behind the colon"),
            ("/* mesh: , */ SELECT 1", "a hint without a name"),
            ("/* mesh: primary, */ SELECT 1", "a hint without a name"),
            (
                "/* mesh: primary replica */ SELECT 1",
                "separated by commas",
            ),
            (
                "/* mesh: primary, replica */ SELECT 1",
                "'replica' is given twice",
            ),
            (
                "/* mesh: primary */ SELECT 1 -- mesh: replica",
                "'replica' is given twice",
            ),
            ("/* mesh: primry */ SELECT 1", "no hint 'primry'"),
            ("/* mesh: primary=1 */ SELECT 1", "'primary' takes no value"),
            ("/* mesh: endpoint */ SELECT 1", "'endpoint' needs a value"),
            ("/* mesh: endpoint= */ SELECT 1", "'endpoint' needs a value"),
            ("/* mesh: endpoint=a b */ SELECT 1", "stands in quotes"),
            ("/* mesh: endpoint='a */ SELECT 1", "a quote is not closed"),
            ("/* mesh: endpoint='a' b */ SELECT 1", "separated by commas"),
            (
                "/* mesh: timeout_ms=0 */ SELECT 1",
                "a whole number of milliseconds",
            ),
            (
                "/* mesh: timeout_ms=1.5 */ SELECT 1",
                "a whole number of milliseconds",
            ),
            (
                "/* mesh: timeout_ms=-1 */ SELECT 1",
                "a whole number of milliseconds",
            ),
            ("/* mesh: shard */ SELECT 1", "'shard' needs a value"),
            (
                "/* mesh: shard=1 */ SELECT 1 /* mesh: shard=2 */",
                "'shard' is given twice",
            ),
            ("/* mesh: tag.=1 */ SELECT 1", "the key of a tag"),
            (
                "/* mesh: tag.a=1, tag.a=2 */ SELECT 1",
                "'a' is given twice",
            ),
            (
                "/* mesh: traceparent=00-0-0-01 */ SELECT 1",
                "W3C Trace Context",
            ),
            (
                "/* SHARDINGSPHERE_HINT: SKIP_SQL_REWRITE=true */ SELECT 1",
                "is not followed",
            ),
            (
                "/* SHARDINGSPHERE_HINT: WRITE_ROUTE_ONLY=1 */ SELECT 1",
                "true or false",
            ),
        ] {
            let error = hints(sql).expect_err(sql).to_string();
            assert!(error.contains(expected), "{sql}: {error}");
        }
        let many = format!(
            "{} SELECT 1",
            "/* mesh: primary */".repeat(HINT_COMMENTS_MAX + 5)
        );
        assert!(hints(&many).is_err());
        assert!(Hints::of_attribute(b"primary\xff").is_err());
    }

    #[test]
    fn an_attribute_says_more_than_a_comment() {
        let comments = Hints::of_attribute(b"replica, timeout_ms=5, tag.a=1, tag.b=2").unwrap();
        let attribute = Hints::of_attribute(b"primary, tag.a=3").unwrap();
        let both = attribute.or(comments.clone());
        assert_eq!(
            (both.role, both.timeout_ms),
            (Some(RoleHint::Primary), Some(5))
        );
        assert_eq!(both.tags, [("a", "3"), ("b", "2")]);
        let named = Hints::of_attribute(b"endpoint=x").unwrap().or(comments);
        assert_eq!((named.role, named.endpoint), (None, Some("x")));
    }

    #[test]
    fn hints_leave_the_digest_alone() {
        let digest = |sql: &str| analyze(sql.as_bytes(), &Dialect::default()).digest;
        assert_eq!(
            digest("/* mesh: replica, tag.a=1 */ SELECT a FROM t WHERE b = 1"),
            digest("SELECT a FROM t WHERE b = 2 -- mesh: primary")
        );
    }
}
