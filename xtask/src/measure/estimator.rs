//! The estimator of GC, as the command-line flags choose it.

use std::time::Duration;

use clap::ValueEnum;
use gc_core::{Estimate, GeometricComplexity, InputUnits, Population, Probe, Side, Stopped};

use super::progress::PassBar;
use crate::arguments::{at_least_one, up_to};

/// How GC is estimated, and when the measurement stops.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Estimator")]
pub(crate) struct EstimatorArgs {
    /// How ‖∂f/∂x‖² of a sample is computed [default: exact; rows where --probes or --until-rel is given]
    #[arg(long, value_enum)]
    estimator: Option<EstimatorName>,
    /// Random directions for each sample (rows, columns), or outputs for each sample (output-sample)
    #[arg(long, value_name = "N", value_parser = up_to::<1_000_000>)]
    probes: Option<usize>,
    /// Kind of random direction (rows, columns) [default: rademacher]
    #[arg(long, value_enum)]
    probe: Option<ProbeName>,
    /// Share of the Jacobian's entries that entry-mask keeps [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = positive_share)]
    rate: Option<f64>,
    /// Samples on which GC is measured, drawn by the seed; the collapse measures take all [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) samples: Option<usize>,
    /// What the standard error covers: the distribution that the samples come from, or the chosen samples and no others
    #[arg(long, value_enum, default_value_t)]
    population: PopulationName,
    /// Stop at this standard error, relative to the value
    #[arg(long, value_name = "SHARE", value_parser = inner_share)]
    until_rel: Option<f64>,
    /// Stop before this many passes, each of one sample through the network
    #[arg(long, value_name = "N")]
    max_passes: Option<u64>,
    /// Stop after this many seconds
    #[arg(long, value_name = "S", value_parser = up_to::<100_000_000>)]
    max_seconds: Option<usize>,
    /// Memory that activations and gradients may take, in MB
    #[arg(long, value_name = "MB", default_value_t = 512)]
    budget_mb: usize,
    /// Seed of every draw
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = crate::arguments::seed, allow_negative_numbers = true)]
    pub(super) seed: u64,
}

/// The share of entries without --rate.
const RATE: f64 = 0.1;

/// A share above 0 and at most 1.
fn positive_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "expected a share above 0 and at most 1".to_owned())
}

/// A share between 0 and 1, both excluded.
fn inner_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "expected a share between 0 and 1, both excluded".to_owned())
}

/// The flag that caused an error.
pub(super) fn flag(error: &gc_core::Error) -> Option<&'static str> {
    use gc_core::Error::{MemoryBudget, PassBudget, Setting};
    match error {
        MemoryBudget { .. } => Some("--budget-mb"),
        PassBudget { .. } => Some("--max-passes"),
        Setting { name: "output_sample" | "Probe::Orthogonal", .. } => Some("--probes"),
        Setting { name: "InputUnits::Pixel", .. } => Some("--std"),
        _ => None,
    }
}

/// The estimators of the paper's Fig. 2 (`exact`, `output-sample`, `entry-mask`) and random projections.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum EstimatorName {
    /// Every row, or every column, whichever is fewer passes
    Exact,
    /// Squared norms of Jᵀv, reverse mode
    Rows,
    /// Squared norms of J u, forward mode
    Columns,
    /// Outputs of each sample, drawn without replacement
    OutputSample,
    /// Each entry of the Jacobian with a given probability
    EntryMask,
}

/// [`Population`] on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, ValueEnum)]
enum PopulationName {
    /// GC(f, Q): the samples are random draws from a distribution, and the error includes their choice
    #[default]
    Distribution,
    /// GC(f, D): the chosen samples themselves; an exact measurement has no error
    DataSet,
}

/// [`Probe`] on the command line.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ProbeName {
    #[default]
    Rademacher,
    Gaussian,
    Sphere,
    /// Mutually orthogonal within a sample
    Orthogonal,
}

impl EstimatorArgs {
    /// Whether the measurement may end before all samples are measured, so that their order matters.
    pub(crate) fn may_stop(&self) -> bool {
        self.until_rel.is_some() || self.max_passes.is_some() || self.max_seconds.is_some()
    }

    /// The bar of a measurement of at most this number of samples.
    pub(crate) fn bar(&self, samples: usize) -> PassBar {
        PassBar::new(samples, self.until_rel, self.max_passes)
    }

    /// The settings for a measurement of this number of samples.
    pub(crate) fn settings(&self, units: InputUnits, samples: usize) -> GeometricComplexity {
        let probes = self.probes.unwrap_or(1);
        let probe = match self.probe.unwrap_or_default() {
            ProbeName::Rademacher => Probe::Rademacher,
            ProbeName::Gaussian => Probe::Gaussian,
            ProbeName::Sphere => Probe::Sphere,
            ProbeName::Orthogonal => Probe::Orthogonal { block: probes },
        };
        let mut settings = match (self.estimator(), self.until_rel, self.probes) {
            (EstimatorName::Exact, ..) => GeometricComplexity::exact(),
            (EstimatorName::OutputSample, ..) => GeometricComplexity::output_sample(probes),
            (EstimatorName::EntryMask, ..) => GeometricComplexity::entry_mask(self.rate.unwrap_or(RATE)),
            // Without --probes, a pilot chooses the number of probes with the least cost.
            (EstimatorName::Rows, Some(error), None) => GeometricComplexity::planned(probe, error),
            (EstimatorName::Columns, Some(error), None) => GeometricComplexity::planned(probe, error).by(Side::Columns),
            (EstimatorName::Rows, ..) => GeometricComplexity::projections(probe, probes),
            (EstimatorName::Columns, ..) => GeometricComplexity::projections(probe, probes).by(Side::Columns),
        };
        settings = settings.seed(self.seed).units(units).chunk_bytes(self.budget_mb.saturating_mul(1_000_000));
        if self.population == PopulationName::DataSet {
            settings = settings.population(Population::DataSet { size: samples });
        }
        if let Some(error) = self.until_rel {
            settings = settings.until_relative_error(error);
        }
        if let Some(passes) = self.max_passes {
            settings = settings.max_passes(passes);
        }
        match self.max_seconds {
            Some(seconds) => settings.time_limit(Duration::from_secs(seconds as u64)),
            None => settings,
        }
    }

    /// A note on flags that the estimator ignores.
    pub(crate) fn unused(&self) -> Option<String> {
        use EstimatorName::{Columns, EntryMask, Exact, OutputSample, Rows};
        let estimator = self.estimator();
        let unused = [
            (
                matches!(estimator, Exact | EntryMask) && self.probes.is_some(),
                "--probes",
                "exact and entry-mask use every output",
            ),
            (
                matches!(estimator, Exact | EntryMask | OutputSample) && self.probe.is_some(),
                "--probe",
                "only rows and columns draw directions",
            ),
            (
                matches!(estimator, Exact | Rows | Columns | OutputSample) && self.rate.is_some(),
                "--rate",
                "only entry-mask keeps a share of the entries",
            ),
        ];
        let reasons = unused.iter().filter(|(unused, ..)| *unused);
        let reasons: Vec<String> = reasons.map(|(_, flag, reason)| format!("{flag} is ignored: {reason}")).collect();
        (!reasons.is_empty()).then(|| format!("note: {}", reasons.join("; ")))
    }

    /// A note where the measurement ended before the standard error of --until-rel was reached.
    pub(crate) fn unreached(&self, gc: &Estimate) -> Option<String> {
        let target = self.until_rel.filter(|_| gc.stopped != Stopped::RelativeError)?;
        let reached = gc.relative_error().map_or_else(|| "unknown".to_owned(), |reached| format!("{reached:.3e}"));
        // Exhausted data end the measurement before the stopping rule is checked, which may hold all the same.
        if gc.relative_error().is_some_and(|reached| reached <= target) {
            return None;
        }
        let advice = match (gc.stopped, self.population) {
            (Stopped::DataExhausted, PopulationName::Distribution) => {
                "there are no more samples; take more of them, or --population data-set for these alone"
            }
            (Stopped::DataExhausted, PopulationName::DataSet) => "there are no more samples; take more --probes",
            _ => "the limit on passes or seconds came first",
        };
        Some(format!("note: the relative standard error is {reached}, not the {target} of --until-rel: {advice}"))
    }

    fn estimator(&self) -> EstimatorName {
        let cheap = self.probes.is_some() || self.until_rel.is_some();
        self.estimator.unwrap_or(if cheap { EstimatorName::Rows } else { EstimatorName::Exact })
    }
}
