//! Geometric complexity as a term of the loss, with a gradient that is exact for the drawn probes.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::feature_map::ByReference;
use crate::reverse_mode::{ReverseMode, check_finite, check_shape, first_non_finite, row_squared_norms};
use crate::{BatchNormMode, Error, FeatureMap, InputUnits, Probe, Quantity, Result};

/// What [`FeatureMap::squared_pullbacks`] gives.
#[derive(Debug, Clone)]
pub struct SquaredPullbacks {
    /// The features `[n, p]` with their graph, so that the rest of the loss can share the forward pass.
    pub features: Tensor,
    /// For each cotangent v, ‖Jᵀv‖² of each sample (row norms of Jᵀv), in the units asked for.
    pub squared_norms: Vec<Vec<f64>>,
    /// A scalar whose gradient by the weights is that of Σ ½‖Jᵀv‖² over cotangents and samples, such as Σ⟨v, J u⟩ with
    /// u = Jᵀv held fixed. Only its gradient is used.
    pub tangent_cotangent_term: Tensor,
}

/// Geometric complexity as a term of the loss.
///
/// **Definition** the term is (1/(n·P)) Σ ‖Jᵀv‖² over n samples and P probes v, an unbiased estimate of the geometric
/// complexity of the batch, and its gradient is that of this very number. It comes from one reverse pass, because with
/// u = Jᵀv held fixed ∇½‖Jᵀv‖² = ∇⟨v, J u⟩: the dependence of u on the weights counts once in each, and a quadratic form
/// has twice the derivative of its polar form.
///
/// **Conventions** each step has probes of its own. For a map that mixes samples (training-mode batch norm) J is the
/// Jacobian of the whole batch map, n·p by n·d, and the term estimates ‖J‖²_F/n.
///
/// **Source** the penalty: Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083), §6.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gc_core::{Parametric, Penalty, Probe};
///
/// let weight = Var::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let linear = Parametric::new(vec![weight.as_tensor().clone()], |w, x| x.matmul(&w[0].t()?))
///     .with_jvp(|w, x, dx| Ok((x.matmul(&w[0].t()?)?, dx.matmul(&w[0].t()?)?)));
/// let x = Tensor::new(&[[0.5f64, 1.], [2., 3.]], &Device::Cpu)?;
/// let term = Penalty::exact().term(&linear, &x, 0)?;
/// assert_eq!(term.value, 91.0); // ‖W‖²_F
/// let gradient = term.loss.backward()?.get(&weight).unwrap().to_vec2::<f64>()?;
/// assert_eq!(gradient, [[2., 4.], [6., 8.], [10., 12.]]); // 2W
/// # let fresh = Penalty::projections(Probe::Rademacher, 2).seed(3);
/// # assert_ne!(fresh.term(&linear, &x, 1)?.value, fresh.term(&linear, &x, 2)?.value);
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// The kind of probes; `None`: all unit vectors.
    probe: Option<Probe>,
    probes: usize,
    seed: u64,
    units: InputUnits,
}

/// The penalty of one step.
#[derive(Debug, Clone)]
pub struct PenaltyTerm {
    /// The scalar to be added to the loss, times its weight λ: its value is `value`, its gradient that of `value`.
    pub loss: Tensor,
    /// The features `[n, p]` with their graph, to be used for the rest of the loss.
    pub features: Tensor,
    /// The estimate of the geometric complexity of the batch.
    pub value: f64,
    /// The mean of ‖Jᵀv‖² over the probes (for `exact` their sum, ‖J‖²_F), for each sample.
    pub per_sample: Vec<f64>,
}

impl Penalty {
    /// A penalty estimated with `probes` random directions for each sample and step. One is usual.
    pub fn projections(probe: Probe, probes: usize) -> Self {
        Self { probe: Some(probe), probes, seed: 0, units: InputUnits::Normalised }
    }

    /// The exact penalty: p times the cost of one probe. Not for maps that mix samples.
    pub fn exact() -> Self {
        Self { probe: None, probes: 1, seed: 0, units: InputUnits::Normalised }
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

    /// The term for the inputs `x` `[n, …]` at training step `step`, which addresses the probes.
    ///
    /// # Errors
    /// [`Error::NoForwardMode`] if the map has no JVP, [`Error::ConstantWeights`] if there is nothing to train,
    /// [`Error::MixesSamples`] for `exact` on training-mode batch norm, [`Error::NonFinite`], [`Error::Setting`].
    pub fn term<M: FeatureMap + ?Sized>(&self, map: &M, x: &Tensor, step: u64) -> Result<PenaltyTerm> {
        let mode = map.batch_norm();
        self.refuse_mixed(mode)?;
        self.normalised(map, x, self.divisor(), &|features| Ok(self.probes(features, mode, step)?.cotangents))
    }

    /// The cotangents of step `step` for the features `[n, p]` of a map whose batch norm is in the given mode, with what
    /// turns their squared pullbacks into the term: for a training loop that finds these without a graph.
    ///
    /// With the pullback u = Jᵀv of each, in the [units](Penalty::input_units) of the penalty, the term has the gradient of
    /// Σ ⟨v, J u⟩, u held fixed, times [`PenaltyProbes::gradient_factor`].
    ///
    /// # Errors
    /// [`Error::MixesSamples`] for `exact` on training-mode batch norm, [`Error::EmptyData`], [`Error::Setting`].
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

    /// The units of the inputs that were set.
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

    /// What the sum over cotangents is divided by.
    fn divisor(&self) -> f64 {
        if self.probe.is_some() { self.probes as f64 } else { 1.0 }
    }

    /// The term for cotangents `[n, p]` that are given instead of drawn; the mean is taken over them.
    ///
    /// # Errors
    /// Those of [`Penalty::term`]; [`Error::Setting`] if there are no cotangents.
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
        let SquaredPullbacks { features, squared_norms, tangent_cotangent_term } =
            map.squared_pullbacks(x, draw, &self.units)?;
        if !tangent_cotangent_term.track_op() {
            return Err(Error::ConstantWeights);
        }
        let mean = Mean { samples, divisor };
        let (value, per_sample) = mean.complexity(&squared_norms, || map.first_non_finite_layer(x))?;
        // The tangent–cotangent term carries the gradient alone; the value is put beside it as a constant.
        let gradient_only = (&tangent_cotangent_term - tangent_cotangent_term.detach())?;
        let loss = gradient_only.affine(mean.gradient_factor(), value)?;
        Ok(PenaltyTerm { loss, features, value, per_sample })
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

/// The cotangents of one step, and the mean over them: see [`Penalty::probes`].
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

    /// What the gradient of Σ ½‖Jᵀv‖² over cotangents and samples is multiplied by to be that of the term.
    pub fn gradient_factor(&self) -> f64 {
        self.mean.gradient_factor()
    }

    /// The estimate of the geometric complexity of the batch, and of each sample's, from ‖Jᵀv‖² of each cotangent and
    /// sample.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the sample and what `layer` says, [`Error::Setting`] for another number of samples.
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

/// The unit vector of one output in each row.
fn unit_rows(samples: usize, outputs: usize, output: usize) -> Vec<f64> {
    let mut rows = vec![0.0; samples * outputs];
    rows.iter_mut().skip(output).step_by(outputs).for_each(|entry| *entry = 1.0);
    rows
}

/// Squared pullbacks of any map with a forward mode: u by reverse mode on the frozen map, then ⟨v, J u⟩ by forward mode.
pub(crate) fn squared_pullbacks_by_jvp<M: FeatureMap + ?Sized>(
    map: &M,
    x: &Tensor,
    draw: &dyn Fn(&Tensor) -> Result<Vec<Tensor>>,
    units: &InputUnits,
) -> Result<SquaredPullbacks> {
    if !map.has_jvp() {
        return Err(Error::NoForwardMode);
    }
    let samples = x.dims().first().copied().unwrap_or(0);
    let indices: Vec<usize> = (0..samples).collect();
    let (frozen, as_it_is) = (map.frozen(), ByReference(map));
    let reverse = ReverseMode::new(frozen.as_deref().unwrap_or(&as_it_is), x, 1)?;
    let frozen_features = reverse.features();
    check_finite(frozen_features, &indices, Quantity::Features, || map.first_non_finite_layer(x))?;
    let mut squared_norms = Vec::new();
    let mut summed: Option<(Tensor, Tensor)> = None;
    for cotangent in draw(frozen_features)? {
        let pullback = units.divide(&reverse.vjp(&cotangent)?)?.detach();
        squared_norms.push(row_squared_norms(&pullback)?);
        let (features, tangent) = map.jvp(&x.detach(), &units.divide(&pullback)?)?;
        check_shape(&features, samples)?;
        let tangent_cotangent_term = (tangent * &cotangent)?.sum_all()?;
        summed = Some(match summed {
            None => (features, tangent_cotangent_term),
            Some((features, sum)) => (features, (sum + tangent_cotangent_term)?),
        });
    }
    let (features, tangent_cotangent_term) = summed.ok_or_else(|| Error::setting("cotangents", "at least 1", 0))?;
    Ok(SquaredPullbacks { features, squared_norms, tangent_cotangent_term })
}
