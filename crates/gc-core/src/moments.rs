//! Mean and variance of per-sample readings, and what they say about the error of the mean.

use crate::interval::Skewness;
use crate::{Population, StandardError};

/// What was read off one sample: an unbiased estimate of ‖J‖²_F, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// The estimate: the mean over `units` independent probe units.
    pub(crate) value: f64,
    /// An unbiased estimate of the variance of one unit, where one can be had; 0 if the reading is exact.
    pub(crate) unit_variance: Option<f64>,
    /// Independent probe units.
    pub(crate) units: usize,
}

impl Reading {
    pub(crate) fn exact(value: f64) -> Self {
        Self { value, unit_variance: Some(0.0), units: 1 }
    }

    /// The mean of independent units, with their variance if there are two.
    pub(crate) fn of_units(units: &[f64]) -> Self {
        let count = units.len() as f64;
        let mean = units.iter().sum::<f64>() / count;
        let squares: f64 = units.iter().map(|unit| (unit - mean).powi(2)).sum();
        let unit_variance = (units.len() > 1).then(|| squares / (count - 1.0));
        Self { value: mean, unit_variance, units: units.len() }
    }
}

/// Running central moments of readings (Welford; Pébay, 2008), and sums of their variances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    count: usize,
    mean: f64,
    squares: f64,
    cubes: f64,
    /// Readings whose unit variance is known, and the sums over them.
    known: usize,
    unit_variances: f64,
    reading_variances: f64,
    freedom: f64,
    /// Σ 1/units over all readings.
    inverse_units: f64,
}

/// A variance and its degrees of freedom.
#[derive(Clone, Copy)]
struct Component {
    variance: f64,
    freedom: f64,
}

impl Moments {
    pub(crate) fn push(&mut self, reading: Reading) {
        self.count += 1;
        let n = self.count as f64;
        let step = reading.value - self.mean;
        let square = step * step * (n - 1.0) / n;
        self.mean += step / n;
        self.cubes += square * step * (n - 2.0) / n - 3.0 * self.squares * step / n;
        self.squares += square;
        let units = reading.units as f64;
        self.inverse_units += 1.0 / units;
        if let Some(variance) = reading.unit_variance {
            self.known += 1;
            self.unit_variances += variance;
            self.reading_variances += variance / units;
            self.freedom += (units - 1.0).max(1.0);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// s², the variance of the readings with divisor n − 1: between samples and by probes together.
    pub(crate) fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The mean over samples of the variance of one probe unit, where it can be told.
    pub(crate) fn unit_variance(&self) -> Option<f64> {
        (self.known > 0).then(|| self.unit_variances / self.known as f64)
    }

    /// The mean over samples of the probe variance of a reading, ω̄. If only some samples have replicated probes, theirs
    /// stands for all, each divided by its own number of units.
    pub(crate) fn reading_variance(&self) -> Option<f64> {
        if self.known == self.count {
            (self.count > 0).then(|| self.reading_variances / self.count as f64)
        } else {
            Some(self.unit_variance()? * self.inverse_units / self.count as f64)
        }
    }

    /// What removes the skewness of the mean as a statement about `population`; nothing where it cannot be told.
    ///
    /// Readings with probe error are treated as if a share f(s² − ω̄)/s² had been drawn without replacement, which gives
    /// their mean its variance: f without probe error, 0 if samples do not differ.
    pub(crate) fn skewness_of_mean(&self, population: Population) -> Skewness {
        let n = self.count as f64;
        let Some(variance) = self.variance().filter(|variance| *variance > 0.0 && self.count >= 10) else {
            return Skewness::default();
        };
        let biased = self.cubes / n / (self.squares / n).powf(1.5);
        let gamma = biased * (n * (n - 1.0)).sqrt() / (n - 2.0);
        match (population, self.reading_variance()) {
            (Population::Distribution, _) => Skewness::of_mean(gamma, self.count, 0.0),
            (Population::DataSet { size }, Some(omega)) if self.count < size => {
                let between = (1.0 - omega / variance).clamp(0.0, 1.0);
                Skewness::of_mean(gamma, self.count, between * n / size as f64)
            }
            (Population::DataSet { .. }, _) => Skewness::default(),
        }
    }

    /// The standard error of the mean as a statement about `population`, and its degrees of freedom.
    ///
    /// Readings are ĝ = g + probe error, so E s² = S² + ω̄ with S² the variance of g between samples.
    /// - Distribution: samples and probes are drawn afresh, Var = (S² + ω̄)/n, and s²/n estimates it whatever the probes.
    /// - Data set of N: Var = (1 − n/N) S²/n + ω̄/n, estimated by (1 − n/N) s²/n + ω̄/N (two-stage sampling, Cochran 1977,
    ///   §11.4). If ω̄ cannot be told, s²/n is an upper bound.
    pub(crate) fn standard_error(&self, population: Population) -> (StandardError, Option<f64>) {
        let n = self.count as f64;
        let spread = self.variance().map(|variance| Component { variance: variance / n, freedom: n - 1.0 });
        let omega = self.reading_variance();
        let probe = omega.map(|omega| omega / n);
        let (total, conservative) = match (population, omega) {
            (Population::Distribution, _) => (spread, false),
            (Population::DataSet { .. }, None) => (spread, true),
            (Population::DataSet { size }, Some(omega)) => {
                let unseen = 1.0 - n / size as f64;
                let probes = Component { variance: omega / size as f64, freedom: self.freedom };
                (two_stage(unseen, spread, probes), false)
            }
        };
        let data = total.zip(probe).map(|(total, probe)| (total.variance - probe).max(0.0).sqrt());
        let error = StandardError {
            data: data.filter(|_| !conservative),
            probe: probe.map(f64::sqrt),
            total: total.map(|total| total.variance.sqrt()),
            conservative,
        };
        (error, total.map(|total| total.freedom))
    }
}

/// (1 − n/N) s²/n + ω̄/N, with the degrees of freedom of Welch and Satterthwaite.
fn two_stage(unseen: f64, spread: Option<Component>, probes: Component) -> Option<Component> {
    if unseen <= 0.0 {
        return Some(probes);
    }
    let spread = spread?;
    let between = unseen * spread.variance;
    let variance = between + probes.variance;
    let weights = between.powi(2) / spread.freedom + probes.variance.powi(2) / probes.freedom;
    let freedom = if weights > 0.0 { variance.powi(2) / weights } else { spread.freedom };
    Some(Component { variance, freedom })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(readings: &[Reading]) -> Moments {
        let mut moments = Moments::default();
        readings.iter().for_each(|reading| moments.push(*reading));
        moments
    }

    /// Readings 1, 2, 3, 6 (mean 3, s² = 14/3), each the mean of two units with unit variance 2, so ω̄ = 1.
    fn worked() -> Moments {
        moments(&[1.0, 2.0, 3.0, 6.0].map(|value| Reading { value, unit_variance: Some(2.0), units: 2 }))
    }

    #[test]
    fn the_third_moment_is_that_of_the_readings() {
        let values: Vec<f64> = (0..12).map(|i| f64::from(i * i % 13) + 0.1 * f64::from(i)).collect();
        let running = moments(&values.iter().map(|&value| Reading::exact(value)).collect::<Vec<_>>());
        let mean = values.iter().sum::<f64>() / 12.0;
        let cubes: f64 = values.iter().map(|value| (value - mean).powi(3)).sum();
        assert!((running.cubes - cubes).abs() < 1e-11 * cubes.abs());
        assert!(running.skewness_of_mean(Population::Distribution).square != 0.0);
        assert_eq!(running.skewness_of_mean(Population::DataSet { size: 12 }), Skewness::default());
    }

    #[test]
    fn by_hand_for_the_distribution() {
        let (error, freedom) = worked().standard_error(Population::Distribution);
        let s2 = 14.0 / 3.0;
        assert!((error.total.unwrap().powi(2) - s2 / 4.0).abs() < 1e-15);
        assert!((error.probe.unwrap().powi(2) - 0.25).abs() < 1e-15);
        assert!((error.data.unwrap().powi(2) - (s2 / 4.0 - 0.25)).abs() < 1e-15);
        assert_eq!(freedom, Some(3.0));
        assert!(!error.conservative);
    }

    #[test]
    fn by_hand_for_a_data_set() {
        // N = 10: (1 − 0.4)·(14/3)/4 + 1/10 = 0.7 + 0.1.
        let (error, _) = worked().standard_error(Population::DataSet { size: 10 });
        assert!((error.total.unwrap().powi(2) - 0.8).abs() < 1e-15);
        // All ten measured leaves ω̄/N alone.
        let (error, _) = worked().standard_error(Population::DataSet { size: 4 });
        assert!((error.total.unwrap().powi(2) - 0.25).abs() < 1e-15);
        assert_eq!(error.data, Some(0.0));
    }

    #[test]
    fn one_probe_a_sample_tells_the_total_only() {
        let single = moments(&[1.0, 2.0, 3.0, 6.0].map(|value| Reading { value, unit_variance: None, units: 1 }));
        let (error, _) = single.standard_error(Population::Distribution);
        assert_eq!((error.data, error.probe, error.conservative), (None, None, false));
        assert!((error.total.unwrap().powi(2) - 14.0 / 12.0).abs() < 1e-15);
        let (error, _) = single.standard_error(Population::DataSet { size: 4 });
        assert!(error.conservative);
        assert!((error.total.unwrap().powi(2) - 14.0 / 12.0).abs() < 1e-15);
    }

    #[test]
    fn replicates_of_some_samples_tell_the_probe_part_of_all() {
        // One sample with two units of variance 4, three with one unit: ω̄ = 4·(1/2 + 1 + 1 + 1)/4 = 3.5.
        let mut readings = vec![Reading { value: 1.0, unit_variance: Some(4.0), units: 2 }];
        readings.extend([2.0, 3.0, 6.0].map(|value| Reading { value, unit_variance: None, units: 1 }));
        assert!((moments(&readings).reading_variance().unwrap() - 3.5).abs() < 1e-15);
    }

    #[test]
    fn a_single_sample_has_an_error_only_where_it_is_the_data_set() {
        let single = moments(&[Reading::exact(5.0)]);
        assert_eq!(single.standard_error(Population::Distribution).0.total, None);
        assert_eq!(single.standard_error(Population::DataSet { size: 1 }).0.total, Some(0.0));
    }

    #[test]
    fn units_give_mean_and_unbiased_variance() {
        let reading = Reading::of_units(&[1.0, 2.0, 6.0]);
        assert_eq!((reading.value, reading.unit_variance, reading.units), (3.0, Some(7.0), 3));
        assert_eq!(Reading::of_units(&[4.0]).unit_variance, None);
    }
}
