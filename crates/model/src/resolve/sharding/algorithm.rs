//! Algorithms by name and properties → `Algorithm`.
//!
//! It owns the names of properties (ShardingSphere's), their ranges, and that an algorithm has as many slots as there are
//! targets. A property that nothing reads is a defect.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::super::findings::{At, Findings};
use super::Modules;
use crate::spec::{DataShardSpec, PropertySpec};
use crate::suggest::suggest;
use crate::topology::sharding::algorithm::ring_hash;
use crate::topology::sharding::module::{MODULE_BYTES_MAX, hex, sha256};
use crate::topology::sharding::{Algorithm, Expression, KeyKind, Module, Target, time};

/// Every type, as users write it.
const TYPES: [&str; 15] = [
    "AUTO_INTERVAL",
    "BOUNDARY_RANGE",
    "COMPLEX_INLINE",
    "CONSISTENT_HASH",
    "CRC32_MOD",
    "HASH_MOD",
    "HINT_INLINE",
    "INLINE",
    "INTERVAL",
    "LIST",
    "MOD",
    "VOLUME_RANGE",
    "WASM",
    "crc32mod",
    "mod",
];
/// Most periods of INTERVAL, most slots of ranges.
const PERIODS_MAX: usize = 100_000;
/// Points of a target on the ring where it does not say.
const VIRTUAL_NODES_DEFAULT: i64 = 160;
const VIRTUAL_NODES_MAX: i64 = 10_000;

/// An algorithm as written.
pub struct Found<'a, 'd> {
    at: At<'d>,
    name: &'a str,
    kind: &'a str,
    modules: &'a Modules<'a>,
    props: Option<&'a BTreeMap<String, PropertySpec>>,
    read: RefCell<BTreeSet<&'static str>>,
}

/// The algorithm of that name: one of `algorithms`, or one of the older form's that need no properties.
pub fn find<'a, 'd>(
    at: &At<'d>,
    name: &'a str,
    spec: &'a DataShardSpec,
    modules: &'a Modules<'a>,
    findings: &mut Findings,
) -> Option<Found<'a, 'd>> {
    let listed = spec.algorithms.as_ref();
    let found = |at: At<'d>, kind, props| Found {
        at,
        name,
        kind,
        modules,
        props,
        read: RefCell::default(),
    };
    if let Some(algorithm) = listed.and_then(|all| all.get(name)) {
        let at = At::top(at.document)
            .field("spec")
            .field("algorithms")
            .field(name);
        let kind = algorithm.algorithm_type.as_str();
        if !TYPES.contains(&kind) {
            let reason = format!("unknown algorithm `{kind}`");
            let known =
                suggest(kind, TYPES).unwrap_or_else(|| format!("there are {}", TYPES.join(", ")));
            findings.error_with(&at.field("type"), reason, Some(known));
            return None;
        }
        return Some(found(at, kind, algorithm.props.as_ref()));
    }
    if matches!(name, "mod" | "crc32mod") {
        return Some(found(at.clone(), name, None));
    }
    let known = listed.into_iter().flatten().map(|(name, _)| name.as_str());
    let known = known.chain(["mod", "crc32mod"]);
    findings.error_with(
        at,
        format!("there is no algorithm `{name}`"),
        suggest(name, known),
    );
    None
}

impl Found<'_, '_> {
    /// The type of a key that says none.
    pub fn kind_unsaid(&self) -> KeyKind {
        match self.kind {
            "INTERVAL" | "AUTO_INTERVAL" => KeyKind::Datetime,
            _ => KeyKind::Integer,
        }
    }

    /// Whether it computes with keys of that type.
    pub fn takes(&self, kind: KeyKind) -> bool {
        match self.kind {
            "INTERVAL" | "AUTO_INTERVAL" => matches!(kind, KeyKind::Date | KeyKind::Datetime),
            "MOD" | "mod" | "VOLUME_RANGE" | "BOUNDARY_RANGE" => kind == KeyKind::Integer,
            _ => matches!(kind, KeyKind::Integer | KeyKind::Text | KeyKind::Collated),
        }
    }

    /// The algorithm, with a slot for every target.
    pub fn build(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let built = match self.kind {
            "MOD" => self.counted(Algorithm::Mod, targets, findings),
            "HASH_MOD" => self.counted(Algorithm::HashMod, targets, findings),
            "CRC32_MOD" => self.counted(Algorithm::Crc32Mod, targets, findings),
            "mod" => Some(Algorithm::Mod),
            "crc32mod" => Some(Algorithm::Crc32Mod),
            "VOLUME_RANGE" => self.volume_range(targets, findings),
            "BOUNDARY_RANGE" => self.boundary_range(targets, findings),
            "AUTO_INTERVAL" => self.auto_interval(targets, findings),
            "INTERVAL" => self.interval(targets, findings),
            "CONSISTENT_HASH" => self.consistent_hash(targets, findings),
            "LIST" => return self.list(targets, findings),
            "WASM" => self.wasm(targets, findings),
            _ => self.inline(findings),
        };
        // After another defect, not every property was read.
        let sound = built.is_none() || self.report_unread(findings);
        built.filter(|_| sound)
    }

    fn report_unread(&self, findings: &mut Findings) -> bool {
        let read = self.read.borrow();
        let mut sound = true;
        for name in self.props.into_iter().flatten().map(|(name, _)| name) {
            if !read.contains(name.as_str()) {
                let reason = format!("unknown property `{name}` of {}", self.kind);
                let at = self.at.field("props").field(name);
                findings.error_with(&at, reason, suggest(name, read.iter().copied()));
                sound = false;
            }
        }
        sound
    }

    fn property(&self, name: &'static str) -> Option<String> {
        self.read.borrow_mut().insert(name);
        Some(match self.props?.get(name)? {
            PropertySpec::Integer(number) => number.to_string(),
            PropertySpec::Bool(truth) => truth.to_string(),
            PropertySpec::Text(text) => text.clone(),
        })
    }

    fn wrong(&self, name: &str, reason: String, findings: &mut Findings) {
        findings.error(&self.at.field("props").field(name), reason);
    }

    fn text(&self, name: &'static str, findings: &mut Findings) -> Option<String> {
        let text = self.property(name);
        if text.is_none() {
            findings.error(&self.at, format!("the property `{name}` is missing"));
        }
        text
    }

    fn integer(&self, name: &'static str, findings: &mut Findings) -> Option<i64> {
        let text = self.text(name, findings)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.wrong(name, "is not a whole number".to_owned(), findings);
        }
        number
    }

    fn positive(&self, name: &'static str, findings: &mut Findings) -> Option<u64> {
        let number = self.integer(name, findings)?;
        let positive = u64::try_from(number).ok().filter(|n| *n > 0);
        if positive.is_none() {
            self.wrong(name, "is not more than 0".to_owned(), findings);
        }
        positive
    }

    fn moment(&self, name: &'static str, findings: &mut Findings) -> Option<i64> {
        let text = self.text(name, findings)?;
        let moment = time::parse(&text).map(|(at, _)| at);
        if moment.is_none() {
            self.wrong(
                name,
                "is not a time as `2024-01-01 00:00:00`".to_owned(),
                findings,
            );
        }
        moment
    }

    /// Whether the algorithm's slots are the targets.
    fn fits(&self, slots: u128, targets: &[Target], findings: &mut Findings) -> Option<()> {
        let given = targets.len();
        if u128::try_from(given) == Ok(slots) {
            return Some(());
        }
        let named = |target: Option<&Target>| target.map_or("", |t| t.name.as_str()).to_owned();
        let (first, last) = (named(targets.first()), named(targets.last()));
        let reason = format!(
            "{} has {slots} slots here, and there are {given} targets, `{first}` to `{last}`",
            self.kind
        );
        findings.error(&self.at, reason);
        None
    }

    fn counted(
        &self,
        algorithm: Algorithm,
        targets: &[Target],
        findings: &mut Findings,
    ) -> Option<Algorithm> {
        let count = self.positive("sharding-count", findings)?;
        self.fits(u128::from(count), targets, findings)?;
        Some(algorithm)
    }

    fn volume_range(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let lower = self.integer("range-lower", findings);
        let upper = self.integer("range-upper", findings);
        let volume = self.positive("sharding-volume", findings);
        let (lower, upper, volume) = (lower?, upper?, volume?);
        if lower >= upper {
            self.wrong(
                "range-upper",
                "is not above `range-lower`".to_owned(),
                findings,
            );
            return None;
        }
        let ranges = u128::from(upper.abs_diff(lower)).div_ceil(u128::from(volume));
        self.fits(ranges + 2, targets, findings)?;
        Some(Algorithm::VolumeRange {
            lower,
            upper,
            volume,
        })
    }

    fn boundary_range(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let text = self.text("sharding-ranges", findings)?;
        let boundaries: Option<Vec<i64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        let ascending = |all: &Vec<i64>| all.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let Some(boundaries) = boundaries.filter(ascending) else {
            let reason = "is not a list of ascending whole numbers with commas between";
            self.wrong("sharding-ranges", reason.to_owned(), findings);
            return None;
        };
        self.fits(boundaries.len() as u128 + 1, targets, findings)?;
        Some(Algorithm::BoundaryRange { boundaries })
    }

    fn auto_interval(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let lower = self.moment("datetime-lower", findings);
        let upper = self.moment("datetime-upper", findings);
        let seconds = self.positive("sharding-seconds", findings);
        let (lower, upper, seconds) = (lower?, upper?, seconds?);
        if lower >= upper {
            self.wrong(
                "datetime-upper",
                "is not after `datetime-lower`".to_owned(),
                findings,
            );
            return None;
        }
        let length = u128::from(seconds) * u128::from(time::SECOND.unsigned_abs());
        let ranges = u128::from(upper.abs_diff(lower)).div_ceil(length);
        self.fits(ranges + 2, targets, findings)?;
        Some(Algorithm::AutoInterval {
            lower,
            upper,
            seconds,
        })
    }

    fn interval(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        if let Some(pattern) = self.property("datetime-pattern")
            && !matches!(pattern.as_str(), "yyyy-MM-dd HH:mm:ss" | "yyyy-MM-dd")
        {
            let reason = "only `yyyy-MM-dd HH:mm:ss` and `yyyy-MM-dd` are read";
            self.wrong("datetime-pattern", reason.to_owned(), findings);
            return None;
        }
        let lower = self.moment("datetime-lower", findings);
        let upper = self.moment("datetime-upper", findings);
        let suffix = self.text("sharding-suffix-pattern", findings);
        let amount = match self.property("datetime-interval-amount") {
            Some(_) => self.positive("datetime-interval-amount", findings),
            None => Some(1),
        };
        let unit = self.property("datetime-interval-unit");
        let unit = unit.as_deref().unwrap_or("DAYS");
        let (lower, upper, suffix, amount) = (lower?, upper?, suffix?, amount?);
        if lower > upper {
            let reason = "is before `datetime-lower`".to_owned();
            self.wrong("datetime-upper", reason, findings);
            return None;
        }
        let mut starts = Vec::new();
        let mut slots = Vec::new();
        let mut at = lower;
        for period in 0_u64.. {
            at = match period_start(lower, unit, amount.checked_mul(period)?) {
                Some(at) => at,
                None => {
                    self.wrong(
                        "datetime-interval-unit",
                        format!(
                            "unknown unit `{unit}`: SECONDS, MINUTES, HOURS, DAYS, WEEKS, MONTHS or YEARS"
                        ),
                        findings,
                    );
                    return None;
                }
            };
            if at > upper {
                break;
            }
            let Some(written) = format_suffix(&suffix, at) else {
                let reason = "may hold yyyy, yy, MM, dd, HH, mm, ss, signs, and texts in quotes";
                self.wrong("sharding-suffix-pattern", reason.to_owned(), findings);
                return None;
            };
            let Some(slot) = targets.iter().position(|t| t.name.ends_with(&written)) else {
                findings.error(&self.at, format!("no target ends in `{written}`"));
                return None;
            };
            starts.push(at);
            slots.push(slot);
            if starts.len() > PERIODS_MAX {
                findings.error(&self.at, format!("has more than {PERIODS_MAX} periods"));
                return None;
            }
        }
        Some(Algorithm::Interval {
            starts,
            slots,
            end: at,
        })
    }

    fn inline(&self, findings: &mut Findings) -> Option<Algorithm> {
        // ShardingSphere refuses ranges unless told otherwise; here they are answered, so only `true` says what happens.
        if self
            .property("allow-range-query-with-inline-sharding")
            .is_some_and(|said| said != "true")
        {
            let reason = "ranges are always answered: take the property away".to_owned();
            self.wrong("allow-range-query-with-inline-sharding", reason, findings);
            return None;
        }
        if self.kind == "COMPLEX_INLINE" {
            self.property("sharding-columns");
        }
        let text = self.text("algorithm-expression", findings)?;
        let expression = match Expression::parse(&text) {
            Ok(expression) => expression,
            Err(reason) => {
                self.wrong(
                    "algorithm-expression",
                    format!("the expression {reason}"),
                    findings,
                );
                return None;
            }
        };
        if expression.columns().is_empty() {
            let reason = "the expression uses no column".to_owned();
            self.wrong("algorithm-expression", reason, findings);
            return None;
        }
        match self.kind {
            "INLINE" => Some(Algorithm::Inline { expression }),
            "COMPLEX_INLINE" => Some(Algorithm::ComplexInline { expression }),
            _ if expression.columns() != ["value"] => {
                let reason = "the expression of a hint uses `value` only".to_owned();
                self.wrong("algorithm-expression", reason, findings);
                None
            }
            _ => Some(Algorithm::HintInline { expression }),
        }
    }

    fn consistent_hash(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let points = match self.property("virtual-nodes") {
            Some(_) => self.integer("virtual-nodes", findings)?,
            None => VIRTUAL_NODES_DEFAULT,
        };
        if !(1..=VIRTUAL_NODES_MAX).contains(&points) {
            let reason = format!("is not between 1 and {VIRTUAL_NODES_MAX}");
            self.wrong("virtual-nodes", reason, findings);
            return None;
        }
        let mut ring: Vec<(u64, usize)> = targets
            .iter()
            .enumerate()
            .flat_map(|(slot, target)| {
                (0..points)
                    .map(move |n| (ring_hash(format!("{}#{n}", target.name).as_bytes()), slot))
            })
            .collect();
        ring.sort_unstable();
        Some(Algorithm::ConsistentHash { ring })
    }

    /// A module in a file, relative to the folder of the resource; tried with as many slots as there are targets.
    fn wasm(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let file = self.text("module", findings)?;
        let folder = self.at.document.file.parent().unwrap_or(Path::new(""));
        let path = folder.join(file);
        let pin = match self.property("sha256") {
            Some(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Some(text.to_ascii_lowercase())
            }
            Some(_) => {
                let reason = "is not the 64 hexadecimal digits that `sha256sum` prints";
                self.wrong("sha256", reason.to_owned(), findings);
                return None;
            }
            None => None,
        };
        let module = self
            .modules
            .find(self.name, &path, pin.as_deref())
            .and_then(|module| {
                let tried = module.try_out(targets.len());
                tried.map_err(|reason| format!("{} {reason}", path.display()))?;
                Ok(module)
            });
        match module {
            Ok(module) => Some(Algorithm::Wasm { module }),
            Err(reason) => {
                self.wrong("module", reason, findings);
                None
            }
        }
    }

    /// Every property but `default` is a target with its values.
    fn list(&self, targets: &[Target], findings: &mut Findings) -> Option<Algorithm> {
        let mut values: BTreeMap<String, usize> = BTreeMap::new();
        let mut default = None;
        let mut sound = true;
        let slot = |name: &str| targets.iter().position(|target| target.name == name);
        for (name, value) in self.props.into_iter().flatten() {
            let text = match value {
                PropertySpec::Integer(number) => number.to_string(),
                PropertySpec::Bool(truth) => truth.to_string(),
                PropertySpec::Text(text) => text.clone(),
            };
            let target = if name == "default" {
                text.as_str()
            } else {
                name
            };
            let Some(slot) = slot(target) else {
                let known = targets.iter().map(|target| target.name.as_str());
                let at = self.at.field("props").field(name);
                findings.error_with(
                    &at,
                    format!("there is no target `{target}`"),
                    suggest(target, known),
                );
                sound = false;
                continue;
            };
            if name == "default" {
                default = Some(slot);
                continue;
            }
            for value in text.split(',') {
                if values.insert(value.trim().to_owned(), slot).is_some() {
                    self.wrong(
                        name,
                        format!("{:?} is listed twice", value.trim()),
                        findings,
                    );
                    sound = false;
                }
            }
        }
        let values = values.into_iter().collect();
        sound.then_some(Algorithm::List { values, default })
    }
}

impl Modules<'_> {
    /// The module of the algorithm of that name; it is read and compiled at the first call.
    /// One that is not what `sha256` says is not even compiled.
    fn find(&self, name: &str, path: &Path, pin: Option<&str>) -> Result<Arc<Module>, String> {
        let compile = || {
            let bytes = self.host.read_bytes(path, MODULE_BYTES_MAX);
            let bytes =
                bytes.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            let digest = hex(&sha256(&bytes));
            if let Some(pin) = pin.filter(|pin| *pin != digest) {
                let path = path.display();
                return Err(format!(
                    "{path} is another file than `sha256` says: it has {digest}, and not {pin}"
                ));
            }
            let module = Module::compile(name, &bytes);
            let module = module.map_err(|reason| format!("{} {reason}", path.display()))?;
            Ok(Arc::new(module))
        };
        let mut known = self.known.borrow_mut();
        known.entry(name.to_owned()).or_insert_with(compile).clone()
    }
}

/// Where a period begins; none for an unknown unit or a time beyond all years.
fn period_start(lower: i64, unit: &str, amount: u64) -> Option<i64> {
    let amount = i64::try_from(amount).ok()?;
    let length =
        |seconds: i64| lower.checked_add(seconds.checked_mul(time::SECOND)?.checked_mul(amount)?);
    let months = |months: i64| {
        let (date, of_day) = time::split(lower);
        Some(time::join(
            date.plus_months(months.checked_mul(amount)?),
            of_day,
        ))
    };
    match unit.to_ascii_uppercase().as_str() {
        "SECONDS" => length(1),
        "MINUTES" => length(60),
        "HOURS" => length(3_600),
        "DAYS" => length(86_400),
        "WEEKS" => length(7 * 86_400),
        "MONTHS" => months(1),
        "YEARS" => months(12),
        _ => None,
    }
}

/// A moment by a pattern of Java's.
fn format_suffix(pattern: &str, at: i64) -> Option<String> {
    let (date, of_day) = time::split(at);
    let second = of_day / time::SECOND;
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let inside = rest.get(1..)?;
            let end = inside.find('\'')?;
            out.push_str(inside.get(..end)?);
            rest = inside.get(end + 1..)?;
            continue;
        }
        let length = rest
            .chars()
            .take_while(|c| *c == first)
            .map(char::len_utf8)
            .sum();
        let (run, after) = rest.split_at_checked(length)?;
        match run {
            "yyyy" | "uuuu" => out.push_str(&format!("{:04}", date.year)),
            "yy" | "uu" => out.push_str(&format!("{:02}", date.year % 100)),
            "MM" => out.push_str(&format!("{:02}", date.month)),
            "dd" => out.push_str(&format!("{:02}", date.day)),
            "HH" => out.push_str(&format!("{:02}", second / 3_600)),
            "mm" => out.push_str(&format!("{:02}", second / 60 % 60)),
            "ss" => out.push_str(&format!("{:02}", second % 60)),
            _ if first.is_ascii_alphabetic() => return None,
            signs => out.push_str(signs),
        }
        rest = after;
    }
    (!out.is_empty()).then_some(out)
}
