//! Rows of several shards on their way to the client.
//!
//! Owns the loop between shards, merge and client: a shard is read on only while the merge has room for its rows, and rows
//! leave as soon as the merge knows the next one. Must never answer with less than all rows: what breaks is an error, also
//! behind rows. Input: connections at work, the planner's specification.

use std::sync::Arc;
use std::time::Instant;

use dbmesh_merge::{Appetite, Budget, Budgets, Definition, MergeError, Merger, SharedMemory, Step};
use dbmesh_plan::shard::MergeSpec;
use dbmesh_plan::shard::merge::ColumnRef;
use dbmesh_runtime::process::give_back_memory;
use dbmesh_wire::codec;
use dbmesh_wire::column::Column;
use dbmesh_wire::relay::Names;
use dbmesh_wire::reply::{self, EofMode, OkForm};
use dbmesh_wire::result_set::RowFormat;
use dbmesh_wire::status::Status;
use tokio::time::timeout_at;

use super::super::exchange::Lost;
use super::super::writing::write;
use super::answers::Whose;
use super::relief::{Aside, Relief};
use super::work::{Around, Broken, Work, place, protocol};
use crate::catalog::Known;
use crate::client::{Client, Unsent};
use crate::fault::Fault;
use crate::scatter::files::FileSpill;
use crate::scatter::leg::Leg;
use crate::scatter::spec::{Arrival, Settings, has_forms, is_ambiguous, translate};

/// Bytes for the client that leave in one write.
const FLUSH_BYTES: usize = 64 << 10;
/// Of what a LIMIT leaves unread, so much is read to keep a connection; more closes it.
const LEFT_BYTES_MAX: usize = 1 << 20;
/// Of one shard's rows this much is read ahead.
const SHARD_BYTES_MAX: usize = 256 << 10;

/// What the merge is made with.
pub(super) struct Recipe<'a> {
    pub plan: &'a MergeSpec,
    pub whose: Whose,
    pub known: &'a Known,
    pub names: &'a Names,
    pub settings: Settings,
    pub format: RowFormat,
    pub status: Status,
    /// What all sessions take their memory from.
    pub memory: &'a Arc<SharedMemory>,
}

/// Class of SQLSTATE of what goes wrong with a value.
const OF_DATA: &[u8] = b"22";

/// Writes all rows; gives their number. The end of the answer is the caller's.
pub(super) async fn relay(
    work: &mut Work<'_>,
    recipe: &Recipe<'_>,
    around: &mut Around<'_>,
) -> Result<u64, Broken> {
    let mut sent = false;
    match merge(work, recipe, around, &mut sent).await {
        Err(broken) if !sent && recipe.plan.limit.is_some() && is_of_data(&broken) => {
            Err(Broken::Unread(Box::new(broken)))
        }
        // What has been said cannot be taken back.
        Err(Broken::Unmergeable(why)) if sent => Err(Fault::Sharding(why).into()),
        done => done,
    }
}

/// Whether a server could not compute a value: behind a LIMIT, one server with all rows might not have tried.
fn is_of_data(broken: &Broken) -> bool {
    let Broken::Refused { payload, .. } = broken else {
        return false;
    };
    // Behind the marker, the number and the state's own mark.
    let state = payload.get(4..).unwrap_or_default();
    state.starts_with(OF_DATA)
}

async fn merge(
    work: &mut Work<'_>,
    recipe: &Recipe<'_>,
    around: &mut Around<'_>,
    sent: &mut bool,
) -> Result<u64, Broken> {
    work.begin(recipe.names).await?;
    describe(work, around, recipe.names).await?;
    let mut merging = Merging::new(work, recipe)?;
    let mut out = Unsent::to(around.client);
    put_head(&mut out, &merging.merger, recipe, around.client);
    let rows = merging.run(work, recipe, around, (&mut out, sent)).await?;
    leave(work, around, recipe.names).await?;
    Ok(rows)
}

/// Waits until all that are at work have said what their columns are.
async fn describe(
    work: &mut Work<'_>,
    around: &mut Around<'_>,
    names: &Names,
) -> Result<(), Broken> {
    loop {
        let mut silent: Vec<usize> = Vec::new();
        for leg in &work.legs {
            let Some((number, part)) = &leg.running else {
                continue;
            };
            match part.outcome() {
                Some(outcome) if outcome.error.is_some() => {
                    return Err(Broken::Refused {
                        payload: part.end().to_vec(),
                        place: place(leg, work.nodes.get(*number)),
                        names: Box::new(names.clone()),
                    });
                }
                Some(outcome) if outcome.result_sets == 0 => {
                    return Err(protocol(leg.endpoint(), "no rows where rows are due").into());
                }
                _ if !part.is_described() => silent.push(*number),
                _ => {}
            }
        }
        if silent.is_empty() {
            return Ok(());
        }
        work.read(around, |number| silent.contains(&number)).await?;
    }
}

struct Merging {
    merger: Merger,
    columns: Vec<Definition>,
    memory_bytes_max: usize,
    /// Runs that had gone to files when memory was given back.
    runs: u64,
    relief: Relief,
    /// Which shards may be read on.
    hungry: Vec<bool>,
}

/// What the merge stopped for.
enum Stopped {
    Flush,
    Need(usize),
    Done,
}

impl Merging {
    fn new(work: &Work<'_>, recipe: &Recipe<'_>) -> Result<Self, Broken> {
        let described = |number: usize| {
            let mut running = work.legs.iter().filter_map(|leg| leg.running.as_ref());
            running
                .find(|(at, _)| *at == number)
                .map(|(_, part)| part.columns())
        };
        let mut any = work.legs.iter().filter_map(|leg| leg.running.as_ref());
        let first = any
            .next()
            .map(|(_, part)| part.columns())
            .unwrap_or_default();
        // Who has not begun describes its columns as the others do, or is an error when it does not.
        let shards: Vec<Vec<Column<'_>>> = (0..work.nodes.len())
            .map(|number| {
                let columns = described(number).unwrap_or(first);
                columns.iter().map(Definition::as_column).collect()
            })
            .collect();
        let arrival = match work.is_abreast() {
            true => Arrival::Together,
            false => Arrival::InTurns,
        };
        let collations = collations(first, recipe);
        let spec = translate(recipe.plan, first, &collations, recipe.settings, arrival);
        let spec = spec.map_err(|_| Fault::Sharding("its columns are not as planned".into()))?;
        if has_forms(&spec, first, recipe.settings.flavor) {
            let why = "the least or greatest BIT of a group has a form of each shard's own";
            return Err(Broken::Unmergeable(why.to_owned()));
        }
        if is_ambiguous(&spec, first, recipe.settings.zone) {
            let why =
                "its order is of TIMESTAMP, and an hour of the session's time zone may come twice";
            return Err(Broken::Unmergeable(why.to_owned()));
        }
        let execution = &recipe.known.sharding.execution;
        let memory_bytes_max = recipe.memory.budget(execution.memory_bytes_max);
        let budgets = Budgets {
            shard_bytes_max: SHARD_BYTES_MAX.min(memory_bytes_max / (8 * work.nodes.len().max(1))),
            memory_bytes_max,
            spill_bytes_max: execution.spill_bytes_max,
            ..Budgets::default()
        };
        let spill = (execution.spill_bytes_max > 0).then(|| {
            let files = FileSpill::new(execution.spill_directory.as_deref());
            Box::new(files) as Box<dyn dbmesh_merge::Spill + Send>
        });
        let aside = match spill.is_some() {
            true => Aside::Files,
            false => Aside::Nothing,
        };
        let merger = Merger::new(&spec, recipe.format, &shards, budgets, spill);
        let mut merger = merger.map_err(|e| match e {
            MergeError::Refused(refusal) => Broken::Unmergeable(refusal.to_string()),
            e @ MergeError::ColumnsDiffer { .. } => Broken::Unmergeable(e.to_string()),
            e => of_merge(&e, work),
        })?;
        merger.share(recipe.memory.clone());
        Ok(Self {
            merger,
            columns: first.to_vec(),
            memory_bytes_max,
            runs: 0,
            relief: Relief::of(work.nodes.len(), aside, Instant::now()),
            hungry: Vec::new(),
        })
    }

    async fn run(
        &mut self,
        work: &mut Work<'_>,
        recipe: &Recipe<'_>,
        around: &mut Around<'_>,
        (out, sent): (&mut Unsent, &mut bool),
    ) -> Result<u64, Broken> {
        let mut rows = 0;
        loop {
            self.feed(work, recipe)?;
            for number in work.reap(recipe.names).await? {
                self.merger
                    .shard_done(number)
                    .map_err(|e| of_merge(&e, work))?;
            }
            work.begin(recipe.names).await?;
            let stopped = self.step(out, &mut rows);
            let stopped = stopped.map_err(|e| of_merge(&e, work))?;
            // What the columns are waits for the first row, or for the end.
            if rows > 0 || !matches!(stopped, Stopped::Need(_)) {
                *sent = true;
                flush(around, out).await?;
            }
            match stopped {
                Stopped::Flush => self.read_waiting(work, around).await?,
                Stopped::Done => return Ok(rows),
                Stopped::Need(needed) => self.read_on(work, around, needed).await?,
            }
        }
    }

    /// Reads on at the shard that is needed, and at those that there is room for.
    async fn read_on(
        &mut self,
        work: &mut Work<'_>,
        around: &mut Around<'_>,
        needed: usize,
    ) -> Result<(), Broken> {
        let at_work = |leg: &Leg| leg.running.as_ref().is_some_and(|(at, _)| *at == needed);
        // Who has not begun waits for the others' end.
        let all = !work.legs.iter().any(at_work);
        self.look();
        self.hungry.clear();
        self.hungry.extend((0..work.nodes.len()).map(|number| {
            let hungry = self.merger.appetite(number) == Appetite::Hungry;
            all || number == needed || hungry || self.relief.wants(number)
        }));
        let somebody_waits = self.hungry.contains(&false);
        let hungry = &self.hungry;
        let hungry = |number: usize| hungry.get(number).is_some_and(|hungry| *hungry);
        let read = work.read(around, hungry);
        match self.relief.next().filter(|_| somebody_waits) {
            None => read.await,
            // Nothing is lost of a reading that is given up: what came is the leg's.
            Some(next) => timeout_at(next.into(), read).await.unwrap_or(Ok(())),
        }
    }

    /// While rows leave and none is needed: takes what has come of shards whose servers have waited long.
    async fn read_waiting(
        &mut self,
        work: &mut Work<'_>,
        around: &mut Around<'_>,
    ) -> Result<(), Broken> {
        self.look();
        if !(0..work.nodes.len()).any(|number| self.relief.wants(number)) {
            return Ok(());
        }
        let relief = &self.relief;
        let read = work.read(around, |number| relief.wants(number));
        let now = Instant::now();
        timeout_at(now.into(), read).await.unwrap_or(Ok(()))
    }

    fn look(&mut self) {
        let full = |number: usize| self.merger.appetite(number) == Appetite::Full;
        self.relief.look(Instant::now(), full);
    }

    /// Hands over the rows that came.
    fn feed(&mut self, work: &mut Work<'_>, recipe: &Recipe<'_>) -> Result<(), Broken> {
        for at in 0..work.legs.len() {
            let Some((number, part)) = work.legs.get_mut(at).and_then(|leg| leg.running.as_mut())
            else {
                continue;
            };
            if !part.is_described() {
                continue;
            }
            if part.outcome().is_none_or(|outcome| outcome.error.is_none())
                && !alike(part.columns(), &self.columns)
            {
                let why = "shards describe their columns differently";
                return Err(Broken::Unmergeable(why.to_owned()));
            }
            if part.rows().is_empty() {
                continue;
            }
            if recipe.whose == Whose::First && *number > 0 {
                part.take_rows();
                continue;
            }
            let (number, rows) = (*number, part.rows());
            let fed = match self.is_heavy() {
                true => tokio::task::block_in_place(|| self.merger.feed(number, rows)),
                false => self.merger.feed(number, rows),
            };
            self.relief.took(number, rows.len());
            part.take_rows();
            if let Err(e) = fed {
                return Err(of_merge(&e, work));
            }
        }
        Ok(())
    }

    /// Whether the merge may be at its files: the worker is left to others then.
    fn is_heavy(&self) -> bool {
        let usage = self.merger.usage();
        usage.runs > 0 || usage.memory_bytes > self.memory_bytes_max / 8
    }

    /// After a run went to files. Blocking work comes to one thread after another, and for each of them the allocator would keep
    /// as much as a run was.
    fn give_back(&mut self) {
        let runs = self.merger.usage().runs;
        if runs != std::mem::replace(&mut self.runs, runs) {
            give_back_memory();
        }
    }

    /// Puts rows into `out` while there are any.
    fn step(&mut self, out: &mut Unsent, rows: &mut u64) -> Result<Stopped, MergeError> {
        match self.is_heavy() {
            true => tokio::task::block_in_place(|| {
                let stopped = self.rows(out, rows);
                self.give_back();
                stopped
            }),
            false => self.rows(out, rows),
        }
    }

    fn rows(&mut self, out: &mut Unsent, rows: &mut u64) -> Result<Stopped, MergeError> {
        loop {
            match self.merger.next()? {
                Step::Row(row) => {
                    out.put(row);
                    *rows += 1;
                    if out.bytes.len() >= FLUSH_BYTES {
                        return Ok(Stopped::Flush);
                    }
                }
                Step::Need(shard) => return Ok(Stopped::Need(shard)),
                Step::Done => return Ok(Stopped::Done),
            }
        }
    }
}

/// Whether two descriptions say the same of values.
fn alike(one: &[Definition], other: &[Definition]) -> bool {
    let kind = |d: &Definition| (d.column_type, d.value_type(), d.collation, d.decimals);
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| kind(a) == kind(b))
}

/// Collations of columns of tables, which their descriptions do not tell.
fn collations(columns: &[Definition], recipe: &Recipe<'_>) -> Vec<Option<u16>> {
    let of_column = |table: &str, name: &str| {
        let known = recipe.known.columns.get(table)?;
        let column = known.iter().find(|column| column.name == name)?;
        let collation = column.collation.as_deref()?;
        Some(dbmesh_wire::charset::by_collation_name(collation)?.id)
    };
    let of = |definition: &Definition| {
        let [_, _, _, table, _, name] = &definition.names;
        let table = String::from_utf8_lossy(recipe.names.table(table));
        of_column(&table, &String::from_utf8_lossy(name).to_lowercase())
    };
    let mut found: Vec<Option<u16>> = columns.iter().map(of).collect();
    for origin in &recipe.plan.origins {
        let place = match origin.column {
            ColumnRef::Start(place) => Some(place),
            ColumnRef::End(back) => columns.len().checked_sub(back),
        };
        if let Some(collation) = place.and_then(|place| found.get_mut(place)) {
            *collation = of_column(&origin.table, &origin.of);
        }
    }
    found
}

pub(super) async fn flush(around: &mut Around<'_>, out: &mut Unsent) -> Result<(), Broken> {
    let written = write(around.client, around.control, &mut out.bytes).await;
    written.map_err(|lost| match lost {
        Lost::Stopped => Broken::Stopped,
        _ => Broken::ClientGone,
    })?;
    around.client.has_sent(out);
    Ok(())
}

/// Column count and columns.
fn put_head(out: &mut Unsent, merger: &Merger, recipe: &Recipe<'_>, client: &Client) {
    let mut payload = Vec::new();
    codec::put_lenenc_int(&mut payload, merger.columns().len() as u64);
    out.put(&payload);
    for definition in merger.columns() {
        let mut column = definition.as_column();
        column.schema = recipe.names.schema(column.schema);
        column.table = recipe.names.table(column.table);
        column.org_table = recipe.names.table(column.org_table);
        payload.clear();
        column.encode(&mut payload, client.capabilities);
        out.put(&payload);
    }
    if EofMode::of(client.capabilities) == EofMode::Eof {
        payload.clear();
        let status = recipe.status;
        reply::Eof {
            warnings: 0,
            status,
        }
        .encode(&mut payload);
        out.put(&payload);
    }
}

/// The end of the answer.
pub(super) fn end(client: &Client, status: Status, warnings: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    match EofMode::of(client.capabilities) {
        EofMode::Eof => reply::Eof { warnings, status }.encode(&mut payload),
        EofMode::Deprecated => reply::Ok {
            status,
            warnings,
            ..reply::Ok::default()
        }
        .encode(&mut payload, OkForm::ResultSetEnd, client.capabilities),
    }
    payload
}

/// Reads what a LIMIT left unread, if it is little.
async fn leave(work: &mut Work<'_>, around: &mut Around<'_>, names: &Names) -> Result<(), Broken> {
    let mut left = 0;
    loop {
        // Who has not begun is not needed any more.
        work.legs.iter_mut().for_each(|leg| leg.queue.clear());
        for leg in &mut work.legs {
            if let Some((_, part)) = &mut leg.running {
                left += part.rows().len();
                part.take_rows();
            }
        }
        work.reap(names).await?;
        if work.is_done() || left > LEFT_BYTES_MAX {
            return Ok(());
        }
        work.read(around, |_| true).await?;
    }
}

/// What all sessions may have in memory is used up.
pub(super) fn memory_short(error: &MergeError) -> Fault {
    let limit = match error {
        MergeError::OverBudget { limit_bytes, .. } => *limit_bytes,
        _ => 0,
    };
    Fault::Sharding(format!(
        "rows of several shards of all sessions take the {limit} bytes that they may (--merge-memory-mib)"
    ))
}

/// Which setting was not enough, by the name that it has for users.
fn over_budget(budget: Budget, limit_bytes: u64) -> String {
    let (what, setting) = match budget {
        Budget::Memory => (
            "of memory, which several of its largest rows need, or all of them where nothing goes to files",
            "`execution.memoryBytes` of the DataShard",
        ),
        Budget::Spill => ("in files", "`execution.spillBytes` of the DataShard"),
        Budget::Row => ("in one row", "the most that is served"),
        Budget::Shared => ("of memory of all sessions", "--merge-memory-mib"),
    };
    format!("rows of several shards need more than {limit_bytes} bytes {what} ({setting})")
}

fn of_merge(error: &MergeError, work: &Work<'_>) -> Broken {
    let at = |shard: usize| {
        let node = work.nodes.get(shard);
        let table = node.and_then(|node| node.tables.first());
        table.map_or_else(|| format!("part {shard}"), |(physical, _)| physical.clone())
    };
    let why = match error {
        MergeError::BadRow { shard, fault } => format!("{} sent a bad row: {fault}", at(*shard)),
        MergeError::OverBudget {
            budget: Budget::Shared,
            ..
        } => return Broken::Fault(memory_short(error)),
        MergeError::OverBudget {
            budget,
            limit_bytes,
        } => over_budget(*budget, *limit_bytes),
        MergeError::Unsorted { shard } => {
            format!("rows of {} do not come in the order asked for", at(*shard))
        }
        other => format!("rows of several shards: {other}"),
    };
    Broken::Fault(Fault::Sharding(why))
}
