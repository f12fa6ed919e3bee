//! Loss and accuracy of the head in evaluation mode.

use super::{measures, reported_with_error};
use crate::{Direction, PartOf, Scale};

measures! {
    EVALUATION_LOSS = "evaluation_loss":
        "Mean cross-entropy in evaluation mode on the training images that are measured, without the GC penalty." {
        read: |assessment| assessment.train.loss,
        symbol: "L", label: "training loss in evaluation mode", short: "eval. loss",
        source: "cross-entropy", unit: "nats", direction: Some(Direction::Lower), scale_free: true,
        standard_error: "s/√n over images",
    }
    TEST_LOSS = "test_loss": "Mean cross-entropy in evaluation mode on test images of the training classes." {
        read: |assessment| assessment.test.as_ref()?.loss,
        symbol: "L", label: "test loss", short: "test loss",
        source: "cross-entropy", unit: "nats", direction: Some(Direction::Lower), part: PartOf::Test, scale_free: true,
        standard_error: "s/√n over images",
    }
    TRAIN_ACCURACY = "train_accuracy": "Accuracy of the trained classifier on the training images that are measured." {
        read: |assessment| assessment.train.accuracy,
        symbol: "P(head right)", label: "train accuracy", transfer_label: Some("source accuracy"), short: "train acc.",
        source: "share of correct decisions", scale: Scale::Percent, direction: Some(Direction::Higher), maximum: Some(1.0),
        scale_free: true, standard_error: "binomial",
    }
    TEST_ACCURACY = "test_accuracy": "Accuracy of the trained classifier on test images." {
        read: |assessment| assessment.test.as_ref()?.accuracy,
        symbol: "P(head right)", label: "test accuracy", short: "test acc.",
        source: "share of correct decisions", scale: Scale::Percent, direction: Some(Direction::Higher), maximum: Some(1.0),
        part: PartOf::Test, scale_free: true, standard_error: "binomial",
    }
    TRAIN_NEAREST_MEAN_ERROR = "train_nearest_mean_error":
        "Share of training images that are nearer to the mean of another class than to that of their own." {
        read: |assessment| reported_with_error(&assessment.train, |report| {
            (Some(report.nearest_mean.error), Some(report.nearest_mean.std_error))
        }),
        symbol: "P(nearest mean wrong)", label: "nearest-mean train error", transfer_label: Some("source nearest-mean error"),
        short: "NM train", source: "share of wrong decisions", direction: Some(Direction::Lower), maximum: Some(1.0),
        scale_free: true, standard_error: "binomial, with the means taken as exact",
    }
}
