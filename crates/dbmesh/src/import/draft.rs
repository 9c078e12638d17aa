//! Resources in the making: parts that know where they came from, until the model accepts the whole.
//!
//! It owns the loop that takes out what the model refuses, lists it at its source, and lets statements on its tables be
//! refused. It must never hand out a configuration that `dbmesh check` would refuse. Input: drafts of an importer.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use dbmesh_model::host::Host;
use dbmesh_model::{Defect, Defects, Severity, load_text, resolve};
use zeroize::Zeroizing;

use super::listing::{Listing, Place};
use super::tree::{Fields, Tree, field, map, print, text, texts};

/// A resource.
pub struct Draft {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its namespace, unless it is the default one.
    pub namespace: Option<String>,
    /// The label that strategies select it by.
    pub label: Option<String>,
    /// Fields but the parts below.
    pub spec: Fields,
    /// `rules` of a TrafficStrategy or a DataShard.
    pub rules: Vec<Part>,
    /// What else a DataShard has.
    pub shard: Option<Shard>,
}

/// An item of `rules`, or of what is listed by name.
#[derive(Clone)]
pub struct Part {
    /// Where it came from.
    pub place: Place,
    /// The table, rule, algorithm or generator.
    pub name: String,
    /// What is written.
    pub tree: Tree,
    /// Algorithms and generators that it names.
    pub needs: Vec<String>,
}

/// The parts of a DataShard.
#[derive(Default)]
pub struct Shard {
    /// Name of the strategy, which refuses what could not be carried over.
    pub strategy: String,
    /// By name.
    pub algorithms: Vec<Part>,
    /// By name.
    pub generators: Vec<Part>,
    /// Groups of tables.
    pub binding: Vec<(Place, Vec<String>)>,
}

impl Draft {
    /// A resource without parts.
    pub fn new(kind: &'static str, name: &str, spec: Fields) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            namespace: None,
            label: None,
            spec,
            rules: Vec::new(),
            shard: None,
        }
    }

    fn tree(&self) -> Tree {
        let mut spec = self.spec.clone();
        let rules: Vec<Tree> = self.rules.iter().map(|part| part.tree.clone()).collect();
        if !rules.is_empty() || self.shard.is_some() {
            spec.push(("rules".to_owned(), Tree::List(rules)));
        }
        if let Some(shard) = &self.shard {
            let used: BTreeSet<&str> = self
                .rules
                .iter()
                .flat_map(|part| part.needs.iter().map(String::as_str))
                .collect();
            for (field, parts) in [
                ("algorithms", &shard.algorithms),
                ("keyGenerators", &shard.generators),
            ] {
                let parts = parts
                    .iter()
                    .filter(|part| used.contains(part.name.as_str()));
                let parts: Fields = parts
                    .map(|part| (part.name.clone(), part.tree.clone()))
                    .collect();
                if !parts.is_empty() {
                    spec.push((field.to_owned(), Tree::Map(parts)));
                }
            }
            let groups = shard.binding.iter().map(|(_, tables)| texts(tables));
            let groups: Vec<Tree> = groups.collect();
            if !groups.is_empty() {
                spec.push(("bindingTables".to_owned(), Tree::List(groups)));
            }
        }
        let mut metadata = vec![field("name", text(&self.name))];
        metadata.extend(
            self.namespace
                .as_ref()
                .map(|name| field("namespace", text(name))),
        );
        let label = self.label.as_ref();
        metadata.extend(label.map(|label| field("labels", map([("source", text(label))]))));
        map([
            ("apiVersion", text("core.database-mesh.io/v1alpha1")),
            ("kind", text(self.kind)),
            ("metadata", Tree::Map(metadata)),
            ("spec", Tree::Map(spec)),
        ])
    }
}

/// A rule of a strategy that refuses every statement on a table.
pub fn denial(place: &Place, table: &str) -> Part {
    let name = format!("not-imported-{table}");
    Part {
        place: place.clone(),
        tree: map([
            ("name", text(&name)),
            ("match", map([("tables", texts([table]))])),
            ("action", text("deny")),
        ]),
        name,
        needs: Vec::new(),
    }
}

/// The text of the drafts, once the model accepts it.
///
/// # Errors
/// The defects of what cannot be taken out.
pub fn settle(drafts: &mut [Draft], listing: &mut Listing) -> Result<String, Defects> {
    loop {
        let trees: Vec<Tree> = drafts.iter().map(Draft::tree).collect();
        let text = print(&trees);
        let loaded = load_text(Path::new("import.yaml"), &text);
        let starts: Vec<usize> = loaded
            .documents
            .iter()
            .map(|document| document.line)
            .collect();
        let Err(defects) = resolve(loaded, &AnyHost) else {
            return Ok(text);
        };
        let errors = defects.0.iter().filter(|d| d.severity == Severity::Error);
        let faults: Vec<Option<Fault>> = errors
            .map(|defect| Fault::of(defect, &starts, drafts))
            .collect();
        let Some(faults) = faults.into_iter().collect::<Option<Vec<Fault>>>() else {
            return Err(defects);
        };
        if faults.is_empty() {
            return Err(defects);
        }
        take_out(drafts, faults, listing);
    }
}

/// A part that the model refuses.
struct Fault {
    draft: usize,
    part: Which,
    reason: String,
}

/// In the order in which they are taken out, the last first: a rule goes out of its binding, and with what it needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Algorithm(usize),
    Generator(usize),
    Rule(usize),
    Binding(usize),
}

impl Fault {
    fn of(defect: &Defect, starts: &[usize], drafts: &[Draft]) -> Option<Self> {
        let draft = starts
            .partition_point(|start| *start <= defect.line)
            .checked_sub(1)?;
        let of = drafts.get(draft)?;
        let item = |field: &str| -> Option<usize> {
            let rest = defect
                .path
                .strip_prefix("spec.")?
                .strip_prefix(field)?
                .strip_prefix('[')?;
            rest.split_once(']')?.0.parse().ok()
        };
        let named = |field: &str, parts: &[Part]| {
            parts.iter().position(|part| {
                let path = dbmesh_model::path::FieldPath::default();
                let path = path
                    .field("spec")
                    .field(field)
                    .field(&part.name)
                    .to_string();
                let rest = defect.path.strip_prefix(&path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        };
        let shard = of.shard.as_ref();
        let part = item("rules")
            .map(Which::Rule)
            .or_else(|| item("bindingTables").map(Which::Binding))
            .or_else(|| named("algorithms", &shard?.algorithms).map(Which::Algorithm))
            .or_else(|| named("keyGenerators", &shard?.generators).map(Which::Generator))?;
        Some(Self {
            draft,
            part,
            reason: defect.reason.clone(),
        })
    }
}

fn take_out(drafts: &mut [Draft], mut faults: Vec<Fault>, listing: &mut Listing) {
    // From the last on, so that positions stay what they were.
    faults.sort_by_key(|fault| std::cmp::Reverse((fault.draft, fault.part)));
    faults.dedup_by(|a, b| (a.draft, a.part) == (b.draft, b.part));
    for fault in faults {
        let Some(draft) = drafts.get_mut(fault.draft) else {
            continue;
        };
        let denied = draft.take_out(fault.part, &fault.reason, listing);
        if let Some(shard) = &draft.shard {
            let (strategy, namespace) = (shard.strategy.clone(), draft.namespace.clone());
            let strategy = drafts.iter_mut().find(|draft| {
                draft.kind == "TrafficStrategy"
                    && draft.name == strategy
                    && draft.namespace == namespace
            });
            if let Some(strategy) = strategy {
                strategy.rules.splice(0..0, denied);
            }
        }
    }
}

impl Draft {
    /// Takes a part out, with all that needs it; gives the rules that deny its tables.
    fn take_out(&mut self, which: Which, reason: &str, listing: &mut Listing) -> Vec<Part> {
        let Some(shard) = &mut self.shard else {
            if let Which::Rule(index) = which
                && index < self.rules.len()
            {
                let part = self.rules.remove(index);
                listing.lost(
                    &part.place,
                    format!("rule {}", part.name),
                    reason,
                    "write a rule of the TrafficStrategy by hand",
                );
            }
            return Vec::new();
        };
        let (culprit, what) = match which {
            Which::Binding(index) if index < shard.binding.len() => {
                let (place, tables) = shard.binding.remove(index);
                let instead = "joins of these tables are gathered in one place: make their layouts and keys equal";
                listing.lost(
                    &place,
                    format!("binding of {}", tables.join(", ")),
                    reason,
                    instead,
                );
                return Vec::new();
            }
            Which::Algorithm(index) if index < shard.algorithms.len() => {
                (shard.algorithms.remove(index), "algorithm")
            }
            Which::Generator(index) if index < shard.generators.len() => {
                (shard.generators.remove(index), "key generator")
            }
            Which::Rule(index) if index < self.rules.len() => {
                let part = self.rules.remove(index);
                listing.lost(
                    &part.place,
                    format!("sharded table {}", part.name),
                    reason,
                    INSTEAD,
                );
                let denied = denial(&part.place, &part.name);
                self.unbind(&part.name, listing);
                return vec![denied];
            }
            _ => return Vec::new(),
        };
        listing.lost(
            &culprit.place,
            format!("{what} {}", culprit.name),
            reason,
            INSTEAD,
        );
        let needs = |part: &Part| part.needs.contains(&culprit.name);
        let (lost, kept): (Vec<Part>, Vec<Part>) = self.rules.drain(..).partition(needs);
        self.rules = kept;
        let mut denied = Vec::new();
        for part in lost {
            let why = format!("it needs the {what} {}", culprit.name);
            listing.lost(
                &part.place,
                format!("sharded table {}", part.name),
                &why,
                INSTEAD,
            );
            denied.push(denial(&part.place, &part.name));
            self.unbind(&part.name, listing);
        }
        denied
    }

    /// Takes a table out of its binding group.
    pub fn unbind(&mut self, table: &str, listing: &mut Listing) {
        let Some(shard) = &mut self.shard else {
            return;
        };
        shard.binding.retain_mut(|(place, tables)| {
            let before = tables.len();
            tables.retain(|bound| bound != table);
            let kept = tables.len() > 1;
            if !kept && before > 1 {
                let what = format!("binding of {}", tables.join(", "));
                listing.note(
                    place,
                    what,
                    "the other tables of the group are not carried over",
                    "bind them again with those",
                );
            }
            kept
        });
    }
}

/// What becomes of a table that is not carried over.
pub const INSTEAD: &str = "statements on the table are refused by a rule of the TrafficStrategy until a rule of the DataShard is written by hand";

/// A machine on which every variable is set: whether they are is found out where the proxy runs.
struct AnyHost;

impl Host for AnyHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new("x".to_owned()))
    }

    fn read(&self, _: &Path) -> io::Result<Zeroizing<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
}
