//! Transfer scores: predictions of the few-shot accuracy from labelled features alone.

mod h_score;
#[cfg(feature = "faer")]
mod log_me;
#[cfg(feature = "faer")]
mod rank;
#[cfg(feature = "faer")]
mod scores;
mod separation;

pub use h_score::{HScore, h_score};
#[cfg(feature = "faer")]
pub use log_me::{LogMe, log_me};
#[cfg(feature = "faer")]
pub use rank::{ScoreRank, TransferScore, rank_scores};
#[cfg(feature = "faer")]
pub use scores::{TransferScores, transfer_scores};
pub use separation::{Separation, separation};

use crate::class_rows::ClassRows;
use crate::{Error, FeatureView, Result};

/// The features `[n, p]` in f64, row-major.
fn matrix(features: FeatureView<'_>) -> Vec<f64> {
    let dimension = features.dimension();
    let mut rows = vec![0.0; features.samples() * dimension];
    for (sample, row) in rows.chunks_exact_mut(dimension).enumerate() {
        features.row_slice(sample).copy_to(row);
    }
    rows
}

/// The classes of the features; an error for a single class.
fn classes(features: FeatureView<'_>, quantity: &'static str) -> Result<Vec<ClassRows>> {
    let classes = ClassRows::of(features.labels());
    if classes.len() < 2 {
        let reason = "there is a single class, but at least two are needed".to_owned();
        return Err(Error::Undefined { quantity, reason });
    }
    Ok(classes)
}

#[cfg(feature = "faer")]
#[cfg(test)]
mod tests;
