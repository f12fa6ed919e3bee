//! Geometric complexity as a term of the loss.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::by_reference::ByReference;
use crate::derivative_check::{Comparison, SAMPLES};
use crate::inspection::check_deterministic;
use crate::tensors::first_non_finite;
use crate::{BatchNormMode, Error, FeatureMap, InputUnits, Probe, Quantity, Result, SquaredPullbacks, Tangent};

/// The mismatch of a tangent from which on the derivatives of the map are compared with finite differences.
const SUSPICIOUS: f64 = 0.05;

/// Geometric complexity as a term of the loss.
///
/// **Definition** the term is (1/(n·P)) Σ ‖Jᵀv‖² over n samples and P probes v, an unbiased estimate of the geometric
/// complexity of the batch. Its gradient with respect to the weights is that of the term itself, not of an expectation.
/// With u = Jᵀv held fixed, ∇½‖Jᵀv‖² = ∇⟨v, J u⟩, so one backward pass through the tangent J u gives the gradient
/// ([proof](https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#the-gradient-of-gc-without-a-second-backward-pass)).
///
/// **Tangent** J u comes from the map's own rules, from [`FeatureMap::jvp`], or for any other map from the central difference
/// (f(x + hu) − f(x − hu))/2h, which candle differentiates. The first two are exact. The error of the central difference is
/// - for a smooth map of the order of δ² (curvature) plus the rounding of the dtype over δ, where δ is the relative change of
///   the features: δ = 1e-8 in f64 and 1e-2 in f32. In the tests of this crate the gradient is within 1e-6 of the exact one in
///   f64 and within 1e-2 in f32;
/// - for a network with ReLUs or max pooling also that of the kinks between x − hu and x + hu. A unit that switches adds a
///   term of the order of 1/δ to the gradient, with a probability of the order of δ. In f64 this is rare, and the error is that
///   of a smooth map. In f32 the gradient of a ReLU network is dominated by these terms and is not usable.
///
/// **ReLU networks in f32** have an exact gradient with [`FeatureMap::jvp`] (as the networks of the crate `models`), or if the
/// program runs with candle's environment variable `CANDLE_GRAD_DO_NOT_DETACH=1`. Gradients then keep their graph, and candle
/// differentiates ½‖u‖² itself, at the cost of memory for every backward pass of the program.
///
/// **Check** Σ⟨v, J u⟩ = Σ‖u‖², so every step compares the two ([`PenaltyTerm::tangent`]). If they differ by more than 5 %, the
/// derivatives of the map are compared with finite differences, and wrong ones are refused.
///
/// **Conventions** each step has its own probes. For a map that mixes samples (batch norm in training mode) J is the Jacobian
/// of the whole batch map, n·p by n·d, and the term estimates ‖J‖²_F/n. With a central difference the map runs 1 + 2P times per
/// step, so batch norm in training mode updates its running statistics as often.
///
/// **Source** the penalty: Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083), §6.
///
/// Any candle network is a map, such as a closure over layers of candle-nn on a `VarMap`:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Module, VarBuilder, VarMap, linear, seq};
/// use gc_core::{Penalty, Probe};
///
/// let weights = VarMap::new();
/// let builder = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
/// let network = seq().add(linear(4, 8, builder.pp("0"))?).add_fn(|x| x.tanh()).add(linear(8, 3, builder.pp("2"))?);
/// let x = Tensor::arange(0f32, 20., &Device::Cpu)?.sin()?.reshape((5, 4))?;
///
/// let term = Penalty::projections(Probe::Rademacher, 1).term(&|x: &Tensor| network.forward(x), &x, 0)?;
/// let loss = (term.features.sqr()?.mean_all()? + (term.loss * 0.1)?)?;
/// let gradients = loss.backward()?;
/// assert!(weights.all_vars().iter().all(|weight| gradients.get(weight).is_some()));
/// # Ok::<(), gc_core::Error>(())
/// ```
///
/// A map with a JVP has the exact gradient:
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gc_core::{Parametric, Penalty};
///
/// let weight = Var::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let linear = Parametric::new(vec![weight.as_tensor().clone()], |w, x| x.matmul(&w[0].t()?))
///     .with_jvp(|w, x, dx| Ok((x.matmul(&w[0].t()?)?, dx.matmul(&w[0].t()?)?)));
/// let x = Tensor::new(&[[0.5f64, 1.], [2., 3.]], &Device::Cpu)?;
/// let term = Penalty::exact().term(&linear, &x, 0)?;
/// assert_eq!(term.value, 91.0); // ‖W‖²_F
/// let gradient = term.loss.backward()?.get(&weight).unwrap().to_vec2::<f64>()?;
/// assert_eq!(gradient, [[2., 4.], [6., 8.], [10., 12.]]); // 2W
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// The distribution of the probes; `None` for all unit vectors.
    probe: Option<Probe>,
    probes: usize,
    seed: u64,
    units: InputUnits,
    #[serde(default)]
    trust_derivatives: bool,
}

/// The penalty of one step.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PenaltyTerm {
    /// The scalar to add to the loss, times its weight λ. Its value is `value`, its gradient that of `value`.
    pub loss: Tensor,
    /// The features `[n, p]` with their graph, for the other terms of the loss.
    pub features: Tensor,
    /// The estimate of the geometric complexity of the batch.
    pub value: f64,
    /// The mean of ‖Jᵀv‖² over the probes (for `exact` their sum, ‖J‖²_F) of each sample.
    pub per_sample: Vec<f64>,
    /// How the gradient was obtained, and how well its tangent agrees with reverse mode.
    pub tangent: Tangent,
}

impl Penalty {
    /// The penalty estimated with `probes` random directions per sample and step. One is usual.
    pub fn projections(probe: Probe, probes: usize) -> Self {
        Self { probe: Some(probe), probes, seed: 0, units: InputUnits::Normalised, trust_derivatives: false }
    }

    /// The exact penalty: p times the cost of one probe. Not for maps that mix samples.
    pub fn exact() -> Self {
        Self { probe: None, probes: 1, seed: 0, units: InputUnits::Normalised, trust_derivatives: false }
    }

    /// The seed of the probes (0 unless set).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The units of the inputs (as they are, unless set).
    pub fn units(mut self, units: InputUnits) -> Self {
        self.units = units;
        self
    }

    /// Accepts a tangent that disagrees with reverse mode without comparing derivatives with finite differences.
    pub fn trust_derivatives(mut self) -> Self {
        self.trust_derivatives = true;
        self
    }

    /// The term for the inputs `x` `[n, …]` at training step `step`, which selects the probes.
    ///
    /// # Errors
    /// [`Error::ConstantWeights`] if the features depend on no variable, [`Error::WrongDerivative`],
    /// [`Error::NotDeterministic`], [`Error::MixesSamples`] for `exact` with batch norm in training mode,
    /// [`Error::NotDifferentiable`], [`Error::FeatureShape`], [`Error::FeatureDType`], [`Error::NonFinite`],
    /// [`Error::EmptyData`], [`Error::Setting`].
    pub fn term<M: FeatureMap + ?Sized>(&self, map: &M, x: &Tensor, step: u64) -> Result<PenaltyTerm> {
        let mode = map.batch_norm();
        self.refuse_mixed(mode)?;
        self.normalised(map, x, self.divisor(), &|features| Ok(self.probes(features, mode, step)?.cotangents))
    }

    /// The cotangents of step `step` for the features `[n, p]` of a map with the given batch norm mode, and the factors that
    /// turn their squared norms ‖Jᵀv‖² into the term: for training loops that differentiate without candle's graph.
    ///
    /// With u = Jᵀv of each cotangent in the [units](Penalty::input_units) of the penalty, the gradient of the term is that of
    /// Σ⟨v, J u⟩ with u held fixed, times [`PenaltyProbes::gradient_factor`].
    ///
    /// # Errors
    /// [`Error::MixesSamples`] for `exact` with batch norm in training mode, [`Error::EmptyData`], [`Error::Setting`].
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use gc_core::{BatchNormMode, Penalty, Probe};
    /// let features = Tensor::new(&[[1f64, 2., 3.], [4., 5., 6.]], &Device::Cpu)?;
    /// let penalty = Penalty::projections(Probe::Rademacher, 4);
    /// let probes = penalty.probes(&features, BatchNormMode::Absent, 0)?;
    /// assert_eq!((probes.cotangents().len(), probes.cotangents()[0].dims()), (4, features.dims()));
    /// assert_eq!(probes.gradient_factor(), 2.0 / (2.0 * 4.0));
    /// // Squared norms of 3 and 5 for every probe: their mean is 4.
    /// let (value, per_sample) = probes.complexity(&vec![vec![3., 5.]; 4], || None)?;
    /// assert_eq!((value, per_sample), (4.0, vec![3., 5.]));
    /// # Ok::<(), gc_core::Error>(())
    /// ```
    pub fn probes(&self, features: &Tensor, mode: BatchNormMode, step: u64) -> Result<PenaltyProbes> {
        self.refuse_mixed(mode)?;
        let samples = features.dims().first().copied().unwrap_or(0);
        if samples == 0 {
            return Err(Error::EmptyData);
        }
        Ok(PenaltyProbes {
            cotangents: self.cotangents(features, step)?,
            mean: Mean { samples, divisor: self.divisor() },
        })
    }

    /// The units of the inputs.
    pub fn input_units(&self) -> &InputUnits {
        &self.units
    }

    fn refuse_mixed(&self, mode: BatchNormMode) -> Result<()> {
        if self.probe.is_none() && mode == BatchNormMode::Training {
            let evidence = "batch norm is in training mode, where unit vectors do not give the norm of J".into();
            return Err(Error::MixesSamples { evidence });
        }
        Ok(())
    }

    /// The divisor of the sum over cotangents.
    fn divisor(&self) -> f64 {
        if self.probe.is_some() { self.probes as f64 } else { 1.0 }
    }

    /// The term for given cotangents `[n, p]`, as the mean over them.
    ///
    /// # Errors
    /// The errors of [`Penalty::term`]; [`Error::Setting`] without cotangents.
    pub fn term_along<M: FeatureMap + ?Sized>(
        &self,
        map: &M,
        x: &Tensor,
        cotangents: &[Tensor],
    ) -> Result<PenaltyTerm> {
        if cotangents.is_empty() {
            return Err(Error::setting("cotangents", "at least 1", 0));
        }
        self.normalised(map, x, cotangents.len() as f64, &|_| Ok(cotangents.to_vec()))
    }

    fn normalised<M: FeatureMap + ?Sized>(
        &self,
        map: &M,
        x: &Tensor,
        divisor: f64,
        draw: &dyn Fn(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<PenaltyTerm> {
        let samples = x.dims().first().copied().unwrap_or(0);
        if samples == 0 {
            return Err(Error::EmptyData);
        }
        let SquaredPullbacks { features, squared_norms, tangent_cotangent_term, tangent } =
            map.squared_pullbacks(x, draw, &self.units)?;
        if !tangent_cotangent_term.track_op() {
            return Err(Error::ConstantWeights);
        }
        let mean = Mean { samples, divisor };
        let (value, per_sample) = mean.complexity(&squared_norms, || map.first_non_finite_layer(x))?;
        if !self.trust_derivatives && tangent.mismatch().is_some_and(|mismatch| !mismatch.le(&SUSPICIOUS)) {
            self.check_derivatives(map, x)?;
        }
        // The tangent–cotangent term contributes the gradient only; the value is added as a constant.
        let gradient_only = (&tangent_cotangent_term - tangent_cotangent_term.detach())?;
        let loss = gradient_only.affine(mean.gradient_factor(), value)?;
        Ok(PenaltyTerm { loss, features, value, per_sample, tangent })
    }

    /// Returns an error if the map is not deterministic, or its derivatives disagree with finite differences.
    fn check_derivatives<M: FeatureMap + ?Sized>(&self, map: &M, x: &Tensor) -> Result<()> {
        let (frozen, unfrozen) = (map.frozen(), ByReference(map));
        let map = frozen.as_deref().unwrap_or(&unfrozen);
        let first = x.detach().narrow(0, 0, x.dim(0)?.min(SAMPLES))?.contiguous()?;
        check_deterministic(map, &first, &map.features(&first)?)?;
        let forward = map.has_jvp();
        Comparison { reverse: true, forward, whole_batch: true, seed: self.seed }.run(map, &first)?.require_agreement()
    }

    /// The cotangents of a step for features `[n, p]`.
    fn cotangents(&self, features: &Tensor, step: u64) -> Result<Vec<Tensor>> {
        let (samples, outputs) = features.dims2()?;
        let flat: Vec<Vec<f64>> = match self.probe {
            None => (0..outputs).map(|output| unit_rows(samples, outputs, output)).collect(),
            Some(probe) => {
                probe.check(self.probes, outputs)?;
                let mut stream = streams::stream(self.seed, "gc-core/penalty", step);
                let mut flat = vec![Vec::with_capacity(samples * outputs); self.probes];
                for block in flat.chunks_mut(probe.block()) {
                    for _ in 0..samples {
                        let drawn = probe.draw(&mut stream, outputs);
                        block.iter_mut().zip(drawn).for_each(|(rows, direction)| rows.extend(direction));
                    }
                }
                flat
            }
        };
        let tensor =
            |rows| Ok(Tensor::from_vec(rows, (samples, outputs), features.device())?.to_dtype(features.dtype())?);
        flat.into_iter().map(tensor).collect()
    }
}

/// The cotangents of one step, and the mean of ‖Jᵀv‖² over them: see [`Penalty::probes`].
#[derive(Debug, Clone)]
pub struct PenaltyProbes {
    cotangents: Vec<Tensor>,
    mean: Mean,
}

impl PenaltyProbes {
    /// The cotangents, `[n, p]` each.
    pub fn cotangents(&self) -> &[Tensor] {
        &self.cotangents
    }

    /// The factor between the gradient of Σ ½‖Jᵀv‖² over cotangents and samples and the gradient of the term.
    pub fn gradient_factor(&self) -> f64 {
        self.mean.gradient_factor()
    }

    /// The estimate of the geometric complexity of the batch and of each sample, from ‖Jᵀv‖² of each cotangent and sample.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the sample and the name that `layer` returns, [`Error::Setting`] for another number of
    /// samples.
    pub fn complexity(
        &self,
        squared_norms: &[Vec<f64>],
        layer: impl FnOnce() -> Option<String>,
    ) -> Result<(f64, Vec<f64>)> {
        self.mean.complexity(squared_norms, layer)
    }
}

/// The mean over samples and cotangents.
#[derive(Debug, Clone, Copy)]
struct Mean {
    samples: usize,
    divisor: f64,
}

impl Mean {
    fn gradient_factor(self) -> f64 {
        2.0 / (self.samples as f64 * self.divisor)
    }

    fn complexity(self, squared_norms: &[Vec<f64>], layer: impl FnOnce() -> Option<String>) -> Result<(f64, Vec<f64>)> {
        let mut per_sample = vec![0.0; self.samples];
        for norms in squared_norms {
            if norms.len() != self.samples {
                return Err(Error::setting(
                    "squared norms",
                    format!("one for each of {} samples", self.samples),
                    norms.len(),
                ));
            }
            per_sample.iter_mut().zip(norms).for_each(|(sum, norm)| *sum += norm);
        }
        per_sample.iter_mut().for_each(|sum| *sum /= self.divisor);
        if let Some(sample) = first_non_finite(&per_sample) {
            return Err(Error::NonFinite { quantity: Quantity::Gradient, sample, layer: layer() });
        }
        let value = per_sample.iter().sum::<f64>() / self.samples as f64;
        Ok((value, per_sample))
    }
}

/// The unit vector of one output, once per sample.
fn unit_rows(samples: usize, outputs: usize, output: usize) -> Vec<f64> {
    let mut rows = vec![0.0; samples * outputs];
    rows.iter_mut().skip(output).step_by(outputs).for_each(|entry| *entry = 1.0);
    rows
}
