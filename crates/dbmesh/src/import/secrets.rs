//! Passwords on their way from a source to a resource.
//!
//! It owns the choice between a password as it was and the name of an environment variable. It must never print one.

use super::tree::{Tree, map, text};
use crate::cli::ImportSecrets;

/// The passwords carried over so far.
pub struct Secrets {
    mode: ImportSecrets,
    names: Vec<(String, String)>,
}

impl Secrets {
    /// None yet.
    pub fn new(mode: ImportSecrets) -> Self {
        Self {
            mode,
            names: Vec::new(),
        }
    }

    /// The field of a password that the source has in plain text; none if it is empty.
    pub fn plain(&mut self, owner: &str, password: &str) -> Option<Tree> {
        match (password, self.mode) {
            ("", _) => None,
            (_, ImportSecrets::Plain) => Some(text(password)),
            (_, ImportSecrets::Env) => Some(self.named(owner, password)),
        }
    }

    /// The field of a password that the source does not have.
    pub fn missing(&mut self, owner: &str) -> Tree {
        self.named(owner, "")
    }

    /// Names of the variables that the proxy needs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Equal owners with equal passwords share a variable; others of the same name get numbers.
    fn named(&mut self, owner: &str, password: &str) -> Tree {
        let upper = |c: char| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        };
        let stem: String = owner.chars().map(upper).collect();
        let numbers = std::iter::once(String::new()).chain((2_u32..).map(|n| format!("_{n}")));
        for number in numbers {
            let name = format!("{stem}{number}_PASSWORD");
            match self.names.iter().find(|(known, _)| *known == name) {
                Some((_, known)) if known != password => {}
                Some(_) => return reference(&name),
                None => {
                    let field = reference(&name);
                    self.names.push((name, password.to_owned()));
                    return field;
                }
            }
        }
        reference(&stem)
    }
}

fn reference(name: &str) -> Tree {
    map([("valueFrom", map([("env", text(name))]))])
}
