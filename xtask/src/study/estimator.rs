//! The estimators of geometric complexity that the paper's Fig. 2 compares with the exact value.

use serde::{Deserialize, Serialize};

use super::configuration::Estimators;

/// Confidence level of the intervals of estimates.
pub(crate) const STATED_LEVEL: f64 = 0.95;

/// A way to compute the GC of a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "estimator", rename_all = "kebab-case")]
pub(crate) enum GcEstimator {
    /// From all rows of the Jacobian of every image.
    Exact,
    /// From a random sample of the images.
    BatchSample {
        /// Number of sampled images.
        samples: usize,
    },
    /// From a random sample of the entries of every Jacobian.
    EntryMask {
        /// The probability with which an entry is kept.
        rate: f64,
    },
    /// From a random sample of the rows of every Jacobian.
    OutputSample {
        /// Number of sampled rows.
        outputs: usize,
    },
}

/// One estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct GcEstimate {
    /// The estimator.
    #[serde(flatten)]
    pub(crate) how: GcEstimator,
    /// Index among the independent estimates.
    pub(crate) repeat: usize,
    /// The value; none if it is not finite.
    pub(crate) value: Option<f64>,
    /// Its estimated standard error.
    pub(crate) standard_error: Option<f64>,
    /// Lower and upper end of its interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// Number of forward and backward passes, counted in images.
    pub(crate) passes: u64,
}

impl GcEstimator {
    /// Every configured estimator except the exact one; of each kind, the most expensive first.
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

    /// Its setting: images, rate or outputs.
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
    fn an_estimate_is_a_flat_record() {
        let how = GcEstimator::EntryMask { rate: 0.1 };
        let estimate = GcEstimate {
            how,
            repeat: 3,
            value: Some(2.5),
            standard_error: None,
            interval: Some((1.0, 4.0)),
            passes: 7,
        };
        let text = serde_json::to_string(&estimate).unwrap();
        assert_eq!(
            text,
            r#"{"estimator":"entry-mask","rate":0.1,"repeat":3,"value":2.5,"standard_error":null,"interval":[1.0,4.0],"passes":7}"#
        );
        assert_eq!(serde_json::from_str::<GcEstimate>(&text).unwrap(), estimate);
    }
}
