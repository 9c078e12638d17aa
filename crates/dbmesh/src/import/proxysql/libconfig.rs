//! The form of ProxySQL's configuration file: libconfig.
//!
//! It owns the grammar: settings `name = value;`, groups in braces, lists in parentheses, arrays in brackets, comments of
//! shell, C and C++. Depth is bounded. Input: a file that anybody may have written.

/// Deepest nesting.
const DEPTH_MAX: usize = 32;

/// A value and the line it begins on.
pub struct Setting {
    /// From 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// A value. It is not `Debug`: a text may be a password.
pub enum Value {
    /// A text, number or truth, as text.
    Scalar(String),
    /// A list or array.
    List(Vec<Setting>),
    /// Settings by name, in order.
    Group(Vec<(String, Setting)>),
}

impl Setting {
    /// The settings of a group.
    pub fn entries(&self) -> &[(String, Setting)] {
        match &self.value {
            Value::Group(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list.
    pub fn items(&self) -> &[Setting] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads a file.
///
/// # Errors
/// The line, and what is wrong there.
pub fn parse(text: &str) -> Result<Setting, (usize, String)> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        depth: 0,
    };
    let entries = reader.entries(None).map_err(|why| (reader.line, why))?;
    Ok(Setting {
        line: 1,
        value: Value::Group(entries),
    })
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

impl Reader<'_> {
    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }

    /// Passes blanks and comments.
    fn skip(&mut self) -> Result<(), String> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or("a comment does not end")?;
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn eat(&mut self, sign: char) -> Result<bool, String> {
        self.skip()?;
        let found = self.rest.starts_with(sign);
        if found {
            self.take(sign.len_utf8());
        }
        Ok(found)
    }

    /// Settings up to `close`, or to the end of the file.
    fn entries(&mut self, close: Option<char>) -> Result<Vec<(String, Setting)>, String> {
        let mut entries = Vec::new();
        loop {
            self.skip()?;
            match close {
                Some(close) if self.eat(close)? => return Ok(entries),
                None if self.rest.is_empty() => return Ok(entries),
                _ => {}
            }
            let name = self.word();
            if name.is_empty() {
                return Err(match self.rest.chars().next() {
                    Some(sign) => format!("a setting's name is expected, not `{sign}`"),
                    None => "a group does not end".to_owned(),
                });
            }
            if !self.eat('=')? && !self.eat(':')? {
                return Err(format!("`=` is expected behind `{name}`"));
            }
            let setting = self.setting()?;
            entries.push((name, setting));
            let _ = self.eat(';')? || self.eat(',')?;
        }
    }

    fn word(&mut self) -> String {
        let is_word =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*' | '.' | '+');
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let word = self.rest.get(..end).unwrap_or_default().to_owned();
        self.take(end);
        word
    }

    fn setting(&mut self) -> Result<Setting, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX}"));
        }
        self.skip()?;
        let line = self.line;
        let value = if self.eat('{')? {
            Value::Group(self.entries(Some('}'))?)
        } else if self.eat('(')? {
            Value::List(self.items(')')?)
        } else if self.eat('[')? {
            Value::List(self.items(']')?)
        } else if self.rest.starts_with('"') {
            let mut text = String::new();
            // Texts that stand side by side are one.
            while self.rest.starts_with('"') {
                self.quoted(&mut text)?;
                self.skip()?;
            }
            Value::Scalar(text)
        } else {
            let word = self.word();
            if word.is_empty() {
                return Err("a value is expected".to_owned());
            }
            Value::Scalar(match word.to_ascii_lowercase().as_str() {
                "true" => "1".to_owned(),
                "false" => "0".to_owned(),
                _ => word.trim_end_matches('L').to_owned(),
            })
        };
        self.depth -= 1;
        Ok(Setting { line, value })
    }

    fn items(&mut self, close: char) -> Result<Vec<Setting>, String> {
        let mut items = Vec::new();
        while !self.eat(close)? {
            items.push(self.setting()?);
            if !self.eat(',')? {
                if self.eat(close)? {
                    break;
                }
                return Err(format!("`,` or `{close}` is expected"));
            }
        }
        Ok(items)
    }

    fn quoted(&mut self, text: &mut String) -> Result<(), String> {
        self.take(1);
        loop {
            let end = self.rest.find(['"', '\\']).ok_or("a text does not end")?;
            text.push_str(self.rest.get(..end).unwrap_or_default());
            self.take(end);
            if self.rest.starts_with('"') {
                self.take(1);
                return Ok(());
            }
            self.take(1);
            let escaped = self.rest.chars().next().ok_or("a text does not end")?;
            self.take(escaped.len_utf8());
            match escaped {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'f' => text.push('\u{c}'),
                'x' => {
                    let digits = self.rest.get(..2).unwrap_or_default();
                    let code =
                        u8::from_str_radix(digits, 16).map_err(|_| "`\\x` needs two digits")?;
                    text.push(char::from(code));
                    self.take(2);
                }
                other => text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    impl Setting {
        fn get(&self, name: &str) -> Option<&Setting> {
            self.entries()
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, setting)| setting)
        }
    }

    #[test]
    fn settings_groups_lists_and_comments_are_read() {
        let text = "# a\ndatadir=\"/var\" // b\n/* c\n d */ mysql_servers =\n(\n { address=\"a\\\\d\" \"b\", port=3306; active: TRUE },\n {hostgroup = 1L}\n);\nx = [1, 2]";
        let top = parse(text).unwrap();
        let names: Vec<&str> = top
            .entries()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["datadir", "mysql_servers", "x"]);
        let servers = top.get("mysql_servers").unwrap().items();
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[0].line, 6);
        assert_eq!(servers[0].get("address").unwrap().scalar(), Some("a\\db"));
        assert_eq!(servers[0].get("active").unwrap().scalar(), Some("1"));
        assert_eq!(servers[1].get("hostgroup").unwrap().scalar(), Some("1"));
        assert_eq!(top.get("x").unwrap().items().len(), 2);
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        for (text, line) in [
            ("a", 1),
            ("a=\n{", 2),
            ("a=(1 2)", 1),
            ("a=\"", 1),
            ("\n\n=", 3),
            ("a=;", 1),
            ("/*", 1),
        ] {
            assert_eq!(
                parse(text).err().map(|(line, _)| line),
                Some(line),
                "{text:?}"
            );
        }
        assert!(parse(&format!("a={}", "(".repeat(100))).is_err());
    }
}
