//! Confidence intervals of a proportion.

use crate::error::check_level;
use crate::{Error, Interval, Result, normal_quantile};

/// Wilson's interval of a proportion.
///
/// **Definition** the p for which |p̂ − p| ≤ z √(p(1 − p)/n), with p̂ = successes/n and z the normal quantile
/// (1 + `level`)/2: centre (p̂ + z²/2n)/(1 + z²/n), half width z √(p̂(1 − p̂)/n + z²/4n²)/(1 + z²/n). It stays within 0
/// to 1. Its coverage is `level` on average over p.
///
/// **Errors** [`Error::InvalidSetting`] for no trials, more successes than trials, or a level outside (0, 1).
///
/// **Source** Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927; Brown, Cai and
/// DasGupta, Interval estimation for a binomial proportion, Statistical Science 2001.
///
/// ```
/// // scipy.stats.binomtest(8, 10).proportion_ci(0.95, method="wilson"), SciPy 1.17.
/// let interval = statistics::wilson_interval(8, 10, 0.95)?;
/// assert!((interval.low - 0.49016247153664183).abs() < 1e-12);
/// assert!((interval.high - 0.9433178485456247).abs() < 1e-12);
/// # statistics::Result::Ok(())
/// ```
pub fn wilson_interval(successes: u64, trials: u64, level: f64) -> Result<Interval> {
    check(successes, trials, level)?;
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let z = normal_quantile(0.5 + 0.5 * level);
    let weight = 1.0 + z * z / n;
    let centre = (share + 0.5 * z * z / n) / weight;
    let half = z / weight * (share * (1.0 - share) / n + 0.25 * z * z / (n * n)).sqrt();
    Ok(Interval::new((centre - half).max(0.0), (centre + half).min(1.0), level))
}

/// Clopper and Pearson's exact interval of a proportion.
///
/// **Definition** the lower end is the p with P(X ≥ successes) = (1 − `level`)/2 for X binomial (n, p), 0 for no success; the
/// upper end is the p with P(X ≤ successes) = (1 − `level`)/2, 1 for successes only. Its coverage is at least `level` for
/// every p.
///
/// **Errors** as for [`wilson_interval`].
///
/// **Source** Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
/// Biometrika 1934.
///
/// ```
/// // scipy.stats.binomtest(8, 10).proportion_ci(0.95, method="exact"), SciPy 1.17.
/// let interval = statistics::clopper_pearson_interval(8, 10, 0.95)?;
/// assert!((interval.low - 0.4439045376923585).abs() < 1e-12);
/// assert!((interval.high - 0.9747892736731666).abs() < 1e-12);
/// # statistics::Result::Ok(())
/// ```
pub fn clopper_pearson_interval(successes: u64, trials: u64, level: f64) -> Result<Interval> {
    check(successes, trials, level)?;
    let tail = 0.5 * (1.0 - level);
    let low = lower_end(successes, trials, tail);
    // By symmetry the upper end is 1 minus the lower end for the number of failures.
    let high = 1.0 - lower_end(trials - successes, trials, tail);
    Ok(Interval::new(low, high, level))
}

/// Standard error of a proportion, which is never 0.
///
/// **Definition** √(p̂(1 − p̂)/n) with p̂ = successes/n. For no success and for successes only, where this is 0, it is the
/// standard deviation √((n + 1)/((n + 2)²(n + 3))) ≈ 1/n of p given the data under a uniform prior, a Beta(1, n + 1).
///
/// **Errors** [`Error::InvalidSetting`] for no trials, or more successes than trials.
///
/// ```
/// assert_eq!(statistics::proportion_standard_error(8, 16)?, 0.125);
/// // No failure in ten trials.
/// let error = statistics::proportion_standard_error(10, 10)?;
/// assert!((error - (11.0f64 / 1872.0).sqrt()).abs() < 1e-15);
/// # statistics::Result::Ok(())
/// ```
pub fn proportion_standard_error(successes: u64, trials: u64) -> Result<f64> {
    check(successes, trials, 0.5)?;
    let n = trials as f64;
    if successes == 0 || successes == trials {
        return Ok(((n + 1.0) / ((n + 2.0).powi(2) * (n + 3.0))).sqrt());
    }
    let share = successes as f64 / n;
    Ok((share * (1.0 - share) / n).sqrt())
}

fn check(successes: u64, trials: u64, level: f64) -> Result<()> {
    check_level(level)?;
    let invalid = |setting, value: u64, expected| Err(Error::InvalidSetting { setting, value: value as f64, expected });
    match trials {
        0 => invalid("the number of trials", trials, "at least 1"),
        _ if successes > trials => invalid("the number of successes", successes, "at most the number of trials"),
        _ => Ok(()),
    }
}

/// The p with P(X ≥ `successes`) = `tail` by bisection, to the last bit; 0 for no success.
fn lower_end(successes: u64, trials: u64, tail: f64) -> f64 {
    if successes == 0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if upper_tail(successes, trials, middle) < tail { low = middle } else { high = middle }
    }
}

/// P(X ≥ k) for X binomial (n, p), 0 < p < 1 and k ≥ 1: the terms from the side of k that is further from the mean.
fn upper_tail(k: u64, n: u64, p: f64) -> f64 {
    let (count, odds) = (n as f64, p / (1.0 - p));
    if k as f64 > count * p {
        // From k upwards the terms fall.
        let (mut term, mut sum) = (probability(k, n, p), 0.0);
        for i in k..=n {
            sum += term;
            term *= (n - i) as f64 / (i + 1) as f64 * odds;
            if term < sum * f64::EPSILON * 0.25 {
                break;
            }
        }
        return sum;
    }
    // From k − 1 downwards the terms fall; their sum is the complement.
    let (mut term, mut sum) = (probability(k - 1, n, p), 0.0);
    for i in (0..k).rev() {
        sum += term;
        term *= i as f64 / (n - i + 1) as f64 / odds;
        if term < sum * f64::EPSILON * 0.25 {
            break;
        }
    }
    1.0 - sum
}

/// P(X = k) for X binomial (n, p).
///
/// **Source** the saddle-point expansion of Loader, Fast and accurate computation of binomial probabilities, 2000, which
/// loses no digits for large n.
fn probability(k: u64, n: u64, p: f64) -> f64 {
    let count = n as f64;
    match k {
        0 => (count * (-p).ln_1p()).exp(),
        _ if k == n => (count * p.ln()).exp(),
        _ => {
            let (hits, misses) = (k as f64, (n - k) as f64);
            let exponent = stirling_error(n)
                - stirling_error(k)
                - stirling_error(n - k)
                - deviance(hits, count * p)
                - deviance(misses, count * (1.0 - p));
            exponent.exp() * (count / (std::f64::consts::TAU * hits * misses)).sqrt()
        }
    }
}

/// ln n! − ln(√(2πn) (n/e)ⁿ).
fn stirling_error(n: u64) -> f64 {
    let count = n as f64;
    if n <= 15 {
        let factorial: f64 = (1..=n).map(|factor| factor as f64).product();
        return factorial.ln() - (0.5 * (std::f64::consts::TAU * count).ln() + count * count.ln() - count);
    }
    let square = 1.0 / (count * count);
    const SERIES: [f64; 5] = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];
    SERIES.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient) / count
}

/// x ln(x/mean) + mean − x.
fn deviance(x: f64, mean: f64) -> f64 {
    let relative = (mean - x) / x;
    x * (relative - relative.ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        /// Successes, trials, level, then the ends by Wilson and by Clopper and Pearson.
        intervals: Vec<(u64, u64, f64, [f64; 4])>,
    }

    #[test]
    fn both_intervals_are_scipys() {
        let golden: Golden = serde_json::from_str(include_str!("../tests/golden/proportions.json")).unwrap();
        assert!(golden.intervals.len() > 20);
        for (successes, trials, level, expected) in golden.intervals {
            let wilson = wilson_interval(successes, trials, level).unwrap();
            let exact = clopper_pearson_interval(successes, trials, level).unwrap();
            for (found, expected) in [wilson.low, wilson.high, exact.low, exact.high].into_iter().zip(expected) {
                let close = (found - expected).abs() <= 1e-10 * expected.min(1.0 - expected).max(1e-4);
                assert!(close, "{successes} of {trials} at {level}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn the_exact_interval_covers_at_least_as_often_as_stated() {
        for p in [0.03, 0.2, 0.5, 0.77] {
            let covered: f64 = (0..=30)
                .filter(|&k| clopper_pearson_interval(k, 30, 0.9).unwrap().contains(p))
                .map(|k| probability(k, 30, p))
                .sum();
            assert!((0.9..=1.0).contains(&covered), "{p}: {covered}");
        }
    }

    #[test]
    fn impossible_counts_are_refused() {
        for (successes, trials, level) in [(0, 0, 0.95), (3, 2, 0.95), (1, 2, 0.0)] {
            let refused = |found| matches!(found, Err(Error::InvalidSetting { .. }));
            assert!(refused(wilson_interval(successes, trials, level)));
            assert!(refused(clopper_pearson_interval(successes, trials, level)));
        }
    }
}
