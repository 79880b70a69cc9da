//! Medians and spreads, and the exponent of a growth.

use serde::{Deserialize, Serialize};

/// What became of several measurements of one thing. The unit is that of what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// Half of them are below.
    pub median: f64,
    /// Nineteen of twenty are below (nearest rank).
    pub p95: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of measurements in any order.
    ///
    /// # Panics
    /// When there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        let rank = |share: usize| values[(values.len() * share).div_ceil(100).max(1) - 1];
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            count: values.len(),
            median: rounded(median),
            p95: rounded(rank(95)),
            least: rounded(values[0]),
            most: rounded(values[values.len() - 1]),
        }
    }
}

/// To three decimals: what is kept is what is shown, and no noise of the last bits.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The exponent `k` of `y = c·x^k` that fits best, by least squares on the logarithms. 0 is no growth, 1 is in proportion.
///
/// # Panics
/// With fewer than two different `x`, or with values that are not above 0.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    assert!(
        points.iter().all(|(x, y)| *x > 0.0 && *y > 0.0),
        "only what is above 0 has a logarithm: {points:?}"
    );
    let count = points.len() as f64;
    let mean =
        |part: fn(&(f64, f64)) -> f64| points.iter().map(|point| part(point).ln()).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut products, mut squares) = (0.0, 0.0);
    for (x, y) in points {
        let from_mean = x.ln() - mean_x;
        products += from_mean * (y.ln() - mean_y);
        squares += from_mean * from_mean;
    }
    assert!(squares > 0.0, "a growth needs two sizes: {points:?}");
    rounded(products / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle_and_p95_near_the_end() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((spread.median, spread.p95, spread.least, spread.most), (50.5, 95.0, 1.0, 100.0));
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.median, one.p95, one.count), (7.0, 7.0, 1));
    }

    #[test]
    fn the_exponent_of_a_power_is_found() {
        for power in [0.0, 0.5, 1.0, 2.0] {
            let points: Vec<_> = [10.0, 100.0, 1000.0].map(|x: f64| (x, 3.0 * x.powf(power))).into();
            assert!((exponent(&points) - power).abs() < 0.001, "{power}");
        }
    }
}
