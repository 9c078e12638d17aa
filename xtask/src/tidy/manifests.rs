//! The arrows between the crates and the manners of their manifests. The table of allowed arrows here is the one of
//! ARCHITECTURE.md; a change of one is a change of the other. Input: the `Cargo.toml` files of the tree, read line by line.

use super::tree::{File, Tree};
use super::{Finding, Findings};

/// What each crate may depend on of ours, in `[dependencies]`. A crate that is absent here is a defect.
const ARROWS: [(&str, &[&str]); 14] = [
    ("wire", &[]),
    ("sql", &[]),
    ("model", &["sql"]),
    ("plan", &["sql", "model"]),
    ("merge", &["wire"]),
    ("commit", &[]),
    ("runtime", &["model"]),
    (
        "proxy",
        &["wire", "sql", "model", "plan", "merge", "commit", "runtime"],
    ),
    ("controller", &["model", "plan", "runtime"]),
    ("daemon", &["model", "runtime"]),
    (
        "dbmesh",
        &[
            "wire",
            "sql",
            "model",
            "plan",
            "merge",
            "commit",
            "runtime",
            "proxy",
            "controller",
            "daemon",
        ],
    ),
    ("testkit", &["wire", "model"]),
    ("differential", &["sql", "testkit"]),
    (
        "xtask",
        &["wire", "sql", "model", "testkit", "differential"],
    ),
];

/// The one crate of ours that is reachable from dev-dependencies beyond the arrows.
const DEV_ONLY: &str = "testkit";

/// Which table of a manifest a dependency stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Table {
    Normal,
    Dev,
    Build,
}

/// One dependency line.
struct Dependency<'a> {
    table: Table,
    line: usize,
    name: &'a str,
    text: &'a str,
}

/// Checks every manifest of the workspace.
pub fn check(tree: &Tree, findings: &mut Findings) {
    if let Some(file) = tree.file("Cargo.toml") {
        workspace_reasons(file, findings);
    }
    for name in tree.crates().into_iter().chain(["xtask"]) {
        let path = if name == "xtask" {
            "xtask/Cargo.toml".to_owned()
        } else {
            format!("crates/{name}/Cargo.toml")
        };
        if let Some(file) = tree.file(&path) {
            member(name, file, findings);
        }
    }
}

fn workspace_reasons(file: &File, findings: &mut Findings) {
    for (number, line, section) in lines(&file.text) {
        let ours = line.contains("path = \"crates/");
        if section == "workspace.dependencies"
            && line.contains('=')
            && !ours
            && comment_of(line).is_none_or(str::is_empty)
        {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let what = format!("dependency `{name}` has no reason");
            findings.add(Finding::new(
                &file.path,
                number,
                what,
                "say in a comment at the end of its line why it is here",
            ));
        }
    }
}

fn member(name: &str, file: &File, findings: &mut Findings) {
    let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        let remedy = "add it to the table in xtask/src/tidy/manifests.rs and to ARCHITECTURE.md";
        findings.add(Finding::new(
            &file.path,
            1,
            format!("crate `{name}` has no place among the arrows"),
            remedy,
        ));
        return;
    };
    for dependency in dependencies(&file.text) {
        if !dependency.text.contains("workspace = true") {
            let what = format!("`{}` is declared apart from the workspace", dependency.name);
            let remedy =
                "move its version to [workspace.dependencies] and write `.workspace = true` here";
            findings.add(Finding::new(&file.path, dependency.line, what, remedy));
        }
        if let Some(target) = dependency.name.strip_prefix("dbmesh-")
            && let Some(remedy) = forbidden(name, target, allowed, dependency.table)
        {
            let what = format!("`{name}` must not depend on `{target}`");
            findings.add(Finding::new(&file.path, dependency.line, what, remedy));
        }
    }
}

/// Why the arrow from a crate to `target` is wrong, or nothing when it is allowed.
fn forbidden(name: &str, target: &str, allowed: &[&str], table: Table) -> Option<&'static str> {
    let is_dev = table == Table::Dev;
    // Tools, which are never shipped.
    let is_tool = matches!(name, "xtask" | "differential");
    if target == DEV_ONLY && !is_tool && !is_dev {
        return Some("testkit is for tests: move it to [dev-dependencies]");
    }
    // A test may drive its own crate from outside through testkit, which must then not need that crate to build.
    if allowed.contains(&target) || (is_dev && target == DEV_ONLY) {
        return None;
    }
    Some(
        "move the code to the crate that may know both, or pass the value in (see ARCHITECTURE.md)",
    )
}

/// The lines of a manifest that are neither blank nor comments, with their number and section.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut section = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            section = trimmed
                .split(']')
                .next()
                .unwrap_or_default()
                .trim_start_matches('[');
            return None;
        }
        (!trimmed.is_empty() && !trimmed.starts_with('#')).then_some((index + 1, trimmed, section))
    })
}

/// The comment at the end of a manifest line: after the first `#` outside quotes.
fn comment_of(line: &str) -> Option<&str> {
    let mut quoted = false;
    let at = line.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '#' && !quoted).then_some(at)
    })?;
    line.get(at + 1..).map(str::trim)
}

fn dependencies(text: &str) -> impl Iterator<Item = Dependency<'_>> {
    lines(text).filter_map(|(line, text, section)| {
        let table = match section.rsplit('.').next()? {
            "dependencies" => Table::Normal,
            "dev-dependencies" => Table::Dev,
            "build-dependencies" => Table::Build,
            _ => return None,
        };
        let name = text.split(['=', '.', ' ']).next()?.trim_matches('"');
        text.contains('=').then_some(Dependency {
            table,
            line,
            name,
            text,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let file = File {
            path: format!("crates/{name}/Cargo.toml"),
            text: text.to_owned(),
        };
        let mut findings = Findings::default();
        member(name, &file, &mut findings);
        findings.lines()
    }

    #[test]
    fn arrows_against_the_layers_are_found_with_their_line() {
        let found = found(
            "wire",
            "[package]\nname = \"x\"\n[dependencies]\ndbmesh-sql.workspace = true\n",
        );
        assert_eq!(found.len(), 1);
        assert!(
            found.iter().all(|line| line
                .starts_with("crates/wire/Cargo.toml:4: `wire` must not depend on `sql`")),
            "{found:?}"
        );
    }

    #[test]
    fn testkit_is_for_tests_only() {
        assert_eq!(
            found("proxy", "[dependencies]\ndbmesh-testkit.workspace = true").len(),
            1
        );
        assert_eq!(
            found(
                "proxy",
                "[dev-dependencies]\ndbmesh-testkit.workspace = true"
            )
            .len(),
            0
        );
        assert_eq!(
            found("xtask", "[dependencies]\ndbmesh-testkit.workspace = true").len(),
            0
        );
    }

    #[test]
    fn versions_belong_to_the_workspace() {
        assert_eq!(
            found("proxy", "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"").len(),
            1
        );
        assert_eq!(
            found(
                "proxy",
                "[dependencies]\nlibc = { workspace = true, features = [] }"
            )
            .len(),
            0
        );
    }

    #[test]
    fn a_dependency_needs_a_reason() {
        let text = "[workspace.dependencies]\na = \"1\"\nb = \"1\" # for b\nc = { version = \"1#\" }\nd = { path = \"crates/d\" }\n";
        let mut findings = Findings::default();
        workspace_reasons(
            &File {
                path: "Cargo.toml".to_owned(),
                text: text.to_owned(),
            },
            &mut findings,
        );
        assert_eq!(findings.lines().len(), 2);
    }
}
