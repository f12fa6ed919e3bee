//! The direction in which a quantity is better, written beside its axis.

use crate::study::metric::Metric;

/// A direction on an axis, and whose opinion it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// Higher values are better.
    Higher,
    /// Lower values are better.
    Lower,
    /// The paper claims that lower values are better.
    LowerByThePaper,
}

impl Better {
    /// The direction of a metric; none for a quantity that is neither good nor bad.
    pub(crate) fn of(metric: Metric) -> Option<Self> {
        match metric {
            Metric::Nc
            | Metric::TargetNc
            | Metric::TestNc
            | Metric::NcUnbiased
            | Metric::TargetNcUnbiased
            | Metric::EvaluationLoss
            | Metric::NearestMeanError
            | Metric::TargetNearestMeanError => Some(Self::Lower),
            Metric::NearestMeanAccuracy | Metric::RidgeAccuracy | Metric::TestAccuracy => Some(Self::Higher),
            Metric::Gc
            | Metric::TestGc
            | Metric::TargetGc
            | Metric::GeometricCollapse
            | Metric::PairwiseGeometricCollapse
            | Metric::GeometricCollapseUnbiased => Some(Self::LowerByThePaper),
            _ => None,
        }
    }

    /// The words on the axis.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Higher => "↑ better",
            Self::Lower => "↓ better",
            Self::LowerByThePaper => "↓ claimed better",
        }
    }
}
