//! The nearest-mean error of test images and the bounds on it.

use serde::{Deserialize, Serialize};

use crate::Measured;

/// The error of the nearest class mean on test images, with the means of the training images, and bounds on it.
///
/// **Definition** c is the effective Poincaré constant of the training images, the largest Var_i/GC_i.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bounds {
    /// c times the pairwise geometric collapse of the test images, a bound on their NC.
    pub nc: Measured,
    /// Share of test images that are nearer to the training mean of another class.
    pub error: Measured,
    /// Bound on the error from the NC of the test images, for any distribution.
    pub by_nc: Measured,
    /// The same from c times their geometric collapse.
    pub by_gc: Measured,
    /// Bound on the error from the NC of the test images, for spherically symmetric classes.
    pub spherical_by_nc: Measured,
    /// The same from c times their geometric collapse.
    pub spherical_by_gc: Measured,
    /// Cantelli bound on the error, from the margins of the test images.
    pub cantelli: Measured,
    /// Bound on the error by the directional CDNV of the test images about the training means.
    pub directional: Measured,
}
