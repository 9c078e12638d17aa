//! The user variables that a text names.

use crate::effects::user_variable_name;
use crate::{Dialect, Lexer, TokenKind};

/// The user variables in a text, each once, in lower case and without `@`; none if a name is no text. What names an account
/// (`'u'@'h'`) looks the same: that is not told apart here.
#[must_use]
pub fn user_variables(sql: &[u8], dialect: &Dialect) -> Option<Vec<Box<str>>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for token in Lexer::new(sql, dialect) {
        if token.kind == TokenKind::UserVariable {
            let name = user_variable_name(token.span.of(sql), dialect)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Some(names)
}

/// The name of one variable, as [`user_variables`] gives it.
#[must_use]
pub fn user_variable(token: &[u8], dialect: &Dialect) -> Option<Box<str>> {
    user_variable_name(token, dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_once_in_lower_case() {
        let names = |sql: &str| user_variables(sql.as_bytes(), &Dialect::default());
        let of = |names: &[&str]| Some(names.iter().map(|name| Box::from(*name)).collect());
        assert_eq!(names("SELECT 1, '@a' -- @b"), of(&[]));
        assert_eq!(
            names("SET @A = @`b c`, @'d' = @a + @@session.sql_mode"),
            of(&["a", "b c", "d"])
        );
        assert_eq!(
            names("SELECT x, @n := @n + 1 INTO @x, @y FROM t"),
            of(&["n", "x", "y"])
        );
    }
}
