//! Names that a schema has once, where several shards of a table are in one.
//!
//! Owns how the names of foreign keys and checks are told apart: each shard has them with its number behind, as in
//! `credit_not_negative~3`. A foreign key without an index of its own gets one of the same name from the server.

/// What stands between a name and the number of its shard.
const MARK: char = '~';
/// The longest name of a constraint.
const NAME_CHARS_MAX: usize = 64;

/// The name at a shard.
pub fn numbered(name: &str, shard: usize) -> String {
    format!("{name}{MARK}{shard}")
}

/// Whether a server takes it.
pub fn room(name: &str, shard: usize) -> bool {
    numbered(name, shard).chars().count() <= NAME_CHARS_MAX
}

/// The name as clients know it, and the number of its shard.
pub fn without_number(name: &str) -> Option<(&str, usize)> {
    let (own, number) = name.rsplit_once(MARK)?;
    let plain = !own.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|_| plain)?;
    Some((own, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (name, shard) in [("positive", 0), ("a~b", 12), ("größe ~", 3)] {
            assert_eq!(without_number(&numbered(name, shard)), Some((name, shard)));
        }
        for name in ["", "positive", "~1", "a~", "a~b", "a~+1", "a~1b"] {
            assert_eq!(without_number(name), None, "{name}");
        }
        assert!(room(&"x".repeat(62), 9));
        assert!(!room(&"x".repeat(62), 10));
    }
}
