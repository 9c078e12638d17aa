//! Algorithms of users: modules of WebAssembly that compute a slot, in a sandbox.
//!
//! It owns what a module must and may have (its exports, no imports, no floats, bounds on memory and on work of one call),
//! and its calls: what a valid module is, only calls tell. A module can never end the process, keep a call for long, take
//! memory beyond its bound, or answer by anything but the key: an instance that could keep something has one call only.
//! Input: a file that anybody may have written, and keys of clients.

mod state;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serializer;
use wasmi::{
    Config, EnforcedLimits, Engine, ExternType, Instance, Linker, Memory, Store, StoreLimits,
    StoreLimitsBuilder, TypedFunc, ValType,
};

use super::KeyKind;

/// Largest file.
pub const MODULE_BYTES_MAX: u64 = 1 << 20;
/// Largest memory of an instance.
const MEMORY_BYTES_MAX: usize = 4 << 20;
/// Most elements of a table.
const TABLE_ELEMENTS_MAX: usize = 10_000;
/// Work of one call, about one unit for an instruction.
const FUEL_MAX: u64 = 100_000;
/// Longest text of a key.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Instances that wait for the next call.
const IDLE_MAX: usize = 64;
/// Slots whose ranges a module can tell.
const RANGE_SLOTS_MAX: usize = 64;

const SLOT_INTEGER: &str = "slot_integer";
const SLOT_TEXT: &str = "slot_text";
const SLOTS_BETWEEN: &str = "slots_between";
const BUFFER: &str = "buffer";
const MEMORY: &str = "memory";

/// A module, compiled, with instances that are not in use.
pub struct Module {
    name: String,
    digest: [u8; 32],
    compiled: wasmi::Module,
    /// Whether an instance can keep something from one call to the next.
    keeps_state: bool,
    idle: Mutex<Vec<Running>>,
}

/// Why a call gave no slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// It trapped: an unreachable instruction, a division by zero, too much work, a slot that is not there.
    Trap(String),
    /// The key is not one that the module takes: beyond 64 bits, or too long.
    Key,
}

/// An instance and its functions.
struct Running {
    store: Store<StoreLimits>,
    integer: Option<TypedFunc<(i64, i32), i32>>,
    text: Option<Text>,
    between: Option<TypedFunc<(i64, i64, i32), i64>>,
}

struct Text {
    slot: TypedFunc<(i32, i32), i32>,
    memory: Memory,
    address: usize,
    /// Bytes of the buffer that may not be zero.
    used: usize,
}

impl Running {
    /// What the next call may cost.
    fn refuel(&mut self) -> Result<(), String> {
        let refueled = self.store.set_fuel(FUEL_MAX);
        refueled.map_err(|error| error.to_string())
    }

    fn slot_of_integer(&mut self, key: i64, slots: usize) -> Result<Option<usize>, String> {
        let function = self.integer.ok_or_else(|| missing(SLOT_INTEGER))?;
        let slot = function.call(&mut self.store, (key, count(slots)));
        slot.map_err(|error| error.to_string())
            .and_then(|slot| place(slot, slots))
    }

    fn slot_of_text(&mut self, key: &[u8], slots: usize) -> Result<Option<usize>, String> {
        let text = self.text.as_mut().ok_or_else(|| missing(SLOT_TEXT))?;
        text.put(&mut self.store, key)?;
        let length = i32::try_from(key.len()).unwrap_or_default();
        let slot = text.slot.call(&mut self.store, (length, count(slots)));
        slot.map_err(|error| error.to_string())
            .and_then(|slot| place(slot, slots))
    }
}

impl Text {
    /// Writes a key, and zeros where the one before was longer: a module sees nothing of other keys.
    fn put(&mut self, store: &mut Store<StoreLimits>, key: &[u8]) -> Result<(), String> {
        let memory = self.memory.data_mut(store).get_mut(self.address..);
        let buffer = memory.and_then(|memory| memory.get_mut(..TEXT_BYTES_MAX));
        let end = self.used.max(key.len());
        let parts =
            buffer.and_then(|buffer| buffer.get_mut(..end)?.split_at_mut_checked(key.len()));
        let (text, rest) = parts.ok_or_else(|| format!("`{BUFFER}` is beyond the memory"))?;
        text.copy_from_slice(key);
        rest.fill(0);
        self.used = key.len();
        Ok(())
    }
}

impl Module {
    /// Compiles a module and starts an instance. [`Module::try_out`] has yet to tell whether it answers.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let mut config = Config::default();
        config.consume_fuel(true);
        config.floats(false);
        config.allow_start_fn(false);
        config.set_max_recursion_depth(128);
        config.enforced_limits(EnforcedLimits::strict());
        let engine = Engine::new(&config);
        if !bytes.starts_with(b"\0asm") {
            return Err("is no module of WebAssembly".to_owned());
        }
        let compiled = wasmi::Module::new(&engine, bytes).map_err(|error| {
            let words: Vec<String> = error
                .to_string()
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            format!("is no module that may run here: {}", words.join(" "))
        })?;
        let module = Self {
            name: name.to_owned(),
            digest: sha256(bytes),
            compiled,
            keeps_state: state::can_be_kept(bytes)?,
            idle: Mutex::default(),
        };
        module.check_shape()?;
        module.start()?;
        Ok(module)
    }

    /// The algorithm's name, for errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its file is known by, in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&self.digest)
    }

    /// Whether it computes with keys of that type.
    #[must_use]
    pub fn takes(&self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Integer => self.has(SLOT_INTEGER),
            KeyKind::Text | KeyKind::Collated => self.has(SLOT_TEXT),
            KeyKind::Date | KeyKind::Datetime => false,
        }
    }

    /// Which types of keys it takes, for errors.
    #[must_use]
    pub fn takes_what(&self) -> &'static str {
        match (self.has(SLOT_INTEGER), self.has(SLOT_TEXT)) {
            (true, true) => "its module takes whole numbers and texts",
            (true, false) => "its module exports `slot_integer`, not `slot_text`",
            _ => "its module exports `slot_text`, not `slot_integer` (`keyTypes` may say `string`)",
        }
    }

    /// The slot of a whole number; none if it has no place.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn slot_of_integer(&self, key: i128, slots: usize) -> Result<Option<usize>, Failed> {
        let key = i64::try_from(key).map_err(|_| Failed::Key)?;
        self.call(|running| running.slot_of_integer(key, slots))
    }

    /// The slot of a text; none if it has no place.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn slot_of_text(&self, key: &[u8], slots: usize) -> Result<Option<usize>, Failed> {
        if key.len() > TEXT_BYTES_MAX {
            return Err(Failed::Key);
        }
        self.call(|running| running.slot_of_text(key, slots))
    }

    /// The slots of keys from `low` to `high`, as bits; none if the module does not tell.
    #[must_use]
    pub fn slots_between(&self, low: i128, high: i128, slots: usize) -> Option<u64> {
        if slots > RANGE_SLOTS_MAX || !self.has(SLOTS_BETWEEN) {
            return None;
        }
        let (low, high) = (i64::try_from(low).ok()?, i64::try_from(high).ok()?);
        self.bits_between(low, high, slots).ok()
    }

    fn bits_between(&self, low: i64, high: i64, slots: usize) -> Result<u64, Failed> {
        self.call(|running| {
            let function = running.between.ok_or_else(|| missing(SLOTS_BETWEEN))?;
            let bits = function.call(&mut running.store, (low, high, count(slots)));
            bits.map(i64::cast_unsigned)
                .map_err(|error| error.to_string())
        })
    }

    /// One call with its own fuel. An instance that failed is not used again: its memory may be anything. One that could
    /// keep something of the call is not used again either, so that an answer depends on nothing but the key.
    fn call<T>(&self, work: impl FnOnce(&mut Running) -> Result<T, String>) -> Result<T, Failed> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut running = match idle {
            Some(running) => running,
            None => self.start().map_err(Failed::Trap)?,
        };
        running.refuel().map_err(Failed::Trap)?;
        let answer = work(&mut running).map_err(Failed::Trap)?;
        if self.keeps_state {
            return Ok(answer);
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(running);
        }
        Ok(answer)
    }

    fn start(&self) -> Result<Running, String> {
        let engine = self.compiled.engine();
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_BYTES_MAX)
            .table_elements(TABLE_ELEMENTS_MAX)
            .instances(1)
            .memories(1)
            .tables(4)
            .build();
        let mut store = Store::new(engine, limits);
        store.limiter(|limits| limits);
        let fails = |error: wasmi::Error| {
            format!(
                "cannot be started with {} MiB of memory at most: {error}",
                MEMORY_BYTES_MAX >> 20
            )
        };
        store.set_fuel(FUEL_MAX * 10).map_err(fails)?;
        let linker = Linker::<StoreLimits>::new(engine);
        let instance = linker
            .instantiate_and_start(&mut store, &self.compiled)
            .map_err(fails)?;
        let integer = instance.get_typed_func(&store, SLOT_INTEGER).ok();
        let between = instance.get_typed_func(&store, SLOTS_BETWEEN).ok();
        let text = match self.has(SLOT_TEXT) {
            true => Some(text(&instance, &mut store)?),
            false => None,
        };
        Ok(Running {
            store,
            integer,
            text,
            between,
        })
    }

    fn has(&self, export: &str) -> bool {
        self.compiled.get_export(export).is_some()
    }

    /// Nothing from outside, and functions of the right form.
    fn check_shape(&self) -> Result<(), String> {
        if let Some(import) = self.compiled.imports().next() {
            return Err(format!(
                "imports `{}.{}`, and nothing may be imported",
                import.module(),
                import.name()
            ));
        }
        if !self.has(SLOT_INTEGER) && !self.has(SLOT_TEXT) {
            return Err(format!(
                "exports neither `{SLOT_INTEGER}` nor `{SLOT_TEXT}`"
            ));
        }
        let forms: [(&str, &[ValType], &[ValType]); 4] = [
            (SLOT_INTEGER, &[ValType::I64, ValType::I32], &[ValType::I32]),
            (SLOT_TEXT, &[ValType::I32, ValType::I32], &[ValType::I32]),
            (
                SLOTS_BETWEEN,
                &[ValType::I64, ValType::I64, ValType::I32],
                &[ValType::I64],
            ),
            (BUFFER, &[], &[ValType::I32]),
        ];
        for (name, parameters, results) in forms {
            match self.compiled.get_export(name) {
                None => {}
                Some(ExternType::Func(form))
                    if form.params() == parameters && form.results() == results => {}
                Some(_) => {
                    return Err(format!(
                        "exports `{name}` in another form than {parameters:?} to {results:?}"
                    ));
                }
            }
        }
        if self.has(SLOT_TEXT) {
            for name in [BUFFER, MEMORY] {
                if !self.has(name) {
                    return Err(format!("exports `{SLOT_TEXT}`, which needs `{name}`"));
                }
            }
        }
        Ok(())
    }

    /// Tries keys that every algorithm has to answer for, one way or the other: in one instance, and each in one of its own.
    ///
    /// # Errors
    /// What is wrong: it fails, an answer depends on earlier calls, or a range leaves out the slot of a key in it.
    pub fn try_out(&self, slots: usize) -> Result<(), String> {
        let mut asked: Vec<(Trial, Option<usize>)> = Vec::new();
        for trial in Trial::all(self) {
            let mut own = self.start()?;
            let alone = trial.ask(&mut own, slots)?;
            asked.push((trial, alone));
        }
        let mut one = self.start()?;
        for (trial, alone) in asked.iter().chain(asked.iter().rev()) {
            if trial.ask(&mut one, slots)? != *alone {
                return Err(format!(
                    "is no pure function: its slot for the key {trial} depends on earlier calls"
                ));
            }
        }
        match self.has(SLOTS_BETWEEN) && slots <= RANGE_SLOTS_MAX {
            true => self.try_ranges(&asked, slots),
            false => Ok(()),
        }
    }

    /// Whether ranges from one key to a greater one have the slots of both.
    fn try_ranges(&self, asked: &[(Trial, Option<usize>)], slots: usize) -> Result<(), String> {
        let integers = asked.iter().filter_map(|(trial, slot)| match trial {
            Trial::Integer(key) => Some((*key, *slot)),
            Trial::Text(_) => None,
        });
        let integers: Vec<(i64, Option<usize>)> = integers.collect();
        for (low, of_low) in &integers {
            for (high, of_high) in integers.iter().filter(|(high, _)| low <= high) {
                let range = format!("`{SLOTS_BETWEEN}` from {low} to {high}");
                let bits = self.bits_between(*low, *high, slots);
                let bits = bits.map_err(|failed| format!("fails for {range}: {failed}"))?;
                for slot in of_low.iter().chain(of_high) {
                    if bits >> slot & 1 == 0 {
                        return Err(format!("leaves slot {slot} out of {range}"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A key to try.
#[derive(Debug, Clone, Copy)]
enum Trial {
    Integer(i64),
    Text(&'static str),
}

impl Trial {
    /// Keys of the types that the module takes.
    fn all(module: &Module) -> impl Iterator<Item = Self> {
        let integers = [i64::MIN, -1, 0, 1, 2, 1_000_003, i64::MAX];
        let texts = ["", "a", "b", "1", "a-1", "\u{e9}\u{20ac}"];
        let integers = integers.into_iter().filter(|_| module.has(SLOT_INTEGER));
        let texts = texts.into_iter().filter(|_| module.has(SLOT_TEXT));
        integers.map(Self::Integer).chain(texts.map(Self::Text))
    }

    fn ask(self, running: &mut Running, slots: usize) -> Result<Option<usize>, String> {
        running.refuel()?;
        let slot = match self {
            Self::Integer(key) => running.slot_of_integer(key, slots),
            Self::Text(key) => running.slot_of_text(key.as_bytes(), slots),
        };
        slot.map_err(|failed| format!("fails for the key {self} and {slots} slots: {failed}"))
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(key) => write!(f, "{key}"),
            Self::Text(key) => write!(f, "{key:?}"),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap(reason) => f.write_str(reason),
            Self::Key => write!(
                f,
                "modules take keys of 64 bits with sign, and texts of {TEXT_BYTES_MAX} bytes"
            ),
        }
    }
}

fn missing(name: &str) -> String {
    format!("the module exports no `{name}`")
}

fn count(slots: usize) -> i32 {
    i32::try_from(slots).unwrap_or(i32::MAX)
}

/// -1 is no place; anything else that is no slot is a failure.
fn place(slot: i32, slots: usize) -> Result<Option<usize>, String> {
    match usize::try_from(slot) {
        Ok(place) if place < slots => Ok(Some(place)),
        Err(_) if slot == -1 => Ok(None),
        _ => Err(format!("it gave slot {slot} of {slots}")),
    }
}

fn text(instance: &Instance, store: &mut Store<StoreLimits>) -> Result<Text, String> {
    let fails = |error: wasmi::Error| error.to_string();
    let slot = instance.get_typed_func(&*store, SLOT_TEXT).map_err(fails)?;
    let buffer = instance
        .get_typed_func::<(), i32>(&*store, BUFFER)
        .map_err(fails)?;
    let memory = instance
        .get_memory(&*store, MEMORY)
        .ok_or_else(|| format!("`{MEMORY}` is no memory"))?;
    let address = buffer.call(&mut *store, ()).map_err(fails)?;
    let address = usize::try_from(address.cast_unsigned()).unwrap_or(usize::MAX);
    let end = address.saturating_add(TEXT_BYTES_MAX);
    match end <= memory.data_size(&*store) {
        true => Ok(Text {
            slot,
            memory,
            address,
            used: TEXT_BYTES_MAX,
        }),
        false => Err(format!(
            "`{BUFFER}` gives an address without {TEXT_BYTES_MAX} bytes of memory behind it"
        )),
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module {}", self.sha256())
    }
}

/// By what it does.
impl PartialEq for Module {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// A module as the topology shows it: by its content, so that another one in its place is another topology.
///
/// # Errors
/// Those of the serializer.
pub fn shown<S: Serializer>(module: &Module, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&module.sha256())
}

/// What a file is known by.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}

/// In hexadecimal digits.
#[must_use]
pub fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
