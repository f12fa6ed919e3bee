//! The decision about claims, after a correction for their number.

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::error::check_level;
use crate::{Result, benjamini_hochberg, holm};

/// A correction of p-values for the number of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// [`holm`]: the level is the probability of any wrong decision in the family.
    Holm,
    /// [`benjamini_hochberg`]: the level is the expected share of wrong decisions among all decisions.
    BenjaminiHochberg,
}

/// How a family of claims is decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRules {
    /// The correction for the number of claims.
    pub correction: Correction,
    /// The largest corrected p-value of a decision, such as 0.05.
    pub level: f64,
}

/// The statistics of a claim that are needed for its decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimTest {
    /// Whether the claim says that coefficient and effect are positive; otherwise it says that they are negative.
    pub positive: bool,
    /// The coefficient of the permutation test, such as a mean within-seed rank correlation.
    pub coefficient: f64,
    /// The p-value of the permutation test; none where the claim rests on the size alone ([`Contrast`](crate::Contrast)).
    pub permutation_p_value: Option<f64>,
    /// The smallest p-value that this permutation test can have; 0 without one.
    pub smallest_p_value: f64,
    /// The size over seeds.
    pub effect: Effect,
    /// The margin within which an effect is negligible, on the scale of the effect; none where no size is negligible.
    pub margin: Option<(f64, f64)>,
}

impl ClaimTest {
    /// The p-value of the claim: the larger of that of the permutation test and that of the size, or that of the size where there is
    /// no permutation test; 1 for one seed.
    ///
    /// Rejecting by the maximum of two p-values is the intersection–union test (Berger, Technometrics 1982): it is valid as
    /// soon as one of the two is. The permutation test is valid for runs that differ by chance within each seed, whatever
    /// their distribution. The t-test over seeds is valid also where the effect differs in sign from seed to seed, if the
    /// effects of seeds are normal.
    pub fn p_value(&self) -> f64 {
        self.effect.p_value.map_or(1.0, |size| size.max(self.permutation_p_value.unwrap_or(0.0)))
    }
}

/// A decision about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Evidence and interval lie on the claimed side.
    Holds,
    /// Evidence and interval lie on the other side.
    Fails,
    /// The whole interval lies within the margin.
    Negligible,
    /// None of these, with the reason.
    Undecided(Undecided),
}

/// The reason for which a claim is undecided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undecided {
    /// One seed has no interval.
    OneSeed,
    /// No order of the runs could have given a corrected p-value at or below the level.
    TooFewValues {
        /// The smallest p-value of the test, times the correction.
        smallest: f64,
    },
    /// The corrected p-value is above the level.
    NotSignificant,
    /// The interval contains 0. (It can where the level of the decision is above 1 minus that of the interval.)
    IntervalContainsZero,
    /// Coefficient and interval have opposite signs.
    OppositeSigns,
}

/// A claim with its decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The p-value of the claim ([`ClaimTest::p_value`]).
    pub p_value: f64,
    /// The p-value corrected for the number of claims.
    pub corrected_p_value: f64,
    /// The decision.
    pub decision: Decision,
}

/// Decides a family of claims.
///
/// **Definition** the p-value of a claim is the larger of those of its permutation test and of its size; the family is
/// corrected by `rules.correction`. A claim is *negligible* if the interval of its size lies within its margin. Otherwise it
/// *holds* (*fails*) if the corrected p-value is at most `rules.level` and both coefficient and interval lie on the claimed
/// (other) side of 0. Otherwise it is *undecided*.
///
/// **Conventions** a claim without a test (none) stays in the family of [`Correction::Holm`] with a p-value of 1, so that the
/// number of claims is fixed before the runs; from the family of [`Correction::BenjaminiHochberg`] it is left out.
///
/// **Errors** [`Error::InvalidSetting`](crate::Error::InvalidSetting) for a level outside (0, 1) or a p-value outside [0, 1].
///
/// ```
/// use statistics::{ClaimTest, Correction, Decision, DecisionRules, Effect, SeedValue, Undecided, decide_claims};
/// let effect = |values: [f64; 3]| {
///     let seeds = (0..).zip(values).map(|(seed, value)| SeedValue { seed, value });
///     Effect::over_seeds(seeds.collect(), 0.95)
/// };
/// let claim = |values| Ok::<_, statistics::Error>(ClaimTest {
///     positive: false,
///     coefficient: -1.0,
///     permutation_p_value: Some(0.0001),
///     smallest_p_value: 0.0001,
///     effect: effect(values)?,
///     margin: Some((-0.05, 0.05)),
/// });
/// let (large, small, rough) = (claim([-0.40, -0.38, -0.41])?, claim([-0.01, 0.0, -0.01])?, claim([-0.4, -0.1, 0.2])?);
/// let rules = DecisionRules { correction: Correction::Holm, level: 0.05 };
/// let found = decide_claims(&[Some(large), Some(small), Some(rough), None], &rules)?;
/// let decisions: Vec<_> = found.iter().flatten().map(|judged| judged.decision).collect();
/// let rough = Decision::Undecided(Undecided::NotSignificant);
/// assert_eq!(decisions, [Decision::Holds, Decision::Negligible, rough]);
/// # statistics::Result::Ok(())
/// ```
pub fn decide_claims(claims: &[Option<ClaimTest>], rules: &DecisionRules) -> Result<Vec<Option<Judged>>> {
    check_level(rules.level)?;
    let tested: Vec<&ClaimTest> = claims.iter().flatten().collect();
    let mut p_values: Vec<f64> = tested.iter().map(|claim| claim.p_value()).collect();
    // The factor of the smallest p-value: all claims for Holm; 1 for Benjamini and Hochberg where all p-values are equal.
    let (corrected, factor) = match rules.correction {
        Correction::Holm => {
            p_values.resize(claims.len(), 1.0);
            (holm(&p_values)?, claims.len() as f64)
        }
        Correction::BenjaminiHochberg => (benjamini_hochberg(&p_values)?, 1.0),
    };
    let mut judged = tested.into_iter().zip(p_values).zip(corrected).map(|((claim, p_value), corrected_p_value)| {
        let decision = claim.decision(corrected_p_value, factor, rules.level);
        Judged { p_value, corrected_p_value, decision }
    });
    Ok(claims.iter().map(|claim| claim.as_ref().and_then(|_| judged.next())).collect())
}

impl ClaimTest {
    fn decision(&self, corrected: f64, factor: f64, level: f64) -> Decision {
        let Some(interval) = self.effect.interval else { return Decision::Undecided(Undecided::OneSeed) };
        if self.margin.is_some_and(|(low, high)| interval.lies_within(low, high)) {
            return Decision::Negligible;
        }
        let smallest = (factor * self.smallest_p_value).min(1.0);
        if smallest > level {
            return Decision::Undecided(Undecided::TooFewValues { smallest });
        }
        if corrected > level {
            return Decision::Undecided(Undecided::NotSignificant);
        }
        let (rises, falls) = (interval.low > 0.0, interval.high < 0.0);
        match (rises, falls, self.coefficient) {
            (false, false, _) => Decision::Undecided(Undecided::IntervalContainsZero),
            (true, _, coefficient) if coefficient <= 0.0 => Decision::Undecided(Undecided::OppositeSigns),
            (_, true, coefficient) if coefficient >= 0.0 => Decision::Undecided(Undecided::OppositeSigns),
            (rises, ..) if rises == self.positive => Decision::Holds,
            _ => Decision::Fails,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, SeedValue};

    fn claim(values: &[f64], coefficient: f64, p: f64) -> ClaimTest {
        let seeds = values.iter().enumerate().map(|(seed, &value)| SeedValue { seed: seed as u64, value });
        let effect = Effect::over_seeds(seeds.collect(), 0.95).unwrap();
        let (positive, margin) = (true, Some((-0.01, 0.01)));
        let permutation_p_value = Some(p);
        ClaimTest { positive, coefficient, permutation_p_value, smallest_p_value: p.min(1e-3), effect, margin }
    }

    fn decide(claims: Vec<ClaimTest>, correction: Correction, level: f64) -> Vec<Judged> {
        let claims: Vec<Option<ClaimTest>> = claims.into_iter().map(Some).collect();
        decide_claims(&claims, &DecisionRules { correction, level }).unwrap().into_iter().flatten().collect()
    }

    fn one(claim: ClaimTest) -> Decision {
        decide(vec![claim], Correction::Holm, 0.05)[0].decision
    }

    #[test]
    fn every_decision_has_its_case() {
        assert_eq!(one(claim(&[1.0, 1.1, 0.9], 0.9, 0.001)), Decision::Holds);
        assert_eq!(one(claim(&[-1.0, -1.1, -0.9], -0.9, 0.001)), Decision::Fails);
        assert_eq!(one(claim(&[0.001, 0.001, 0.0], 0.9, 0.001)), Decision::Negligible);
        let undecided = |claim, reason| assert_eq!(one(claim), Decision::Undecided(reason));
        undecided(claim(&[1.0], 0.9, 0.001), Undecided::OneSeed);
        undecided(claim(&[1.0, 1.1, 0.9], 0.9, 0.06), Undecided::NotSignificant);
        // The permutation test alone does not decide, nor does the t-test.
        undecided(claim(&[1.0, -1.1, 0.9], 0.9, 0.001), Undecided::NotSignificant);
        undecided(claim(&[1.0, 1.1, 0.9], -0.1, 0.001), Undecided::OppositeSigns);
        undecided(claim(&[-1.0, -1.1, -0.9], 0.1, 0.001), Undecided::OppositeSigns);
        let few = ClaimTest { smallest_p_value: 0.1, ..claim(&[1.0, 1.1, 0.9], 0.9, 0.1) };
        undecided(few, Undecided::TooFewValues { smallest: 0.1 });
    }

    #[test]
    fn the_correction_counts_all_claims_of_the_family() {
        let strong = || claim(&[1.0, 1.0, 1.0], 1.0, 0.03);
        assert_eq!(decide(vec![strong()], Correction::Holm, 0.05)[0].decision, Decision::Holds);
        // Holm: 2 · 0.03 > 0.05 for both. Benjamini and Hochberg: 2 · 0.03/2.
        let two = decide(vec![strong(), strong()], Correction::Holm, 0.05);
        assert_eq!(two[0].decision, Decision::Undecided(Undecided::NotSignificant));
        assert_eq!(two[0].corrected_p_value, 0.06);
        assert_eq!(decide(vec![strong(), strong()], Correction::BenjaminiHochberg, 0.05)[0].decision, Decision::Holds);
        // A claim without a test counts as one with p = 1.
        let rules = DecisionRules { correction: Correction::Holm, level: 0.05 };
        let found = decide_claims(&[Some(strong()), None], &rules).unwrap();
        assert_eq!((found[0].unwrap().corrected_p_value, found[1]), (0.06, None));
        let rules = DecisionRules { correction: Correction::BenjaminiHochberg, level: 0.05 };
        let found = decide_claims(&[None, Some(strong())], &rules).unwrap();
        assert_eq!((found[0], found[1].unwrap().corrected_p_value), (None, 0.03));
        // 0.0093 is below 0.05, but 7 times it is not.
        let few = || ClaimTest { smallest_p_value: 2.0 / 216.0, ..claim(&[1.0, 1.0, 1.0], 1.0, 2.0 / 216.0) };
        let seven = decide((0..7).map(|_| few()).collect(), Correction::Holm, 0.05);
        assert!(
            matches!(seven[0].decision, Decision::Undecided(Undecided::TooFewValues { smallest }) if smallest > 0.06)
        );
    }

    #[test]
    fn an_exploratory_level_above_that_of_the_interval_needs_the_interval_too() {
        // p of the size is between 0.05 and 0.1: the 95 % interval contains 0.
        let rough = claim(&[1.0, 2.0, 0.35], 0.9, 0.001);
        assert!(rough.p_value() > 0.05 && rough.p_value() < 0.15, "{}", rough.p_value());
        let found = decide(vec![rough], Correction::BenjaminiHochberg, 0.15);
        assert_eq!(found[0].decision, Decision::Undecided(Undecided::IntervalContainsZero));
    }

    #[test]
    fn invalid_levels_and_p_values_are_refused() {
        let rules = |level| DecisionRules { correction: Correction::Holm, level };
        assert!(matches!(decide_claims(&[], &rules(1.0)), Err(Error::InvalidSetting { .. })));
        let wrong = claim(&[1.0, 1.1, 0.9], 0.9, 1.5);
        assert!(matches!(decide_claims(&[Some(wrong)], &rules(0.05)), Err(Error::InvalidSetting { .. })));
    }
}
