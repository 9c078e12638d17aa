//! The little statistics a benchmark needs: medians, spreads, percentiles of a histogram, a slope. Pure functions over numbers
//! that were measured; nothing here may drop an outlier. Input: finite numbers.

/// The middle of `values`; the mean of the two middle ones when their number is even. 0 when there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    match sorted.len() % 2 {
        0 => {
            (sorted
                .get((sorted.len() / 2).saturating_sub(1))
                .copied()
                .unwrap_or_default()
                + upper)
                / 2.0
        }
        _ => upper,
    }
}

/// Half the distance between the smallest and the largest value, in per cent of the median: "± this".
pub fn spread_percent(values: &[f64]) -> f64 {
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(*v), high.max(*v))
        });
    let middle = median(values);
    if values.is_empty() || middle == 0.0 {
        0.0
    } else {
        (high - low) / 2.0 / middle * 100.0
    }
}

/// A latency histogram: upper bounds in milliseconds, ascending, with the number of events at each.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Histogram(Vec<(f64, u64)>);

impl Histogram {
    /// Takes buckets in any order.
    pub fn new(mut buckets: Vec<(f64, u64)>) -> Histogram {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Histogram(buckets)
    }

    /// The value, in milliseconds, that `percent` of the events do not exceed. 0 when there are no events.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let total: u64 = self.0.iter().map(|(_, count)| count).sum();
        let wanted = total as f64 * percent / 100.0;
        let mut seen = 0;
        for (value, count) in &self.0 {
            seen += count;
            if seen as f64 >= wanted && seen > 0 {
                return *value;
            }
        }
        0.0
    }
}

/// The slope of the least-squares line through `points` (x, y), in units of y per unit of x. 0 for fewer than two points.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if points.len() < 2 || variance == 0.0 {
        0.0
    } else {
        covariance / variance
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, median, slope, spread_percent};

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(spread_percent(&[90.0, 100.0, 110.0]), 10.0);
    }

    #[test]
    fn percentiles_of_a_histogram() {
        let histogram = Histogram::new(vec![(2.0, 49), (1.0, 50), (9.0, 1)]);
        assert_eq!(histogram.percentile_ms(50.0), 1.0);
        assert_eq!(histogram.percentile_ms(95.0), 2.0);
        assert_eq!(histogram.percentile_ms(100.0), 9.0);
        assert_eq!(Histogram::default().percentile_ms(50.0), 0.0);
    }

    #[test]
    fn a_slope_is_change_per_unit() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0);
        assert_eq!(slope(&[(1.0, 1.0)]), 0.0);
    }
}
