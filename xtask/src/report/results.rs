//! The runs of an experiment, read from their folders, and which of them count.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::interpolation::{Point, at_loss};
use crate::study::experiment::{ComparisonPoint, Experiment};
use crate::study::frozen::{self, Frozen};
use crate::study::measurement::{LayerMeasures, Measurement, MeasuringPoint, RunOutcome};
use crate::study::metric::{Metric, measures};
use crate::study::store::{RunFolder, RunProvenance, RunState, Verified};
use crate::study::sweep::PlannedRun;

/// An experiment with the results of its runs.
pub(crate) struct Results {
    /// The experiment.
    pub(crate) experiment: Experiment,
    /// The experiment file, compared with that before the first run.
    pub(crate) frozen: Frozen,
    /// The runs, in the order of the plan.
    pub(crate) runs: Vec<Run>,
}

/// One run, read from its folder.
pub(crate) struct Run {
    /// Its plan.
    pub(crate) planned: PlannedRun,
    /// Whether it counts in verdicts.
    pub(crate) status: RunStatus,
    /// Its measurements, in the order of training.
    pub(crate) measurements: Vec<Measurement>,
    /// Numbers of classes and of training images, if it is done.
    pub(crate) trained_on: Option<(usize, usize)>,
    /// Mean training loss at the end.
    pub(crate) final_loss: Option<f64>,
    /// Its provenance, if it is done.
    pub(crate) record: Option<RunProvenance>,
    /// Whether its results are signed.
    pub(crate) verified: Verified,
}

/// Whether a run counts in verdicts, and if not, why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RunStatus {
    /// The run counts.
    Counted,
    /// The training loss in evaluation mode ends above the share of ln k in the rules.
    UnderTrained {
        /// This loss as a share of ln k.
        share: f64,
    },
    /// The training loss, a gradient, or the features were not finite.
    Diverged {
        /// Steps taken before.
        step: usize,
    },
    /// The run ended with an error, or its results cannot be used.
    Failed {
        /// The error.
        reason: String,
    },
    /// The run was not started, or was stopped before its end.
    Unfinished,
}

impl RunStatus {
    /// The word in tables and CSV.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::UnderTrained { .. } => "under-trained",
            Self::Diverged { .. } => "diverged",
            Self::Failed { .. } => "failed",
            Self::Unfinished => "unfinished",
        }
    }

    /// The word with its reason.
    pub(crate) fn explained(&self) -> String {
        match self {
            Self::Counted | Self::Unfinished => self.word().to_owned(),
            Self::UnderTrained { share } => format!("under-trained: the loss ended at {share:.2} ln k"),
            Self::Diverged { step } => format!("diverged at step {step}"),
            Self::Failed { reason } => format!("failed: {reason}"),
        }
    }
}

/// A run at its comparison point.
#[derive(Clone, Copy)]
pub(crate) struct ComparedRun<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// Its measurements there.
    at: Point<'a>,
}

impl ComparedRun<'_> {
    /// The value of a metric there.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.at.value(metric)
    }

    /// Mean training loss over the last window of images there.
    pub(crate) fn train_loss(&self) -> Option<f64> {
        self.at.train_loss()
    }
}

impl Results {
    /// Reads every planned run from `folder`. A run whose results cannot be used is listed as failed.
    ///
    /// # Errors
    /// An experiment that is not TOML.
    pub(crate) fn read(experiment: Experiment, planned: Vec<PlannedRun>, folder: &Path) -> Result<Self> {
        let limit = experiment.plan.rules.under_trained_above;
        let runs = planned.into_iter().map(|planned| Run::read(planned, folder, limit)).collect();
        let frozen = frozen::compare(folder, &experiment.to_toml()?);
        Ok(Self { experiment, frozen, runs })
    }

    /// The runs of a sweep, or of all sweeps.
    pub(crate) fn of(&self, sweep: Option<&str>) -> Vec<&Run> {
        self.runs.iter().filter(|run| sweep.is_none_or(|sweep| run.planned.value_in(sweep).is_some())).collect()
    }

    /// Number of runs whose results have no signature, because an earlier version wrote them.
    pub(crate) fn unsigned(&self) -> usize {
        self.runs.iter().filter(|run| run.verified == Verified::Unsigned).count()
    }

    /// The measured metrics, in the order of columns and tables.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        // One walk over the lines: a search for each metric would read all of them for every one that was not measured.
        let measured: HashSet<&str> =
            self.lines().flat_map(|line| line.values.keys()).map(|metric| metric.key()).collect();
        Metric::all().into_iter().filter(|metric| measured.contains(metric.key())).collect()
    }

    /// Whether a run measured this metric.
    pub(crate) fn has(&self, metric: Metric) -> bool {
        self.lines().any(|line| line.values.contains_key(&metric))
    }

    /// The measurements of all runs.
    fn lines(&self) -> impl Iterator<Item = &Measurement> {
        self.runs.iter().flat_map(|run| &run.measurements)
    }
}

impl Run {
    fn read(planned: PlannedRun, results: &Path, under_trained_above: f64) -> Self {
        let folder = RunFolder::of(results, &planned.key);
        let mut run = Self {
            planned,
            status: RunStatus::Unfinished,
            measurements: Vec::new(),
            trained_on: None,
            final_loss: None,
            record: None,
            verified: Verified::Unfinished,
        };
        if let Err(error) = run.fill(&folder, under_trained_above) {
            run.status = RunStatus::Failed { reason: format!("{error:#}") };
        }
        run
    }

    fn fill(&mut self, folder: &RunFolder, under_trained_above: f64) -> Result<()> {
        let state = folder.state()?;
        self.verified = folder.verify(&self.planned.configuration)?;
        self.measurements = folder.measurements()?;
        self.status = match state {
            RunState::Unfinished => RunStatus::Unfinished,
            RunState::Failed(reason) => RunStatus::Failed { reason },
            RunState::Done(RunOutcome::Diverged { classes, images, step }) => {
                self.trained_on = Some((classes, images));
                RunStatus::Diverged { step }
            }
            RunState::Done(RunOutcome::Completed { classes, images, final_loss }) => {
                self.trained_on = Some((classes, images));
                self.final_loss = Some(final_loss);
                match self.final_share() {
                    Some(share) if share > under_trained_above => RunStatus::UnderTrained { share },
                    _ => RunStatus::Counted,
                }
            }
        };
        if matches!(self.status, RunStatus::Counted | RunStatus::UnderTrained { .. } | RunStatus::Diverged { .. }) {
            self.record = Some(folder.record()?);
        }
        Ok(())
    }

    /// The training loss in evaluation mode at the end of training as a share of ln k, the loss of a uniform guess among k
    /// classes. Where earlier versions did not measure it: the mean training loss of the last steps.
    pub(crate) fn final_share(&self) -> Option<f64> {
        let (classes, _) = self.trained_on?;
        let loss = self.last().and_then(|last| last.value(measures::EVALUATION_LOSS)).or(self.final_loss)?;
        Some(loss / (classes as f64).ln())
    }

    /// Whether it counts in verdicts.
    pub(crate) fn counts(&self) -> bool {
        self.status == RunStatus::Counted
    }

    /// The measurements at the points of the schedule, with their shares of training.
    pub(crate) fn scheduled(&self) -> impl Iterator<Item = (f64, &Measurement)> {
        self.measurements.iter().filter_map(|measurement| match measurement.measuring_point {
            MeasuringPoint::Schedule { share } => Some((share, measurement)),
            MeasuringPoint::LossLevel { .. } | MeasuringPoint::EqualSteps => None,
        })
    }

    /// The measures of single layers at the end of training.
    pub(crate) fn layers(&self) -> &[LayerMeasures] {
        self.last().map_or(&[], |measurement| &measurement.layers)
    }

    /// The measurement of the initial network.
    pub(crate) fn initial(&self) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.step == 0)
    }

    /// The measurement at the end of training.
    pub(crate) fn last(&self) -> Option<&Measurement> {
        self.scheduled().find(|(share, _)| *share == 1.0).map(|(_, measurement)| measurement)
    }

    /// The measurement after the number of steps of the run with the largest batches.
    pub(crate) fn at_equal_steps(&self) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.measuring_point == MeasuringPoint::EqualSteps)
    }

    /// The point at which the evaluation loss first falls to this share of ln k; none if it never does.
    fn at_level(&self, level: f64) -> Option<Point<'_>> {
        let (classes, _) = self.trained_on?;
        let losses: Vec<(&Measurement, f64)> = self
            .in_order()
            .into_iter()
            .filter_map(|measurement| Some((measurement, measurement.value(measures::EVALUATION_LOSS)?)))
            .collect();
        at_loss(&losses, level * (classes as f64).ln())
    }

    /// One measurement for each measured step, in the order of steps.
    fn in_order(&self) -> Vec<&Measurement> {
        let mut ordered: Vec<&Measurement> = self.measurements.iter().collect();
        ordered.sort_by_key(|measurement| measurement.step);
        ordered.dedup_by_key(|measurement| measurement.step);
        ordered
    }
}

/// The runs at a comparison point, without those that do not reach it. `level` is the evaluation loss at which runs are
/// compared at equal loss, as a share of ln k.
pub(crate) fn compared_runs<'a>(runs: &[&'a Run], comparison: ComparisonPoint, level: f64) -> Vec<ComparedRun<'a>> {
    let at = |run: &&'a Run| {
        let run = *run;
        let at = match comparison {
            ComparisonPoint::EqualEpochs => Point::Measured(run.last()?),
            ComparisonPoint::EqualSteps => Point::Measured(run.at_equal_steps()?),
            ComparisonPoint::EqualLoss => run.at_level(level)?,
        };
        Some(ComparedRun { run, at })
    };
    runs.iter().filter_map(at).collect()
}
