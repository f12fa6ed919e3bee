//! Quantiles over class pairs, which may be too many to hold in memory.

use serde::{Deserialize, Serialize};

/// Quantiles over class pairs.
///
/// **Conventions** Linear interpolation between order statistics (type 7, NumPy's default); exact for any number of
/// pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// The smallest value.
    pub min: f64,
    /// The 5 % quantile.
    pub q05: f64,
    /// The 25 % quantile.
    pub q25: f64,
    /// The median.
    pub median: f64,
    /// The 75 % quantile.
    pub q75: f64,
    /// The 95 % quantile.
    pub q95: f64,
}

/// The quantiles of `count` ≥ 1 values. Each call of `stream` passes all of them to its argument.
pub(crate) fn quantiles(count: u64, stream: impl Fn(&mut dyn FnMut(f64))) -> Quantiles {
    const SHARES: [f64; 6] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95];
    let [min, q05, q25, median, q75, q95] = reductions::quantiles_of_stream(count, SHARES, stream);
    Quantiles { min, q05, q25, median, q75, q95 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_as_numpy_does() {
        // numpy.quantile([3, 1, 4, 2], 0.05 and 0.25) = 1.15 and 1.75 (type 7).
        let values = [3.0, 1.0, 4.0, 2.0];
        let found = quantiles(4, |take| values.iter().for_each(|&value| take(value)));
        assert!((found.q05 - 1.15).abs() < 1e-15);
        assert_eq!((found.min, found.q25, found.median, found.q75), (1.0, 1.75, 2.5, 3.25));
    }
}
