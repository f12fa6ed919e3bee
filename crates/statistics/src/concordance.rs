//! Whether a measure orders runs as an outcome does, sweep by sweep: granulated coefficient and sign error.

use serde::{Deserialize, Serialize};

use crate::rank::sign;
use crate::{Block, Error, Result};

const GRANULATED: &str = "a granulated coefficient";
const SIGN_ERROR: &str = "a sign error";

/// The granulated Kendall coefficient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GranulatedCoefficient {
    /// Ψ, the mean over swept hyperparameters; −1 to 1.
    pub coefficient: f64,
    /// ψ of each hyperparameter: the mean of τ over its sweeps.
    pub per_axis: Vec<f64>,
}

/// The granulated Kendall coefficient of a measure and an outcome.
///
/// `axes[hyperparameter][sweep]`: a sweep holds the runs that differ in this hyperparameter only (same seed, same other
/// settings), `x` the measure and `y` the outcome of each.
///
/// **Definition** within a sweep of m runs, τ = Σ_{i≠j} sign(x_i − x_j) sign(y_i − y_j)/(m(m − 1)); ψ is the mean of τ over
/// the sweeps of one hyperparameter, Ψ the mean of ψ over hyperparameters. A measure that follows the outcome only because
/// one hyperparameter moves both has a high τ over all runs, and a low Ψ.
///
/// **Conventions** ties count 0 in the numerator and stay in the denominator (τ_a), as in the source.
///
/// **Errors** [`Error::TooFewValues`] for no hyperparameter, one without sweeps, or a sweep of fewer than two runs;
/// [`Error::UnequalLengths`], [`Error::NonFiniteValue`].
///
/// **Source** Jiang, Neyshabur, Mobahi, Krishnan and Bengio, Fantastic generalization measures and where to find them,
/// ICLR 2020, equations 2, 4 and 5.
///
/// ```
/// use statistics::{Block, granulated_coefficient};
/// // Learning rate: τ = 1 and 1/3 in two seeds; weight decay: τ = −1 in one.
/// let x = [1.0, 2.0, 3.0];
/// let rate = [Block { x: &x, y: &[1.0, 2.0, 3.0] }, Block { x: &x, y: &[1.0, 3.0, 2.0] }];
/// let decay = [Block { x: &x, y: &[3.0, 2.0, 1.0] }];
/// let found = granulated_coefficient(&[&rate, &decay])?;
/// assert!((found.per_axis[0] - 2.0 / 3.0).abs() < 1e-15 && found.per_axis[1] == -1.0);
/// assert!((found.coefficient + 1.0 / 6.0).abs() < 1e-15);
/// # statistics::Result::Ok(())
/// ```
pub fn granulated_coefficient(axes: &[&[Block<'_>]]) -> Result<GranulatedCoefficient> {
    if axes.is_empty() || axes.iter().any(|sweeps| sweeps.is_empty()) {
        return Err(Error::TooFewValues { statistic: GRANULATED, needed: 1, got: 0 });
    }
    let mut per_axis = Vec::with_capacity(axes.len());
    for sweeps in axes {
        sweeps.iter().try_for_each(|sweep| sweep.check(GRANULATED, 2))?;
        per_axis.push(sweeps.iter().map(tau_a).sum::<f64>() / sweeps.len() as f64);
    }
    let coefficient = per_axis.iter().sum::<f64>() / per_axis.len() as f64;
    Ok(GranulatedCoefficient { coefficient, per_axis })
}

/// Kendall's τ without a correction for ties.
fn tau_a(block: &Block<'_>) -> f64 {
    let (mut agreement, mut pairs) = (0i64, 0i64);
    for_each_pair(block, |x, y| {
        agreement += sign(x) * sign(y);
        pairs += 1;
    });
    agreement as f64 / pairs as f64
}

/// Calls `visit` with the differences of x and of y for each unordered pair of runs.
fn for_each_pair(block: &Block<'_>, mut visit: impl FnMut(f64, f64)) {
    for i in 0..block.len() {
        for j in 0..i {
            visit(block.x[i] - block.x[j], block.y[i] - block.y[j]);
        }
    }
}

/// The share of pairs of runs that a measure orders wrongly, environment by environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignError {
    /// The largest sign error over environments: the robust sign error, 0 (best) to 1; ½ is a coin.
    pub worst: f64,
    /// The position of the environment with the largest sign error.
    pub worst_environment: usize,
    /// The mean over environments.
    pub mean: f64,
    /// The sign error of each environment; none where no pair differs enough in its outcome.
    pub per_environment: Vec<Option<f64>>,
    /// The number of pairs that count in each environment.
    pub pairs: Vec<usize>,
}

/// The worst-case sign error of a measure over environments.
///
/// Each block is an environment: runs that differ in one way only (one hyperparameter, one seed), `x` the measure and `y`
/// the outcome.
///
/// **Definition** the sign error of an environment is the mean over its pairs of runs of
/// ½(1 − sign(x_i − x_j) sign(y_i − y_j)); the robust sign error is the largest over environments. Pairs whose outcomes
/// differ by at most `noise` are left out, as their order is chance.
///
/// **Conventions** the measure should rise with the outcome; negate it otherwise. A pair with equal measures counts ½.
/// (The source weights pairs by their probability of being ordered rightly despite noise; here the weight is 0 or 1.)
///
/// **Errors** [`Error::TooFewValues`] for no environment, an environment of fewer than two runs, and where no pair of any
/// environment counts; [`Error::InvalidSetting`] for a negative `noise`; [`Error::UnequalLengths`],
/// [`Error::NonFiniteValue`].
///
/// **Source** Dziugaite, Drouin, Neal, Rajkumar, Caballero, Wang, Mitliagkas and Roy, In search of robust measures of
/// generalization, NeurIPS 2020, section 3.
///
/// ```
/// use statistics::{Block, worst_sign_error};
/// let x = [1.0, 2.0, 3.0];
/// // The first orders all pairs rightly, the second one of three wrongly.
/// let environments = [Block { x: &x, y: &[1.0, 2.0, 3.0] }, Block { x: &x, y: &[1.0, 3.0, 2.0] }];
/// let found = worst_sign_error(&environments, 0.0)?;
/// assert_eq!((found.worst_environment, found.pairs.as_slice()), (1, &[3, 3][..]));
/// assert!((found.worst - 1.0 / 3.0).abs() < 1e-15 && (found.mean - 1.0 / 6.0).abs() < 1e-15);
/// # statistics::Result::Ok(())
/// ```
pub fn worst_sign_error(environments: &[Block<'_>], noise: f64) -> Result<SignError> {
    if noise.is_nan() || noise < 0.0 {
        return Err(Error::InvalidSetting { setting: "the noise of an outcome", value: noise, expected: "at least 0" });
    }
    environments.iter().try_for_each(|environment| environment.check(SIGN_ERROR, 2))?;
    let (mut per_environment, mut pairs) = (Vec::new(), Vec::new());
    for environment in environments {
        let (mut wrong, mut counted) = (0.0, 0usize);
        for_each_pair(environment, |x, y| {
            if y.abs() > noise {
                wrong += 0.5 * (1 - sign(x) * sign(y)) as f64;
                counted += 1;
            }
        });
        per_environment.push((counted > 0).then(|| wrong / counted as f64));
        pairs.push(counted);
    }
    let errors: Vec<(usize, f64)> =
        per_environment.iter().enumerate().filter_map(|(index, error)| Some((index, (*error)?))).collect();
    // The first of equal ones.
    let worst = errors.iter().copied().reduce(|worst, next| if next.1 > worst.1 { next } else { worst });
    let Some((worst_environment, worst)) = worst else {
        return Err(Error::TooFewValues { statistic: SIGN_ERROR, needed: 1, got: 0 });
    };
    let mean = errors.iter().map(|(_, error)| error).sum::<f64>() / errors.len() as f64;
    Ok(SignError { worst, worst_environment, mean, per_environment, pairs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_zero_in_the_coefficient_and_a_half_in_the_error() {
        // Pairs: (0,1) tied in x, (0,2) and (1,2) agree. τ_a = 2/3; sign error (½ + 0 + 0)/3.
        let block = Block { x: &[1.0, 1.0, 2.0], y: &[1.0, 2.0, 3.0] };
        assert!((granulated_coefficient(&[&[block]]).unwrap().coefficient - 2.0 / 3.0).abs() < 1e-15);
        assert!((worst_sign_error(&[block], 0.0).unwrap().worst - 0.5 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn without_ties_the_coefficient_is_scipys_kendall_and_the_error_its_complement() {
        // scipy.stats.kendalltau([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).statistic = 0.6, SciPy 1.17.
        let block = Block { x: &[1.0, 2.0, 3.0, 4.0, 5.0], y: &[2.0, 1.0, 4.0, 3.0, 5.0] };
        assert!((granulated_coefficient(&[&[block]]).unwrap().coefficient - 0.6).abs() < 1e-15);
        assert!((worst_sign_error(&[block], 0.0).unwrap().worst - 0.5 * (1.0 - 0.6)).abs() < 1e-15);
    }

    #[test]
    fn one_hyperparameter_that_moves_both_does_not_make_a_high_coefficient() {
        // Between the two settings of the first axis both values jump; along the other axis the measure is reversed.
        let low = Block { x: &[1.0, 2.0, 3.0], y: &[3.0, 2.0, 1.0] };
        let high = Block { x: &[11.0, 12.0, 13.0], y: &[13.0, 12.0, 11.0] };
        let between = [Block { x: &[1.0, 11.0], y: &[3.0, 13.0] }];
        let found = granulated_coefficient(&[&between, &[low, high]]).unwrap();
        assert_eq!((found.coefficient, found.per_axis), (0.0, vec![1.0, -1.0]));
        let found = worst_sign_error(&[between[0], low, high], 0.0).unwrap();
        assert_eq!((found.worst, found.worst_environment), (1.0, 1));
    }

    #[test]
    fn pairs_within_the_noise_are_left_out() {
        let close = Block { x: &[2.0, 1.0, 3.0], y: &[1.0, 1.01, 2.0] };
        let found = worst_sign_error(&[close], 0.05).unwrap();
        assert_eq!((found.worst, found.pairs.as_slice()), (0.0, &[2][..]));
        let flat = Block { x: &[1.0, 2.0], y: &[5.0, 5.0] };
        let found = worst_sign_error(&[flat, close], 0.05).unwrap();
        assert_eq!((found.per_environment[0], found.worst_environment), (None, 1));
        assert!(matches!(worst_sign_error(&[flat], 0.0), Err(Error::TooFewValues { .. })));
    }

    #[test]
    fn missing_sweeps_and_short_ones_are_refused() {
        let short = Block { x: &[1.0], y: &[1.0] };
        assert!(matches!(granulated_coefficient(&[]), Err(Error::TooFewValues { .. })));
        assert!(matches!(granulated_coefficient(&[&[]]), Err(Error::TooFewValues { .. })));
        assert!(matches!(granulated_coefficient(&[&[short]]), Err(Error::TooFewValues { needed: 2, .. })));
        assert!(matches!(worst_sign_error(&[short], 0.0), Err(Error::TooFewValues { needed: 2, .. })));
        assert!(matches!(worst_sign_error(&[], 0.0), Err(Error::TooFewValues { .. })));
        assert!(matches!(worst_sign_error(&[], -1.0), Err(Error::InvalidSetting { .. })));
    }
}
