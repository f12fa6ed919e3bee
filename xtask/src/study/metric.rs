//! The metrics of runs: their names in files and for people, and their scales.

use serde::{Deserialize, Serialize};

use crate::task::Task;

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Geometric complexity of the features on training images.
    Gc,
    /// Mixture form of geometric collapse, GC/(k−1) · Σ_{i<j} 1/d_ij².
    GeometricCollapse,
    /// Pairwise form of geometric collapse, mean over i≠j of (GC_i + GC_j)/(2 d_ij²).
    PairwiseGeometricCollapse,
    /// Neural collapse (mean CDNV) on training images.
    Nc,
    /// Effective Poincaré constant, the largest Var_i / GC_i of the training classes.
    PoincareConstant,
    /// Running mean of the squared norm of the loss gradient, the slope of the learning path.
    PathSlope,
    /// Squared norm of the loss gradient at this step.
    StepSlope,
    /// Neural collapse (mean CDNV) of the target classes, which training never sees.
    TargetNc,
    /// Few-shot accuracy of the nearest-mean head on the target classes.
    NearestMeanAccuracy,
    /// Few-shot accuracy of the ridge head on the target classes.
    RidgeAccuracy,
    /// Neural collapse on test images of the training classes.
    TestNc,
    /// Poincaré constant of the training images times the pairwise geometric collapse of the test images.
    TestBound,
    /// Accuracy of the trained classifier on test images.
    TestAccuracy,
    /// Share of test images that are nearer to the training mean of another class than to that of their own.
    NearestMeanError,
    /// Bound on the nearest-mean error from the NC of the test images, for any distribution.
    NearestMeanBound,
    /// Bound on the nearest-mean error from c times the geometric collapse of the test images, for any distribution, with the
    /// Poincaré constant c of the training images.
    NearestMeanGcBound,
    /// Bound on the nearest-mean error from the NC of the test images, if the features of a class are spherically symmetric.
    SphericalBound,
    /// Bound on the nearest-mean error from c times the geometric collapse of the test images, with the same condition.
    SphericalGcBound,
    /// Mean over training classes of the variance within the class, with divisor n.
    MeanVariance,
    /// Mean over pairs of training classes of 1/d², d the distance of the class means.
    MeanInverseSquaredDistance,
    /// NC/(GC · mean 1/d²): the variance within classes over GC, with the weights 1/d² of NC. The product of GC,
    /// [`Self::MeanInverseSquaredDistance`] and this is NC.
    VarianceOverGc,
    /// GC over the mean variance within classes, which does not depend on the scale of the features.
    GcOverVariance,
    /// GC over the total variance tr Σ_W + tr Σ_B, which does not depend on the scale of the features.
    GcOverTotalVariance,
    /// Geometric complexity of the features on test images of the training classes.
    TestGc,
    /// Geometric complexity of the features on images of the target classes.
    TargetGc,
    /// Neural collapse on training images, from unbiased variances and squared distances.
    NcUnbiased,
    /// Neural collapse of the target classes, from unbiased variances and squared distances.
    TargetNcUnbiased,
    /// Mixture form of geometric collapse on training images, from unbiased squared distances.
    GeometricCollapseUnbiased,
    /// Mean cross-entropy in evaluation mode on the training images that are measured, without the GC penalty.
    EvaluationLoss,
    /// Cantelli bound on the nearest-mean test error, from the margins of the test images to the training means, at most 1.
    CantelliBound,
    /// Bound on the nearest-mean test error by the directional CDNV of the test images about the training means, at most 1.
    DirectionalBound,
    /// Few-shot error of the nearest-mean head on the target classes.
    TargetNearestMeanError,
    /// Mean over episodes of the Cantelli bound on the few-shot error of the nearest-mean head, at most 1.
    TargetCantelliBound,
    /// Mean over episodes of the bound on the few-shot error of the nearest-mean head by the directional CDNV, at most 1.
    TargetDirectionalBound,
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Logarithmic: values are compared by their ratios.
    Logarithmic,
    /// Linear: values are compared by their differences.
    Linear,
    /// Linear, with shares written in percent.
    Percent,
}

impl Metric {
    /// All metrics, in the order of columns and tables.
    pub(crate) const ALL: [Self; 34] = [
        Self::Gc,
        Self::GeometricCollapse,
        Self::PairwiseGeometricCollapse,
        Self::Nc,
        Self::PoincareConstant,
        Self::PathSlope,
        Self::StepSlope,
        Self::TargetNc,
        Self::NearestMeanAccuracy,
        Self::RidgeAccuracy,
        Self::TestNc,
        Self::TestBound,
        Self::TestAccuracy,
        Self::NearestMeanError,
        Self::NearestMeanBound,
        Self::NearestMeanGcBound,
        Self::SphericalBound,
        Self::SphericalGcBound,
        Self::MeanVariance,
        Self::MeanInverseSquaredDistance,
        Self::VarianceOverGc,
        Self::GcOverVariance,
        Self::GcOverTotalVariance,
        Self::TestGc,
        Self::TargetGc,
        Self::NcUnbiased,
        Self::TargetNcUnbiased,
        Self::GeometricCollapseUnbiased,
        Self::EvaluationLoss,
        Self::CantelliBound,
        Self::DirectionalBound,
        Self::TargetNearestMeanError,
        Self::TargetCantelliBound,
        Self::TargetDirectionalBound,
    ];

    /// Whether runs of this task measure it.
    pub(crate) fn measured_in(self, task: Task) -> bool {
        match self {
            Self::TargetNc
            | Self::NearestMeanAccuracy
            | Self::RidgeAccuracy
            | Self::TargetGc
            | Self::TargetNcUnbiased
            | Self::TargetNearestMeanError
            | Self::TargetCantelliBound
            | Self::TargetDirectionalBound => task == Task::Transfer,
            Self::TestAccuracy => task == Task::Classification,
            _ => true,
        }
    }

    /// The name in experiment files, run folders and CSV.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::GeometricCollapse => "geometric_collapse",
            Self::PairwiseGeometricCollapse => "pairwise_geometric_collapse",
            Self::Nc => "nc",
            Self::PoincareConstant => "poincare_constant",
            Self::PathSlope => "path_slope",
            Self::StepSlope => "step_slope",
            Self::TargetNc => "target_nc",
            Self::NearestMeanAccuracy => "nearest_mean_accuracy",
            Self::RidgeAccuracy => "ridge_accuracy",
            Self::TestNc => "test_nc",
            Self::TestBound => "test_bound",
            Self::TestAccuracy => "test_accuracy",
            Self::NearestMeanError => "nearest_mean_error",
            Self::NearestMeanBound => "nearest_mean_bound",
            Self::NearestMeanGcBound => "nearest_mean_gc_bound",
            Self::SphericalBound => "spherical_bound",
            Self::SphericalGcBound => "spherical_gc_bound",
            Self::MeanVariance => "mean_variance",
            Self::MeanInverseSquaredDistance => "mean_inverse_squared_distance",
            Self::VarianceOverGc => "variance_over_gc",
            Self::GcOverVariance => "gc_over_variance",
            Self::GcOverTotalVariance => "gc_over_total_variance",
            Self::TestGc => "test_gc",
            Self::TargetGc => "target_gc",
            Self::NcUnbiased => "nc_unbiased",
            Self::TargetNcUnbiased => "target_nc_unbiased",
            Self::GeometricCollapseUnbiased => "geometric_collapse_unbiased",
            Self::EvaluationLoss => "evaluation_loss",
            Self::CantelliBound => "cantelli_bound",
            Self::DirectionalBound => "directional_bound",
            Self::TargetNearestMeanError => "target_nearest_mean_error",
            Self::TargetCantelliBound => "target_cantelli_bound",
            Self::TargetDirectionalBound => "target_directional_bound",
        }
    }

    /// The name for people. In a transfer, the training classes are called source classes.
    pub(crate) fn label(self, task: Task) -> &'static str {
        let transfer = task == Task::Transfer;
        match self {
            Self::Gc if transfer => "source GC",
            Self::Gc => "train GC",
            Self::GeometricCollapse if transfer => "source geometric collapse",
            Self::GeometricCollapse => "geometric collapse",
            Self::PairwiseGeometricCollapse if transfer => "source geometric collapse, pairwise",
            Self::PairwiseGeometricCollapse => "geometric collapse, pairwise",
            Self::Nc if transfer => "source NC",
            Self::Nc => "train NC",
            Self::PoincareConstant => "effective Poincaré constant",
            Self::PathSlope => "learning-path slope",
            Self::StepSlope => "slope at the step",
            Self::TargetNc => "target NC",
            Self::NearestMeanAccuracy => "5-shot accuracy, nearest mean",
            Self::RidgeAccuracy => "5-shot accuracy, ridge",
            Self::TestNc if transfer => "source test NC",
            Self::TestNc => "test NC",
            Self::TestBound => "c × pairwise geometric collapse",
            Self::TestAccuracy => "test accuracy",
            Self::NearestMeanError => "nearest-mean test error",
            Self::NearestMeanBound => "bound by NC",
            Self::NearestMeanGcBound => "bound by c × geometric collapse",
            Self::SphericalBound => "bound by NC, spherical classes",
            Self::SphericalGcBound => "bound by c × geometric collapse, spherical classes",
            Self::MeanVariance => "variance within classes",
            Self::MeanInverseSquaredDistance => "mean 1/d²",
            Self::VarianceOverGc => "variance over GC",
            Self::GcOverVariance => "GC over variance within classes",
            Self::GcOverTotalVariance => "GC over total variance",
            Self::TestGc if transfer => "source test GC",
            Self::TestGc => "test GC",
            Self::TargetGc => "target GC",
            Self::NcUnbiased if transfer => "source NC, unbiased",
            Self::NcUnbiased => "train NC, unbiased",
            Self::TargetNcUnbiased => "target NC, unbiased",
            Self::GeometricCollapseUnbiased if transfer => "source geometric collapse, unbiased",
            Self::GeometricCollapseUnbiased => "geometric collapse, unbiased",
            Self::EvaluationLoss => "training loss in evaluation mode",
            Self::CantelliBound => "Cantelli bound",
            Self::DirectionalBound => "bound by directional CDNV",
            Self::TargetNearestMeanError => "5-shot error, nearest mean",
            Self::TargetCantelliBound => "Cantelli bound, 5-shot",
            Self::TargetDirectionalBound => "bound by directional CDNV, 5-shot",
        }
    }

    /// A short name for table headers.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Gc => "GC",
            Self::GeometricCollapse => "collapse",
            Self::PairwiseGeometricCollapse => "pairwise",
            Self::Nc => "NC",
            Self::PoincareConstant => "c",
            Self::PathSlope => "slope",
            Self::StepSlope => "step slope",
            Self::TargetNc => "target NC",
            Self::NearestMeanAccuracy => "nearest mean",
            Self::RidgeAccuracy => "ridge",
            Self::TestNc => "test NC",
            Self::TestBound => "bound",
            Self::TestAccuracy => "test acc.",
            Self::NearestMeanError => "NM error",
            Self::NearestMeanBound => "NC bound",
            Self::NearestMeanGcBound => "GC bound",
            Self::SphericalBound => "NC bound (sph.)",
            Self::SphericalGcBound => "GC bound (sph.)",
            Self::MeanVariance => "Var",
            Self::MeanInverseSquaredDistance => "1/d²",
            Self::VarianceOverGc => "Var/GC",
            Self::GcOverVariance => "GC/Var",
            Self::GcOverTotalVariance => "GC/tr Σ",
            Self::TestGc => "test GC",
            Self::TargetGc => "target GC",
            Self::NcUnbiased => "NC unb.",
            Self::TargetNcUnbiased => "target NC unb.",
            Self::GeometricCollapseUnbiased => "collapse unb.",
            Self::EvaluationLoss => "eval. loss",
            Self::CantelliBound => "Cantelli",
            Self::DirectionalBound => "dir. bound",
            Self::TargetNearestMeanError => "5-shot error",
            Self::TargetCantelliBound => "target Cantelli",
            Self::TargetDirectionalBound => "target dir. bound",
        }
    }

    /// The largest possible value; none if there is none. A bound at or above it cannot be violated.
    pub(crate) fn maximum(self) -> Option<f64> {
        match self {
            Self::NearestMeanAccuracy
            | Self::RidgeAccuracy
            | Self::TestAccuracy
            | Self::NearestMeanError
            | Self::TargetNearestMeanError => Some(1.0),
            _ => None,
        }
    }

    /// Whether it stays the same when the features are multiplied by a number and the weights of the last layer divided by it.
    #[cfg(test)]
    pub(crate) fn is_scale_free(self) -> bool {
        !matches!(
            self,
            Self::Gc
                | Self::TestGc
                | Self::TargetGc
                | Self::MeanVariance
                | Self::MeanInverseSquaredDistance
                | Self::PathSlope
                | Self::StepSlope
        )
    }

    /// The scale of its axis.
    pub(crate) fn scale(self) -> Scale {
        match self {
            Self::NearestMeanAccuracy | Self::RidgeAccuracy | Self::TestAccuracy => Scale::Percent,
            _ => Scale::Logarithmic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }
}
