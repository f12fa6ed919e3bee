//! One measurement in progress: chunks in, readings added up, stopping rules asked after each chunk.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::Instant;

use crate::batch::{Batch, Chunk, Chunks};
use crate::checks::inspect;
use crate::estimate::relative;
use crate::estimators::{Estimator, Task};
use crate::moments::{Moments, Reading};
use crate::plan::{Pilot, Plan};
use crate::reverse_mode::check_finite;
use crate::{
    BatchNormMode, ChunkReport, ClassEstimate, Error, Estimate, FeatureMap, GeometricComplexity, Interval, Method,
    Passes, Population, Quantity, Result, Stopped,
};

/// Samples before which no relative error is trusted.
const FEWEST: usize = 32;

/// A measurement in progress.
pub(crate) struct Run<'a, I> {
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
    classes: BTreeMap<u32, Moments>,
    per_sample: Vec<f64>,
    largest: f64,
    started: Instant,
}

impl<'a, I, B, E> Run<'a, I>
where
    I: Iterator<Item = std::result::Result<B, E>>,
    B: Into<Batch>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Looks at the first samples and fixes what depends on the sizes of the map.
    pub(crate) fn new(
        settings: &'a GeometricComplexity,
        map: &'a dyn FeatureMap,
        batch_norm: BatchNormMode,
        mut chunks: Chunks<I>,
    ) -> Result<Self> {
        let started = Instant::now();
        let first = chunks.peek(2)?;
        let resolve = |inputs, outputs| settings.estimator.resolve(settings.first_probes(), map, inputs, outputs);
        let seen = inspect(map, &first, |inputs, outputs| Ok(resolve(inputs, outputs)?.side()))?;
        let method = resolve(seen.inputs, seen.outputs)?;
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
                linearises: seen.linearises,
                passes_limited: settings.max_passes.is_some(),
            },
            method,
            chunk: ChunkReport { samples, bytes_per_sample: seen.bytes_per_sample },
            probes: settings.probes,
            plan: None,
            passes: Passes::default(),
            moments: Moments::default(),
            classes: BTreeMap::new(),
            per_sample: Vec::new(),
            largest: 0.0,
            started,
        })
    }

    /// Measures until a stopping rule holds or the data end.
    pub(crate) fn finish(mut self) -> Result<Estimate> {
        loop {
            let (samples, probes) = self.next_step();
            let samples = match self.affordable(probes)? {
                Some(0) => return self.estimate(Stopped::Passes),
                Some(affordable) => samples.min(affordable),
                None => samples,
            };
            let Some(chunk) = self.chunks.next(samples)? else {
                return self.estimate(Stopped::DataExhausted);
            };
            self.add(&chunk, probes)?;
            self.plan_if_due()?;
            if let Some(stopped) = self.stopped()? {
                return self.estimate(stopped);
            }
        }
    }

    /// How many samples to take next, and with how many probes.
    fn next_step(&self) -> (usize, usize) {
        let done = self.moments.count();
        let replicated = self.settings.replicated();
        if done < replicated {
            return ((replicated - done).min(self.chunk.samples), self.settings.first_probes());
        }
        let ahead = self.plan.as_ref().map_or(0, |plan| plan.samples.saturating_sub(done));
        // Up to the planned number in full chunks; beyond it in small ones, so that little is measured in excess.
        let step = match &self.plan {
            Some(_) if ahead > 0 => ahead.min(self.chunk.samples),
            Some(_) => FEWEST.min(self.chunk.samples),
            None => self.chunk.samples,
        };
        (step, self.probes)
    }

    /// How many samples the pass budget still allows.
    fn affordable(&self, probes: usize) -> Result<Option<usize>> {
        let Some(budget) = self.settings.max_passes else { return Ok(None) };
        let needed = self.method.cost(self.method.directions(probes, self.task.inputs, self.task.outputs));
        let left = budget.saturating_sub(self.passes.total());
        if self.moments.count() == 0 && left < needed {
            return Err(Error::PassBudget { needed, budget });
        }
        Ok(Some((left / needed) as usize))
    }

    fn add(&mut self, chunk: &Chunk, probes: usize) -> Result<()> {
        check_finite(&chunk.inputs, &chunk.indices, Quantity::Inputs, || None)?;
        let (readings, passes) = self.method.read(&self.task, chunk, probes)?;
        self.passes.add(passes);
        for (row, reading) in readings.into_iter().enumerate() {
            self.push(reading, chunk.labels.as_ref().map(|labels| labels[row]));
        }
        Ok(())
    }

    fn push(&mut self, reading: Reading, label: Option<u32>) {
        self.moments.push(reading);
        self.largest = self.largest.max(reading.value);
        if self.settings.per_sample {
            self.per_sample.push(reading.value);
        }
        if let Some(label) = label.filter(|_| self.settings.per_class) {
            self.classes.entry(label).or_default().push(reading);
        }
    }

    /// Makes the plan as soon as the pilot is complete.
    fn plan_if_due(&mut self) -> Result<()> {
        let Some(target) = self.settings.planned else { return Ok(()) };
        let (true, Estimator::Projections(side, probe)) =
            (self.plan.is_none() && self.moments.count() >= self.settings.replicated(), self.settings.estimator)
        else {
            return Ok(());
        };
        let plan = Pilot {
            samples: self.moments.count(),
            probes: self.settings.first_probes(),
            mean: self.moments.mean(),
            variance: self.moments.variance().unwrap_or(0.0),
            unit_variance: self.moments.unit_variance().unwrap_or(0.0),
            passes: self.passes.total(),
            target,
            population: self.settings.population,
            method: self.method,
            block: probe.block(),
            dimension: if side == crate::Side::Rows { self.task.outputs } else { self.task.inputs },
        }
        .plan();
        self.probes = plan.probes;
        self.plan = Some(plan);
        Ok(())
    }

    fn stopped(&self) -> Result<Option<Stopped>> {
        if let Some(target) = self.settings.relative_error.filter(|_| self.moments.count() >= FEWEST) {
            let (error, _) = self.moments.standard_error(self.settings.population);
            let reached = error.total.and_then(|total| relative(self.moments.mean(), total));
            if reached.is_some_and(|reached| reached <= target) {
                return Ok(Some(Stopped::RelativeError));
            }
        }
        let over = self.settings.time_limit.is_some_and(|limit| self.started.elapsed() >= limit);
        Ok(over.then_some(Stopped::Time))
    }

    fn estimate(self, stopped: Stopped) -> Result<Estimate> {
        if self.moments.count() == 0 {
            return Err(Error::EmptyData);
        }
        let settings = self.settings;
        let (standard_error, freedom) = self.moments.standard_error(settings.population);
        let value = self.moments.mean();
        let skewness = self.moments.skewness_of_mean(settings.population);
        let interval = standard_error
            .total
            .zip(freedom)
            .map(|(error, freedom)| Interval::new(value, error, freedom, settings.confidence, skewness));
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
        })
    }
}

impl GeometricComplexity {
    /// Samples at the start that get two probe units at least.
    fn replicated(&self) -> usize {
        if self.planned.is_some() { self.pilot.max(self.replicate) } else { self.replicate }
    }

    /// Probes of these samples, and of the others if there are none.
    fn first_probes(&self) -> usize {
        match self.estimator {
            Estimator::Projections(_, probe) if self.replicated() > 0 => self.probes.max(2 * probe.block()),
            Estimator::Projections(_, probe) if self.planned.is_some() => self.probes.max(probe.block()),
            _ => self.probes,
        }
    }
}

fn class_estimate((&label, moments): (&u32, &Moments)) -> ClassEstimate {
    let (standard_error, _) = moments.standard_error(Population::Distribution);
    ClassEstimate { label, value: moments.mean(), standard_error, samples: moments.count() }
}
