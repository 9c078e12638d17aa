//! Words that must not stand in committed text: hosts that only a package client should know, marks of unfinished work, and
//! traces of the machine a text was written on. The list is put together from parts, so that this file does not contain it.
//! Input: every text file of the tree but lock files, which their tools write.

use super::tree::Tree;
use super::{Finding, Findings};

/// A word, in lower case, in parts, and what to do about it.
const DENIED: [(&[&str], &str); 16] = [
    (&["crates", ".io"], REGISTRY),
    (&["pypi", ".org"], REGISTRY),
    (&["python", "hosted.org"], REGISTRY),
    (&["npm", "js.org"], REGISTRY),
    (&["npm", "js.com"], REGISTRY),
    (&["deb.", "debian.org"], REGISTRY),
    (&["snapshot.", "debian.org"], REGISTRY),
    (&["proxy.", "golang.org"], REGISTRY),
    (&["fix", "me"], UNFINISHED),
    (&["to", "do:"], UNFINISHED),
    (&["lorem", " ipsum"], UNFINISHED),
    (&["<<<<", "<<< "], "finish the merge"),
    (&["/work/", "shared"], "name a place in this project"),
    (&["/work/", "main"], "name a place in this project"),
    (&["co-auth", "ored-by"], "speak of the project alone"),
    (&["chat", "gpt"], "speak of the project alone"),
];
const REGISTRY: &str = "let the package client, configured on the machine, know its host";
const UNFINISHED: &str = "finish it, or say in plain words what is missing and why";

/// Looks through every text of the tree.
pub fn check(tree: &Tree, findings: &mut Findings) {
    let denied: Vec<(String, &str)> = DENIED
        .iter()
        .map(|(parts, remedy)| (parts.concat(), *remedy))
        .collect();
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if name.ends_with(".lock") || name == "package-lock.json" {
            continue;
        }
        let lower = file.text.to_ascii_lowercase();
        for (word, remedy) in denied
            .iter()
            .filter(|(word, _)| lower.contains(word.as_str()))
        {
            for (at, _) in lower
                .match_indices(word.as_str())
                .filter(|(at, _)| stands_alone(&lower, *at, word))
            {
                let line = lower
                    .get(..at)
                    .map_or(1, |before| before.matches('\n').count() + 1);
                findings.add(Finding::new(
                    &file.path,
                    line,
                    format!("`{word}` in committed text"),
                    remedy,
                ));
            }
        }
    }
}

/// Whether the hit is no part of a longer word.
fn stands_alone(text: &str, at: usize, word: &str) -> bool {
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    let after = text
        .get(at + word.len()..)
        .and_then(|text| text.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let files = vec![File {
            path: path.to_owned(),
            text: text.to_owned(),
        }];
        let mut findings = Findings::default();
        check(
            &Tree {
                root: ".".into(),
                files,
            },
            &mut findings,
        );
        findings.lines()
    }

    #[test]
    fn denied_words_are_found_with_their_line_in_any_case() {
        let text = format!("one\ntwo https://static.{}{}/x\n", "Crates", ".io");
        assert_eq!(found("README.md", &text).len(), 1);
        assert!(
            found("README.md", &text)
                .iter()
                .all(|line| line.starts_with("README.md:2: "))
        );
        assert!(found("Cargo.lock", &text).is_empty(), "the tool writes it");
        assert!(found("README.md", "fixmemory").is_empty());
    }
}
