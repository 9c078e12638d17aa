//! What SHOW CREATE says of a shard, as clients know it.
//!
//! Owns the names in such a text: the table's own, those of constraints that servers make of it, and those of the tables
//! that foreign keys refer to. Input: the text as servers print it, with one definition on every line and names in
//! backquotes, in double quotes (ANSI_QUOTES) or bare (`sql_quote_show_create`).

use dbmesh_sql::literal;

use super::mapping::MADE_NAMES;
use super::numbered::without_number;

/// The text with the client's names. `names` are the table as it is at the node, and as the client knows it; `others` says
/// the same of any table of the node.
pub fn in_own_names(
    text: &[u8],
    (theirs, ours): (&str, &str),
    others: &dyn Fn(&str) -> Option<String>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let renamed = match number {
            0 => created(line, theirs, ours),
            _ => constraint(line, theirs, ours, others).or_else(|| index(line)),
        };
        match renamed {
            Some(renamed) => out.extend(renamed),
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// `CREATE TABLE` and `CREATE DATABASE`, with the name.
fn created(line: &[u8], theirs: &str, ours: &str) -> Option<Vec<u8>> {
    let heads: [&[u8]; 3] = [
        b"CREATE TABLE ",
        b"CREATE DATABASE ",
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ ",
    ];
    heads.iter().find_map(|head| {
        let (name, quotes, rest) = identifier(line.strip_prefix(*head)?)?;
        let own = (name == theirs).then(|| quotes.put(ours))?;
        Some([*head, &own, rest].concat())
    })
}

/// `  CONSTRAINT name …`, with the table that it refers to.
fn constraint(
    line: &[u8],
    theirs: &str,
    ours: &str,
    others: &dyn Fn(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    let head: &[u8] = b"  CONSTRAINT ";
    let (name, quotes, mut rest) = identifier(line.strip_prefix(head)?)?;
    let own = made(&name, theirs, ours).unwrap_or_else(|| unnumbered(name));
    let mut out = [head, &quotes.put(&own)].concat();
    if rest.starts_with(b" FOREIGN KEY (") {
        let behind: &[u8] = b") REFERENCES ";
        let at = outside(rest, behind)? + behind.len();
        let (before, after) = rest.split_at_checked(at)?;
        let (table, quotes, tail) = identifier(after)?;
        let table = others(&table).unwrap_or(table);
        out.extend_from_slice(before);
        out.extend(quotes.put(&table));
        rest = tail;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// `  KEY name …`, where a server named it after a foreign key.
fn index(line: &[u8]) -> Option<Vec<u8>> {
    let head: &[u8] = b"  KEY ";
    let (name, quotes, rest) = identifier(line.strip_prefix(head)?)?;
    let (own, _) = without_number(&name)?;
    Some([head, &quotes.put(own), rest].concat())
}

/// A name without the number of its shard.
pub fn unnumbered(name: String) -> String {
    match without_number(&name) {
        Some((own, _)) => own.to_owned(),
        None => name,
    }
}

/// A name that a server made of the table's.
fn made(name: &str, theirs: &str, ours: &str) -> Option<String> {
    let rest = name.strip_prefix(theirs)?;
    let number = MADE_NAMES.iter().find_map(|made| rest.strip_prefix(made))?;
    let counted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    counted.then(|| format!("{ours}{rest}"))
}

/// How a name stands in such a text.
#[derive(Debug, Clone, Copy)]
enum Quotes {
    Back,
    Double,
    Bare,
}

impl Quotes {
    fn of(text: &[u8]) -> Self {
        match text.first() {
            Some(b'`') => Self::Back,
            Some(b'"') => Self::Double,
            _ => Self::Bare,
        }
    }

    /// A name as the server would print it.
    fn put(self, name: &str) -> Vec<u8> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        match self {
            Self::Double => format!("\"{}\"", name.replace('"', "\"\"")).into_bytes(),
            Self::Bare if name.bytes().all(plain) => name.into(),
            Self::Back | Self::Bare => literal::quote_identifier(name.as_bytes()),
        }
    }
}

/// A name, how it stands there, and what follows.
fn identifier(text: &[u8]) -> Option<(String, Quotes, &[u8])> {
    let quotes = Quotes::of(text);
    let end = match quotes {
        Quotes::Back => quoted_end(text, b'`')?,
        Quotes::Double => quoted_end(text, b'"')?,
        Quotes::Bare => text.iter().position(|byte| matches!(byte, b' ' | b'('))?,
    };
    let (printed, rest) = text.split_at_checked(end)?;
    let name = match quotes {
        Quotes::Bare => printed.to_vec(),
        _ => literal::unquote_name(printed),
    };
    Some((String::from_utf8_lossy(&name).into_owned(), quotes, rest))
}

/// Where a name in quotes ends.
fn quoted_end(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == quote)? + 1;
        match text.get(at) {
            Some(byte) if *byte == quote => at += 1,
            _ => return Some(at),
        }
    }
}

/// Where these words stand outside of names.
fn outside(text: &[u8], words: &[u8]) -> Option<usize> {
    let mut within = None;
    for (at, byte) in text.iter().enumerate() {
        match (byte, within) {
            (b'`' | b'"', None) => within = Some(*byte),
            (byte, Some(quote)) if *byte == quote => within = None,
            (_, None) if text.get(at..)?.starts_with(words) => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards_become_those_of_their_tables() {
        let others = |name: &str| (name == "parent_0").then(|| "parent".to_owned());
        let own = |text: &str| {
            let out = in_own_names(text.as_bytes(), ("orders_0", "orders"), &others);
            String::from_utf8(out).unwrap()
        };
        let text = "CREATE TABLE `orders_0` (\n  `orders_0` int COMMENT 'CONSTRAINT `orders_0_chk_1`',\n  KEY `p` (`p`),\n  \
                    CONSTRAINT `orders_0_ibfk_1` FOREIGN KEY (`a) REFERENCES ``b`) REFERENCES `parent_0` (`id`) ON DELETE \
                    CASCADE,\n  CONSTRAINT `named~0` FOREIGN KEY (`p`) REFERENCES `other` (`id`),\n  KEY `named~0` (`p`),\n  CONSTRAINT \
                    `orders_0_chk_1` CHECK ((`p` > 0))\n) ENGINE=InnoDB";
        let wanted = "CREATE TABLE `orders` (\n  `orders_0` int COMMENT 'CONSTRAINT `orders_0_chk_1`',\n  KEY `p` (`p`),\n  \
                    CONSTRAINT `orders_ibfk_1` FOREIGN KEY (`a) REFERENCES ``b`) REFERENCES `parent` (`id`) ON DELETE \
                    CASCADE,\n  CONSTRAINT `named` FOREIGN KEY (`p`) REFERENCES `other` (`id`),\n  KEY `named` (`p`),\n  CONSTRAINT \
                    `orders_chk_1` CHECK ((`p` > 0))\n) ENGINE=InnoDB";
        assert_eq!(own(text), wanted);
        let ansi = |text: &str| text.replace('`', "\"");
        assert_eq!(own(&ansi(text)), ansi(wanted));
        let bare = "CREATE TABLE orders_0 (\n  id int,\n  CONSTRAINT orders_0_ibfk_1 FOREIGN KEY (id) REFERENCES parent_0 (id)\n)";
        let wanted = "CREATE TABLE orders (\n  id int,\n  CONSTRAINT orders_ibfk_1 FOREIGN KEY (id) REFERENCES parent (id)\n)";
        assert_eq!(own(bare), wanted);
        assert_eq!(
            own("CREATE DATABASE `orders_0` /*!40100 */"),
            "CREATE DATABASE `orders` /*!40100 */"
        );
        assert_eq!(own("CREATE VIEW `orders_0`"), "CREATE VIEW `orders_0`");
    }
}
