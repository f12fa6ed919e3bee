//! Concentration inequalities for geometric complexity on a sample.

use serde::{Deserialize, Serialize};

use crate::bounds::Lipschitz;
use crate::{Error, Result};

/// The inequality that gives a radius.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Inequality {
    /// From the range of ‖J‖²_F.
    Hoeffding,
    /// From the range and the sample variance of ‖J‖²_F.
    EmpiricalBernstein,
}

/// A confidence radius: with probability 1 − δ over the sample, |GC(f, Q) − GC(f, D)| ≤ `radius`.
///
/// **Conventions** the samples are drawn independently from Q and measured exactly, and the map does not depend on them.
/// With a sampled Lipschitz constant the radius is an estimate, not a bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Concentration {
    /// The radius.
    pub radius: f64,
    /// The failure probability δ.
    pub delta: f64,
    /// The number n of samples.
    pub samples: usize,
    /// The Lipschitz constant used.
    pub lipschitz: Lipschitz,
    /// The inequality used.
    pub inequality: Inequality,
}

/// Hoeffding's radius L² √(ln(2/δ)/(2n)).
///
/// **Definition** Hoeffding's inequality for n independent values ‖J‖²_F in [0, L²], two-sided
/// ([proof](https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#the-gc-of-a-sample-and-the-gc-of-the-distribution)).
///
/// **Errors** [`Error::Setting`] unless n ≥ 1, 0 < δ < 1 and L is finite.
///
/// **Source** Hoeffding, 1963, Theorem 2; for geometric complexity: Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706).
///
/// ```
/// use gc_core::bounds::{Lipschitz, hoeffding};
/// let certified = Lipschitz::certified(2.0)?;
/// let bound = hoeffding(50, certified, 0.05)?;
/// assert!((bound.radius - 4.0 * (40f64.ln() / 100.0).sqrt()).abs() < 1e-15);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn hoeffding(samples: usize, lipschitz: Lipschitz, delta: f64) -> Result<Concentration> {
    check(samples, 1, lipschitz, delta)?;
    let radius = lipschitz.value.powi(2) * ((2.0 / delta).ln() / (2.0 * samples as f64)).sqrt();
    Ok(Concentration { radius, delta, samples, lipschitz, inequality: Inequality::Hoeffding })
}

/// The empirical Bernstein radius √(2 s² ln(4/δ)/n) + 7 L² ln(4/δ)/(3(n − 1)), with s² the variance of the values (divisor
/// n − 1).
///
/// **Definition** the empirical Bernstein inequality for n independent values ‖J‖²_F in [0, L²], applied with δ/2 to
/// either side. It is sharper than [`hoeffding`] if the values vary by much less than L².
///
/// **Errors** [`Error::Setting`] unless n ≥ 2, 0 < δ < 1, L is finite, and no value exceeds L².
///
/// **Source** Maurer and Pontil, 2009 (arXiv 0907.3740), Theorem 4.
///
/// ```
/// use gc_core::bounds::{Lipschitz, empirical_bernstein};
/// let certified = Lipschitz::certified(2.0)?;
/// let bound = empirical_bernstein(&[1.0, 3.0], certified, 0.2)?;
/// let logarithm = 20f64.ln(); // s² = 2, n = 2
/// assert!((bound.radius - ((2.0 * logarithm).sqrt() + 28.0 * logarithm / 3.0)).abs() < 1e-14);
/// # Ok::<(), gc_core::Error>(())
/// ```
pub fn empirical_bernstein(squared_norms: &[f64], lipschitz: Lipschitz, delta: f64) -> Result<Concentration> {
    let samples = squared_norms.len();
    check(samples, 2, lipschitz, delta)?;
    let range = lipschitz.value.powi(2);
    // A sampled L is the root of the largest value, so its square can be smaller than that value by rounding.
    if let Some(above) = squared_norms.iter().find(|value| !(0.0..=range * (1.0 + 1e-6)).contains(*value)) {
        return Err(Error::setting("empirical_bernstein", format!("squared norms from 0 to L² = {range}"), above));
    }
    let n = samples as f64;
    let mean = squared_norms.iter().sum::<f64>() / n;
    let variance = squared_norms.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let logarithm = (4.0 / delta).ln();
    let radius = (2.0 * variance * logarithm / n).sqrt() + 7.0 * range * logarithm / (3.0 * (n - 1.0));
    Ok(Concentration { radius, delta, samples, lipschitz, inequality: Inequality::EmpiricalBernstein })
}

fn check(samples: usize, fewest: usize, lipschitz: Lipschitz, delta: f64) -> Result<()> {
    if samples < fewest {
        return Err(Error::setting("concentration", format!("at least {fewest} samples"), samples));
    }
    if !(delta > 0.0 && delta < 1.0) {
        return Err(Error::setting("concentration", "a probability δ between 0 and 1, both excluded", delta));
    }
    if !(lipschitz.value >= 0.0 && lipschitz.value.is_finite()) {
        return Err(Error::setting("concentration", "a Lipschitz constant that is finite", lipschitz.value));
    }
    Ok(())
}
