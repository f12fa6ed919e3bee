//! NC and the factors into which it divides.

use serde::{Deserialize, Serialize};

use crate::Measured;

/// GC, NC, geometric collapse and the factors into which NC divides, with standard errors.
///
/// **Definition** with m = mean over pairs of 1/d², NC = mean over pairs of (Var_i + Var_j)/(2 d²) is m times the variance
/// within classes, averaged with the weights 1/d². Divided by GC, this average is `variance_over_gc`, and
/// log NC = log GC + log m + log(Var/GC) exactly. `mean_variance` has equal weights instead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decomposition {
    /// Geometric complexity of the features.
    pub gc: Measured,
    /// Mean over pairs of classes of 1/d².
    pub mean_inverse_squared_distance: Measured,
    /// Mixture form of geometric collapse.
    pub geometric_collapse: Measured,
    /// Pairwise form of geometric collapse.
    pub pairwise_geometric_collapse: Measured,
    /// Mixture form from unbiased squared distances.
    pub geometric_collapse_unbiased: Measured,
    /// Neural collapse (mean CDNV).
    pub nc: Measured,
    /// Neural collapse from unbiased variances and squared distances.
    pub nc_unbiased: Measured,
    /// Mean over classes of the variance within the class, with divisor n.
    pub mean_variance: Measured,
    /// NC/(GC · mean 1/d²).
    pub variance_over_gc: Measured,
    /// GC over the mean variance within classes.
    pub gc_over_variance: Measured,
    /// GC over the total variance tr Σ_W + tr Σ_B.
    pub gc_over_total_variance: Measured,
    /// Effective Poincaré constant, the largest Var_i/GC_i.
    pub poincare_constant: Measured,
}
