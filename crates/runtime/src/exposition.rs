//! The Prometheus text format, version 0.0.4.
//!
//! It owns names, escaping and order: every family has one HELP and one TYPE, followed by all of its
//! samples, in whatever order they are written here. It holds no counters. Label values must come
//! from closed sets, never from the text of a statement. Its input is whoever owns a metric.

use std::collections::HashMap;
use std::fmt::Write;

/// The `Content-Type` of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the samples of a family mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process restarts. By convention its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations in buckets, with their sum: written by [`Text::histogram`].
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

struct Family {
    name: String,
    samples: String,
}

/// A text in the making.
#[derive(Default)]
pub struct Text {
    families: Vec<Family>,
    places: HashMap<String, usize>,
    current: Option<usize>,
}

impl Text {
    /// An empty text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family, or goes on with the one of that name, whose help and kind then stay as they
    /// are. Characters that a name must not have become `_`.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let name = sanitised(name, Colon::Allowed);
        if let Some(place) = self.places.get(&name) {
            self.current = Some(*place);
            return;
        }
        let mut samples = String::new();
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ = writeln!(samples, "# HELP {name} {help}");
        let _ = writeln!(samples, "# TYPE {name} {}", kind.word());
        self.current = Some(self.families.len());
        self.places.insert(name.clone(), self.families.len());
        self.families.push(Family { name, samples });
    }

    /// A sample of the family begun last; before the first family it is left out.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        if let Some(family) = self.current() {
            family.line("", labels, None, value);
        }
    }

    /// A histogram of the family begun last; before the first family it is left out.
    ///
    /// `bounds` are the upper bounds of the buckets, ascending, without +Inf. `counts` are the
    /// observations of each bucket alone, the last one those above every bound; counts that are
    /// missing are 0, surplus ones go to the last bucket. `sum` is that of all observations. A label
    /// `le` of the caller's is left out.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        let Some(family) = self.current() else { return };
        let labels: Vec<_> = labels.iter().copied().filter(|(n, _)| *n != "le").collect();
        let mut counts = counts.iter();
        let mut cumulated = 0u64;
        for bound in bounds {
            cumulated = cumulated.saturating_add(counts.next().copied().unwrap_or(0));
            family.line("_bucket", &labels, Some(*bound), float(cumulated));
        }
        let total = counts.fold(cumulated, |total, count| total.saturating_add(*count));
        family.line("_bucket", &labels, Some(f64::INFINITY), float(total));
        family.line("_sum", &labels, None, sum);
        family.line("_count", &labels, None, float(total));
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.families
            .into_iter()
            .map(|family| family.samples)
            .collect()
    }

    fn current(&mut self) -> Option<&mut Family> {
        debug_assert!(self.current.is_some(), "a sample needs a family");
        self.current.and_then(|place| self.families.get_mut(place))
    }
}

impl Family {
    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<f64>, value: f64) {
        let text = &mut self.samples;
        text.push_str(&self.name);
        text.push_str(suffix);
        let mut opening = '{';
        for (name, label) in labels {
            text.push(opening);
            text.push_str(&sanitised(name, Colon::Forbidden));
            text.push_str("=\"");
            escape_label(label, text);
            text.push('"');
            opening = ',';
        }
        if let Some(bound) = le {
            text.push(opening);
            text.push_str("le=\"");
            write_value(bound, text);
            text.push('"');
            opening = ',';
        }
        if opening == ',' {
            text.push('}');
        }
        text.push(' ');
        write_value(value, text);
        text.push('\n');
    }
}

/// Counters above 2^53 lose their last digits in every Prometheus, whose samples are doubles.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

fn escape_label(label: &str, text: &mut String) {
    for character in label.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

fn write_value(value: f64, text: &mut String) {
    if value == f64::INFINITY {
        text.push_str("+Inf");
    } else if value == f64::NEG_INFINITY {
        text.push_str("-Inf");
    } else {
        // The shortest digits that read back as the same number; `NaN` for what is none.
        let _ = write!(text, "{value}");
    }
}

/// Whether a name may have colons: those of metrics may, those of labels may not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colon {
    Allowed,
    Forbidden,
}

fn sanitised(name: &str, colon: Colon) -> String {
    let fits = |place: usize, c: char| {
        c.is_ascii_alphabetic()
            || c == '_'
            || (c == ':' && colon == Colon::Allowed)
            || (c.is_ascii_digit() && place > 0)
    };
    let letters = name.chars().enumerate();
    let clean: String = letters
        .map(|(place, c)| if fits(place, c) { c } else { '_' })
        .collect();
    if clean.is_empty() {
        "_".to_owned()
    } else {
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_whole_and_have_one_head_each() {
        let mut text = Text::new();
        text.family("dbmesh_a_total", "First.", Kind::Counter);
        text.sample(&[("endpoint", "db0"), ("class", "select")], 3.0);
        text.family("dbmesh_b", "Second.", Kind::Gauge);
        text.sample(&[], 0.25);
        text.family("dbmesh_a_total", "Said otherwise.", Kind::Gauge);
        text.sample(&[("endpoint", "db1")], 1e21);
        let expected = "\
# HELP dbmesh_a_total First.
# TYPE dbmesh_a_total counter
dbmesh_a_total{endpoint=\"db0\",class=\"select\"} 3
dbmesh_a_total{endpoint=\"db1\"} 1000000000000000000000
# HELP dbmesh_b Second.
# TYPE dbmesh_b gauge
dbmesh_b 0.25
";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut text = Text::new();
        text.family("9 bad:name", "a \\ and\nb \"quoted\"", Kind::Gauge);
        text.sample(&[("le:x", "C:\\dir \"q\"\nnext é")], f64::NAN);
        text.sample(&[("", "")], f64::NEG_INFINITY);
        let expected = "\
# HELP __bad:name a \\\\ and\\nb \"quoted\"
# TYPE __bad:name gauge
__bad:name{le_x=\"C:\\\\dir \\\"q\\\"\\nnext é\"} NaN
__bad:name{_=\"\"} -Inf
";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn histograms_are_cumulative_and_end_in_infinity() {
        let mut text = Text::new();
        text.family("h_seconds", "H.", Kind::Histogram);
        text.histogram(
            &[("c", "x"), ("le", "9")],
            &[0.001, 0.5, 2.0],
            &[1, 2, 3, 4],
            7.5,
        );
        text.histogram(&[], &[1.0], &[5], 2.0);
        let expected = "\
# HELP h_seconds H.
# TYPE h_seconds histogram
h_seconds_bucket{c=\"x\",le=\"0.001\"} 1
h_seconds_bucket{c=\"x\",le=\"0.5\"} 3
h_seconds_bucket{c=\"x\",le=\"2\"} 6
h_seconds_bucket{c=\"x\",le=\"+Inf\"} 10
h_seconds_sum{c=\"x\"} 7.5
h_seconds_count{c=\"x\"} 10
h_seconds_bucket{le=\"1\"} 5
h_seconds_bucket{le=\"+Inf\"} 5
h_seconds_sum 2
h_seconds_count 5
";
        assert_eq!(text.finish(), expected);
    }
}
