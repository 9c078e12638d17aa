//! `ds_${0..1}.t_order_${0..1}` and its like, as Groovy reads them.
//!
//! It owns where Groovy and our own expressions differ: Groovy counts `00..03` in octal without zeros in front, and ranges
//! may go down. What is more than ranges and lists is refused, never guessed.

/// Most nodes of one table.
const NODES_MAX: usize = 100_000;

/// Every text that an expression stands for, in order.
pub fn expand(expression: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for part in parts(&plain(expression)?) {
        let mut texts = vec![String::new()];
        let mut rest = part.trim();
        while let Some(open) = rest.find("${") {
            let (before, inside) = (
                rest.get(..open).unwrap_or_default(),
                rest.get(open + 2..).unwrap_or_default(),
            );
            let close = inside.find('}').ok_or("it has a `${` without `}`")?;
            let choices = choices(inside.get(..close).unwrap_or_default())?;
            if texts.len().saturating_mul(choices.len()) > NODES_MAX {
                return Err(format!("it stands for more than {NODES_MAX} nodes"));
            }
            let longer = texts.iter().flat_map(|text| {
                choices
                    .iter()
                    .map(move |choice| format!("{text}{before}{choice}"))
            });
            texts = longer.collect();
            rest = inside.get(close + 1..).unwrap_or_default();
        }
        all.extend(texts.into_iter().map(|text| text + rest));
    }
    let wrong = |node: &String| node.is_empty() || node.contains(['{', '}', '$', ' ']);
    match all.iter().find(|node| wrong(node)) {
        Some(node) => Err(format!("`{node}` is no node")),
        None => Ok(all),
    }
}

/// The expression in our words: as it was where both read it alike, else every node.
pub fn written(expression: &str, nodes: &[String]) -> String {
    let Ok(text) = plain(expression) else {
        return nodes.join(", ");
    };
    let alike = text.split("${").skip(1).all(|inside| {
        let inside = inside.split('}').next().unwrap_or_default().trim();
        let counts = |text: &str| {
            text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()))
        };
        match inside.split_once("..") {
            Some((from, to)) => {
                let up = from.trim().parse::<u32>().ok() <= to.trim().parse::<u32>().ok();
                up && counts(from.trim()) && counts(to.trim())
            }
            None => inside.split(',').all(|item| {
                let item = item.trim().trim_matches(['[', ']']).trim();
                item.starts_with('\'') || counts(item)
            }),
        }
    });
    match alike {
        true => text,
        false => nodes.join(", "),
    }
}

/// An expression of Groovy in its `${}` form, in one line.
pub fn plain(expression: &str) -> Result<String, String> {
    let text = expression.trim();
    let text = match text.strip_prefix("<GROOVY>") {
        Some(groovy) => groovy,
        None if text.starts_with('<') => {
            return Err("only expressions of Groovy are read".to_owned());
        }
        None => text,
    };
    Ok(text
        .replace("$->{", "${")
        .split_whitespace()
        .collect::<Vec<&str>>()
        .join(" "))
}

/// The parts between commas that are outside of braces.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn choices(inside: &str) -> Result<Vec<String>, String> {
    let inside = inside.trim();
    let wrong = || format!("`{inside}` is neither a range nor a list");
    let number = |text: &str| {
        let text = text.trim();
        match text.strip_prefix('0').filter(|rest| !rest.is_empty()) {
            Some(octal) => u32::from_str_radix(octal, 8).map_err(|_| wrong()),
            None => text.parse().map_err(|_| wrong()),
        }
    };
    if let Some((from, to)) = inside.split_once("..") {
        let (from, to) = (number(from)?, number(to)?);
        if from.abs_diff(to) as usize >= NODES_MAX {
            return Err(wrong());
        }
        let mut all: Vec<String> = (from.min(to)..=from.max(to))
            .map(|n| n.to_string())
            .collect();
        if from > to {
            all.reverse();
        }
        return Ok(all);
    }
    let list = inside
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(wrong)?;
    let item = |item: &str| {
        let item = item.trim();
        let quoted = ['\'', '"']
            .iter()
            .find_map(|quote| item.strip_prefix(*quote)?.strip_suffix(*quote));
        match quoted {
            Some(text)
                if !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') =>
            {
                Ok(text.to_owned())
            }
            Some(_) => Err(wrong()),
            None => number(item).map(|n| n.to_string()),
        }
    };
    list.split(',').map(item).collect()
}

/// Whether these are one stem and the numbers from 0 on, which is how ShardingSphere finds the target of a slot.
pub fn are_numbered(names: &[&str]) -> bool {
    let split = |name: &&str| {
        let stem = name
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .to_owned();
        let number = name.get(stem.len()..)?.parse::<usize>().ok()?;
        Some((stem, number))
    };
    let Some(mut all) = names.iter().map(split).collect::<Option<Vec<_>>>() else {
        return false;
    };
    all.sort_by_key(|(_, number)| *number);
    all.dedup();
    let stem = all.first().map(|(stem, _)| stem.clone());
    let mut all = all.iter().enumerate();
    all.all(|(slot, (of, number))| slot == *number && Some(of) == stem.as_ref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn groovy_is_read_as_groovy() {
        let both = |text: &str| {
            let nodes = expand(text).unwrap();
            (nodes.join(" "), written(text, &nodes))
        };
        let expected = |nodes: &str, written: &str| (nodes.to_owned(), written.to_owned());
        assert_eq!(
            both("ds_${0..1}.t_$->{0..1}"),
            expected(
                "ds_0.t_0 ds_0.t_1 ds_1.t_0 ds_1.t_1",
                "ds_${0..1}.t_${0..1}"
            )
        );
        assert_eq!(
            both("ds.t_${00..02}"),
            expected("ds.t_0 ds.t_1 ds.t_2", "ds.t_0, ds.t_1, ds.t_2")
        );
        assert_eq!(
            both("ds.t_${2..1}"),
            expected("ds.t_2 ds.t_1", "ds.t_2, ds.t_1")
        );
        assert_eq!(
            both("<GROOVY>a.t_${['x', 'y']},b.t"),
            expected("a.t_x a.t_y b.t", "a.t_${['x', 'y']},b.t")
        );
        for text in [
            "ds_${0..",
            "<LITERAL>a",
            "ds_${(0..1).collect{it}}",
            "ds_${08..09}",
            "",
            "a b",
            "ds_${x}",
        ] {
            assert!(expand(text).is_err(), "{text}");
        }
    }

    #[test]
    fn targets_are_found_by_number() {
        assert!(are_numbered(&["t_1", "t_0", "t_1"]));
        assert!(are_numbered(&["t_00", "t_01"]));
        for names in [
            &["t_1", "t_2"][..],
            &["a", "b"],
            &["t_0", "u_1"],
            &["t_0", "t_2"],
        ] {
            assert!(!are_numbered(names), "{names:?}");
        }
    }
}
