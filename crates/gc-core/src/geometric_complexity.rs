//! The builder of a measurement: estimator, accuracy, and limits.

use std::error::Error as StdError;
use std::time::Duration;

use candle_core::Tensor;

use crate::batch::{Batch, Chunks};
use crate::by_reference::ByReference;
use crate::estimators::Estimator;
use crate::measurement::Measurement;
use crate::progress::Watch;
use crate::{Error, Estimate, FeatureMap, InputUnits, Population, Probe, Progress, Result, Side};

/// The settings of a measurement of geometric complexity: estimator, population, stopping rule.
///
/// **Definition** GC(f, D) = (1/n) Σ_x ‖∂f/∂x(x)‖²_F. Every estimator is unbiased for the ‖∂f/∂x‖²_F of each sample.
///
/// **Conventions** a measurement that can stop before the end of the data (at an error, a number of passes or a time) takes
/// samples in the order of the stream, which must therefore be random. [`GeometricComplexity::batch_sample`] draws a random
/// sample itself.
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
    /// The relative error that is planned for; `None` for no plan.
    pub(crate) planned: Option<f64>,
    /// The samples of its pilot; `None` for the default.
    pub(crate) pilot: Option<usize>,
    pub(crate) regression: bool,
    pub(crate) replicate: usize,
    pub(crate) seed: u64,
    pub(crate) units: InputUnits,
    pub(crate) population: Population,
    pub(crate) batch_sample: Option<BatchSample>,
    pub(crate) chunk_bytes: usize,
    pub(crate) chunk_samples: usize,
    pub(crate) relative_error: Option<f64>,
    pub(crate) max_passes: Option<u64>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) confidence: f64,
    pub(crate) per_sample: bool,
    pub(crate) per_class: bool,
    pub(crate) trust_derivatives: bool,
}

/// A random sample of the samples of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSample {
    pub(crate) samples: usize,
    /// The number of samples of the stream.
    pub(crate) of: usize,
}

/// Settings that hold for every estimator.
impl GeometricComplexity {
    fn new(estimator: Estimator, probes: usize) -> Self {
        Self {
            estimator,
            probes,
            planned: None,
            pilot: None,
            regression: false,
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
            trust_derivatives: false,
        }
    }

    /// All rows of the Jacobian, or all columns if there are fewer of them and the map has a JVP.
    pub fn exact() -> Self {
        Self::new(Estimator::Exact(None), 1)
    }

    /// The mean of ‖Jᵀv‖² over `probes` random directions v for each sample: one forward and `probes` backward passes.
    pub fn projections(probe: Probe, probes: usize) -> Self {
        Self::new(Estimator::Projections(Side::Rows, probe), probes)
    }

    /// Random projections whose number per sample is planned from a pilot, and again each time that the samples have doubled, so that
    /// `relative_error` is reached at the lowest cost. The measurement stops there, as with
    /// [`GeometricComplexity::until_relative_error`].
    pub fn planned(probe: Probe, relative_error: f64) -> Self {
        let planned = Self::new(Estimator::Projections(Side::Rows, probe), 1);
        Self { planned: Some(relative_error), relative_error: Some(relative_error), ..planned }
    }

    /// Each entry of the Jacobian is kept with probability `rate`, and its square is divided by `rate`.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Fig. 2, middle.
    pub fn entry_mask(rate: f64) -> Self {
        Self::new(Estimator::EntryMask(rate), 1)
    }

    /// `outputs` of the p rows, drawn without replacement for each sample, times p/`outputs`.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Fig. 2, right. There one draw may be shared by all
    /// samples of a batch; here each sample has its own, so that samples stay independent.
    pub fn output_sample(outputs: usize) -> Self {
        Self::new(Estimator::OutputSample(outputs), outputs)
    }

    /// The side of the Jacobian to compute, for exact values and projections. Columns need a JVP.
    pub fn by(mut self, side: Side) -> Self {
        self.estimator = match self.estimator {
            Estimator::Exact(_) => Estimator::Exact(Some(side)),
            Estimator::Projections(_, probe) => Estimator::Projections(side, probe),
            rows_only => rows_only,
        };
        self
    }

    /// Measures `samples` of the `of` samples of the stream, drawn without replacement. The others are not mapped.
    ///
    /// **Source** Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), Fig. 2, left.
    pub fn batch_sample(mut self, samples: usize, of: usize) -> Self {
        self.batch_sample = Some(BatchSample { samples, of });
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

    /// The population that the standard error refers to (the distribution of the samples unless set).
    pub fn population(mut self, population: Population) -> Self {
        self.population = population;
        self
    }

    /// Estimates the mean over the data set by regression of the measured samples on statistics of their inputs, which are known
    /// for all samples without a pass: see [`Covariate`](crate::Covariate).
    ///
    /// **Definition** the measured samples form eight groups. The slope for a group is fitted outside it, by least squares, and
    /// shrunk where the inputs explain little. Given the other groups, a group is a simple random sample, so the value is unbiased
    /// whatever the relation is. The standard error is that of two-stage sampling with the variance of cross-fitted residuals.
    ///
    /// **Conventions** the population must be a [data set](Population::DataSet), in random order. After the measurement has stopped,
    /// the rest of the stream is read, and not mapped. A planned measurement has a pilot of 20 samples with four probes
    /// each. The interval has no correction for skewness: where few samples dominate
    /// the mean, as for a ReLU perceptron of squared inputs, an interval of level 0.95 from 60 samples covered 89 %.
    ///
    /// **Source** Mickey, 1959 (unbiased regression estimators); Cochran, 1977, chapter 7; Särndal, Swensson and Wretman, 1992, chapter 6.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use gc_core::{GeometricComplexity, Population};
    ///
    /// // f(x) = x²/2 has ‖J‖² = ‖x‖², which the mean square of the inputs predicts exactly.
    /// let x = Tensor::arange(0f64, 1200., &Device::Cpu)?.sin()?.reshape((400, 3))?;
    /// let square = |x: &Tensor| x.sqr()? / 2.0;
    /// let estimate = GeometricComplexity::exact()
    ///     .population(Population::DataSet { size: 400 })
    ///     .until_relative_error(0.01)
    ///     .chunk_samples(25)
    ///     .regress_on_inputs()
    ///     .measure_inputs(&square, &x)?;
    /// let all = x.sqr()?.sum_all()?.to_scalar::<f64>()? / 400.0;
    /// assert_eq!(estimate.samples, 25);
    /// assert!((estimate.value / all - 1.0).abs() < 1e-9);
    /// # Ok::<(), gc_core::Error>(())
    /// ```
    pub fn regress_on_inputs(mut self) -> Self {
        self.regression = true;
        self
    }

    /// Draws at least two independent replicates of the probes for each of the first `samples` samples, so that the data
    /// part and the probe part of the error are identified although the other samples have one replicate.
    pub fn replicate(mut self, samples: usize) -> Self {
        self.replicate = samples;
        self
    }

    /// The number of samples in the pilot of a planned measurement (32 unless set; 20 with a
    /// [regression](GeometricComplexity::regress_on_inputs)).
    pub fn pilot(mut self, samples: usize) -> Self {
        self.pilot = Some(samples);
        self
    }

    /// The largest number of bytes of activations and gradients at any time (512 MiB unless set). It bounds the number of
    /// samples of a chunk.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// The largest number of samples of a chunk, whatever the budget (128 unless set).
    pub fn chunk_samples(mut self, samples: usize) -> Self {
        self.chunk_samples = samples;
        self
    }

    /// Stops when the standard error over the value is at most this share, after at least 32 samples.
    pub fn until_relative_error(mut self, relative_error: f64) -> Self {
        self.relative_error = Some(relative_error);
        self
    }

    /// Stops before the number of [passes](crate::Passes) of one sample through the map exceeds this number.
    pub fn max_passes(mut self, passes: u64) -> Self {
        self.max_passes = Some(passes);
        self
    }

    /// Stops after the chunk during which this time limit is reached. Only in this case does the value depend on the clock.
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.time_limit = Some(time);
        self
    }

    /// The level of the confidence interval (0.95 unless set).
    pub fn confidence(mut self, level: f64) -> Self {
        self.confidence = level;
        self
    }

    /// Stores the value of each sample: 8 bytes each.
    pub fn per_sample(mut self) -> Self {
        self.per_sample = true;
        self
    }

    /// Computes a value for each class. Every batch needs labels.
    pub fn per_class(mut self) -> Self {
        self.per_class = true;
        self
    }

    /// Skips the comparison of the map's derivatives with finite differences, which costs a few passes over the first 4
    /// samples.
    pub fn trust_derivatives(mut self) -> Self {
        self.trust_derivatives = true;
        self
    }

    /// Measures `map` on a stream of batches: tensors `[n, …]`, or pairs of a tensor and its labels.
    ///
    /// The stream is split into chunks that fit the budget, so one chunk and one batch are in memory at a time. If the map has
    /// a [frozen](FeatureMap::frozen) form, that is measured. Otherwise weights that are variables are recorded in
    /// [`Estimate::tracked_weights`]; the value is the same.
    ///
    /// Unless the map [has derivative rules of its own](FeatureMap::has_own_derivatives), its derivatives are first compared
    /// with finite differences on at most 4 samples, as described at [`DerivativeCheck`](crate::DerivativeCheck).
    ///
    /// # Errors
    /// - for the map: [`Error::WrongDerivative`], [`Error::MixesSamples`], [`Error::NotDeterministic`],
    ///   [`Error::FeatureShape`], [`Error::FeatureCount`], [`Error::FeatureDType`], [`Error::NotDifferentiable`],
    ///   [`Error::NoForwardMode`], [`Error::NonFinite`];
    /// - for the data: [`Error::EmptyData`], [`Error::PopulationSize`], [`Error::InputShape`], [`Error::LabelCount`],
    ///   [`Error::LabelsMissing`], [`Error::Source`];
    /// - for the settings: [`Error::Setting`], [`Error::MemoryBudget`], [`Error::PassBudget`].
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use gc_core::GeometricComplexity;
    ///
    /// // A weight that is being trained is measured without building the model again.
    /// let weight = Var::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
    /// let map = |x: &Tensor| x.matmul(&weight.t()?);
    /// let x = Tensor::new(&[[0.5f64, 0.25]], &Device::Cpu)?;
    /// let estimate = GeometricComplexity::exact().measure_inputs(&map, &x)?;
    /// assert_eq!(estimate.value, 91.0);
    /// assert_eq!(estimate.tracked_weights.unwrap().entries, 6);
    /// # Ok::<(), gc_core::Error>(())
    /// ```
    pub fn measure<M, I, B, E>(&self, map: &M, batches: I) -> Result<Estimate>
    where
        M: FeatureMap + ?Sized,
        I: IntoIterator<Item = std::result::Result<B, E>>,
        B: Into<Batch>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.measure_watched(map, batches, &|_| ())
    }

    /// [`GeometricComplexity::measure`], with a function that is called after every pass through the map. It changes no result.
    ///
    /// # Errors
    /// The errors of [`GeometricComplexity::measure`].
    ///
    /// There is an example at [`Progress`].
    pub fn measure_watched<M, I, B, E>(&self, map: &M, batches: I, watch: &dyn Fn(&Progress)) -> Result<Estimate>
    where
        M: FeatureMap + ?Sized,
        I: IntoIterator<Item = std::result::Result<B, E>>,
        B: Into<Batch>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.check()?;
        let watch = Watch::new(watch);
        let chunks = Chunks::new(batches.into_iter(), self.selection(), self.expected_samples(), self.per_class);
        match map.frozen() {
            Some(frozen) => Measurement::new(self, frozen.as_ref(), map.batch_norm(), chunks, watch)?.finish(),
            None => Measurement::new(self, &ByReference(map), map.batch_norm(), chunks, watch)?.finish(),
        }
    }

    /// Measures `map` on inputs `[n, …]` in memory.
    ///
    /// # Errors
    /// The errors of [`GeometricComplexity::measure`].
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
        if let (Some(_), pilot @ ..2) = (self.planned, self.pilot_samples()) {
            return Err(Error::setting("pilot", "at least 2 samples", pilot));
        }
        if self.regression && !matches!(self.population, Population::DataSet { .. }) {
            return Err(Error::setting("regress_on_inputs", "Population::DataSet", "Population::Distribution"));
        }
        if let (true, Some(BatchSample { samples, .. })) = (self.regression, self.batch_sample) {
            return Err(Error::setting("regress_on_inputs", "no batch_sample, which hides the other samples", samples));
        }
        if let Population::DataSet { size } = self.population {
            positive("Population::DataSet", size)?;
        }
        match (self.batch_sample, self.population) {
            (Some(BatchSample { samples, of }), _) if samples == 0 || samples > of => {
                Err(Error::setting("batch_sample", format!("1 to {of} samples"), samples))
            }
            (Some(BatchSample { of, .. }), Population::DataSet { size }) if of != size => {
                Err(Error::setting("batch_sample", format!("a draw from the {size} samples of the data set"), of))
            }
            _ => Ok(()),
        }
    }

    /// Whether each sample of the stream is selected, if a sample of them is drawn.
    fn selection(&self) -> Option<Vec<bool>> {
        let BatchSample { samples, of } = self.batch_sample?;
        let mut stream = streams::stream(self.seed, "gc-core/batch-sample", 0);
        let mut selected = vec![false; of];
        for index in rand::seq::index::sample(&mut stream, of, samples) {
            selected[index] = true;
        }
        Some(selected)
    }

    fn expected_samples(&self) -> Option<usize> {
        match (self.batch_sample, self.population) {
            (Some(sample), _) => Some(sample.of),
            (None, Population::DataSet { size }) => Some(size),
            (None, Population::Distribution) => None,
        }
    }
}
