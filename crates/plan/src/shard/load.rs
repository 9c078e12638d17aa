//! LOAD DATA LOCAL into a sharded table: the shard of every record of the file.
//!
//! Owns what the options mean, and the key of a record. Must never send a record to a shard that a condition on its key would
//! not look at: what is not certain is an error that names the record. Input: the statement; then the file.

mod options;
mod records;

use std::fmt;
use std::sync::Arc;

use dbmesh_model::topology::sharding::{GeneratorKind, KeyKind, ShardedTable, Table};
use dbmesh_sql::ast::{Assignment, Body, ExprKind, LoadData};
use dbmesh_sql::{Span, literal, variables};

use super::algorithm::{self, Slot};
use super::reason::{LoadReason, RefuseReason, Stop};
use super::rewrite::{self, Splice};
use super::scope::{Place, Scope};
use super::slots::Positions;
use super::value::{self, Compared, KeyValue};
use super::{Generation, KeyLimit, NodeStatement, ShardPlan, Zero, define, generate, read};
use options::Options;
use records::Format;
pub use records::Records;

/// Character sets in which the bytes of separators and digits occur as such only.
const SAFE_CHARSETS: [&str; 18] = [
    "armscii8", "ascii", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852",
    "cp866", "greek", "hebrew", "koi8r", "latin1", "latin2", "utf8", "utf8mb3", "utf8mb4",
];

/// How a file is split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// What every shard executes, with records of its own.
    pub statements: Vec<NodeStatement>,
    /// The file's name.
    pub file: Vec<u8>,
    /// Its character set; none: that of the schema.
    pub charset: Option<String>,
    /// User variables that fields go to: those of the last record remain.
    pub variables: Vec<Box<str>>,
    format: Format,
    skipped: u64,
    fields: usize,
    /// The fields that are looked at.
    watched: Vec<usize>,
    keys: Vec<LoadKey>,
    generated: Option<Generated>,
    table: Arc<SameTable>,
}

/// A column whose values a generator may have to make.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Generated {
    generation: Generation,
    /// The field that the file has for it; none: every record gets one.
    given: Option<Given>,
}

/// The field that gives a column its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    /// Its place among those that are looked at.
    place: usize,
    by: By,
}

/// How it comes to its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Itself,
    /// `SET column = @variable`.
    Variable,
}

/// A table, which is the same as itself only.
#[derive(Debug)]
struct SameTable(Arc<ShardedTable>);

impl PartialEq for SameTable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SameTable {}

/// A column of the key in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoadKey {
    column: String,
    /// Its place among the fields that are looked at; none: it is generated.
    place: Option<usize>,
    kind: KeyKind,
    limit: Option<KeyLimit>,
}

/// Why a file cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFault {
    /// The record, counted from 1.
    pub record: u64,
    /// Why.
    pub why: String,
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of the file: {}", self.record, self.why)
    }
}

/// The plan of a LOAD DATA.
pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let refuse = |why| Stop::from(RefuseReason::LoadData(why));
    let into = match target(scope)? {
        Into::Shards(into) => into,
        Into::One(source) => return define::single(scope, source),
    };
    let Target {
        load,
        span,
        name: table_name,
        sharded,
        table,
    } = into;
    let options = Options::read(scope, span).map_err(refuse)?;
    if scope.assigns() || scope.hangs_on_session() {
        return Err(refuse(LoadReason::Variables));
    }
    let mut splices: Vec<Splice> = options
        .skip
        .map(|span| Splice::text(span, ""))
        .into_iter()
        .collect();
    let columns = match options.columns {
        Some(columns) => columns,
        None => {
            let known = scope.input.catalog.columns(table_name);
            let known = known.ok_or_else(|| refuse(LoadReason::Columns))?;
            splices.push(list(&options, known));
            let column = |name: &String| Field::Column(name.to_lowercase());
            known.iter().map(column).collect()
        }
    };
    let mut filled = Filled {
        scope,
        sets: scope.ast.list(load.assignments),
        columns: &columns,
        watched: Vec::new(),
    };
    let generated = filled.generated(sharded, &options.format).map_err(refuse)?;
    if let (
        Some(Generated {
            given: None,
            generation,
        }),
        Some(at),
    ) = (&generated, options.list_at)
    {
        let name = literal::quote_identifier(generation.generator.column.as_bytes());
        splices.push(Splice::insert(at, [&name, b", ".as_slice()].concat()));
    }
    let keys = filled.keys(sharded, table_name, generated.as_ref())?;
    let statements = (0..table.shards.len())
        .map(|shard| rewrite::statement(scope, &read::target(scope, shard)?, &splices))
        .collect::<Result<Vec<_>, _>>()?;
    let file = literal::decode(scope.text(load.file), scope.input.dialect);
    Ok(ShardPlan::Load(Box::new(Load {
        statements,
        file: file.ok_or_else(|| refuse(LoadReason::Options))?,
        charset: options.charset,
        variables: filled.variables(),
        format: options.format,
        skipped: options.skipped,
        fields: columns.len(),
        watched: filled.watched,
        keys,
        generated,
        table: Arc::new(SameTable(table.clone())),
    })))
}

/// The list of columns of a statement that has none: a shard with another order of columns takes them by name.
fn list(options: &Options, known: &[String]) -> Splice {
    let names = rewrite::listed(known);
    match options.list_at {
        Some(at) => Splice::insert(at, names),
        None => Splice::insert(options.end, [b" (", &names[..], b")"].concat()),
    }
}

/// Where the records go.
enum Into<'a> {
    Shards(Target<'a>),
    /// All to this source.
    One(usize),
}

/// The table whose shards take the records.
struct Target<'a> {
    load: LoadData,
    /// Where its name stands.
    span: Span,
    name: &'a str,
    sharded: &'a ShardedTable,
    table: &'a Arc<ShardedTable>,
}

fn target<'a>(scope: &'a Scope<'_>) -> Result<Into<'a>, Stop> {
    let load = match scope.ast.statement().body {
        Body::LoadData(load) => scope.ast.node(load),
        _ => None,
    };
    let load = load.ok_or(RefuseReason::Kind(scope.facts.kind))?;
    let name = scope.ast.node(load.table).map(|table| table.name);
    let place = name.and_then(|name| scope.use_of_name(name));
    let table_use = place.and_then(|place| scope.uses.get(place));
    let (Some(name), Some(table_use)) = (name, table_use) else {
        return Err(RefuseReason::Kind(scope.facts.kind).into());
    };
    let refuse = |why| Stop::from(RefuseReason::LoadData(why));
    let sharded = match table_use.place {
        Place::Single(source) if scope.uses.len() == 1 => return Ok(Into::One(source)),
        Place::Sharded(sharded) if scope.uses.len() == 1 => sharded,
        Place::Broadcast => return Err(refuse(LoadReason::Copies)),
        _ => return Err(refuse(LoadReason::Values)),
    };
    if !load.local {
        return Err(refuse(LoadReason::ServersFile));
    }
    let Some(Table::Sharded(table)) = scope.input.sharding.tables.get(&table_use.table) else {
        return Err(refuse(LoadReason::Values));
    };
    Ok(Into::Shards(Target {
        load: *load,
        span: name.span,
        name: &table_use.table,
        sharded,
        table,
    }))
}

/// Where a field of the file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    /// To a column, in lower case.
    Column(String),
    /// To a user variable.
    Variable(Box<str>),
}

/// What the file and SET give the columns.
struct Filled<'a> {
    scope: &'a Scope<'a>,
    sets: &'a [Assignment],
    columns: &'a [Field],
    /// The fields that are looked at.
    watched: Vec<usize>,
}

impl Filled<'_> {
    fn variables(&self) -> Vec<Box<str>> {
        let variable = |field: &Field| match field {
            Field::Variable(name) => Some(name.clone()),
            Field::Column(_) => None,
        };
        let mut names: Vec<Box<str>> = self.columns.iter().filter_map(variable).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The field that is a column's value as it stands there: its own, or that of the one variable that SET gives it. None if there
    /// is none.
    fn given(&mut self, column: &str) -> Result<Option<Given>, LoadReason> {
        let own = self.only(&Field::Column(column.to_owned()))?;
        let mut sets = self
            .sets
            .iter()
            .filter(|set| self.scope.lower(set.column.name) == column);
        let (field, by) = match (own, sets.next(), sets.next()) {
            (None, None, _) => return Ok(None),
            (Some(field), None, _) => (field, By::Itself),
            (None, Some(set), None) => {
                let field = self.of_variable(set)?;
                (field.ok_or(LoadReason::Values)?, By::Variable)
            }
            _ => return Err(LoadReason::Values),
        };
        let known = self.watched.iter().position(|watched| *watched == field);
        let place = known.unwrap_or(self.watched.len());
        if known.is_none() {
            self.watched.push(field);
        }
        Ok(Some(Given { place, by }))
    }

    /// The field of the variable that an assignment takes as it is.
    fn of_variable(&self, set: &Assignment) -> Result<Option<usize>, LoadReason> {
        let scope = self.scope;
        let value = scope.ast.expr(set.value);
        let variable = value.filter(|value| matches!(value.kind, ExprKind::UserVariable));
        let text = variable.map(|variable| scope.text(variable.span));
        let name = text.and_then(|text| variables::user_variable(text, scope.input.dialect));
        self.only(&Field::Variable(name.ok_or(LoadReason::Values)?))
    }

    /// The one field that goes there.
    fn only(&self, wanted: &Field) -> Result<Option<usize>, LoadReason> {
        let mut fields = (0..).zip(self.columns);
        let mut places = fields.by_ref().filter(|(_, field)| *field == wanted);
        let first = places.next().map(|(place, _): (usize, _)| place);
        match places.next() {
            Some(_) => Err(LoadReason::Values),
            None => Ok(first),
        }
    }

    /// What the table's generator has to do with the file.
    fn generated(
        &mut self,
        sharded: &ShardedTable,
        format: &Format,
    ) -> Result<Option<Generated>, LoadReason> {
        let Some(generator) = &sharded.key_generator else {
            return Ok(None);
        };
        let given = self.given(&generator.column)?;
        if !format.takes_keys() {
            return Err(LoadReason::Options);
        }
        let generation = Generation {
            table: sharded.name.clone(),
            generator: generator.clone(),
            count: 0,
            given: None,
        };
        Ok(Some(Generated { generation, given }))
    }

    /// Where the columns of the key are.
    fn keys(
        &mut self,
        sharded: &ShardedTable,
        table: &str,
        generated: Option<&Generated>,
    ) -> Result<Vec<LoadKey>, Stop> {
        let catalog = self.scope.input.catalog;
        let mut keys = Vec::new();
        for key in sharded.key_columns() {
            let made = generated.is_some_and(|g| g.generation.generator.column == key.name);
            let given = self.given(&key.name).map_err(RefuseReason::LoadData)?;
            if given.is_none() && !made {
                return Err(RefuseReason::LoadData(LoadReason::KeyMissing).into());
            }
            keys.push(LoadKey {
                column: key.name.clone(),
                place: given.map(|given| given.place),
                kind: key.kind,
                limit: catalog.limit(table, &key.name),
            });
        }
        match keys.is_empty() {
            true => Err(RefuseReason::HintMissing.into()),
            false => Ok(keys),
        }
    }
}

impl Load {
    /// The records of a file in this character set.
    ///
    /// # Errors
    /// When its bytes may be parts of other characters.
    pub fn records(&self, charset: &str) -> Result<Records, LoadFault> {
        let charset = charset.to_ascii_lowercase();
        if !SAFE_CHARSETS.contains(&charset.as_str()) {
            return Err(LoadFault {
                record: 1,
                why: format!("files in character set {charset} are not split"),
            });
        }
        let utf8 = charset.starts_with("utf8");
        Ok(Records::new(
            self.format.clone(),
            self.fields,
            self.watched.clone(),
            self.skipped,
            utf8,
        ))
    }

    /// Which values the file may leave to a generator.
    #[must_use]
    pub fn generation(&self) -> Option<&Generation> {
        self.generated.as_ref().map(|own| &own.generation)
    }

    /// Whether the record at hand wants a generated key.
    ///
    /// # Errors
    /// When it is not certain whether its server would make one.
    pub fn wants_key(&self, records: &Records, zero: Zero) -> Result<bool, LoadFault> {
        let Some(generated) = &self.generated else {
            return Ok(false);
        };
        let Some(given) = generated.given else {
            return Ok(true);
        };
        let column = &generated.generation.generator.column;
        let counts = !matches!(generated.generation.generator.kind, GeneratorKind::Uuid);
        let fault = |why: String| LoadFault {
            record: records.number(),
            why,
        };
        let wants = match records.value(given.place) {
            None => return Err(fault(format!("it has no value for its key {column}"))),
            Some(None) => true,
            Some(Some(_)) if !counts => false,
            Some(Some(bytes)) => match value::loaded(KeyKind::Integer, bytes, records.is_utf8()) {
                Compared::Value(KeyValue::Integer(number)) => number == 0 && zero == Zero::Asks,
                _ => return Err(fault(otherwise(column, bytes))),
            },
        };
        match wants && given.by == By::Variable {
            // The variable would have what the file does not say.
            true => Err(fault(format!(
                "its key {column} would have to be generated"
            ))),
            false => Ok(wants),
        }
    }

    /// Puts the record at hand behind `out`, with its generated key.
    pub fn put(&self, records: &Records, generated: Option<&KeyValue>, out: &mut Vec<u8>) {
        let Some(value) = generated else {
            out.extend_from_slice(records.record());
            return;
        };
        let text = generate::plain(value);
        match self.generated.as_ref().and_then(|own| own.given) {
            Some(given) => records.replace(given.place, &text, out),
            None => records.prepend(&text, out),
        }
    }

    /// The shard of a record with these values of the key, one of them generated or not.
    ///
    /// # Errors
    /// When the key is not certain, or no shard takes it.
    pub fn shard(
        &self,
        records: &Records,
        generated: Option<&KeyValue>,
    ) -> Result<usize, LoadFault> {
        let fault = |why: String| LoadFault {
            record: records.number(),
            why,
        };
        let table = &self.table.0;
        let made = self.generation().map(|own| own.generator.column.as_str());
        let mut values: Vec<(&str, KeyValue)> = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let column = &key.column;
            if let Some(value) = generated.filter(|_| made == Some(column.as_str())) {
                values.push((column, value.clone()));
                continue;
            }
            let bytes = match key.place.and_then(|place| records.value(place)) {
                Some(Some(bytes)) => bytes,
                Some(None) => return Err(fault(format!("its key {column} is NULL"))),
                None => return Err(fault(format!("it has no value for its key {column}"))),
            };
            let value = match value::loaded(key.kind, bytes, records.is_utf8()) {
                Compared::Value(value) if key.limit.is_none_or(|limit| limit.holds(&value)) => {
                    value
                }
                _ => return Err(fault(otherwise(column, bytes))),
            };
            values.push((column, value));
        }
        let mut set = Positions::all(table.shards.len());
        for axis in table.database.iter().chain(&table.table) {
            let of = |name: &str| values.iter().find(|(known, _)| *known == name);
            let own: Option<Vec<KeyValue>> = axis
                .columns
                .iter()
                .map(|column| Some(of(&column.name)?.1.clone()))
                .collect();
            let slot = own.map_or(Slot::Unknown, |own| algorithm::slot(axis, &own));
            let Slot::At(slot) = slot else {
                return Err(fault("no shard takes its key".to_owned()));
            };
            let slots = algorithm::of_slot(axis.targets.len(), Slot::At(slot));
            set.intersect(&algorithm::shards(table, axis, &slots));
        }
        match (set.len(), set.first()) {
            (1, Some(shard)) => Ok(shard),
            _ => Err(fault("no shard takes its key".to_owned())),
        }
    }
}

fn otherwise(column: &str, bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes));
    format!("its key {column} may be stored otherwise than '{shown}' says")
}
