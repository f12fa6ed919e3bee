//! Within-class variability (NC1), traces of the scatter matrices, the variability collapse index and RankMe.

use super::{part_measures, reported};
use crate::{Direction, Entry, Measured, Needs, Part, Scale};

/// Where NC1 to NC4 are defined.
const PAPYAN: &str = "Papyan, Han and Donoho, 2020 (arXiv 2008.08186)";
/// Where the traces are used.
const TRACES: &str = "Tirer, Huang and Niles-Weed, 2023 (ratio); Rangamani et al., 2023, Section 4 (share)";

/// A measure of the full scatter matrix: not measured where only its trace was accumulated.
fn of_full_scatter(part: &Part, name: &str, value: Option<f64>) -> Option<Measured> {
    let report = part.collapse.as_ref()?;
    let asked = value.is_some() || report.undefined.iter().any(|undefined| undefined.measure == name);
    asked.then(|| Measured::maybe(value, None, part.samples))
}

/// What most measures of the scatter matrices have.
const SCATTER: Entry = Entry { source: TRACES, direction: Some(Direction::Lower), scale_free: true, ..Entry::UNNAMED };

part_measures! {
    like SCATTER {
        NC1, TEST_NC1, TARGET_NC1 = "nc1", "NC1", "NC1": "Within-class variability tr(Σ_W Σ_B⁺)/K." {
            read: |part| reported(part, |report| report.variability.nc1),
            symbol: "tr(Σ_W Σ_B⁺)/K",
            source: PAPYAN,
        }

        NC1_TRACE, TEST_NC1_TRACE, TARGET_NC1_TRACE = "nc1_trace", "NC1, not over K", "NC1·K":
            "Within-class variability tr(Σ_W Σ_B⁺), not divided by the number of classes." {
            read: |part| reported(part, |report| report.variability.nc1_trace),
            symbol: "tr(Σ_W Σ_B⁺)",
            source: PAPYAN,
        }

        TRACE_RATIO, TEST_TRACE_RATIO, TARGET_TRACE_RATIO = "trace_ratio", "trace ratio", "tr Σ_W/tr Σ_B":
            "Ratio of traces tr Σ_W / tr Σ_B." {
            read: |part| reported(part, |report| report.variability.trace_ratio),
            symbol: "tr Σ_W / tr Σ_B",
        }

        SIGNAL_TO_NOISE, TEST_SIGNAL_TO_NOISE, TARGET_SIGNAL_TO_NOISE = "signal_to_noise", "signal to noise", "tr Σ_B/tr Σ_W":
            "Ratio of traces tr Σ_B / tr Σ_W." {
            read: |part| reported(part, |report| report.variability.signal_to_noise),
            symbol: "tr Σ_B / tr Σ_W",
            direction: Some(Direction::Higher),
        }

        WITHIN_SHARE, TEST_WITHIN_SHARE, TARGET_WITHIN_SHARE = "within_share", "share of variance within classes", "within":
            "Share of the variance within classes, tr Σ_W / (tr Σ_W + tr Σ_B)." {
            read: |part| reported(part, |report| report.variability.within_share),
            symbol: "tr Σ_W / tr Σ_T",
            scale: Scale::Percent,
            maximum: Some(1.0),
        }

        TRACE_WITHIN, TEST_TRACE_WITHIN, TARGET_TRACE_WITHIN = "trace_within", "tr Σ_W", "tr Σ_W":
            "Total variance within classes, tr Σ_W, with equal weights of classes." {
            read: |part| reported(part, |report| report.variability.trace_within),
            symbol: "tr Σ_W",
            unit: "features²",
            direction: None,
            scale_free: false,
        }

        TRACE_BETWEEN, TEST_TRACE_BETWEEN, TARGET_TRACE_BETWEEN = "trace_between", "tr Σ_B", "tr Σ_B":
            "Variance of the class means, tr Σ_B, with equal weights of classes." {
            read: |part| reported(part, |report| report.variability.trace_between),
            symbol: "tr Σ_B",
            unit: "features²",
            direction: None,
            scale_free: false,
        }

        VCI, TEST_VCI, TARGET_VCI = "vci", "VCI", "VCI":
            "Variability collapse index 1 − tr(Σ_T⁻¹ Σ_B)/rank Σ_B; undefined where Σ_T is singular." {
            read: |part| of_full_scatter(part, "vci", part.collapse.as_ref()?.variability.vci),
            symbol: "1 − tr(Σ_T⁻¹ Σ_B)/rank Σ_B",
            needs: Some(Needs::FullScatter),
            source: "Xu and Liu, 2023 (arXiv 2306.03440)",
            scale: Scale::Linear,
            maximum: Some(1.0),
        }

        RANK_ME, TEST_RANK_ME, TARGET_RANK_ME = "rank_me", "RankMe", "RankMe":
            "Effective rank of the features: exp of the entropy of their normalised singular values." {
            read: |part| of_full_scatter(part, "rank_me", part.collapse.as_ref()?.rank_me),
            symbol: "exp(−Σ p_k ln p_k)",
            needs: Some(Needs::FullScatter),
            source: "Garrido, Balestriero, Najman and LeCun, 2023 (arXiv 2210.02885), equation 1",
            unit: "dimensions",
            direction: None,
        }
    }
}
