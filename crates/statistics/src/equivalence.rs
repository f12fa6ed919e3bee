//! Tests that an effect is negligible.

use serde::{Deserialize, Serialize};

use crate::{Error, Result, student_t_survival};

/// The result of an equivalence test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// p-value of the hypothesis that the effect is at or below the lower margin.
    pub p_above_low: f64,
    /// p-value of the hypothesis that the effect is at or above the upper margin.
    pub p_below_high: f64,
    /// The larger of the two: the p-value of the equivalence test.
    pub p_value: f64,
}

/// Tests that an effect lies within a margin, by two one-sided t-tests (TOST).
///
/// **Definition** with t_low = (estimate − low)/error and t_high = (high − estimate)/error, the p-values are P(T > t_low) and
/// P(T > t_high) for Student's t with `degrees_of_freedom`. Their maximum is at most α exactly where the t-interval of level
/// 1 − 2α lies within the margin ([`Interval::lies_within`](crate::Interval::lies_within)).
///
/// **Conventions** take a factor and its margins by their logarithms. A standard error of 0 gives p-values 0 or 1.
///
/// **Errors** [`Error::NonFiniteValue`] for an estimate or error that is not finite, [`Error::InvalidSetting`] for a negative
/// error, for margins that are not ascending, and for degrees of freedom that are not positive.
///
/// **Source** Schuirmann, A comparison of the two one-sided tests procedure and the power approach, Journal of
/// Pharmacokinetics and Biopharmaceutics 1987.
///
/// ```
/// use statistics::{equivalence_test, student_interval};
/// let found = equivalence_test(0.01, 0.01, 4.0, (-0.05, 0.05))?;
/// assert!(found.p_value < 0.05 && student_interval(0.01, 0.01, 4.0, 0.9).lies_within(-0.05, 0.05));
/// assert!(equivalence_test(0.04, 0.01, 4.0, (-0.05, 0.05))?.p_value > 0.05);
/// # statistics::Result::Ok(())
/// ```
pub fn equivalence_test(
    estimate: f64,
    standard_error: f64,
    degrees_of_freedom: f64,
    (low, high): (f64, f64),
) -> Result<Equivalence> {
    for (index, value) in [estimate, standard_error].into_iter().enumerate() {
        if !value.is_finite() {
            return Err(Error::NonFiniteValue { statistic: "an equivalence test", index, value });
        }
    }
    let invalid = |setting, value, expected| Err(Error::InvalidSetting { setting, value, expected });
    if standard_error < 0.0 {
        return invalid("the standard error", standard_error, "at least 0");
    }
    if low.is_nan() || high.is_nan() || low >= high {
        return invalid("the lower margin", low, "below the upper margin");
    }
    if degrees_of_freedom.is_nan() || degrees_of_freedom <= 0.0 {
        return invalid("the degrees of freedom", degrees_of_freedom, "above 0");
    }
    let one_sided = |distance: f64| match standard_error {
        0.0 if distance > 0.0 => 0.0,
        0.0 => 1.0,
        error => student_t_survival(distance / error, degrees_of_freedom),
    };
    let (p_above_low, p_below_high) = (one_sided(estimate - low), one_sided(high - estimate));
    Ok(Equivalence { p_above_low, p_below_high, p_value: p_above_low.max(p_below_high) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunningMean, student_interval};

    #[test]
    fn both_sides_are_scipys_one_sided_t_tests() {
        // SciPy 1.17: scipy.stats.ttest_1samp(v, -0.05, alternative="greater") and (v, 0.05, alternative="less").
        let values: RunningMean = [0.010, -0.021, 0.034, 0.005, -0.012].into_iter().collect();
        let (mean, error) = (values.mean(), values.standard_error().unwrap());
        let found = equivalence_test(mean, error, 4.0, (-0.05, 0.05)).unwrap();
        assert!((found.p_above_low / 0.002520655517327495 - 1.0).abs() < 1e-10, "{found:?}");
        assert!((found.p_below_high / 0.003984648200003222 - 1.0).abs() < 1e-10, "{found:?}");
        assert_eq!(found.p_value, found.p_above_low.max(found.p_below_high));
    }

    #[test]
    fn the_test_is_the_interval_within_the_margin() {
        for step in -60..60 {
            let estimate = f64::from(step) * 0.001;
            let found = equivalence_test(estimate, 0.012, 6.0, (-0.05, 0.05)).unwrap();
            let within = student_interval(estimate, 0.012, 6.0, 0.9).lies_within(-0.05, 0.05);
            assert_eq!(found.p_value <= 0.05, within, "{estimate}");
        }
    }

    #[test]
    fn exact_estimates_and_invalid_arguments() {
        assert_eq!(equivalence_test(0.0, 0.0, 4.0, (-1.0, 1.0)).unwrap().p_value, 0.0);
        assert_eq!(equivalence_test(1.0, 0.0, 4.0, (-1.0, 1.0)).unwrap().p_value, 1.0);
        let margin = (-1.0, 1.0);
        assert!(matches!(equivalence_test(f64::NAN, 1.0, 4.0, margin), Err(Error::NonFiniteValue { index: 0, .. })));
        for wrong in [
            equivalence_test(0.0, -1.0, 4.0, margin),
            equivalence_test(0.0, 1.0, 0.0, margin),
            equivalence_test(0.0, 1.0, 4.0, (1.0, 1.0)),
        ] {
            assert!(matches!(wrong, Err(Error::InvalidSetting { .. })));
        }
    }
}
