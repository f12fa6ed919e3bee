//! Coefficients of rank correlation, without their errors.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A coefficient of rank correlation.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankStatistic {
    /// Spearman's ρ: Pearson's correlation of the ranks, equal values at their mean rank.
    Spearman,
    /// Kendall's τ_b: (concordant − discordant)/√((pairs − ties in x)(pairs − ties in y)).
    Kendall,
}

impl RankStatistic {
    /// The coefficient of two lists of equal length; none where a list does not vary or the lengths differ.
    ///
    /// **Source** Spearman 1904; Kendall, Rank correlation methods, 1948, equation 3.3.
    ///
    /// ```
    /// use statistics::RankStatistic;
    /// // Σd² = 0 + 1 + 1 + 0 = 2: ρ = 1 − 6·2/(4·15) = 0.8. Five of six pairs agree: τ = 4/6.
    /// let (x, y) = ([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0]);
    /// assert!((RankStatistic::Spearman.coefficient(&x, &y).unwrap() - 0.8).abs() < 1e-15);
    /// assert!((RankStatistic::Kendall.coefficient(&x, &y).unwrap() - 4.0 / 6.0).abs() < 1e-15);
    /// assert_eq!(RankStatistic::Kendall.coefficient(&x, &[1.0; 4]), None);
    /// ```
    pub fn coefficient(self, x: &[f64], y: &[f64]) -> Option<f64> {
        match self {
            Self::Spearman => pearson(&mean_ranks(x), &mean_ranks(y)),
            Self::Kendall => kendall(x, y),
        }
    }
}

impl fmt::Display for RankStatistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spearman => "Spearman's ρ",
            Self::Kendall => "Kendall's τ",
        })
    }
}

/// Ranks from 1, equal values at the mean of their ranks.
///
/// ```
/// assert_eq!(statistics::mean_ranks(&[5.0, 1.0, 5.0, 0.0, 5.0]), [4.0, 2.0, 4.0, 1.0, 4.0]);
/// ```
pub fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        // At least one element, because a NaN is not equal to itself.
        let equal = order[start..].iter().take_while(|&&at| values[at] == values[order[start]]).count().max(1);
        let rank = start as f64 + 0.5 * (equal + 1) as f64;
        order[start..start + equal].iter().for_each(|&at| ranks[at] = rank);
        start += equal;
    }
    ranks
}

/// Pearson's correlation Σ(x − x̄)(y − ȳ)/√(Σ(x − x̄)² Σ(y − ȳ)²); none where a list does not vary or the lengths differ.
///
/// ```
/// // Deviations (−1, 0, 1) and (−2, 1, 1): 3/√(2·6).
/// let found = statistics::pearson(&[1.0, 2.0, 3.0], &[0.0, 3.0, 3.0]).unwrap();
/// assert!((found - 3.0 / 12f64.sqrt()).abs() < 1e-15);
/// ```
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() {
        return None;
    }
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xy += (x - mean_x) * (y - mean_y);
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
    }
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() {
        return None;
    }
    let (mut agreement, mut untied_x, mut untied_y) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in 0..i {
            let (a, b) = (sign(x[i] - x[j]), sign(y[i] - y[j]));
            agreement += a * b;
            untied_x += a.abs();
            untied_y += b.abs();
        }
    }
    (untied_x > 0 && untied_y > 0).then(|| agreement as f64 / ((untied_x * untied_y) as f64).sqrt())
}

/// −1, 0 or 1; 0 for NaN.
pub(crate) fn sign(value: f64) -> i64 {
    i64::from(value > 0.0) - i64::from(value < 0.0)
}
