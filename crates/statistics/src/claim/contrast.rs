//! The evidence and the size of a contrast: a metric at two levels of a sweep, with seeds as blocks.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{ClaimTest, DecisionRules, Effect, SeedValue};
use crate::{ChangeScale, Error, PermutationSettings, Result};

const CONTRAST: &str = "a contrast";
const STREAM: &str = "statistics/sign-flips";
/// Two means that differ by less than this share of the larger one are equal; sums of the same numbers in another order are.
const ROUNDING: f64 = 1e-12;

/// The metric of one seed at two levels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedPair {
    /// The seed.
    pub seed: u64,
    /// The metric at the level that is compared with.
    pub from: f64,
    /// The metric at the level that is compared.
    pub to: f64,
}

/// The evidence and the size of a contrast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The change from one level to the other over seeds; on the factor scale the logarithm of the factor.
    pub effect: Effect,
    /// The mean over seeds of the sign of the change, from −1 (lower in every seed) to 1.
    pub mean_sign: f64,
    /// Two-sided p-value of the sign-flip test.
    pub sign_flip_p_value: f64,
    /// The smallest p-value that this test can have with these seeds: 2/2^S, or one over the number of drawn flips.
    pub smallest_p_value: f64,
}

impl Contrast {
    /// The test of a claim about this contrast, in a family of `claims` claims that is decided by `rules`.
    ///
    /// **Conventions** the sign-flip test takes part where its smallest p-value times the number of claims is at most the level, so that
    /// it could decide this claim by itself. With fewer seeds it could not (under Benjamini and Hochberg, only if most claims of the
    /// family had the smallest p-value), and the claim rests on the t-test over seeds alone. Which of the two applies depends on the number of seeds and claims, not on the results.
    ///
    /// ```
    /// use statistics::{ChangeScale, Correction, DecisionRules, PermutationSettings, SeedPair, paired_contrast};
    /// let test = |seeds: u64| -> statistics::Result<_> {
    ///     let pairs: Vec<SeedPair> = (0..seeds).map(|seed| SeedPair { seed, from: 1.0, to: 2.0 + seed as f64 }).collect();
    ///     let found = paired_contrast(&pairs, ChangeScale::Factor, 0.95, &PermutationSettings::default())?;
    ///     Ok(found.claim_test(true, None, &DecisionRules { correction: Correction::Holm, level: 0.05 }, 2))
    /// };
    /// // Two claims: 2 · 2/2⁷ is below 0.05, 2 · 2/2⁶ is not.
    /// assert_eq!((test(6)?.permutation_p_value, test(7)?.permutation_p_value), (None, Some(2.0 / 128.0)));
    /// # statistics::Result::Ok(())
    /// ```
    pub fn claim_test(
        self,
        positive: bool,
        margin: Option<(f64, f64)>,
        rules: &DecisionRules,
        claims: usize,
    ) -> ClaimTest {
        let takes_part = claims.max(1) as f64 * self.smallest_p_value <= rules.level;
        ClaimTest {
            positive,
            coefficient: self.mean_sign,
            permutation_p_value: takes_part.then_some(self.sign_flip_p_value),
            smallest_p_value: if takes_part { self.smallest_p_value } else { 0.0 },
            effect: self.effect,
            margin,
        }
    }
}

/// The change of a metric between two levels, with seeds as blocks.
///
/// **Definition** within each seed s the change is d_s = ln to − ln from (to − from for [`ChangeScale::Difference`]); the size is
/// the mean of the d_s with Student's t-interval and test ([`Effect::over_seeds`]). Exchanging the two runs of a seed changes
/// the sign of d_s. Under the null hypothesis that the levels do not differ, all 2^S sign patterns are equally likely, and the
/// p-value of the sign-flip test is the share of them whose mean is at least as far from 0.
///
/// **Conventions** the sign-flip test is exact where 2^S is at most `settings.exact_up_to`, and drawn otherwise, with the observed
/// signs counted. Its smallest p-value is 2/2^S, so with few seeds it can decide nothing (3 seeds: 0.25, 5 seeds: 0.0625); the
/// caller then rests on the t-test alone ([`ClaimTest::permutation_p_value`](crate::ClaimTest)).
///
/// **Errors** [`Error::TooFewValues`] without a seed, [`Error::NotPositive`] for a metric of at most 0 on the factor scale,
/// [`Error::NonFiniteValue`], [`Error::InvalidSetting`].
///
/// **Source** Fisher, The Design of Experiments, 1935, section 21, for the test; Matthews, Altman, Campbell and Royston, BMJ 1990,
/// for one summary value of each block.
///
/// ```
/// use statistics::{ChangeScale, PermutationSettings, SeedPair, paired_contrast};
/// let pairs = [(0, 2.0, 1.0), (1, 3.0, 1.5), (2, 5.0, 2.5)].map(|(seed, from, to)| SeedPair { seed, from, to });
/// let found = paired_contrast(&pairs, ChangeScale::Factor, 0.95, &PermutationSettings::default())?;
/// // Halved in every seed; two of the eight sign patterns have a mean as far from 0.
/// assert!((found.effect.mean - 0.5f64.ln()).abs() < 1e-15);
/// assert_eq!((found.mean_sign, found.sign_flip_p_value, found.smallest_p_value), (-1.0, 0.25, 0.25));
/// # statistics::Result::Ok(())
/// ```
pub fn paired_contrast(
    pairs: &[SeedPair],
    scale: ChangeScale,
    level: f64,
    settings: &PermutationSettings,
) -> Result<Contrast> {
    settings.check()?;
    if pairs.is_empty() {
        return Err(Error::TooFewValues { statistic: CONTRAST, needed: 1, got: 0 });
    }
    let on_scale = |value: f64| -> Result<f64> { Ok(scale.transform(CONTRAST, &[value])?.into_iter().sum()) };
    let change = |pair: &SeedPair| Ok(SeedValue { seed: pair.seed, value: on_scale(pair.to)? - on_scale(pair.from)? });
    let per_seed = pairs.iter().map(change).collect::<Result<Vec<SeedValue>>>()?;
    let changes: Vec<f64> = per_seed.iter().map(|seed| seed.value).collect();
    let effect = Effect::over_seeds(per_seed, level)?;
    let signs = changes.iter().map(|change| if *change == 0.0 { 0.0 } else { change.signum() });
    let mean_sign = signs.sum::<f64>() / changes.len() as f64;
    let patterns = u32::try_from(changes.len()).ok().and_then(|seeds| 2usize.checked_pow(seeds));
    let exact = patterns.filter(|patterns| *patterns <= settings.exact_up_to);
    let (sign_flip_p_value, smallest_p_value) = match exact {
        Some(patterns) => (enumerated(&changes, patterns), (2.0 / patterns as f64).min(1.0)),
        None => (drawn(&changes, settings), 1.0 / (settings.draws + 1) as f64),
    };
    Ok(Contrast { effect, mean_sign, sign_flip_p_value, smallest_p_value })
}

/// Whether a sum is at least as far from 0 as the observed one.
fn as_far(sum: f64, observed: f64) -> bool {
    sum.abs() >= observed.abs() * (1.0 - ROUNDING)
}

fn enumerated(changes: &[f64], patterns: usize) -> f64 {
    let observed: f64 = changes.iter().sum();
    let flipped = |pattern: usize| -> f64 {
        let sign = |seed: usize| if pattern >> seed & 1 == 1 { -1.0 } else { 1.0 };
        changes.iter().enumerate().map(|(seed, change)| sign(seed) * change).sum()
    };
    (0..patterns).filter(|pattern| as_far(flipped(*pattern), observed)).count() as f64 / patterns as f64
}

fn drawn(changes: &[f64], settings: &PermutationSettings) -> f64 {
    let observed: f64 = changes.iter().sum();
    let flipped = |draw: u64| -> f64 {
        let mut stream = streams::stream(settings.seed, STREAM, draw);
        changes.iter().map(|change| if stream.random::<bool>() { -change } else { *change }).sum()
    };
    let as_extreme = (0..settings.draws as u64).filter(|draw| as_far(flipped(*draw), observed)).count();
    (as_extreme + 1) as f64 / (settings.draws + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(values: &[(f64, f64)]) -> Vec<SeedPair> {
        values.iter().enumerate().map(|(seed, &(from, to))| SeedPair { seed: seed as u64, from, to }).collect()
    }

    fn of(values: &[(f64, f64)], scale: ChangeScale) -> Result<Contrast> {
        paired_contrast(&pairs(values), scale, 0.95, &PermutationSettings::default())
    }

    #[test]
    fn sign_flips_are_counted_by_hand() {
        // Changes 3, 1, −1. Sums of the eight patterns: ±3 (twice), ±5 and ±1: six are at least 3 away from 0.
        let found = of(&[(0.0, 3.0), (1.0, 2.0), (2.0, 1.0)], ChangeScale::Difference).unwrap();
        assert_eq!((found.effect.mean, found.sign_flip_p_value), (1.0, 0.75));
        assert_eq!((found.mean_sign, found.smallest_p_value), (1.0 / 3.0, 0.25));
        // The t-test on the same changes: mean 1, s = 2, t = 1/(2/√3).
        let expected = 2.0 * crate::student_t_survival(3f64.sqrt() / 2.0, 2.0);
        assert!((found.effect.p_value.unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn drawn_flips_estimate_the_exact_share() {
        let values: Vec<(f64, f64)> =
            (0..8).map(|seed| (1.0, 1.3 + 0.1 * f64::from(seed % 5) - f64::from(seed % 3))).collect();
        let exact = of(&values, ChangeScale::Difference).unwrap();
        let settings = PermutationSettings { exact_up_to: 10, draws: 20_000, seed: 3 };
        let drawn = paired_contrast(&pairs(&values), ChangeScale::Difference, 0.95, &settings).unwrap();
        // Standard error √(0.25/20,000) = 0.0035 at most; four of these.
        assert!((drawn.sign_flip_p_value - exact.sign_flip_p_value).abs() < 0.014, "{drawn:?} {exact:?}");
        assert_eq!((drawn.smallest_p_value, exact.smallest_p_value), (1.0 / 20_001.0, 2.0 / 256.0));
        assert_eq!(drawn.effect, exact.effect);
    }

    #[test]
    fn one_seed_equal_levels_and_invalid_values() {
        let one = of(&[(2.0, 4.0)], ChangeScale::Factor).unwrap();
        assert_eq!((one.effect.p_value, one.sign_flip_p_value, one.smallest_p_value), (None, 1.0, 1.0));
        let equal = of(&[(2.0, 2.0), (3.0, 3.0)], ChangeScale::Factor).unwrap();
        assert_eq!((equal.effect.p_value, equal.sign_flip_p_value, equal.mean_sign), (Some(1.0), 1.0, 0.0));
        assert!(matches!(of(&[], ChangeScale::Factor), Err(Error::TooFewValues { needed: 1, got: 0, .. })));
        assert!(matches!(of(&[(0.0, 1.0)], ChangeScale::Factor), Err(Error::NotPositive { .. })));
        assert!(matches!(of(&[(1.0, f64::NAN)], ChangeScale::Difference), Err(Error::NonFiniteValue { .. })));
        let few = PermutationSettings { draws: 10, ..PermutationSettings::default() };
        let few = paired_contrast(&pairs(&[(1.0, 2.0)]), ChangeScale::Factor, 0.95, &few);
        assert!(matches!(few, Err(Error::InvalidSetting { .. })));
    }
}
