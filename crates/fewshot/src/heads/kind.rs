//! All heads of this crate as one enum with a text form, for configuration files and command lines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(feature = "faer")]
use super::Logistic;
use super::{
    Bias, Cosine, Discriminant, FeatureTransform, Head, NearestMean, Penalty, Ridge, Scores, Shrinkage, SimpleShot,
};
use crate::{Error, Result, Task};

/// The syntax of [`HeadKind`], for error messages.
pub(crate) const SYNTAX: &str = "`ncm`, `cosine`, `simpleshot:un|l2n|cl2n`, `ridge:PENALTY[:penalised-bias]`, \
    `logistic:LAMBDA` and `lda:auto|GAMMA`, where PENALTY is a number, `loo` or `loo=A/B/C`, \
    optionally followed by `*n` or `*gram`";

/// The reason why a head that needs eigenvectors is refused.
#[cfg(not(feature = "faer"))]
pub(crate) const NEEDS_FAER: &str = "this head needs the feature `faer` of the crate `fewshot`, which is off";

/// Any head of this crate, with a text form.
///
/// | text | head |
/// |---|---|
/// | `ncm` | [`NearestMean`] |
/// | `cosine` | [`Cosine`] |
/// | `simpleshot:un`, `simpleshot:l2n`, `simpleshot:cl2n` | [`SimpleShot`] |
/// | `ridge:1` | [`Ridge`], λ = 1 |
/// | `ridge:0.1*n` | λ = 0.1 · number of support samples |
/// | `ridge:0.1*gram` | λ = 0.1 · mean diagonal of the Gram matrix |
/// | `ridge:loo`, `ridge:loo=0.1/1/10*gram` | λ chosen by leave-one-out (feature `faer`) |
/// | `ridge:1:penalised-bias` | the bias is penalised too |
/// | `logistic:1` | [`crate::Logistic`], λ = 1 (feature `faer`) |
/// | `lda:auto`, `lda:0.5` | [`Discriminant`] |
///
/// **Conventions** the text of a head is its name in results; parsing it gives the same head.
///
/// **Errors** of parsing: [`Error::HeadSyntax`], [`Error::InvalidPenalty`], [`Error::InvalidShrinkage`].
///
/// ```
/// use fewshot::{Error, HeadKind};
/// let head: HeadKind = "ridge:1.0".parse()?;
/// assert_eq!(head.to_string(), "ridge:1");
/// assert!(matches!("ridge:-1".parse::<HeadKind>(), Err(Error::InvalidPenalty { .. })));
/// assert!(matches!("rigde:1".parse::<HeadKind>(), Err(Error::HeadSyntax { .. })));
/// # fewshot::Result::Ok(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HeadKind {
    /// Nearest class mean.
    NearestMean(NearestMean),
    /// Largest cosine with the class mean.
    Cosine(Cosine),
    /// Nearest class mean after a feature transform.
    SimpleShot(SimpleShot),
    /// Ridge regression.
    Ridge(Ridge),
    /// Logistic regression.
    #[cfg(feature = "faer")]
    Logistic(Logistic),
    /// Linear discriminant.
    Discriminant(Discriminant),
}

impl HeadKind {
    fn head(&self) -> &dyn Head {
        match self {
            HeadKind::NearestMean(head) => head,
            HeadKind::Cosine(head) => head,
            HeadKind::SimpleShot(head) => head,
            HeadKind::Ridge(head) => head,
            #[cfg(feature = "faer")]
            HeadKind::Logistic(head) => head,
            HeadKind::Discriminant(head) => head,
        }
    }
}

impl Head for HeadKind {
    fn name(&self) -> String {
        self.head().name()
    }

    fn scores(&self, task: &Task<'_>) -> Result<Scores> {
        self.head().scores(task)
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for HeadKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let syntax = |reason: String| Error::HeadSyntax { text: text.to_owned(), reason };
        let number = |value: &str| value.parse::<f64>().map_err(|_| syntax(format!("`{value}` is not a number")));
        let (kind, setting) = text.split_once(':').map_or((text, None), |(kind, setting)| (kind, Some(setting)));
        match (kind, setting) {
            ("ncm", None) => Ok(HeadKind::NearestMean(NearestMean)),
            ("cosine", None) => Ok(HeadKind::Cosine(Cosine)),
            ("simpleshot", Some("un")) => Ok(HeadKind::SimpleShot(SimpleShot::new(FeatureTransform::Unnormalised))),
            ("simpleshot", Some("l2n")) => Ok(HeadKind::SimpleShot(SimpleShot::new(FeatureTransform::L2))),
            ("simpleshot", Some("cl2n")) => Ok(HeadKind::SimpleShot(SimpleShot::new(FeatureTransform::CentredL2))),
            ("ridge", Some(setting)) => {
                let (penalty, bias) = match setting.strip_suffix(":penalised-bias") {
                    Some(penalty) => (penalty, Bias::Penalised),
                    None => (setting, Bias::Free),
                };
                let penalty = penalty.parse::<Penalty>().map_err(|error| match error {
                    Error::HeadSyntax { reason, .. } => syntax(reason),
                    other => other,
                })?;
                Ok(HeadKind::Ridge(Ridge::new(penalty).with_bias(bias)))
            }
            #[cfg(feature = "faer")]
            ("logistic", Some(lambda)) => Ok(HeadKind::Logistic(Logistic::new(number(lambda)?)?)),
            #[cfg(not(feature = "faer"))]
            ("logistic", Some(_)) => Err(syntax(NEEDS_FAER.to_owned())),
            ("lda", Some("auto")) => Ok(HeadKind::Discriminant(Discriminant::new(Shrinkage::LedoitWolf)?)),
            ("lda", Some(gamma)) => Ok(HeadKind::Discriminant(Discriminant::new(Shrinkage::Fixed(number(gamma)?))?)),
            ("ncm" | "cosine", Some(_)) => Err(syntax(format!("`{kind}` takes no setting"))),
            ("simpleshot" | "ridge" | "logistic" | "lda", _) => Err(syntax(format!("`{kind}` needs a setting"))),
            _ => Err(syntax(format!("there is no head `{kind}`"))),
        }
    }
}

impl TryFrom<String> for HeadKind {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<HeadKind> for String {
    fn from(head: HeadKind) -> Self {
        head.to_string()
    }
}
