//! The measures of runs: those of the registry in `assess`, with the words of a task.

use assess::PartOf;
pub(crate) use assess::{Measure as Metric, Scale, measures};

use crate::task::Task;

impl Task {
    /// Whether runs of this task measure it.
    pub(crate) fn measures(self, metric: Metric) -> bool {
        match self {
            // The accuracy on training classes is not what a transfer is about.
            Self::Transfer => metric != measures::TEST_ACCURACY,
            Self::Classification => metric.part() != PartOf::Target,
        }
    }

    /// The name of a measure for people. In a transfer, the training classes are called source classes.
    pub(crate) fn label_of(self, metric: Metric) -> &'static str {
        match self {
            Self::Transfer => metric.transfer_label(),
            Self::Classification => metric.label(),
        }
    }
}
