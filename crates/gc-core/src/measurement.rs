//! One measurement: chunks are estimated and accumulated until a stopping rule holds.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Instant;

use candle_core::Tensor;
use statistics::SkewnessCorrection;

use crate::batch::{Batch, Chunk, Chunks};
use crate::covariates::{self, Covariate};
use crate::derivative_check::{Comparison, SAMPLES};
use crate::estimate::relative;
use crate::estimators::{Estimator, Task};
use crate::inspection::{Inspection, inspect};
use crate::moments::{ErrorOfMean, Moments, SampleEstimate};
use crate::plan::{Pilot, Plan};
use crate::progress::Watch;
use crate::regression::CrossFit;
use crate::tensors::check_finite;
use crate::{
    BatchNormMode, ChunkReport, ClassEstimate, Derivatives, Error, Estimate, FeatureMap, GeometricComplexity, Interval,
    Method, Passes, Population, Quantity, Regression, Result, Side, Stopped, TrackedWeights,
};

/// The smallest number of samples from which a relative error is estimated to stop by it.
const FEWEST: usize = 32;
/// The same with a regression, whose pilot has several probes per sample.
const FEWEST_REGRESSED: usize = 20;

/// A measurement in progress.
pub(crate) struct Measurement<'a, I> {
    settings: &'a GeometricComplexity,
    batch_norm: BatchNormMode,
    chunks: Chunks<I>,
    task: Task<'a>,
    method: Method,
    chunk: ChunkReport,
    probes: usize,
    plan: Option<Plan>,
    passes: Passes,
    moments: Moments,
    /// The regression on covariates of the inputs, if one was requested.
    fit: Option<CrossFit>,
    classes: BTreeMap<u32, Moments>,
    per_sample: Vec<f64>,
    largest: f64,
    derivatives: Derivatives,
    tracked_weights: Option<TrackedWeights>,
    started: Instant,
}

impl<'a, I, B, E> Measurement<'a, I>
where
    I: Iterator<Item = std::result::Result<B, E>>,
    B: Into<Batch>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Inspects the map on the first samples, checks its derivatives, and sets what depends on its sizes.
    pub(crate) fn new(
        settings: &'a GeometricComplexity,
        map: &'a dyn FeatureMap,
        batch_norm: BatchNormMode,
        mut chunks: Chunks<I>,
        watch: Watch<'a>,
    ) -> Result<Self> {
        let started = Instant::now();
        let first = chunks.peek(2)?;
        let resolve = |inputs, outputs| settings.estimator.resolve(settings.first_probes(), map, inputs, outputs);
        let seen = inspect(map, &first, |inputs, outputs| Ok(resolve(inputs, outputs)?.side()))?;
        let method = resolve(seen.inputs, seen.outputs)?;
        let derivatives = match unchecked(settings, map, &seen) {
            Some(reason) => reason,
            None => check_derivatives(settings.seed, map, method.side(), &chunks.peek(SAMPLES)?)?,
        };
        let rows_in_budget = settings.chunk_bytes / seen.bytes_per_sample.max(1);
        if rows_in_budget == 0 {
            return Err(Error::MemoryBudget { needed: seen.bytes_per_sample, budget: settings.chunk_bytes });
        }
        let samples = rows_in_budget.min(settings.chunk_samples);
        let (inputs, outputs) = (seen.inputs, seen.outputs);
        Ok(Self {
            settings,
            batch_norm,
            chunks,
            task: Task {
                map,
                units: &settings.units,
                seed: settings.seed,
                inputs,
                outputs,
                rows_in_budget,
                has_linearization: seen.has_linearization,
                passes_limited: settings.max_passes.is_some(),
                watch,
            },
            method,
            chunk: ChunkReport { samples, bytes_per_sample: seen.bytes_per_sample },
            probes: settings.probes,
            plan: None,
            passes: Passes::default(),
            moments: Moments::default(),
            fit: settings.regression.then(CrossFit::default),
            classes: BTreeMap::new(),
            per_sample: Vec::new(),
            largest: 0.0,
            derivatives,
            tracked_weights: seen.tracked_weights,
            started,
        })
    }

    /// Measures until a stopping rule holds or the stream ends.
    pub(crate) fn finish(mut self) -> Result<Estimate> {
        loop {
            let step = self.next_step();
            let samples = match self.affordable(step.probes)? {
                Some(0) => return self.estimate(Stopped::Passes),
                Some(affordable) => step.samples.min(affordable),
                None => step.samples,
            };
            let Some(chunk) = self.chunks.next(samples)? else {
                return self.estimate(Stopped::DataExhausted);
            };
            self.add(&chunk, step.probes)?;
            let stopped = self.stopped()?;
            // A further plan would be that of samples that are not measured.
            if stopped.is_none() || self.plan.is_none() {
                self.plan_if_due()?;
            }
            self.report();
            if let Some(stopped) = stopped {
                return self.estimate(stopped);
            }
        }
    }

    /// The number of samples of the next chunk, and of probes for each.
    fn next_step(&self) -> Step {
        let done = self.moments.count();
        let replicated = self.settings.replicated();
        if done < replicated {
            let samples = (replicated - done).min(self.chunk.samples);
            return Step { samples, probes: self.settings.first_probes() };
        }
        let samples = self.plan.as_ref().map_or(self.chunk.samples, |plan| {
            // Small chunks are slow, and large ones measure more samples than needed.
            let fewest = (done / 32).clamp(4, FEWEST);
            let before_the_next_plan = (2 * plan.pilot_samples).saturating_sub(done).max(1);
            plan.samples.saturating_sub(done).max(fewest).min(before_the_next_plan)
        });
        Step { samples: samples.min(self.chunk.samples), probes: self.probes }
    }

    /// The number of samples that the pass budget still allows; `None` without a budget.
    fn affordable(&self, probes: usize) -> Result<Option<usize>> {
        let Some(budget) = self.settings.max_passes else { return Ok(None) };
        let needed = self.cost(probes);
        let left = budget.saturating_sub(self.passes.total());
        if self.moments.count() == 0 && left < needed {
            return Err(Error::PassBudget { needed, budget });
        }
        Ok(Some((left / needed) as usize))
    }

    /// The largest number of passes of one sample.
    fn cost(&self, probes: usize) -> u64 {
        self.method.cost(self.method.directions(probes, self.task.inputs, self.task.outputs))
    }

    /// Reports the samples so far.
    fn report(&self) {
        let step = self.next_step();
        self.task.watch.report(|progress| {
            progress.samples = self.moments.count();
            progress.complete_passes = self.passes.total();
            progress.passes_per_sample = self.cost(step.probes);
            progress.relative_error = self.relative_error();
            progress.plan = self.plan.clone();
        });
    }

    /// The relative standard error so far.
    fn relative_error(&self) -> Option<f64> {
        let error = self.error_of_mean();
        error.standard_error.total.and_then(|total| relative(self.moments.mean(), total))
    }

    fn add(&mut self, chunk: &Chunk, probes: usize) -> Result<()> {
        check_finite(&chunk.inputs, &chunk.indices, Quantity::Inputs, || None)?;
        let cost = self.cost(probes);
        self.task.watch.report(|progress| progress.passes_per_sample = cost);
        let (estimates, passes) = self.method.estimate(&self.task, chunk, probes)?;
        self.passes.add(passes);
        if let Some(fit) = &mut self.fit {
            let rows = covariates::of_inputs(&chunk.inputs)?;
            rows.iter().zip(&estimates).for_each(|(row, estimate)| fit.push(row, estimate.value));
        }
        for (row, estimate) in estimates.into_iter().enumerate() {
            self.push(estimate, chunk.labels.as_ref().map(|labels| labels[row]));
        }
        Ok(())
    }

    fn push(&mut self, estimate: SampleEstimate, label: Option<u32>) {
        self.moments.push(estimate);
        self.largest = self.largest.max(estimate.value);
        if self.settings.per_sample {
            self.per_sample.push(estimate.value);
        }
        if let Some(label) = label.filter(|_| self.settings.per_class) {
            self.classes.entry(label).or_default().push(estimate);
        }
    }

    /// Whether the split between samples and probes is to be planned now: once the pilot is complete, each time that the samples have
    /// doubled, because a small pilot estimates the variances badly, and where the planned number did not reach the error.
    fn plan_is_due(&self) -> bool {
        let done = self.moments.count();
        match &self.plan {
            None => done >= self.settings.replicated(),
            Some(plan) => done >= plan.samples.min(2 * plan.pilot_samples),
        }
    }

    /// Plans the split between samples and probes where that is due.
    fn plan_if_due(&mut self) -> Result<()> {
        let Some(target) = self.settings.planned else { return Ok(()) };
        let (true, Estimator::Projections(side, probe)) = (self.plan_is_due(), self.settings.estimator) else {
            return Ok(());
        };
        let probes = self.settings.first_probes();
        let variance = match &self.fit {
            Some(fit) => fit.residuals().map(|residuals| residuals.variance),
            None => self.moments.variance(),
        };
        let plan = Pilot {
            samples: self.moments.count(),
            probes,
            mean: self.moments.mean(),
            variance: variance.unwrap_or(0.0),
            replicate_variance: self.moments.replicate_variance().unwrap_or(0.0),
            replicates: self.moments.replicates(),
            passes: self.passes.total(),
            target,
            population: self.settings.population,
            method: self.method,
            block: probe.block(),
            dimension: if side == Side::Rows { self.task.outputs } else { self.task.inputs },
        }
        .plan();
        self.probes = plan.probes;
        self.plan = Some(plan);
        Ok(())
    }

    /// The standard error of the value with its degrees of freedom.
    fn error_of_mean(&self) -> ErrorOfMean {
        let population = self.settings.population;
        match &self.fit {
            Some(fit) => self.moments.standard_error_around(population, fit.residuals()),
            None => self.moments.standard_error(population),
        }
    }

    fn stopped(&self) -> Result<Option<Stopped>> {
        let fewest = if self.fit.is_some() { FEWEST_REGRESSED } else { FEWEST };
        if let Some(target) = self.settings.relative_error.filter(|_| self.moments.count() >= fewest)
            && self.relative_error().is_some_and(|reached| reached <= target)
        {
            return Ok(Some(Stopped::RelativeError));
        }
        let over = self.settings.time_limit.is_some_and(|limit| self.started.elapsed() >= limit);
        Ok(over.then_some(Stopped::Time))
    }

    /// The value of the regression and how it was obtained. The covariates of the samples that are not measured are read first.
    fn regress(&mut self) -> Result<Option<(f64, Regression)>> {
        let Some(mut fit) = self.fit.take() else { return Ok(None) };
        while let Some(chunk) = self.chunks.next(self.chunk.samples)? {
            check_finite(&chunk.inputs, &chunk.indices, Quantity::Inputs, || None)?;
            covariates::of_inputs(&chunk.inputs)?.iter().for_each(|row| fit.see(row));
        }
        let variance = self.moments.variance().unwrap_or(0.0);
        let residual = fit.residuals().map_or(variance, |residuals| residuals.variance);
        let regression = Regression {
            covariates: Covariate::of_shape(self.chunks.sample_shape()),
            explained: if variance > 0.0 { 1.0 - residual / variance } else { 0.0 },
            plain_mean: self.moments.mean(),
        };
        Ok(Some((fit.mean(), regression)))
    }

    fn estimate(mut self, stopped: Stopped) -> Result<Estimate> {
        if self.moments.count() == 0 {
            return Err(Error::EmptyData);
        }
        let settings = self.settings;
        let ErrorOfMean { standard_error, degrees_of_freedom } = self.error_of_mean();
        let skewness = match self.fit {
            // Residuals of a regression have no correction for skewness.
            Some(_) => SkewnessCorrection::default(),
            None => self.moments.skewness_of_mean(settings.population),
        };
        let regressed = self.regress()?;
        let value = regressed.as_ref().map_or_else(|| self.moments.mean(), |(value, _)| *value);
        let interval = standard_error
            .total
            .zip(degrees_of_freedom)
            .map(|(error, degrees)| skewness.interval(value, error, degrees, settings.confidence))
            // A squared norm is not negative, and neither is its mean.
            .map(|interval| Interval { low: interval.low.max(0.0), high: interval.high.max(0.0), ..interval });
        let exact = matches!(self.method, Method::Exact { .. });
        Ok(Estimate {
            value,
            standard_error,
            interval,
            population: settings.population,
            samples: self.moments.count(),
            probes: self.method.directions(self.probes, self.task.inputs, self.task.outputs),
            passes: self.passes,
            method: self.method,
            seed: settings.seed,
            units: settings.units.clone(),
            batch_norm: self.batch_norm,
            inputs: self.task.inputs,
            outputs: self.task.outputs,
            stopped,
            chunk: self.chunk,
            plan: self.plan,
            largest_norm: exact.then(|| self.largest.sqrt()),
            per_sample: settings.per_sample.then_some(self.per_sample),
            per_class: settings.per_class.then(|| self.classes.iter().map(class_estimate).collect()),
            derivatives: self.derivatives,
            tracked_weights: self.tracked_weights,
            regression: regressed.map(|(_, regression)| regression),
        })
    }
}

/// The size of the next chunk.
struct Step {
    samples: usize,
    probes: usize,
}

/// The reason not to check the derivatives of a map, if there is one.
fn unchecked(settings: &GeometricComplexity, map: &dyn FeatureMap, seen: &Inspection) -> Option<Derivatives> {
    let own = seen.has_own_derivatives || map.has_own_derivatives();
    if own { Some(Derivatives::OwnRules) } else { settings.trust_derivatives.then_some(Derivatives::Trusted) }
}

/// Compares the derivatives that a measurement by `side` uses with finite differences on the samples `first`.
fn check_derivatives(seed: u64, map: &dyn FeatureMap, side: Side, first: &Tensor) -> Result<Derivatives> {
    let (reverse, forward) = (side == Side::Rows, side == Side::Columns);
    let check = Comparison { reverse, forward, whole_batch: false, seed }.run(map, first)?;
    check.require_agreement()?;
    Ok(Derivatives::Checked(check))
}

impl GeometricComplexity {
    /// The number of samples in the pilot of a planned measurement.
    pub(crate) fn pilot_samples(&self) -> usize {
        self.pilot.unwrap_or(if self.regression { FEWEST_REGRESSED } else { FEWEST })
    }

    /// The number of samples at the start with at least two replicates of the probes.
    fn replicated(&self) -> usize {
        if self.planned.is_some() { self.pilot_samples().max(self.replicate) } else { self.replicate }
    }

    /// Probes of each of these samples; without such samples, those of all.
    fn first_probes(&self) -> usize {
        match self.estimator {
            // Four probes on each of few samples cost less than two on each of twice as many, and a regression needs no more samples.
            Estimator::Projections(_, probe) if self.regression && self.planned.is_some() => {
                self.probes.max(4 * probe.block())
            }
            Estimator::Projections(_, probe) if self.replicated() > 0 => self.probes.max(2 * probe.block()),
            Estimator::Projections(_, probe) if self.planned.is_some() => self.probes.max(probe.block()),
            _ => self.probes,
        }
    }
}

fn class_estimate((&label, moments): (&u32, &Moments)) -> ClassEstimate {
    let standard_error = moments.standard_error(Population::Distribution).standard_error;
    ClassEstimate { label, value: moments.mean(), standard_error, samples: moments.count() }
}
