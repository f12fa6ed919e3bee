//! An effect over seeds: its mean, Student's t-interval and test.

use serde::{Deserialize, Serialize};

use crate::error::check_level;
use crate::{Interval, Result, RunningMean, check_values, student_t_survival};

/// A value of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedValue {
    /// The seed.
    pub seed: u64,
    /// The value.
    pub value: f64,
}

/// The size of an effect over seeds, on a scale on which 0 is no effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The mean over seeds.
    pub mean: f64,
    /// Student's t-interval over seeds; none for one seed.
    pub interval: Option<Interval>,
    /// Two-sided p-value of Student's t-test of a mean of 0; none for one seed.
    pub p_value: Option<f64>,
    /// The value of each seed.
    pub per_seed: Vec<SeedValue>,
}

impl Effect {
    /// The mean of values of independent seeds, with Student's t-interval and test.
    ///
    /// **Definition** x̄ ± t(1 − (1 − level)/2, S − 1) s/√S for S seeds; p = 2 P(T > |x̄| √S/s).
    ///
    /// **Conventions** seeds whose values are all equal have an interval without width, and a p-value of 0 (of 1 where they are
    /// all 0).
    ///
    /// **Errors** [`Error::TooFewValues`](crate::Error::TooFewValues) without a value,
    /// [`Error::NonFiniteValue`](crate::Error::NonFiniteValue),
    /// [`Error::InvalidSetting`](crate::Error::InvalidSetting) for a level outside (0, 1).
    ///
    /// ```
    /// use statistics::{Effect, SeedValue};
    /// let seeds = vec![SeedValue { seed: 0, value: 3.0 }, SeedValue { seed: 1, value: 5.0 }];
    /// let effect = Effect::over_seeds(seeds, 0.95)?;
    /// // s = √2, standard error 1, t(1 degree of freedom, 97.5 %) = 12.7062; p = 2 P(T > 4) = 1 − (2/π) arctan 4.
    /// assert!((effect.interval.unwrap().high - (4.0 + 12.706204736174694)).abs() < 1e-9);
    /// let p = 1.0 - std::f64::consts::FRAC_2_PI * 4f64.atan();
    /// assert!((effect.p_value.unwrap() - p).abs() < 1e-12);
    /// # statistics::Result::Ok(())
    /// ```
    pub fn over_seeds(per_seed: Vec<SeedValue>, level: f64) -> Result<Self> {
        check_level(level)?;
        let values: Vec<f64> = per_seed.iter().map(|seed| seed.value).collect();
        check_values("an effect over seeds", &values, 1)?;
        let running: RunningMean = values.iter().copied().collect();
        let mean = running.mean();
        let p_value = running.standard_error().map(|error| match (mean.abs(), error) {
            (0.0, _) => 1.0,
            (_, 0.0) => 0.0,
            (distance, error) => 2.0 * student_t_survival(distance / error, values.len() as f64 - 1.0),
        });
        Ok(Self { mean, interval: running.student_interval(level), p_value, per_seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn seeds(values: &[f64]) -> Vec<SeedValue> {
        values.iter().enumerate().map(|(seed, &value)| SeedValue { seed: seed as u64, value }).collect()
    }

    #[test]
    fn three_seeds_have_the_closed_form_of_two_degrees_of_freedom() {
        // With two degrees of freedom P(|T| > t) = 1 − t/√(2 + t²). Here mean 4, s² = 1, standard error 1/√3.
        let effect = Effect::over_seeds(seeds(&[3.0, 4.0, 5.0]), 0.95).unwrap();
        let t = 4.0 * 3f64.sqrt();
        assert!((effect.p_value.unwrap() / (1.0 - t / (2.0 + t * t).sqrt()) - 1.0).abs() < 1e-11);
        // t(2 degrees of freedom, 97.5 %) = 4.302652729911275.
        let half = 4.302652729911275 / 3f64.sqrt();
        let interval = effect.interval.unwrap();
        assert!((interval.low - (4.0 - half)).abs() < 1e-10 && (interval.high - (4.0 + half)).abs() < 1e-10);
    }

    #[test]
    fn one_seed_equal_seeds_and_invalid_values() {
        let one = Effect::over_seeds(seeds(&[2.0]), 0.95).unwrap();
        assert_eq!((one.mean, one.interval, one.p_value), (2.0, None, None));
        let equal = Effect::over_seeds(seeds(&[2.0, 2.0]), 0.95).unwrap();
        assert_eq!((equal.interval.unwrap().half_width(), equal.p_value), (0.0, Some(0.0)));
        assert_eq!(Effect::over_seeds(seeds(&[0.0, 0.0]), 0.95).unwrap().p_value, Some(1.0));
        assert!(matches!(Effect::over_seeds(Vec::new(), 0.95), Err(Error::TooFewValues { .. })));
        assert!(matches!(Effect::over_seeds(seeds(&[f64::NAN]), 0.95), Err(Error::NonFiniteValue { .. })));
        assert!(matches!(Effect::over_seeds(seeds(&[1.0]), 1.0), Err(Error::InvalidSetting { .. })));
    }
}
