//! The effect of a treatment on an outcome through a mediator.

use serde::{Deserialize, Serialize};

use crate::error::check_lengths;
use crate::{Error, Result, check_values};

const NAME: &str = "a mediated effect";

/// The effects of a treatment x on an outcome y through a mediator m.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediationEffects {
    /// a: the slope of the mediator on the treatment.
    pub on_mediator: f64,
    /// b: the slope of the outcome on the mediator, given the treatment.
    pub of_mediator: f64,
    /// a b: the part of the effect that goes through the mediator.
    pub indirect: f64,
    /// c′: the slope of the outcome on the treatment, given the mediator.
    pub direct: f64,
    /// c: the slope of the outcome on the treatment. c = c′ + a b.
    pub total: f64,
}

/// The effects of `treatment` on `outcome` through `mediator`, by least squares.
///
/// **Definition** m = i₁ + a x, y = i₂ + c′ x + b m and y = i₃ + c x. The product of coefficients a b equals c − c′.
///
/// **Conventions** lists hold one value per run of one seed. Take each effect to [`Effect::over_seeds`](crate::Effect::over_seeds)
/// for its interval; a product of estimates is not normal within one sample, but its mean over seeds is treated like any other
/// value of a seed. The treatment is an intervention, the mediator is not: b is an effect only if nothing else moves mediator and
/// outcome together.
///
/// **Errors** [`Error::TooFewValues`] for fewer than four runs, [`Error::NoVariation`] where the treatment does not vary or
/// explains the mediator completely, [`Error::UnequalLengths`], [`Error::NonFiniteValue`].
///
/// **Source** Baron and Kenny, The moderator–mediator variable distinction in social psychological research, JPSP 1986;
/// MacKinnon, Warsi and Dwyer, A simulation study of mediated effect measures, Multivariate Behavioral Research 1995 (the
/// product equals the difference).
///
/// ```
/// use statistics::mediation_effects;
/// // m = x + (1, −1, −1, 1), y = 2m + 3x: a = 1, b = 2, c′ = 3, c = 5.
/// let (x, m) = ([0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 1.0, 4.0]);
/// let y = [2.0, 3.0, 8.0, 17.0];
/// let found = mediation_effects(&x, &m, &y)?;
/// let effects = [found.on_mediator, found.of_mediator, found.indirect, found.direct, found.total];
/// assert!(effects.iter().zip([1.0, 2.0, 2.0, 3.0, 5.0]).all(|(a, b)| (a - b).abs() < 1e-12));
/// # statistics::Result::Ok(())
/// ```
pub fn mediation_effects(treatment: &[f64], mediator: &[f64], outcome: &[f64]) -> Result<MediationEffects> {
    check_lengths(NAME, treatment.len(), mediator.len())?;
    check_lengths(NAME, treatment.len(), outcome.len())?;
    for values in [treatment, mediator, outcome] {
        check_values(NAME, values, 4)?;
    }
    let (x, m, y) = (centred(treatment), centred(mediator), centred(outcome));
    let (xx, mm, xm) = (dot(&x, &x), dot(&m, &m), dot(&x, &m));
    let (xy, my) = (dot(&x, &y), dot(&m, &y));
    let flat = |which| Error::NoVariation { statistic: NAME, which, count: x.len() };
    if xx <= 0.0 {
        return Err(flat("first"));
    }
    let determinant = xx * mm - xm * xm;
    // The part of the mediator that the treatment leaves unexplained, relative to the mediator.
    if determinant <= 1e-18 * xx * mm {
        return Err(flat("second"));
    }
    let (on_mediator, total) = (xm / xx, xy / xx);
    let of_mediator = (xx * my - xm * xy) / determinant;
    let direct = (mm * xy - xm * my) / determinant;
    Ok(MediationEffects { on_mediator, of_mediator, indirect: on_mediator * of_mediator, direct, total })
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_the_difference_of_total_and_direct_effect() {
        let draws = streams::standard_normal(&mut streams::stream(3, "mediation/tests", 0), 24);
        let (x, rest) = draws.split_at(8);
        let (m, y) = rest.split_at(8);
        let found = mediation_effects(x, m, y).unwrap();
        assert!((found.total - found.direct - found.indirect).abs() < 1e-12, "{found:?}");
        // A mediator without an effect mediates nothing.
        let through: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
        let found = mediation_effects(x, m, &through).unwrap();
        assert!(found.of_mediator.abs() < 1e-12 && (found.direct - 2.0).abs() < 1e-12);
    }

    #[test]
    fn constant_treatments_explained_mediators_and_few_runs_are_refused() {
        let (x, m) = ([0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 1.0, 4.0]);
        let twice = x.map(|x| 2.0 * x + 1.0);
        assert!(matches!(mediation_effects(&[1.0; 4], &m, &m), Err(Error::NoVariation { which: "first", .. })));
        assert!(matches!(mediation_effects(&x, &twice, &m), Err(Error::NoVariation { which: "second", .. })));
        assert!(matches!(mediation_effects(&x, &[1.0; 4], &m), Err(Error::NoVariation { which: "second", .. })));
        assert!(matches!(mediation_effects(&x[1..], &m[1..], &m[1..]), Err(Error::TooFewValues { needed: 4, .. })));
        assert!(matches!(mediation_effects(&x, &m, &m[1..]), Err(Error::UnequalLengths { .. })));
        assert!(matches!(mediation_effects(&x, &m, &[f64::NAN; 4]), Err(Error::NonFiniteValue { .. })));
    }
}
