//! The geometry of the class means (NC2) and hyperspherical uniformity.

use super::{part_measures, reported};
use crate::{Direction, Entry, Scale};

/// Where norms and angles are defined.
const PAPYAN: &str = "Papyan, Han and Donoho, 2020 (arXiv 2008.08186)";
/// Where uniformity is defined.
const UNIFORMITY: &str = "Liu, Yu, Weller and Schölkopf, 2023 (arXiv 2303.06484)";

/// What most measures of the class means have.
const MEANS: Entry = Entry { source: PAPYAN, direction: Some(Direction::Lower), scale_free: true, ..Entry::UNNAMED };

part_measures! {
    like MEANS {
        EQUINORM, TEST_EQUINORM, TARGET_EQUINORM = "equinorm", "NC2, equinorm", "equinorm":
            "Coefficient of variation of the norms of the centred class means (NC2)." {
            read: |part| reported(part, |report| report.simplex.equinorm),
            symbol: "std ‖m_c‖ / mean ‖m_c‖",
        }

        EQUIANGULARITY, TEST_EQUIANGULARITY, TARGET_EQUIANGULARITY = "equiangularity", "NC2, equiangularity", "equiangul.":
            "Mean over pairs of |cos(m_i, m_j) + 1/(K−1)| (NC2)." {
            read: |part| reported(part, |report| report.simplex.equiangularity),
            symbol: "mean |cos + 1/(K−1)|",
        }

        EQUIANGULARITY_MAX, TEST_EQUIANGULARITY_MAX, TARGET_EQUIANGULARITY_MAX = "equiangularity_max", "NC2, largest angle error", "max angle":
            "Largest |cos(m_i, m_j) + 1/(K−1)| of a pair of classes (NC2)." {
            read: |part| reported(part, |report| report.simplex.equiangularity_max),
            symbol: "max |cos + 1/(K−1)|",
        }

        COSINE_MEAN, TEST_COSINE_MEAN, TARGET_COSINE_MEAN = "cosine_mean", "mean cosine of class means", "cos":
            "Mean cosine of pairs of centred class means; −1/(K−1) for a simplex." {
            read: |part| reported(part, |report| report.simplex.cosine_mean),
            symbol: "mean cos(m_i, m_j)",
            scale: Scale::Linear,
            maximum: Some(1.0),
            direction: None,
        }

        COSINE_STD, TEST_COSINE_STD, TARGET_COSINE_STD = "cosine_std", "spread of cosines of class means", "std cos":
            "Standard deviation of the cosines of pairs of centred class means." {
            read: |part| reported(part, |report| report.simplex.cosine_std),
            symbol: "std cos(m_i, m_j)",
        }

        ETF_ERROR, TEST_ETF_ERROR, TARGET_ETF_ERROR = "etf_error", "NC2, ETF error", "ETF error":
            "Distance of the normalised Gram matrix of the class means from that of a simplex, ‖G/‖G‖ − (I − \
             11ᵀ/K)/√(K−1)‖ (NC2)." {
            read: |part| reported(part, |report| report.simplex.etf_error),
            symbol: "‖G/‖G‖ − E‖",
            source: "Kothapalli, 2023 (arXiv 2206.04041)",
        }

        LOG_ENERGY, TEST_LOG_ENERGY, TARGET_LOG_ENERGY = "log_energy", "hyperspherical energy", "energy":
            "Mean over pairs of ln(1/‖u_i − u_j‖), u the directions of the centred class means. Pairs of equal directions are left out." {
            read: |part| reported(part, |report| report.simplex.log_energy),
            symbol: "mean ln(1/‖u_i − u_j‖)",
            source: UNIFORMITY,
            scale: Scale::Linear,
        }

        LOG_ENERGY_EXCESS, TEST_LOG_ENERGY_EXCESS, TARGET_LOG_ENERGY_EXCESS = "log_energy_excess", "excess of hyperspherical energy", "energy exc.":
            "Hyperspherical energy beyond that of the simplex." {
            read: |part| reported(part, |report| report.simplex.log_energy_excess),
            symbol: "mean ln(1/‖u_i − u_j‖) − that of the simplex",
            source: UNIFORMITY,
            scale: Scale::Linear,
        }
    }
}
