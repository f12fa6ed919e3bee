//! The ridge penalty: given, relative to the task, or chosen by leave-one-out.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The unit of a penalty.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PenaltyScale {
    /// λ itself.
    #[default]
    Absolute,
    /// The number of support samples: λ = value · s.
    Samples,
    /// The mean diagonal of the Gram matrix: λ = value · tr(G)/s, where G = XcXcᵀ of the features as used in the
    /// regression (centred with an unpenalised bias). The head is then invariant to the scale of the features.
    Gram,
}

/// The penalty λ of a [`crate::Ridge`]; always positive.
///
/// ```
/// use fewshot::{Error, Penalty, PenaltyScale};
/// assert_eq!(Penalty::fixed(1.0)?.to_string(), "1");
/// assert_eq!(Penalty::scaled(0.1, PenaltyScale::Gram)?.to_string(), "0.1*gram");
/// assert_eq!("0.1*n".parse::<Penalty>()?, Penalty::scaled(0.1, PenaltyScale::Samples)?);
/// assert!(matches!(Penalty::fixed(0.0), Err(Error::InvalidPenalty { .. })));
/// # fewshot::Result::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Penalty {
    rule: Rule,
    scale: PenaltyScale,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Given(f64),
    #[cfg(feature = "faer")]
    LeaveOneOut(Vec<f64>),
}

/// The absolute penalty on one task, or its candidates.
pub(super) enum Resolved {
    Given(f64),
    #[cfg(feature = "faer")]
    Candidates(Vec<f64>),
}

impl Penalty {
    /// The same λ on every task.
    ///
    /// **Errors** [`Error::InvalidPenalty`] unless λ is positive and finite.
    pub fn fixed(lambda: f64) -> Result<Self> {
        Self::scaled(lambda, PenaltyScale::Absolute)
    }

    /// λ relative to the task.
    ///
    /// **Errors** [`Error::InvalidPenalty`] unless `value` is positive and finite.
    pub fn scaled(value: f64, scale: PenaltyScale) -> Result<Self> {
        Ok(Self { rule: Rule::Given(positive(value)?), scale })
    }

    /// On each task, the candidate with the smallest squared leave-one-out error on the support, in closed form; the
    /// largest λ in a tie. Needs the crate feature `faer`.
    ///
    /// **Errors** [`Error::InvalidPenalty`] without candidates, or unless all are positive and finite.
    ///
    /// **Source** Allen, The relationship between variable selection and data augmentation, Technometrics 1974 (PRESS);
    /// Hastie, Tibshirani, Friedman, The elements of statistical learning, equation 7.64.
    #[cfg(feature = "faer")]
    pub fn leave_one_out(mut candidates: Vec<f64>, scale: PenaltyScale) -> Result<Self> {
        if candidates.is_empty() {
            return Err(Error::InvalidPenalty { value: f64::NAN });
        }
        candidates.iter().try_for_each(|&value| positive(value).map(|_| ()))?;
        candidates.sort_unstable_by(f64::total_cmp);
        Ok(Self { rule: Rule::LeaveOneOut(candidates), scale })
    }

    /// Leave-one-out over 10⁻³, 10⁻², …, 10³ times the mean diagonal of the Gram matrix.
    #[cfg(feature = "faer")]
    pub fn leave_one_out_default() -> Self {
        let candidates = vec![1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3];
        Self { rule: Rule::LeaveOneOut(candidates), scale: PenaltyScale::Gram }
    }

    pub(super) fn resolve(&self, trace: f64, samples: usize) -> Resolved {
        let unit = match self.scale {
            PenaltyScale::Absolute => 1.0,
            PenaltyScale::Samples => samples as f64,
            PenaltyScale::Gram => trace / samples as f64,
        };
        match &self.rule {
            Rule::Given(value) => Resolved::Given(value * unit),
            // Features that do not vary have no scale, so no candidate can be preferred.
            #[cfg(feature = "faer")]
            Rule::LeaveOneOut(_) if unit == 0.0 => Resolved::Given(0.0),
            #[cfg(feature = "faer")]
            Rule::LeaveOneOut(values) => Resolved::Candidates(values.iter().map(|value| value * unit).collect()),
        }
    }
}

fn positive(value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(Error::InvalidPenalty { value }) }
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::Given(value) => write!(f, "{value}")?,
            #[cfg(feature = "faer")]
            Rule::LeaveOneOut(_) if *self == Self::leave_one_out_default() => return write!(f, "loo"),
            #[cfg(feature = "faer")]
            Rule::LeaveOneOut(values) => {
                let values: Vec<String> = values.iter().map(f64::to_string).collect();
                write!(f, "loo={}", values.join("/"))?;
            }
        }
        f.write_str(match self.scale {
            PenaltyScale::Absolute => "",
            PenaltyScale::Samples => "*n",
            PenaltyScale::Gram => "*gram",
        })
    }
}

impl FromStr for Penalty {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let syntax = |reason: String| Error::HeadSyntax { text: text.to_owned(), reason };
        if text == "loo" {
            #[cfg(feature = "faer")]
            return Ok(Self::leave_one_out_default());
            #[cfg(not(feature = "faer"))]
            return Err(syntax(crate::heads::NEEDS_FAER.to_owned()));
        }
        let (values, scale) = match text.split_once('*') {
            None => (text, PenaltyScale::Absolute),
            Some((values, "n")) => (values, PenaltyScale::Samples),
            Some((values, "gram")) => (values, PenaltyScale::Gram),
            Some((_, other)) => return Err(syntax(format!("the unit of a penalty is `n` or `gram`, not `{other}`"))),
        };
        let number = |text: &str| text.parse::<f64>().map_err(|_| syntax(format!("`{text}` is not a number")));
        match values.strip_prefix("loo=") {
            #[cfg(feature = "faer")]
            Some(list) => Self::leave_one_out(list.split('/').map(number).collect::<Result<_>>()?, scale),
            #[cfg(not(feature = "faer"))]
            Some(_) => Err(syntax(crate::heads::NEEDS_FAER.to_owned())),
            None => Self::scaled(number(values)?, scale),
        }
    }
}
