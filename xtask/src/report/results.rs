//! The runs of an experiment as their folders tell them, and which of them count.

use std::path::Path;

use anyhow::Result;

use crate::reproduce::experiment::{Experiment, Readout};
use crate::reproduce::measurement::{Measurement, Moment, Outcome};
use crate::reproduce::metric::Metric;
use crate::reproduce::store::{RunFolder, RunRecord, State};
use crate::reproduce::sweep::PlannedRun;

/// An experiment with what its runs measured.
pub(crate) struct Results {
    /// What was asked.
    pub(crate) experiment: Experiment,
    /// What came out, in the order of the plan.
    pub(crate) runs: Vec<Run>,
}

/// One run as its folder tells it.
pub(crate) struct Run {
    /// What it was to do.
    pub(crate) planned: PlannedRun,
    /// Whether it counts.
    pub(crate) standing: Standing,
    /// What it measured, in the order of training.
    pub(crate) measurements: Vec<Measurement>,
    /// Classes and images that it was trained on, once it ended.
    pub(crate) trained_on: Option<(usize, usize)>,
    /// Mean training loss at the end.
    pub(crate) final_loss: Option<f64>,
    /// Where and how long it was at work.
    pub(crate) record: Option<RunRecord>,
}

/// Whether a run counts, and if not, by which rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It counts.
    Counted,
    /// Its training loss ended above the stated share of ln k.
    UnderTrained {
        /// The share at which it ended.
        share: f64,
    },
    /// Its training loss, or a weight, was no longer a finite number.
    Diverged {
        /// The step at which it happened.
        step: usize,
    },
    /// It gave up.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was not started or was stopped.
    Unfinished,
}

impl Standing {
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

    /// The word with what led to it.
    pub(crate) fn explained(&self) -> String {
        match self {
            Self::Counted | Self::Unfinished => self.word().to_owned(),
            Self::UnderTrained { share } => format!("under-trained: the loss ended at {share:.2} ln k"),
            Self::Diverged { step } => format!("diverged at step {step}"),
            Self::Failed { reason } => format!("failed: {reason}"),
        }
    }
}

/// A run at the point of training at which it is compared with others.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// What it measured there.
    pub(crate) measurement: &'a Measurement,
}

impl Reading<'_> {
    /// The value of a metric there.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.measurement.value(metric)
    }
}

impl Results {
    /// Reads every planned run from `folder`; a run folder that cannot be read is listed as failed, never skipped.
    pub(crate) fn read(experiment: Experiment, planned: Vec<PlannedRun>, folder: &Path) -> Self {
        let limit = experiment.plan.rules.under_trained_above;
        let runs = planned.into_iter().map(|planned| Run::read(planned, folder, limit)).collect();
        Self { experiment, runs }
    }

    /// The runs of a sweep, or of all sweeps.
    pub(crate) fn of(&self, sweep: Option<&str>) -> Vec<&Run> {
        self.runs.iter().filter(|run| sweep.is_none_or(|sweep| run.planned.value_in(sweep).is_some())).collect()
    }

    /// The metrics that were measured, in the order of columns and tables.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let logged = |metric: &Metric| {
            let mut lines = self.runs.iter().flat_map(|run| &run.measurements);
            lines.any(|line| line.values.contains_key(metric))
        };
        Metric::ALL.into_iter().filter(logged).collect()
    }
}

impl Run {
    fn read(planned: PlannedRun, results: &Path, under_trained_above: f64) -> Self {
        let folder = RunFolder::of(results, &planned.key);
        let mut run = Self {
            planned,
            standing: Standing::Unfinished,
            measurements: Vec::new(),
            trained_on: None,
            final_loss: None,
            record: None,
        };
        if let Err(error) = run.fill(&folder, under_trained_above) {
            run.standing = Standing::Failed { reason: format!("{error:#}") };
        }
        run
    }

    fn fill(&mut self, folder: &RunFolder, under_trained_above: f64) -> Result<()> {
        let state = folder.state()?;
        folder.is_whole()?;
        self.measurements = folder.measurements()?;
        self.standing = match state {
            State::Unfinished => Standing::Unfinished,
            State::Failed(reason) => Standing::Failed { reason },
            State::Done(Outcome::Diverged { classes, images, step }) => {
                self.trained_on = Some((classes, images));
                Standing::Diverged { step }
            }
            State::Done(Outcome::Completed { classes, images, final_loss }) => {
                self.trained_on = Some((classes, images));
                self.final_loss = Some(final_loss);
                let share = final_loss / (classes as f64).ln();
                if share > under_trained_above { Standing::UnderTrained { share } } else { Standing::Counted }
            }
        };
        if matches!(self.standing, Standing::Counted | Standing::UnderTrained { .. } | Standing::Diverged { .. }) {
            self.record = Some(folder.record()?);
        }
        Ok(())
    }

    /// Whether verdicts rest on it.
    pub(crate) fn counts(&self) -> bool {
        self.standing == Standing::Counted
    }

    /// The measurements that the schedule asked for, with their shares of training.
    pub(crate) fn scheduled(&self) -> impl Iterator<Item = (f64, &Measurement)> {
        self.measurements.iter().filter_map(|measurement| match measurement.moment {
            Moment::Schedule { share } => Some((share, measurement)),
            Moment::LossLevel { .. } | Moment::EqualSteps => None,
        })
    }

    /// What was measured at the end of training.
    pub(crate) fn last(&self) -> Option<&Measurement> {
        self.scheduled().find(|(share, _)| *share == 1.0).map(|(_, measurement)| measurement)
    }

    /// What was measured after as many steps as the run with the largest batches takes.
    pub(crate) fn at_equal_steps(&self) -> Option<&Measurement> {
        self.measurements.iter().find(|measurement| measurement.moment == Moment::EqualSteps)
    }

    /// What was measured when the training loss first fell below this share of ln k.
    pub(crate) fn at_level(&self, wanted: f64) -> Option<&Measurement> {
        self.measurements
            .iter()
            .find(|measurement| matches!(measurement.moment, Moment::LossLevel { level } if level == wanted))
    }
}

/// The lowest level of training loss that every one of these runs reached.
pub(crate) fn common_level(runs: &[&Run], levels: &[f64]) -> Option<f64> {
    let reached = |level: &&f64| !runs.is_empty() && runs.iter().all(|run| run.at_level(**level).is_some());
    levels.iter().filter(reached).copied().min_by(f64::total_cmp)
}

/// The runs at the point at which a readout compares them; empty where there is no such point.
pub(crate) fn readings<'a>(runs: &[&'a Run], readout: Readout, levels: &[f64]) -> Vec<Reading<'a>> {
    let at = |run: &'a Run, measurement: Option<&'a Measurement>| Some(Reading { run, measurement: measurement? });
    match readout {
        Readout::EqualEpochs => runs.iter().filter_map(|run| at(run, run.last())).collect(),
        Readout::EqualSteps => runs.iter().filter_map(|run| at(run, run.at_equal_steps())).collect(),
        Readout::MatchedLoss => common_level(runs, levels)
            .map(|level| runs.iter().filter_map(|run| at(run, run.at_level(level))).collect())
            .unwrap_or_default(),
    }
}
