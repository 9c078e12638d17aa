//! Whatever a file holds, reading and resolving it ends, without a panic and in bounded memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::path::Path;

use dbmesh_model::host::Host;
use dbmesh_model::{load_text, resolve};
use proptest::prelude::*;
use zeroize::Zeroizing;

const WHOLE: &str = include_str!("../cases/every-field.yaml");

struct EmptyHost;

impl Host for EmptyHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Zeroizing<String>> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

/// Resolves, and checks that whatever is found has a place in the file.
fn survive(text: &str) {
    let lines = text.lines().count() + 1;
    if let Err(defects) = resolve(load_text(Path::new("x.yaml"), text), &EmptyHost) {
        assert!(defects.errors() > 0, "refused without an error");
        for defect in defects.0 {
            assert!(defect.line <= lines, "{defect} is beyond line {lines}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text(text in "\\PC*") {
        survive(&text);
    }

    #[test]
    fn any_yaml_like_text(text in "([\\[\\]{}:,&*!|>'\"#?%@~\\-a0 \t\n]|---\n|<<|!!int|\\\\u){0,80}") {
        survive(&text);
    }

    #[test]
    fn a_configuration_cut_and_spliced(
        start in 0..WHOLE.len(), end in 0..WHOLE.len(), put in "[\\[\\]{}:,&*!\\-a \n]{0,4}"
    ) {
        // The file is ASCII, so that every offset is a character's.
        let (start, end) = (start.min(end), start.max(end));
        survive(&format!("{}{put}{}", &WHOLE[..start], &WHOLE[end..]));
    }
}

#[test]
fn deep_nesting_ends() {
    for (open, times) in [
        ("[", 100_000),
        ("{a: ", 50_000),
        ("- ", 50_000),
        ("? ", 20_000),
    ] {
        survive(&open.repeat(times));
    }
}

#[test]
fn a_configuration_of_nothing_is_refused() {
    for text in [
        "",
        "\n",
        "# only a comment\n",
        "---\n---\n",
        "null\n",
        "\u{feff}",
    ] {
        assert!(
            resolve(load_text(Path::new("x.yaml"), text), &EmptyHost).is_err(),
            "{text:?}"
        );
    }
}
