//! Collapse along training: the files hold the features of one network at several steps.

use anyhow::{Context, Result};
use collapse::{CollapseReport, ReportOptions, Trajectory};
use serde::Serialize;

use crate::output;
use crate::report::{Table, three_digits};

/// Reports along training, with the file of each step.
pub(super) struct TrainingPath {
    reports: Trajectory,
    /// The file of each step, in the order of the reports.
    files: Vec<(u64, String)>,
}

/// What `--json` writes.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    format: u32,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    step: u64,
    features: &'a str,
    collapse: &'a CollapseReport,
}

/// A column of the table.
type Column = (&'static str, fn(&CollapseReport) -> Option<f64>);

/// The measures in the table; the others are in the JSON.
const COLUMNS: [Column; 8] = [
    ("cdnv", |report| Some(report.cdnv.mean)),
    ("geometric_collapse", |report| report.geometric.mixture),
    ("nc1", |report| report.variability.nc1),
    ("equinorm", |report| report.simplex.equinorm),
    ("equiangularity", |report| report.simplex.equiangularity),
    ("self_duality", |report| report.head?.duality.difference),
    ("ncc_agreement", |report| Some(report.head?.agreement.share)),
    ("nearest_mean_error", |report| Some(report.nearest_mean.error)),
];

impl TrainingPath {
    pub(super) fn new() -> Self {
        Self { reports: Trajectory::new(ReportOptions::default()), files: Vec::new() }
    }

    /// Adds the report of one step.
    ///
    /// # Errors
    /// Features or classes of another number than those of the earlier steps.
    pub(super) fn add(&mut self, step: u64, file: String, report: CollapseReport) -> Result<()> {
        self.reports.insert(step, report).with_context(|| file.clone())?;
        self.files.push((step, file));
        Ok(())
    }

    pub(super) fn document(&self) -> Document<'_> {
        let file = |step: u64| self.files.iter().find(|(at, _)| *at == step).map_or("", |(_, file)| file);
        let steps = self.reports.points().iter();
        let steps = steps.map(|(step, collapse)| Step { step: *step, features: file(*step), collapse });
        Document { format: output::FORMAT, steps: steps.collect() }
    }

    /// One row a step, with the columns that are defined at any step.
    pub(super) fn table(&self) -> Table {
        let columns: Vec<_> = COLUMNS
            .iter()
            .map(|(name, value)| (*name, self.reports.series(value)))
            .filter(|(_, series)| !series.is_empty())
            .collect();
        let header = std::iter::once("step").chain(columns.iter().map(|(name, _)| *name));
        let cell = |series: &[(u64, f64)], step: u64| {
            let value = series.iter().find(|(at, _)| *at == step);
            value.map_or_else(|| "undefined".to_owned(), |(_, value)| three_digits(*value))
        };
        let row = |step: u64| {
            let cells = columns.iter().map(|(_, series)| cell(series, step));
            std::iter::once(step.to_string()).chain(cells).collect()
        };
        Table {
            caption: "Collapse along training".to_owned(),
            header: header.map(str::to_owned).collect(),
            rows: self.reports.points().iter().map(|(step, _)| row(*step)).collect(),
            summed: false,
        }
    }
}
