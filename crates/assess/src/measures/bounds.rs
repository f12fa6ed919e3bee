//! The nearest-mean error of test images and the bounds on it.

use super::measures;
use crate::{Direction, PartOf};

/// Where the bound by the CDNV comes from.
const GALANTI: &str = "after Galanti, György and Hutter, 2022 (arXiv 2112.15121), Proposition 5";
/// The same with geometric collapse.
const BY_GC: &str =
    "Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Proposition 4.1 with Proposition 5 of arXiv 2112.15121";

measures! {
    TEST_BOUND = "test_bound":
        "Poincaré constant of the training images times the pairwise geometric collapse of the test images." {
        read: |assessment| Some(assessment.bounds.as_ref()?.nc),
        symbol: "c · mean (GC_i + GC_j)/(2 d_ij²)", label: "c × pairwise geometric collapse", short: "bound",
        source: "Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Proposition 4.1", part: PartOf::Test, scale_free: true,
    }
    NEAREST_MEAN_ERROR = "nearest_mean_error":
        "Share of test images that are nearer to the training mean of another class than to that of their own." {
        read: |assessment| Some(assessment.bounds.as_ref()?.error),
        symbol: "P(nearest mean wrong)", label: "nearest-mean test error", short: "NM error",
        source: "share of wrong decisions", direction: Some(Direction::Lower), maximum: Some(1.0), part: PartOf::Test,
        scale_free: true, standard_error: "binomial",
    }
    NEAREST_MEAN_BOUND = "nearest_mean_bound":
        "Bound on the nearest-mean error from the NC of the test images, for any distribution." {
        read: |assessment| Some(assessment.bounds.as_ref()?.by_nc),
        symbol: "bound(NC)", label: "bound by NC", short: "NC bound",
        source: GALANTI, part: PartOf::Test, scale_free: true,
    }
    NEAREST_MEAN_GC_BOUND = "nearest_mean_gc_bound":
        "Bound on the nearest-mean error from c times the geometric collapse of the test images, for any distribution, with the \
         Poincaré constant c of the training images." {
        read: |assessment| Some(assessment.bounds.as_ref()?.by_gc),
        symbol: "bound(c · GC/(k−1) Σ 1/d²)", label: "bound by c × geometric collapse", short: "GC bound",
        source: BY_GC, part: PartOf::Test, scale_free: true,
    }
    SPHERICAL_BOUND = "spherical_bound":
        "Bound on the nearest-mean error from the NC of the test images, if the features of a class are \
         spherically symmetric." {
        read: |assessment| Some(assessment.bounds.as_ref()?.spherical_by_nc),
        symbol: "bound(NC), spherical", label: "bound by NC, spherical classes", short: "NC bound (sph.)",
        source: GALANTI, part: PartOf::Test, scale_free: true,
    }
    SPHERICAL_GC_BOUND = "spherical_gc_bound":
        "Bound on the nearest-mean error from c times the geometric collapse of the test images, if the features of a class are \
         spherically symmetric." {
        read: |assessment| Some(assessment.bounds.as_ref()?.spherical_by_gc),
        symbol: "bound(c · GC/(k−1) Σ 1/d²), spherical", label: "bound by c × geometric collapse, spherical classes",
        short: "GC bound (sph.)", source: BY_GC, part: PartOf::Test, scale_free: true,
    }
    CANTELLI_BOUND = "cantelli_bound":
        "Cantelli bound on the nearest-mean test error, from the margins of the test images to the training \
         means, at most 1." {
        read: |assessment| Some(assessment.bounds.as_ref()?.cantelli),
        symbol: "mean min(1, Σ_j v/(v + a²))", label: "Cantelli bound", short: "Cantelli",
        source: "Cantelli, 1928", part: PartOf::Test, scale_free: true,
        standard_error: "jackknife over groups of test images",
    }
    DIRECTIONAL_BOUND = "directional_bound":
        "Bound on the nearest-mean test error by the directional CDNV of the test images about the training \
         means, at most 1." {
        read: |assessment| Some(assessment.bounds.as_ref()?.directional),
        symbol: "mean min(1, Σ_j 4 V_ij)", label: "bound by directional CDNV", short: "dir. bound",
        source: "Chebyshev's inequality on the margins", part: PartOf::Test, scale_free: true,
        standard_error: "jackknife over groups of test images",
    }
}
