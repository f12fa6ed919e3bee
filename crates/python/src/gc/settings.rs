//! Settings of a measurement and of a penalty, from Python dictionaries.

use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use gc_core::{BatchNormMode, GeometricComplexity, InputUnits, Penalty, Population, Probe, Side};
use pyo3::prelude::*;
use serde::Deserialize;

use crate::arrays::to_array;
use crate::error::{Error, Result};
use crate::results::from_python;

/// The estimator of a measurement.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Estimator {
    /// All rows or columns.
    Exact,
    /// Random projections whose number is planned for this relative error.
    Planned { probe: Probe, until_rel: f64 },
    /// This number of random projections per sample.
    Projections { probe: Probe, probes: usize },
    /// This number of the rows.
    OutputSample { outputs: usize },
    /// Each entry with this probability.
    EntryMask { rate: f64 },
}

/// Every setting of [`GeometricComplexity`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    estimator: Estimator,
    by: Option<Side>,
    seed: u64,
    units: InputUnits,
    population: Population,
    batch_sample: Option<(usize, usize)>,
    pilot: Option<usize>,
    replicate: Option<usize>,
    chunk_bytes: Option<usize>,
    chunk_samples: Option<usize>,
    until_rel: Option<f64>,
    max_passes: Option<u64>,
    time_limit: Option<f64>,
    confidence: f64,
    per_sample: bool,
    per_class: bool,
}

impl Settings {
    pub(super) fn read(settings: &Bound<'_, PyAny>) -> Result<GeometricComplexity> {
        from_python::<Self>("settings", settings)?.build()
    }

    fn build(self) -> Result<GeometricComplexity> {
        let mut measure = match self.estimator {
            Estimator::Exact => GeometricComplexity::exact(),
            Estimator::Planned { probe, until_rel } => GeometricComplexity::planned(probe, until_rel),
            Estimator::Projections { probe, probes } => GeometricComplexity::projections(probe, probes),
            Estimator::OutputSample { outputs } => GeometricComplexity::output_sample(outputs),
            Estimator::EntryMask { rate } => GeometricComplexity::entry_mask(rate),
        };
        measure = measure.seed(self.seed).units(self.units).population(self.population).confidence(self.confidence);
        if let Some(side) = self.by {
            measure = measure.by(side);
        }
        if let Some((samples, of)) = self.batch_sample {
            measure = measure.batch_sample(samples, of);
        }
        if let Some(samples) = self.pilot {
            measure = measure.pilot(samples);
        }
        if let Some(samples) = self.replicate {
            measure = measure.replicate(samples);
        }
        if let Some(bytes) = self.chunk_bytes {
            measure = measure.chunk_bytes(bytes);
        }
        if let Some(samples) = self.chunk_samples {
            measure = measure.chunk_samples(samples);
        }
        if let Some(relative) = self.until_rel {
            measure = measure.until_relative_error(relative);
        }
        if let Some(passes) = self.max_passes {
            measure = measure.max_passes(passes);
        }
        if let Some(seconds) = self.time_limit {
            let limit = Duration::try_from_secs_f64(seconds)
                .map_err(|error| Error::Argument { argument: "time_limit", reason: error.to_string() })?;
            measure = measure.time_limit(limit);
        }
        if self.per_sample {
            measure = measure.per_sample();
        }
        if self.per_class {
            measure = measure.per_class();
        }
        Ok(measure)
    }
}

/// The cotangents `[n, p]` of one step of a penalty, and the divisor of the mean over them.
#[pyfunction]
pub(crate) fn penalty_probes<'py>(
    py: Python<'py>,
    shape: (usize, usize),
    double: bool,
    probe: &Bound<'py, PyAny>,
    probes: Option<usize>,
    mixes_samples: bool,
    address: (u64, u64),
) -> PyResult<(Vec<Bound<'py, PyAny>>, f64)> {
    let probe: Probe = from_python("probe", probe)?;
    let (seed, step) = address;
    let penalty = match probes {
        Some(probes) => Penalty::projections(probe, probes),
        None => Penalty::exact(),
    };
    let dtype = if double { DType::F64 } else { DType::F32 };
    let features = Tensor::zeros(shape, dtype, &Device::Cpu).map_err(Error::from)?;
    let mode = if mixes_samples { BatchNormMode::Training } else { BatchNormMode::Unstated };
    let drawn = penalty.seed(seed).probes(&features, mode, step).map_err(Error::from)?;
    let arrays: Result<Vec<_>> = drawn.cotangents().iter().map(|cotangent| to_array(py, cotangent)).collect();
    Ok((arrays?, drawn.gradient_factor() / 2.0))
}
