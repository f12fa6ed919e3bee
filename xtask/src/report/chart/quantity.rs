//! The quantities of panels along training: the training loss, and metrics.

use super::better::Better;
use crate::report::results::Results;
use crate::study::measurement::Measurement;
use crate::study::metric::{Metric, Scale, measures};
use crate::task::Task;

/// The quantity of a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// The running mean of the training loss.
    TrainLoss,
    /// A metric.
    Metric(Metric),
}

impl Quantity {
    /// The rows of the page: the training loss, in evaluation mode if it was measured so; the rows of the experiment file; and
    /// NC of the training classes beside GC if the file does not name it.
    pub(super) fn rows(results: &Results) -> Vec<Self> {
        let mut metrics = results.experiment.plan.report.rows.clone();
        if !metrics.contains(&measures::NC) {
            let after_gc = metrics.iter().position(|metric| *metric == measures::GC).map_or(metrics.len(), |at| at + 1);
            metrics.insert(after_gc, measures::NC);
        }
        let in_evaluation_mode = results.has(measures::EVALUATION_LOSS);
        if in_evaluation_mode && !metrics.contains(&measures::EVALUATION_LOSS) {
            metrics.insert(0, measures::EVALUATION_LOSS);
        }
        let running = (!in_evaluation_mode).then_some(Self::TrainLoss);
        running.into_iter().chain(metrics.into_iter().map(Self::Metric)).collect()
    }

    /// Whether the experiment file names it as a row of the paper's figure.
    pub(super) fn in_figure(self, results: &Results) -> bool {
        matches!(self, Self::Metric(metric) if results.experiment.plan.report.rows.contains(&metric))
    }

    /// The part of an element's id.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TrainLoss => "train_loss",
            Self::Metric(metric) => metric.key(),
        }
    }

    /// The name for people.
    pub(super) fn label(self, task: Task) -> &'static str {
        match self {
            Self::TrainLoss => "training loss",
            Self::Metric(metric) => task.label_of(metric),
        }
    }

    /// The scale of its axis.
    pub(super) fn scale(self) -> Scale {
        match self {
            Self::TrainLoss => Scale::Linear,
            Self::Metric(metric) => metric.scale(),
        }
    }

    /// The direction in which it is better.
    pub(super) fn better(self) -> Option<Better> {
        match self {
            Self::TrainLoss => Some(Better::Lower),
            Self::Metric(metric) => Better::of(metric),
        }
    }

    /// Its value at a measuring point.
    pub(super) fn value(self, measurement: &Measurement) -> Option<f64> {
        match self {
            Self::TrainLoss => measurement.train_loss,
            Self::Metric(metric) => measurement.value(metric),
        }
    }
}
