//! Order within the Markdown documents: links lead somewhere, the map of the code is short and complete, and the index of the
//! documentation knows every page. It must never fetch anything: only links inside the tree are followed.

use std::collections::BTreeSet;

use super::tree::{File, Tree};
use super::{Finding, Findings};

/// Lines the map of the code may have: it is read in one sitting, or not at all.
const ARCHITECTURE_LINES_MAX: usize = 200;
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const INDEX: &str = "docs/README.md";
/// Documents that a visitor looks for in the root.
const EXPECTED: [&str; 5] = [
    "README.md",
    ARCHITECTURE,
    "CONTRIBUTING.md",
    "LICENSE",
    INDEX,
];

/// A link of a document.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

/// Checks every document of the tree.
pub fn check(tree: &Tree, findings: &mut Findings) {
    for path in EXPECTED
        .into_iter()
        .filter(|path| tree.file(path).is_none())
    {
        findings.add(Finding::new(path, 1, "missing".to_owned(), "write it"));
    }
    if let Some(file) = tree.file(ARCHITECTURE) {
        architecture(tree, file, findings);
    }
    if let Some(file) = tree.file(INDEX) {
        index(tree, file, findings);
    }
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        metrics(tree, file, findings);
        for link in links(&file.text) {
            if let Some(what) = dead(tree, file, &link.target) {
                findings.add(Finding::new(
                    &file.path,
                    link.line,
                    what,
                    "correct the link or write the page",
                ));
            }
        }
    }
}

fn architecture(tree: &Tree, file: &File, findings: &mut Findings) {
    let lines = file.text.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        let what = format!("{lines} lines, more than {ARCHITECTURE_LINES_MAX}");
        findings.add(Finding::new(
            &file.path,
            lines,
            what,
            "move details to docs/ or to module docs",
        ));
    }
    for name in tree.crates() {
        let mentioned = file.text.contains(&format!("crates/{name}"))
            || file.text.contains(&format!("`{name}`"));
        if !mentioned {
            let what = format!("crate `crates/{name}` is not on the map");
            findings.add(Finding::new(
                &file.path,
                1,
                what,
                "say in one line what it owns and what it may depend on",
            ));
        }
    }
}

/// Every page under `docs/` is reachable from the index.
fn index(tree: &Tree, file: &File, findings: &mut Findings) {
    let linked: BTreeSet<String> = links(&file.text)
        .iter()
        .filter_map(|link| resolve(&file.path, &link.target))
        .collect();
    let pages = tree
        .files
        .iter()
        .filter(|page| page.path.starts_with("docs/") && page.path.ends_with(".md"));
    for page in pages.filter(|page| page.path != INDEX) {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !linked.contains(&page.path) && (folder == "docs" || !linked.contains(folder)) {
            let what = format!("page `{}` is not in the index", page.path);
            findings.add(Finding::new(
                &file.path,
                1,
                what,
                "link it, or its folder, where a reader would look",
            ));
        }
    }
}

/// Metrics and the like that a document names exist in the code.
fn metrics(tree: &Tree, file: &File, findings: &mut Findings) {
    let in_code = |name: &str| {
        let sources = tree.files.iter().filter(|file| file.path.ends_with(".rs"));
        sources.into_iter().any(|source| source.text.contains(name))
    };
    for (index, line) in file.text.lines().enumerate() {
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("dbmesh_") && !in_code(word)) {
            let what = format!("`{name}` is not in the code");
            findings.add(Finding::new(
                &file.path,
                index + 1,
                what,
                "correct the name or take it out",
            ));
        }
    }
}

/// What is wrong with a link, if anything.
fn dead(tree: &Tree, file: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let place = if path.is_empty() {
        file.path.clone()
    } else {
        resolve(&file.path, path)?
    };
    if tree.file(&place).is_none() && !tree.root.join(&place).exists() {
        return Some(format!("link to `{target}` leads nowhere"));
    }
    let page = tree
        .file(&place)
        .filter(|page| page.path.ends_with(".md"))?;
    let known = anchor.is_empty() || headings(&page.text).any(|heading| heading == anchor);
    (!known).then(|| format!("`{place}` has no heading `#{anchor}`"))
}

/// The path from the root that `target` means in the document at `from`. Nothing for links out of the tree.
fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains("://") {
        return None;
    }
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from
            .split('/')
            .rev()
            .skip(1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Inline links, images and reference definitions outside code.
fn links(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, text) in prose(text) {
        if let Some((label, target)) = text
            .split_once("]: ")
            .filter(|(label, _)| label.starts_with('['))
        {
            let target = target.split_whitespace().next().unwrap_or_default();
            if !label.contains(']') {
                found.push(Link {
                    line,
                    target: target.to_owned(),
                });
            }
        }
        for (at, _) in text.match_indices("](") {
            let rest = text.get(at + 2..).unwrap_or_default();
            let Some((inside, _)) = rest.split_once(')') else {
                continue;
            };
            let target = inside
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .trim_matches(['<', '>']);
            found.push(Link {
                line,
                target: target.to_owned(),
            });
        }
    }
    found
}

/// The anchors of the headings, made the way Git hosts make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).into_iter().filter_map(|(_, line)| {
        let title = line
            .strip_prefix('#')?
            .trim_start_matches('#')
            .strip_prefix(' ')?;
        let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        Some(
            title
                .trim()
                .to_lowercase()
                .chars()
                .filter(keep)
                .map(|c| if c == ' ' { '-' } else { c })
                .collect(),
        )
    })
}

/// Lines outside fenced blocks, numbered from 1, with code spans blanked (a heading keeps them: they are part of its anchor).
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        fenced ^= fence;
        if fence || fenced {
            continue;
        }
        let text = match line.starts_with('#') {
            true => line.to_owned(),
            false => line
                .split('`')
                .enumerate()
                .map(|(n, part)| if n % 2 == 0 { part } else { "·" })
                .collect(),
        };
        lines.push((index + 1, text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files = files
            .iter()
            .map(|(path, text)| File {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            })
            .collect();
        let tree = Tree {
            root: "/nonexistent".into(),
            files,
        };
        let mut findings = Findings::default();
        check(&tree, &mut findings);
        findings
            .lines()
            .into_iter()
            .filter(|line| !line.contains(": missing"))
            .collect()
    }

    #[test]
    fn links_and_anchors_must_lead_somewhere() {
        let page = "# A `b` title\n[ok](../README.md) [gone](gone.md) [here](#a-b-title) [not](#c)\n`[code](x.md)`\n```\n[x](y.md)\n```\n[r]: z.md\n";
        let found = found(&[
            ("docs/README.md", page),
            (
                "README.md",
                "[x](docs/README.md#a-b-title) [w](https://example.org/a)",
            ),
        ]);
        let wrong: Vec<&str> = found
            .iter()
            .filter_map(|line| line.split('`').nth(1))
            .collect();
        assert_eq!(wrong, ["gone.md", "docs/README.md", "z.md"], "{found:?}");
    }

    #[test]
    fn metrics_that_a_page_names_exist() {
        let code = "family(\"dbmesh_sessions\")";
        let page = "`dbmesh_sessions`, `dbmesh_sess`ions and `dbmesh_gone_total{class}`";
        let found = found(&[("a.md", page), ("a.rs", code)]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn the_map_is_short_and_names_every_crate() {
        let map = format!("`wire`\n{}", "x\n".repeat(200));
        let found = found(&[
            ("ARCHITECTURE.md", &map),
            ("crates/wire/Cargo.toml", ""),
            ("crates/sql/Cargo.toml", ""),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_index_knows_every_page() {
        let files = [
            ("docs/README.md", "[a](a.md) [d](decisions)"),
            ("docs/a.md", ""),
            ("docs/b.md", ""),
            ("docs/decisions/1.md", ""),
        ];
        let found = found(&files);
        assert!(
            found
                .iter()
                .any(|line| line.contains("`docs/b.md` is not in the index")),
            "{found:?}"
        );
        assert!(
            !found.iter().any(|line| line.contains("decisions/1.md")),
            "{found:?}"
        );
    }
}
