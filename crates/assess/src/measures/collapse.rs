//! Neural collapse as the paper measures it: CDNV and geometric collapse, and the factors of NC.

use super::{factor, factor_of_complexity, part_measures, reported, reported_with_error};
use crate::{Direction, Entry};

/// Where the CDNV is defined.
const CDNV: &str = "Galanti, György and Hutter, 2022 (arXiv 2112.15121), Definition 1; Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706)";
/// Where geometric collapse is defined.
const PROPOSITION: &str = "Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Proposition 4.1";
/// A form of it that is ours.
const AFTER: &str = "ours, after Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Proposition 4.1";

/// What the forms of the CDNV have.
const CDNV_FORM: Entry = Entry { source: CDNV, direction: Some(Direction::Lower), scale_free: true, ..Entry::UNNAMED };
/// What the forms of geometric collapse have.
const GEOMETRIC_FORM: Entry = Entry {
    source: AFTER,
    unit: "1 per input²",
    direction: Some(Direction::LowerByThePaper),
    scale_free: true,
    standard_error: "of the means and of GC, taken as independent",
    ..Entry::UNNAMED
};
/// What the factors of NC have.
const NC_FACTOR: Entry = Entry { unit: "input²", scale_free: true, ..Entry::UNNAMED };

part_measures! {
    like CDNV_FORM {
        NC, TEST_NC, TARGET_NC = "nc", "NC", "NC":
            "Neural collapse: the mean over pairs of classes of (Var_i + Var_j)/(2 d_ij²), the CDNV, with divisor n." {
            read: |part| factor(part, |factors| factors.nc, |report| (Some(report.cdnv.mean), report.cdnv.std_error)),
            symbol: "NC(f, D)",
            standard_error: "linearized, over images",
        } => train {
            label: "train NC",
        }

        NC_UNBIASED, TEST_NC_UNBIASED, TARGET_NC_UNBIASED = "nc_unbiased", "NC, unbiased", "NC unb.":
            "Neural collapse from unbiased variances and squared distances." {
            read: |part| {
                factor(part, |factors| factors.nc_unbiased, |report| (report.cdnv.unbiased, report.cdnv.unbiased_std_error))
            },
            symbol: "mean (s_i² + s_j²)/(2 D_ij²)",
            source: "ours: the CDNV without its sampling bias",
            standard_error: "linearized, over images",
        } => train {
            label: "train NC, unbiased",
        }

        CDNV_MAX, TEST_CDNV_MAX, TARGET_CDNV_MAX = "cdnv_max", "NC of the worst pair", "max NC":
            "The largest CDNV of a pair of classes." {
            read: |part| reported(part, |report| Some(report.cdnv.max)),
            symbol: "max_ij (Var_i + Var_j)/(2 d_ij²)",
        }

        DIRECTIONAL_CDNV, TEST_DIRECTIONAL_CDNV, TARGET_DIRECTIONAL_CDNV = "directional_cdnv", "directional CDNV", "dir. CDNV":
            "Mean over ordered pairs of classes of the variance of class i along the axis between the means, over d_ij²." {
            read: |part| reported(part, |report| report.cdnv.directional),
            symbol: "mean E[(u_ij·(x − μ_i))²]/d_ij²",
            source: "the CDNV (Galanti, György and Hutter, 2022) of the features projected on the axis between two means",
        }
    }

    like GEOMETRIC_FORM {
        GEOMETRIC_COLLAPSE, TEST_GEOMETRIC_COLLAPSE, TARGET_GEOMETRIC_COLLAPSE = "geometric_collapse", "geometric collapse", "collapse":
            "Mixture form of geometric collapse, GC/(k−1) · Σ_{i<j} 1/d_ij²." {
            read: |part| {
                factor_of_complexity(part, |factors| factors.geometric_collapse, |report| {
                    (report.geometric.mixture, report.geometric.mixture_std_error)
                })
            },
            symbol: "GC/(k−1) · Σ 1/d_ij²",
            source: PROPOSITION,
        }

        PAIRWISE_GEOMETRIC_COLLAPSE, TEST_PAIRWISE_GEOMETRIC_COLLAPSE, TARGET_PAIRWISE_GEOMETRIC_COLLAPSE = "pairwise_geometric_collapse", "geometric collapse, pairwise", "pairwise":
            "Pairwise form of geometric collapse, the mean over i≠j of (GC_i + GC_j)/(2 d_ij²)." {
            read: |part| {
                factor_of_complexity(part, |factors| factors.pairwise_geometric_collapse, |report| {
                    (report.geometric.pairwise, report.geometric.pairwise_std_error)
                })
            },
            symbol: "mean (GC_i + GC_j)/(2 d_ij²)",
        }

        GEOMETRIC_COLLAPSE_UNBIASED, TEST_GEOMETRIC_COLLAPSE_UNBIASED, TARGET_GEOMETRIC_COLLAPSE_UNBIASED = "geometric_collapse_unbiased", "geometric collapse, unbiased", "collapse unb.":
            "Mixture form of geometric collapse, from unbiased squared distances." {
            read: |part| {
                factor_of_complexity(part, |factors| factors.geometric_collapse_unbiased, |report| {
                    (report.geometric.mixture_unbiased, report.geometric.mixture_unbiased_std_error)
                })
            },
            symbol: "GC/(k−1) · Σ 1/D_ij²",
        }

        PAIRWISE_GEOMETRIC_COLLAPSE_UNBIASED, TEST_PAIRWISE_GEOMETRIC_COLLAPSE_UNBIASED, TARGET_PAIRWISE_GEOMETRIC_COLLAPSE_UNBIASED =
            "pairwise_geometric_collapse_unbiased", "geometric collapse, pairwise and unbiased", "pairwise unb.":
            "Pairwise form of geometric collapse, from unbiased squared distances." {
            read: |part| {
                (part.gc.is_some() || part.decomposition.is_none()).then_some(())?;
                reported_with_error(part, |report| {
                    (report.geometric.pairwise_unbiased, report.geometric.pairwise_unbiased_std_error)
                })
            },
            symbol: "mean (GC_i + GC_j)/(2 D_ij²)",
        }
    }

    like NC_FACTOR {
        POINCARE_CONSTANT, TEST_POINCARE_CONSTANT, TARGET_POINCARE_CONSTANT = "poincare_constant", "effective Poincaré constant", "c":
            "Effective Poincaré constant, the largest Var_i / GC_i of a class." {
            read: |part| {
                factor_of_complexity(part, |factors| factors.poincare_constant, |report| {
                    (report.geometric.poincare_constant, None)
                })
            },
            symbol: "c = max Var_i / GC_i",
            source: "Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Section 4",
        } => train {
            transfer_label: None,
        }

        MEAN_VARIANCE, TEST_MEAN_VARIANCE, TARGET_MEAN_VARIANCE = "mean_variance", "variance within classes", "Var":
            "Mean over classes of the variance within the class, with divisor n." {
            read: |part| factor(part, |factors| factors.mean_variance, |report| (report.factors.mean_variance, None)),
            symbol: "mean Var_i",
            source: "a factor of the CDNV",
            unit: "features²",
            standard_error: "jackknife over eight groups of images",
            scale_free: false,
        } => train {
            transfer_label: None,
        }

        MEAN_INVERSE_SQUARED_DISTANCE, TEST_MEAN_INVERSE_SQUARED_DISTANCE, TARGET_MEAN_INVERSE_SQUARED_DISTANCE = "mean_inverse_squared_distance", "mean 1/d²", "1/d²":
            "Mean over pairs of classes of 1/d², d the distance of the class means." {
            read: |part| {
                factor(part, |factors| factors.mean_inverse_squared_distance, |report| {
                    let factors = report.factors;
                    (factors.mean_inverse_squared_distance, factors.mean_inverse_squared_distance_std_error)
                })
            },
            symbol: "mean 1/d_ij²",
            source: "a factor of the CDNV and of geometric collapse",
            unit: "1 per features²",
            standard_error: "linearized, over images",
            scale_free: false,
        } => train {
            transfer_label: None,
        }

        VARIANCE_OVER_GC, TEST_VARIANCE_OVER_GC, TARGET_VARIANCE_OVER_GC = "variance_over_gc", "variance over GC", "Var/GC":
            "NC/(GC · mean 1/d²): the variance within classes over GC, with the weights 1/d² of NC. The product of GC, mean 1/d² and \
             this is NC." {
            read: |part| part.gc.as_ref().and(part.decomposition.as_ref()).map(|factors| factors.variance_over_gc),
            symbol: "NC / (GC · mean 1/d_ij²)",
            source: "ours: log NC = log GC + log mean 1/d² + log of this",
            standard_error: "jackknife over eight groups of images, and that of GC",
        } => train {
            transfer_label: None,
        }
    }
}
