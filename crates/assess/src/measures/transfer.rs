//! Transfer scores: predictions of the few-shot accuracy from labelled features alone.

use fewshot::TransferScores;

use super::measures;
use crate::{Assessment, Direction, Measured, Needs, PartOf, Scale};

/// A transfer score, which may be undefined.
fn score(assessment: &Assessment, value: fn(&TransferScores) -> f64) -> Option<Measured> {
    let transfer = assessment.transfer.as_ref()?;
    Some(Measured::maybe(transfer.scores.as_ref().map(value), None, transfer.samples))
}

measures! {
    LOG_ME = "log_me": "LogME: the log evidence per image of a Bayesian linear model of the labels." {
        read: |assessment| score(assessment, |scores| scores.log_me.value),
        symbol: "LogME", label: "LogME", short: "LogME",
        source: "You, Liu, Wang and Long, 2021 (arXiv 2102.11005), equation 2", unit: "nats", scale: Scale::Linear,
        direction: Some(Direction::Higher), part: PartOf::Target, scale_free: true, needs: Some(Needs::TransferScores),
    }
    H_SCORE = "h_score": "H-score tr(Σ⁻¹ Σ_B) with a shrunk covariance." {
        read: |assessment| score(assessment, |scores| scores.h_score.value),
        symbol: "H", label: "H-score", short: "H-score",
        source: "Bao et al., 2019, with the shrinkage of Ibrahim, Ponomareva and Mazumder, 2021 (arXiv 2110.06893)",
        scale: Scale::Linear, direction: Some(Direction::Higher), part: PartOf::Target, scale_free: true, needs: Some(Needs::TransferScores),
    }
    SEPARATION = "separation": "Class separation by the CDNV; higher is better." {
        read: |assessment| score(assessment, |scores| scores.separation.value),
        symbol: "separation", label: "class separation", short: "separation",
        source: "Galanti, György and Hutter, 2022 (arXiv 2112.15121)", scale: Scale::Linear,
        direction: Some(Direction::Higher), part: PartOf::Target, scale_free: true, needs: Some(Needs::TransferScores),
    }
}
