//! From parser events to trees, one per document.
//!
//! It keeps its own stack, so that nesting costs no stack of the process, and it counts what
//! aliases repeat, so that a small file cannot become a large tree.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{DEPTH_MAX, Entry, NODES_MAX, Node, Position, Value, scalar};

/// What is wrong with the YAML itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub position: Position,
    /// What, without any value of the file.
    pub reason: String,
    /// Whether the rest of the file was not read.
    pub fatal: bool,
}

/// Field of a mapping under which [`read_tagged`] keeps its tag.
pub const TAG_FIELD: &str = "!";

/// Reads every document of `text`; empty documents are left out. After a fatal fault the documents
/// before it are still there.
pub fn read(text: &str) -> (Vec<Node>, Vec<Fault>) {
    build(text, Builder::default())
}

/// The same for files of other programs: an unknown tag of a mapping, or of nothing, becomes the first field of that
/// mapping, named [`TAG_FIELD`].
pub fn read_tagged(text: &str) -> (Vec<Node>, Vec<Fault>) {
    build(
        text,
        Builder {
            tags: Tags::Kept,
            ..Builder::default()
        },
    )
}

fn build(text: &str, mut builder: Builder) -> (Vec<Node>, Vec<Fault>) {
    // A byte-order mark is allowed at the start of a file; the parser would count it as a column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.event(event, position(&span.start)),
            Err(error) => Err(fatal(position(error.marker()), error.info().to_owned())),
        };
        if let Err(fault) = step {
            builder.faults.push(fault);
            break;
        }
    }
    (builder.documents, builder.faults)
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn fatal(position: Position, reason: impl Into<String>) -> Fault {
    Fault {
        position,
        reason: reason.into(),
        fatal: true,
    }
}

/// A mapping or list that has begun and not ended.
struct Open {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<Key>,
    },
}

/// A key whose value comes next.
enum Key {
    Named(String, Position),
    /// A key that was faulted: its value is read and dropped.
    Dropped,
}

/// What becomes of tags that are not YAML's own.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Tags {
    #[default]
    Refused,
    Kept,
}

#[derive(Default)]
struct Builder {
    tags: Tags,
    documents: Vec<Node>,
    faults: Vec<Fault>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, position: Position) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kept = self.kept(tag.as_deref(), position);
                let value = match kept {
                    Some(tag) if text.is_empty() => Value::Map(vec![tag]),
                    _ => self.scalar(&text, style, tag.as_deref(), position),
                };
                self.complete(Node { position, value }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", position);
                self.begin(position, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let kept = self.kept(tag.as_deref(), position);
                if kept.is_none() {
                    self.check_tag(tag.as_deref(), "map", position);
                }
                self.begin(
                    position,
                    anchor,
                    Content::Map {
                        entries: kept.into_iter().collect(),
                        key: None,
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(position),
            Event::Alias(anchor) => self.alias(anchor, position),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(fatal(
                position,
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        self.open.push(Open {
            position,
            anchor,
            content,
        });
        Ok(())
    }

    fn end(&mut self, position: Position) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Err(fatal(position, "a mapping or list ends that did not begin"));
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.complete(
            Node {
                position: open.position,
                value,
            },
            open.anchor,
            1,
        )
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(fatal(position, "an alias inside of what it repeats"));
        };
        if self.open.len() + node.depth() > DEPTH_MAX {
            return Err(fatal(
                position,
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        let size = node.size();
        if self.nodes + size > NODES_MAX {
            return Err(fatal(position, format!("more than {NODES_MAX} values")));
        }
        let node = node.clone();
        self.complete(node, 0, size)
    }

    /// Puts a finished value where it belongs: into the innermost open list or mapping, as the key
    /// or the value that comes next, or among the documents.
    fn complete(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(fatal(
                node.position,
                format!("more than {NODES_MAX} values"),
            ));
        }
        if anchor > 0 {
            self.nodes += node.size();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some(Key::Named(name, position)) => {
                    entries.push(Entry {
                        key: name,
                        position,
                        node,
                    });
                }
                Some(Key::Dropped) => {}
                None => {
                    let (next, fault) = next_key(&node, entries);
                    *key = Some(next);
                    self.faults.extend(fault);
                }
            },
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        position: Position,
    ) -> Value {
        match (tag, style) {
            (None, ScalarStyle::Plain) => scalar::plain(text),
            (None, _) => scalar::quoted(text),
            (Some(tag), _) => {
                let meant = tag
                    .is_yaml_core_schema()
                    .then(|| scalar::tagged(&tag.suffix, text));
                meant.flatten().unwrap_or_else(|| {
                    self.fault(position, format!("the tag `{tag}` does not fit this value"));
                    Value::Null
                })
            }
        }
    }

    /// The field that a tag becomes, if it is to be kept.
    fn kept(&self, tag: Option<&Tag>, position: Position) -> Option<Entry> {
        let tag = tag.filter(|tag| self.tags == Tags::Kept && !tag.is_yaml_core_schema())?;
        Some(Entry {
            key: TAG_FIELD.to_owned(),
            position,
            node: Node {
                position,
                value: scalar::quoted(&tag.suffix),
            },
        })
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, position: Position) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == expected)
        {
            self.fault(position, format!("the tag `{tag}` does not fit this value"));
        }
    }

    fn fault(&mut self, position: Position, reason: String) {
        self.faults.push(Fault {
            position,
            reason,
            fatal: false,
        });
    }
}

/// The key that a value is, and what is wrong with it.
fn next_key(node: &Node, entries: &[Entry]) -> (Key, Option<Fault>) {
    let fault = |reason: String| Fault {
        position: node.position,
        reason,
        fatal: false,
    };
    let name = match &node.value {
        Value::Text(text) => text.to_string(),
        Value::Integer(integer) => integer.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            return (
                Key::Dropped,
                Some(fault("a field name must be a text".to_owned())),
            );
        }
    };
    if name == "<<" {
        let reason = "merge keys (`<<`) are not part of YAML 1.2; write the fields out";
        return (Key::Dropped, Some(fault(reason.to_owned())));
    }
    if let Some(first) = entries.iter().find(|entry| entry.key == name) {
        let reason = format!(
            "duplicate field `{name}`, first on line {}",
            first.position.line
        );
        return (Key::Dropped, Some(fault(reason)));
    }
    (Key::Named(name, node.position), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let (_, faults) = read(text);
        faults
            .iter()
            .map(|f| format!("{}:{} {}", f.position.line, f.position.column, f.reason))
            .collect()
    }

    #[test]
    fn documents_become_trees_with_positions() {
        let (documents, faults) = read("a: 1\nb:\n  - x\n  - {c: null}\n---\n---\n'quoted'\n");
        assert_eq!(faults, []);
        let [first, second] = documents.as_slice() else {
            panic!("{}", documents.len())
        };
        assert_eq!(
            first.to_json(),
            serde_json::json!({"a": 1, "b": ["x", {"c": null}]})
        );
        assert_eq!(second.to_json(), serde_json::json!("quoted"));
        let path = crate::path::FieldPath::default()
            .field("b")
            .item(1)
            .field("c");
        assert_eq!(first.locate(&path), Position { line: 4, column: 9 });
        assert_eq!(second.position, Position { line: 7, column: 1 });
    }

    #[test]
    fn json_is_read_too() {
        let (documents, faults) =
            read("{\n\t\"a\": [1, 2.5, \"\\u00e9\\n\", true],\n\t\"b\": {}\n}\n");
        assert_eq!(faults, []);
        assert_eq!(documents.len(), 1);
        assert_eq!(
            documents[0].to_json(),
            serde_json::json!({"a": [1, 2.5, "é\n", true], "b": {}})
        );
    }

    #[test]
    fn aliases_repeat_and_stay_bounded() {
        let (documents, faults) = read("a: &x {b: 1}\nc: *x\n");
        assert_eq!(faults, []);
        assert_eq!(
            documents[0].to_json(),
            serde_json::json!({"a": {"b": 1}, "c": {"b": 1}})
        );

        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let alias = format!("*a{}", level - 1);
            let items = vec![alias; 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        let (_, faults) = read(&bomb);
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].fatal && faults[0].reason.contains("1000000 values"),
            "{faults:?}"
        );
    }

    #[test]
    fn tags_of_other_programs_are_kept_when_asked_for() {
        let text = "rules:\n- !SHARDING\n  tables: {t: 1}\n- !SINGLE\n";
        assert!(!faults(text).is_empty());
        let (documents, faults) = read_tagged(text);
        assert_eq!(faults, []);
        assert_eq!(
            documents[0].to_json(),
            serde_json::json!({"rules": [{"!": "SHARDING", "tables": {"t": 1}}, {"!": "SINGLE"}]})
        );
        assert_eq!(read_tagged("a: !mine 1\n").1.len(), 1);
    }

    #[test]
    fn faults_say_where() {
        assert_eq!(
            faults("a: 1\nb: 2\na: 3\n"),
            ["3:1 duplicate field `a`, first on line 1"]
        );
        assert_eq!(faults("? [a]\n: 1\n"), ["1:3 a field name must be a text"]);
        assert_eq!(faults("a: !mine 1\n").len(), 1);
        assert_eq!(faults("a: !!int x\n").len(), 1);
        assert_eq!(faults("a: &x {b: *x}\n").len(), 1);
        assert_eq!(faults("a: [1, 2\nb: 3\n").len(), 1);
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert!(
            faults(&deep)[0].contains("nested deeper"),
            "{:?}",
            faults(&deep)
        );
    }
}
