//! The estimator that the flags ask for.

use std::time::Duration;

use clap::ValueEnum;
use gc_core::{GeometricComplexity, InputUnits, Probe, Side};

use crate::reproduce::at_least_one;

/// How GC is estimated, and when measuring stops.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Estimator")]
pub(crate) struct EstimatorArgs {
    /// How ‖∂f/∂x‖² of a sample is obtained [default: exact; rows where --probes or --until-rel is given]
    #[arg(long, value_enum)]
    estimator: Option<EstimatorName>,
    /// Random directions a sample of rows or columns, or outputs a sample of output-sample
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    probes: Option<usize>,
    /// Kind of random direction
    #[arg(long, value_enum, default_value_t)]
    probe: ProbeName,
    /// Share of the Jacobian's entries that entry-mask keeps
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    rate: f64,
    /// Samples to measure, drawn by the seed [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) samples: Option<usize>,
    /// Stop at this relative standard error
    #[arg(long, value_name = "SHARE")]
    until_rel: Option<f64>,
    /// Stop before this many passes of a sample through the network
    #[arg(long, value_name = "N")]
    max_passes: Option<u64>,
    /// Stop after this many seconds
    #[arg(long, value_name = "S", value_parser = at_least_one)]
    max_seconds: Option<usize>,
    /// Memory that activations and gradients may take, in MB
    #[arg(long, value_name = "MB", default_value_t = 512)]
    budget_mb: usize,
    /// Seed of every draw
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(super) seed: u64,
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
    /// Some outputs of each sample, drawn without replacement
    OutputSample,
    /// Each entry of the Jacobian with a given probability
    EntryMask,
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
    /// Whether measuring may end before all samples are measured, so that their order matters.
    pub(crate) fn may_stop(&self) -> bool {
        self.until_rel.is_some() || self.max_passes.is_some() || self.max_seconds.is_some()
    }

    /// The measurement, without what only the data decide.
    pub(crate) fn settings(&self, units: InputUnits) -> GeometricComplexity {
        let probes = self.probes.unwrap_or(1);
        let probe = match self.probe {
            ProbeName::Rademacher => Probe::Rademacher,
            ProbeName::Gaussian => Probe::Gaussian,
            ProbeName::Sphere => Probe::Sphere,
            ProbeName::Orthogonal => Probe::Orthogonal { block: probes },
        };
        let mut settings = match (self.estimator(), self.until_rel, self.probes) {
            (EstimatorName::Exact, ..) => GeometricComplexity::exact(),
            (EstimatorName::OutputSample, ..) => GeometricComplexity::output_sample(probes),
            (EstimatorName::EntryMask, ..) => GeometricComplexity::entry_mask(self.rate),
            // Without a number of probes, a pilot finds the one that costs least.
            (EstimatorName::Rows, Some(error), None) => GeometricComplexity::planned(probe, error),
            (EstimatorName::Columns, Some(error), None) => GeometricComplexity::planned(probe, error).by(Side::Columns),
            (EstimatorName::Rows, ..) => GeometricComplexity::projections(probe, probes),
            (EstimatorName::Columns, ..) => GeometricComplexity::projections(probe, probes).by(Side::Columns),
        };
        settings = settings.seed(self.seed).units(units).chunk_bytes(self.budget_mb.saturating_mul(1_000_000));
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

    fn estimator(&self) -> EstimatorName {
        let cheap = self.probes.is_some() || self.until_rel.is_some();
        self.estimator.unwrap_or(if cheap { EstimatorName::Rows } else { EstimatorName::Exact })
    }
}
