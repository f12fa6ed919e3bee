//! The estimators of geometric complexity that the paper's Fig. 2 holds against the exact value.

use serde::{Deserialize, Serialize};

use super::configuration::Estimators;

/// Level of the intervals that estimates state.
pub(crate) const STATED_LEVEL: f64 = 0.95;

/// How the GC of a set of images is found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "estimator", rename_all = "kebab-case")]
pub(crate) enum Estimator {
    /// From all rows of the Jacobian of every image.
    Exact,
    /// From some of the images.
    BatchSample {
        /// How many.
        samples: usize,
    },
    /// From some of the entries of every Jacobian.
    EntryMask {
        /// The probability with which each is kept.
        rate: f64,
    },
    /// From some of the rows of every Jacobian.
    OutputSample {
        /// How many.
        outputs: usize,
    },
}

/// One estimate, with the interval that it states.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Estimated {
    /// How.
    #[serde(flatten)]
    pub(crate) how: Estimator,
    /// Which of the repeats with draws of their own.
    pub(crate) repeat: usize,
    /// The value; none where it is not finite.
    pub(crate) value: Option<f64>,
    /// Its stated standard error.
    pub(crate) standard_error: Option<f64>,
    /// Lower and upper end of its stated interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// Passes through the network, counted in images.
    pub(crate) passes: u64,
}

impl Estimator {
    /// Every estimator that the settings ask for but the exact one, from the dearest of each kind to the cheapest.
    pub(crate) fn all(settings: &Estimators) -> Vec<Self> {
        let samples = settings.batch_samples.iter().rev().map(|samples| Self::BatchSample { samples: *samples });
        let rates = settings.mask_rates.iter().rev().map(|rate| Self::EntryMask { rate: *rate });
        let outputs = settings.output_samples.iter().rev().map(|outputs| Self::OutputSample { outputs: *outputs });
        samples.chain(rates).chain(outputs).collect()
    }

    /// The kind of estimator, for people.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::BatchSample { .. } => "batch sample",
            Self::EntryMask { .. } => "entry mask",
            Self::OutputSample { .. } => "output sample",
        }
    }

    /// Its one number: images, rate or outputs.
    pub(crate) fn amount(self) -> f64 {
        match self {
            Self::Exact => 1.0,
            Self::BatchSample { samples: count } | Self::OutputSample { outputs: count } => count as f64,
            Self::EntryMask { rate } => rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_one_flat_record() {
        let how = Estimator::EntryMask { rate: 0.1 };
        let estimate =
            Estimated { how, repeat: 3, value: Some(2.5), standard_error: None, interval: Some((1.0, 4.0)), passes: 7 };
        let text = serde_json::to_string(&estimate).unwrap();
        assert_eq!(
            text,
            r#"{"estimator":"entry-mask","rate":0.1,"repeat":3,"value":2.5,"standard_error":null,"interval":[1.0,4.0],"passes":7}"#
        );
        assert_eq!(serde_json::from_str::<Estimated>(&text).unwrap(), estimate);
    }
}
