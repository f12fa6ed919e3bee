//! Moments of a sequence of values in one pass.

use crate::{Interval, student_interval};

/// Mean and variance in one pass.
///
/// **Source** Welford, Note on a method for calculating corrected sums of squares and products, Technometrics 1962.
///
/// ```
/// let mut running = statistics::RunningMean::default();
/// [1.0, 2.0, 6.0].into_iter().for_each(|value| running.push(value));
/// assert_eq!((running.count(), running.mean(), running.variance()), (3, 3.0, Some(7.0)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningMean {
    count: usize,
    mean: f64,
    /// Σ(x − mean)².
    squares: f64,
}

impl RunningMean {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// The number of values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The mean; 0 for no values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The sample variance (divisor n − 1); none for fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The square root of [`RunningMean::variance`].
    pub fn standard_deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The standard error of the mean of independent values: standard deviation over √n.
    pub fn standard_error(&self) -> Option<f64> {
        self.standard_deviation().map(|deviation| deviation / (self.count as f64).sqrt())
    }

    /// Student's t-interval of the mean of independent values, with n − 1 degrees of freedom; none for fewer than two.
    pub fn student_interval(&self, level: f64) -> Option<Interval> {
        self.standard_error().map(|error| student_interval(self.mean, error, (self.count - 1) as f64, level))
    }
}

/// Collects values of an iterator.
impl FromIterator<f64> for RunningMean {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut running = Self::default();
        values.into_iter().for_each(|value| running.push(value));
        running
    }
}

/// Mean and second and third central moments in one pass.
///
/// **Source** Pébay, Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
/// moments, Sandia report SAND2008-6212, equations 2.1 and 2.2 for one new value.
///
/// ```
/// let mut running = statistics::RunningMoments::default();
/// [1.0, 2.0, 6.0].into_iter().for_each(|value| running.push(value));
/// assert_eq!((running.mean(), running.variance()), (3.0, Some(7.0)));
/// // Σ(x − 3)³ = −8 − 1 + 27 = 18 and Σ(x − 3)² = 14: g₁ = (18/3)/(14/3)^1.5, G₁ = g₁ √(3·2)/1.
/// let biased = 6.0 / (14.0f64 / 3.0).powf(1.5);
/// assert!((running.skewness().unwrap() - biased * 6f64.sqrt()).abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RunningMoments {
    count: usize,
    mean: f64,
    /// Σ(x − mean)².
    squares: f64,
    /// Σ(x − mean)³.
    cubes: f64,
}

impl RunningMoments {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let n = self.count as f64;
        let step = value - self.mean;
        let square = step * step * (n - 1.0) / n;
        self.mean += step / n;
        self.cubes += square * step * (n - 2.0) / n - 3.0 * self.squares * step / n;
        self.squares += square;
    }

    /// The number of values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The mean; 0 for no values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The sample variance (divisor n − 1); none for fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The skewness G₁ = g₁ √(n(n − 1))/(n − 2) with g₁ = m₃/m₂^1.5 and central moments m of divisor n.
    ///
    /// None for fewer than three values, and where all values are equal.
    ///
    /// **Source** Joanes and Gill, Comparing measures of sample skewness and kurtosis, The Statistician 1998; SciPy's
    /// `skew(bias=False)`.
    pub fn skewness(&self) -> Option<f64> {
        if self.count < 3 || self.squares <= 0.0 {
            return None;
        }
        let n = self.count as f64;
        let biased = self.cubes / n / (self.squares / n).powf(1.5);
        Some(biased * (n * (n - 1.0)).sqrt() / (n - 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_the_moments_of_two_passes() {
        // An offset of 1e6 makes the textbook formula Σx² − n·mean² lose 9 of 16 digits.
        let values: Vec<f64> = (0..12).map(|i| 1e6 + f64::from(i * i % 13) + 0.1 * f64::from(i)).collect();
        let mean = values.iter().sum::<f64>() / 12.0;
        let central = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>();
        let running: RunningMean = values.iter().copied().collect();
        let mut moments = RunningMoments::default();
        values.iter().for_each(|&value| moments.push(value));
        assert!((running.mean() / mean - 1.0).abs() < 1e-15 && (moments.mean() / mean - 1.0).abs() < 1e-15);
        let variance = central(2) / 11.0;
        assert!((running.variance().unwrap() / variance - 1.0).abs() < 1e-9);
        assert!((moments.variance().unwrap() / variance - 1.0).abs() < 1e-9);
        let skewness = central(3) / 12.0 / (central(2) / 12.0).powf(1.5) * (12.0f64 * 11.0).sqrt() / 10.0;
        assert!((moments.skewness().unwrap() - skewness).abs() < 1e-8);
        let error = (variance / 12.0).sqrt();
        assert!((running.standard_error().unwrap() / error - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_values_have_no_variance() {
        let mut running = RunningMean::default();
        let mut moments = RunningMoments::default();
        running.push(4.0);
        moments.push(4.0);
        moments.push(4.0);
        assert_eq!((running.variance(), running.standard_error(), running.student_interval(0.95)), (None, None, None));
        moments.push(4.0);
        assert_eq!((moments.variance(), moments.skewness()), (Some(0.0), None));
    }
}
