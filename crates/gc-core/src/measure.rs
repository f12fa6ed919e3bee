//! The builder: what to measure, how surely, and with how much.

use std::error::Error as StdError;
use std::time::Duration;

use candle_core::Tensor;

use crate::batch::{Batch, Chunks};
use crate::estimators::Estimator;
use crate::feature_map::ByReference;
use crate::run::Run;
use crate::{Error, Estimate, FeatureMap, InputUnits, Population, Probe, Result, Side};

/// A measurement of geometric complexity: how, on what reading of the data, until when.
///
/// **Definition** GC(f, D) = (1/n) Σ_x ‖∂f/∂x(x)‖²_F. Every estimator here is unbiased for the ‖·‖² of each sample.
///
/// **Order** a measurement that may stop before the data end (by error, passes or time) takes the samples in the order
/// in which they come, so they must come in random order. [`GeometricComplexity::batch_sample`] draws by itself.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use gc_core::{GeometricComplexity, Probe};
///
/// let weight = Tensor::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let linear = |x: &Tensor| x.matmul(&weight.t()?);
/// let x = Tensor::zeros((200, 2), DType::F64, &Device::Cpu)?;
///
/// // ‖W‖²_F = 1 + 4 + … + 36 for every sample.
/// assert_eq!(GeometricComplexity::exact().measure_inputs(&linear, &x)?.value, 91.0);
///
/// let estimate = GeometricComplexity::projections(Probe::Rademacher, 1).seed(7).measure_inputs(&linear, &x)?;
/// let interval = estimate.interval.unwrap();
/// assert!(interval.low < 91.0 && 91.0 < interval.high);
/// assert_eq!(estimate.passes.total(), 400);
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GeometricComplexity {
    pub(crate) estimator: Estimator,
    pub(crate) probes: usize,
    /// The relative error to plan for; `None`: no planning.
    pub(crate) planned: Option<f64>,
    pub(crate) pilot: usize,
    pub(crate) replicate: usize,
    pub(crate) seed: u64,
    pub(crate) units: InputUnits,
    pub(crate) population: Population,
    pub(crate) batch_sample: Option<(usize, usize)>,
    pub(crate) chunk_bytes: usize,
    pub(crate) chunk_samples: usize,
    pub(crate) relative_error: Option<f64>,
    pub(crate) max_passes: Option<u64>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) confidence: f64,
    pub(crate) per_sample: bool,
    pub(crate) per_class: bool,
}

/// Settings that hold for every estimator.
impl GeometricComplexity {
    fn new(estimator: Estimator, probes: usize) -> Self {
        Self {
            estimator,
            probes,
            planned: None,
            pilot: 32,
            replicate: 0,
            seed: 0,
            units: InputUnits::Normalised,
            population: Population::Distribution,
            batch_sample: None,
            chunk_bytes: 512 << 20,
            chunk_samples: 128,
            relative_error: None,
            max_passes: None,
            time_limit: None,
            confidence: 0.95,
            per_sample: false,
            per_class: false,
        }
    }

    /// All rows of the Jacobian, or all columns if there are fewer of them and the map has a forward mode.
    pub fn exact() -> Self {
        Self::new(Estimator::Exact(None), 1)
    }

    /// The mean of ‖Jᵀv‖² over `probes` random directions v for each sample: one forward and `probes` backward passes.
    pub fn projections(probe: Probe, probes: usize) -> Self {
        Self::new(Estimator::Projections(Side::Rows, probe), probes)
    }

    /// Projections whose number is planned from a pilot, so that `relative_error` is reached at the least cost; stops
    /// there, as with [`GeometricComplexity::until_relative_error`].
    pub fn planned(probe: Probe, relative_error: f64) -> Self {
        let planned = Self::new(Estimator::Projections(Side::Rows, probe), 1);
        Self { planned: Some(relative_error), relative_error: Some(relative_error), ..planned }
    }

    /// Each entry of the Jacobian with probability `rate`, divided by it.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Fig. 2, middle.
    pub fn entry_mask(rate: f64) -> Self {
        Self::new(Estimator::EntryMask(rate), 1)
    }

    /// `outputs` of the p rows, drawn without replacement for each sample, times p/`outputs`.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Fig. 2, right; there one draw may serve all
    /// samples of a batch, here each sample has its own, so that samples stay independent.
    pub fn output_sample(outputs: usize) -> Self {
        Self::new(Estimator::OutputSample(outputs), outputs)
    }

    /// Works through this side of the Jacobian, for exact values and projections. Columns need a forward mode.
    pub fn by(mut self, side: Side) -> Self {
        self.estimator = match self.estimator {
            Estimator::Exact(_) => Estimator::Exact(Some(side)),
            Estimator::Projections(_, probe) => Estimator::Projections(side, probe),
            rows_only => rows_only,
        };
        self
    }

    /// Measures `samples` of the `of` samples that arrive, drawn without replacement; the others are not mapped.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Fig. 2, left.
    pub fn batch_sample(mut self, samples: usize, of: usize) -> Self {
        self.batch_sample = Some((samples, of));
        self
    }

    /// The seed of every draw (0 unless set). The same seed gives the same bits on the same device.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The units of the inputs (as they are, unless set).
    pub fn units(mut self, units: InputUnits) -> Self {
        self.units = units;
        self
    }

    /// What the error is to cover (the distribution that the samples come from, unless set).
    pub fn population(mut self, population: Population) -> Self {
        self.population = population;
        self
    }

    /// Gives the first `samples` samples two independent probe units at least, so that the data part and the probe part
    /// of the error can be told apart although the others have one.
    pub fn replicate(mut self, samples: usize) -> Self {
        self.replicate = samples;
        self
    }

    /// Samples of the pilot of a planned measurement (32 unless set).
    pub fn pilot(mut self, samples: usize) -> Self {
        self.pilot = samples;
        self
    }

    /// Bytes that activations and gradients may take at any time (512 MiB unless set); bounds the samples of a chunk.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// The most samples of a chunk, however large the budget (128 unless set).
    pub fn chunk_samples(mut self, samples: usize) -> Self {
        self.chunk_samples = samples;
        self
    }

    /// Stops when the standard error has come down to this share of the value, after 32 samples at the earliest.
    pub fn until_relative_error(mut self, relative_error: f64) -> Self {
        self.relative_error = Some(relative_error);
        self
    }

    /// Stops before the passes through the map, counted in samples, exceed this number.
    pub fn max_passes(mut self, passes: u64) -> Self {
        self.max_passes = Some(passes);
        self
    }

    /// Stops after the chunk in which this time is over. Then, and only then, the value depends on the clock.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.time_limit = Some(time);
        self
    }

    /// The level of the confidence interval (0.95 unless set).
    pub fn confidence(mut self, level: f64) -> Self {
        self.confidence = level;
        self
    }

    /// Keeps the value of each sample: 8 bytes each.
    pub fn per_sample(mut self) -> Self {
        self.per_sample = true;
        self
    }

    /// Keeps a value for each class; every batch needs labels.
    pub fn per_class(mut self) -> Self {
        self.per_class = true;
        self
    }

    /// Measures `map` on a stream of batches: tensors `[n, …]`, or pairs of a tensor and its labels.
    ///
    /// The stream is cut into chunks that fit the budget, so one chunk and one batch are in memory at a time. A map with
    /// weights that are variables is measured through [`FeatureMap::frozen`].
    ///
    /// # Errors
    /// [`Error::Setting`] for settings that cannot be, [`Error::EmptyData`], [`Error::PopulationSize`],
    /// [`Error::MixesSamples`], [`Error::NonFinite`], [`Error::TrackedWeights`], [`Error::NoForwardMode`],
    /// [`Error::MemoryBudget`], [`Error::PassBudget`], and those of a batch or of its source.
    pub fn measure<M, I, B, E>(&self, map: &M, batches: I) -> Result<Estimate>
    where
        M: FeatureMap + ?Sized,
        I: IntoIterator<Item = std::result::Result<B, E>>,
        B: Into<Batch>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.check()?;
        let chunks = Chunks::new(batches.into_iter(), self.selection(), self.expected_samples(), self.per_class);
        match map.frozen() {
            Some(frozen) => Run::new(self, frozen.as_ref(), map.batch_norm(), chunks)?.finish(),
            None => Run::new(self, &ByReference(map), map.batch_norm(), chunks)?.finish(),
        }
    }

    /// Measures `map` on inputs `[n, …]` in memory.
    ///
    /// # Errors
    /// Those of [`GeometricComplexity::measure`].
    pub fn measure_inputs<M: FeatureMap + ?Sized>(&self, map: &M, inputs: &Tensor) -> Result<Estimate> {
        self.measure(map, [Ok::<_, Error>(inputs.clone())])
    }

    fn check(&self) -> Result<()> {
        let share = |name: &'static str, value: Option<f64>| match value {
            Some(value) if !(value > 0.0 && value < 1.0) => {
                Err(Error::setting(name, "a share between 0 and 1, both excluded", value))
            }
            _ => Ok(()),
        };
        share("until_relative_error", self.relative_error)?;
        share("confidence", Some(self.confidence))?;
        let positive = |name: &'static str, value: usize| match value {
            0 => Err(Error::setting(name, "at least 1", 0)),
            _ => Ok(()),
        };
        positive("probes", self.probes)?;
        positive("chunk_samples", self.chunk_samples)?;
        if self.planned.is_some() && self.pilot < 2 {
            return Err(Error::setting("pilot", "at least 2 samples", self.pilot));
        }
        if let Population::DataSet { size } = self.population {
            positive("Population::DataSet", size)?;
        }
        match (self.batch_sample, self.population) {
            (Some((samples, of)), _) if samples == 0 || samples > of => {
                Err(Error::setting("batch_sample", format!("1 to {of} samples"), samples))
            }
            (Some((_, of)), Population::DataSet { size }) if of != size => {
                Err(Error::setting("batch_sample", format!("a draw from the {size} samples of the data set"), of))
            }
            _ => Ok(()),
        }
    }

    /// Which samples are measured, where a sample of them is.
    fn selection(&self) -> Option<Vec<bool>> {
        let (samples, of) = self.batch_sample?;
        let mut stream = streams::stream(self.seed, "gc-core/batch-sample", 0);
        let mut selected = vec![false; of];
        for index in rand::seq::index::sample(&mut stream, of, samples) {
            selected[index] = true;
        }
        Some(selected)
    }

    fn expected_samples(&self) -> Option<usize> {
        match (self.batch_sample, self.population) {
            (Some((_, of)), _) => Some(of),
            (None, Population::DataSet { size }) => Some(size),
            (None, Population::Distribution) => None,
        }
    }
}
