//! Few-shot accuracy, and bounds on the few-shot error.

use super::measures;
use crate::{Direction, Measured, PartOf, Scale};

/// Where the episodes are defined.
const EPISODES: &str = "Snell, Swersky and Zemel, 2017 (arXiv 1703.05175): episodes and class means";

measures! {
    NEAREST_MEAN_ACCURACY = "nearest_mean_accuracy":
        "Few-shot accuracy of the nearest-mean head on the target classes." {
        read: |assessment| assessment.few_shot.as_ref()?.accuracy_of("ncm"),
        symbol: "mean accuracy of episodes", label: "5-shot accuracy, nearest mean", short: "nearest mean",
        source: EPISODES, scale: Scale::Percent, direction: Some(Direction::Higher), maximum: Some(1.0), part: PartOf::Target,
        scale_free: true, standard_error: "over episodes",
    }
    RIDGE_ACCURACY = "ridge_accuracy": "Few-shot accuracy of the ridge head on the target classes." {
        read: |assessment| assessment.few_shot.as_ref()?.accuracy_of("ridge"),
        symbol: "mean accuracy of episodes", label: "5-shot accuracy, ridge", short: "ridge",
        source: "ridge regression on one-hot targets of the support samples", scale: Scale::Percent,
        direction: Some(Direction::Higher), maximum: Some(1.0), part: PartOf::Target, scale_free: true,
        standard_error: "over episodes",
    }
    TARGET_NEAREST_MEAN_ERROR = "target_nearest_mean_error":
        "Few-shot error of the nearest-mean head on the target classes." {
        read: |assessment| {
            let accuracy = assessment.few_shot.as_ref()?.accuracy_of("ncm")?;
            Some(Measured { value: accuracy.value.map(|share| 1.0 - share), ..accuracy })
        },
        symbol: "1 − mean accuracy of episodes", label: "5-shot error, nearest mean", short: "5-shot error",
        source: EPISODES, direction: Some(Direction::Lower), maximum: Some(1.0), part: PartOf::Target, scale_free: true,
        standard_error: "over episodes",
    }
    TARGET_CANTELLI_BOUND = "target_cantelli_bound":
        "Mean over episodes of the Cantelli bound on the few-shot error of the nearest-mean head, at most 1." {
        read: |assessment| assessment.few_shot.as_ref()?.cantelli_bound,
        symbol: "mean min(1, Σ_j v/(v + a²))", label: "Cantelli bound, 5-shot", short: "target Cantelli",
        source: "Cantelli, 1928", part: PartOf::Target, scale_free: true, standard_error: "over episodes",
    }
    TARGET_DIRECTIONAL_BOUND = "target_directional_bound":
        "Mean over episodes of the bound on the few-shot error of the nearest-mean head by the directional \
         CDNV, at most 1." {
        read: |assessment| assessment.few_shot.as_ref()?.directional_bound,
        symbol: "mean min(1, Σ_j 4 V_ij)", label: "bound by directional CDNV, 5-shot", short: "target dir. bound",
        source: "Chebyshev's inequality on the margins", part: PartOf::Target, scale_free: true,
        standard_error: "over episodes",
    }
}
