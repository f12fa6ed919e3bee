//! Batch norm as a layer that owns its running statistics.

use candle_core::{Tensor, Var};
use ops::PoolSettings;
use ops::nhwc::{
    BatchNormGradients, BatchNormLinearization, BatchNormTangent, ChannelMoments, MaxPositions, batch_norm_eval_affine,
    batch_norm_train, batch_norm_train_jvp, channel_affine, channel_dot, channel_scale, channel_sum,
};

use super::conv::ReluMask;
use super::{
    Addend, Footprint, GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, MaxPool, Tape, WithSum,
};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// PyTorch's default ε.
const EPSILON: f64 = 1e-5;
/// PyTorch's default momentum: the share of a new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Batch norm with PyTorch's names `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked`.
///
/// **Shapes** `[…, c]`, normalised per channel. In training mode the statistics are those of the batch.
///
/// **Conventions** PyTorch's: ε = 1e-5 and a momentum of 0.1; the running variance is that of the batch with divisor n − 1.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use models::layer::{BatchNorm2d, Layer};
/// use models::{Access, Initialisation, Params, Pass};
/// let mut params = Params::new(DType::F64, &Device::Cpu);
/// let norm = BatchNorm2d::new(params.builder(Initialisation::Pytorch, 0, Access::Tracked), 1)?;
/// let x = Tensor::new(&[[[[1f64]]], [[[3.]]]], &Device::Cpu)?;
/// let y = norm.forward(&x, &Pass::training(0, 0))?.flatten_all()?.to_vec1::<f64>()?;
/// assert!((y[0] + 1.0).abs() < 1e-5 && (y[1] - 1.0).abs() < 1e-5);
/// assert_eq!(params.get("running_mean").unwrap().var.to_vec1::<f64>()?, [0.2]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    gamma: Tensor,
    beta: Tensor,
    running_mean: Var,
    running_variance: Var,
    batch_count: Var,
    epsilon: f64,
}

impl BatchNorm2d {
    /// Batch norm of this many channels.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn new(builder: Builder<'_>, channels: usize) -> Result<Self> {
        Self::with_epsilon(builder, channels, EPSILON)
    }

    /// The same with another summand ε of the variance than PyTorch's default 1e-5.
    ///
    /// # Errors
    /// As [`BatchNorm2d::new`].
    pub fn with_epsilon(mut builder: Builder<'_>, channels: usize, epsilon: f64) -> Result<Self> {
        Ok(Self {
            epsilon,
            gamma: builder.tensor("weight", &[channels], Role::NormScale)?,
            beta: builder.tensor("bias", &[channels], Role::NormShift)?,
            running_mean: builder.var("running_mean", &[channels], Role::RunningMean)?,
            running_variance: builder.var("running_var", &[channels], Role::RunningVariance)?,
            batch_count: builder.var("num_batches_tracked", &[], Role::BatchCount)?,
        })
    }

    fn update(&self, moments: &ChannelMoments) -> Result<()> {
        let [mean, variance] = [&self.running_mean, &self.running_variance];
        let (new_mean, new_variance) =
            moments.running_statistics(&mean.as_detached_tensor(), &variance.as_detached_tensor(), MOMENTUM)?;
        mean.set(&new_mean)?;
        variance.set(&new_variance)?;
        let count = (self.batch_count.as_detached_tensor() + 1.0)?;
        Ok(self.batch_count.set(&count)?)
    }

    /// Factor and summand in evaluation mode; γ and β stay in the graph, the statistics do not.
    pub(super) fn affine(&self) -> Result<(Tensor, Tensor)> {
        let (mean, variance) = (self.running_mean.as_detached_tensor(), self.running_variance.as_detached_tensor());
        Ok(batch_norm_eval_affine(&self.gamma, &self.beta, &mean, &variance, self.epsilon)?)
    }

    /// Whether a parameter is a variable.
    pub(super) fn is_tracked(&self) -> bool {
        self.gamma.track_op() || self.beta.track_op()
    }

    /// In training mode, with a fused ReLU or without one.
    pub(super) fn linearize_training<'a>(
        &'a self,
        NormFusion { relu, after_bias, pool }: NormFusion,
        input: &LayerInput,
        pass: &Pass,
    ) -> Result<LayerLinearization<'a>> {
        let batch = BatchNormLinearization::of_batch(&input.x, &self.gamma, &self.beta, self.epsilon, relu.is_some())?;
        let batch = batch.with_input_gradient_sum(after_bias);
        if pass.update_running {
            self.update(batch.moments())?;
        }
        if let Some(MaxPool(settings)) = pool {
            return self.linearize_pooled(batch, settings, input);
        }
        let y = batch.value()?;
        let relu_output = (input.tangents && relu.is_some()).then(|| y.clone());
        let tape = BatchTape { norm: self, x: input.x.clone(), batch, relu, relu_output };
        Ok(LayerLinearization::new(y, tape).with_parameters([&self.gamma, &self.beta]))
    }

    /// In training mode, with ReLU and max pool.
    fn linearize_pooled<'a>(
        &'a self,
        batch: BatchNormLinearization,
        settings: PoolSettings,
        input: &LayerInput,
    ) -> Result<LayerLinearization<'a>> {
        let x = input.x.clone();
        let parameters = [&self.gamma, &self.beta];
        if let Some((maxima, positions)) = batch.pooled_value(settings)? {
            let output = maxima.clone();
            let tape = PooledTape { norm: self, x, batch, maxima, positions };
            return Ok(LayerLinearization::new(output, tape).with_parameters(parameters));
        }
        let y = batch.value()?;
        let inside = Footprint::of(&y);
        let tape = BatchTape { norm: self, x, batch, relu: Some(ReluMask::NextLayer), relu_output: None };
        let pool = MaxPool(settings).linearize_masking(true, &LayerInput::new(&y).by_input())?;
        let output = pool.output.clone();
        let tape = ThenPool { norm: tape, pool: pool.tape };
        Ok(LayerLinearization::new(output, tape).with_parameters(parameters).with_memory(inside))
    }

    /// In evaluation mode.
    fn linearize_evaluation<'a>(&'a self, input: &LayerInput) -> Result<LayerLinearization<'a>> {
        let (factor, summand) = self.affine()?;
        let (factor, summand) = (factor.detach(), summand.detach());
        let y = channel_affine(&input.x, &factor, &summand)?;
        let tape = AffineTape { norm: self, x: self.gamma.track_op().then(|| input.x.clone()), factor };
        Ok(LayerLinearization::new(y, tape).with_parameters([&self.gamma, &self.beta]))
    }

    /// Adds the gradients by the parameters. Returns that by the input.
    fn keep(&self, gradients: BatchNormGradients, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        for (parameter, gradient) in [(&self.gamma, gradients.gamma), (&self.beta, gradients.beta)] {
            if into.wants(parameter) {
                into.add(parameter, gradient)?;
            }
        }
        if let (Some(input), Some(sum)) = (&gradients.input, gradients.input_sum) {
            into.keep_channel_sum(input, sum);
        }
        Ok(gradients.input.filter(|_| into.wants_input()))
    }

    /// √(σ² + ε) with the running variance.
    fn running_deviation(&self) -> Result<Tensor> {
        Ok(self.running_variance.as_detached_tensor().affine(1.0, self.epsilon)?.sqrt()?)
    }
}

impl Layer for BatchNorm2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        if !pass.batch_statistics {
            let (factor, summand) = self.affine()?;
            return Ok(channel_affine(x, &factor, &summand)?);
        }
        let (y, moments) = batch_norm_train(x, &self.gamma, &self.beta, self.epsilon)?;
        if pass.update_running {
            self.update(&moments)?;
        }
        Ok(y)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        if pass.batch_statistics {
            self.linearize_training(NormFusion::default(), input, pass)
        } else {
            self.linearize_evaluation(input)
        }
    }

    fn linearize_plus<'a>(&'a self, addend: &Addend, input: &LayerInput, pass: &Pass) -> WithSum<'a> {
        if !pass.batch_statistics {
            return Ok(None);
        }
        let batch = BatchNormLinearization::of_batch(&input.x, &self.gamma, &self.beta, self.epsilon, false)?;
        if pass.update_running {
            self.update(batch.moments())?;
        }
        let sum = batch.value_plus(&addend.summand, addend.relu)?;
        let tape = BatchTape { norm: self, x: input.x.clone(), batch, relu: None, relu_output: None };
        Ok(Some(LayerLinearization::new(sum, tape).with_parameters([&self.gamma, &self.beta])))
    }

    fn kind(&self) -> Kind<'_> {
        Kind::BatchNorm2d(self)
    }
}

/// The neighbours that a batch norm is fused with.
#[derive(Clone, Copy, Default)]
pub(super) struct NormFusion {
    /// The layer whose VJP applies the mask of the ReLU after the batch norm, if there is one.
    pub(super) relu: Option<ReluMask>,
    /// Whether the layer before is a convolution with a bias that is a variable.
    pub(super) after_bias: bool,
    /// The max pool after that ReLU. Only without tangents.
    pub(super) pool: Option<MaxPool>,
}

/// Training-mode batch norm, perhaps with a ReLU.
struct BatchTape<'a> {
    norm: &'a BatchNorm2d,
    x: Tensor,
    /// With the fused ReLU, if there is one.
    batch: BatchNormLinearization,
    relu: Option<ReluMask>,
    /// The output of the fused ReLU, for tangents.
    relu_output: Option<Tensor>,
}

impl Tape for BatchTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        // The penalty's gradient by this input is added in the same pass over the memory.
        let kept = into.take(&self.x);
        let batch = self.batch.clone().with_fused_relu(self.relu == Some(ReluMask::ThisLayer));
        let gradients = batch.gradients(g, into.wants_input(), kept.as_ref())?;
        self.norm.keep(gradients, into)
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        let BatchNorm2d { gamma, beta, .. } = self.norm;
        let (_, tangent) = batch_norm_train_jvp(&self.x, t, &gamma.detach(), &beta.detach(), self.norm.epsilon)?;
        match (&self.relu_output, self.relu) {
            (Some(y), _) => Ok(ops::relu_mask(&tangent, y)?),
            (None, Some(_)) => Err(super::tape::without_tangents()),
            (None, None) => Ok(tangent),
        }
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let BatchNormTangent { tangent, by_input, by_gamma } = self.batch.tangent_cotangent_term(g, t)?;
        into.add(&self.x, by_input)?;
        if into.wants(&self.norm.gamma) {
            into.add(&self.norm.gamma, by_gamma)?;
        }
        Ok(tangent)
    }
}

/// Training-mode batch norm with ReLU and max pool, of which one kernel computes the value.
struct PooledTape<'a> {
    norm: &'a BatchNorm2d,
    x: Tensor,
    batch: BatchNormLinearization,
    maxima: Tensor,
    positions: MaxPositions,
}

impl Tape for PooledTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let gradients = self.batch.pooled_gradients(g, &self.maxima, &self.positions, into.wants_input())?;
        let at_input = self.norm.keep(gradients, into)?;
        at_input.map(|at_input| into.with_kept(&self.x, at_input)).transpose()
    }

    fn jvp(&self, _: &Tensor) -> Result<Tensor> {
        Err(super::tape::without_tangents())
    }

    fn penalty(&self, _: &Tensor, _: &Tensor, _: &mut GradientAccumulator) -> Result<Tensor> {
        Err(super::tape::without_tangents())
    }
}

/// The same where no kernel computes it: batch norm with ReLU, then the pool, which applies the mask.
struct ThenPool<'a> {
    norm: BatchTape<'a>,
    pool: Box<dyn Tape + 'a>,
}

impl Tape for ThenPool<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        match into.asking_input(true, |into| self.pool.vjp(g, into))? {
            Some(behind) => self.norm.vjp(&behind, into),
            None => Ok(None),
        }
    }

    fn jvp(&self, _: &Tensor) -> Result<Tensor> {
        Err(super::tape::without_tangents())
    }

    fn penalty(&self, _: &Tensor, _: &Tensor, _: &mut GradientAccumulator) -> Result<Tensor> {
        Err(super::tape::without_tangents())
    }
}

/// Evaluation-mode batch norm: an affine map per channel.
struct AffineTape<'a> {
    norm: &'a BatchNorm2d,
    /// The input, if γ is a variable.
    x: Option<Tensor>,
    factor: Tensor,
}

impl AffineTape<'_> {
    /// Σ g·(x − μ)/√(σ² + ε) with the running statistics.
    fn gamma_gradient(&self, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        let mean = self.norm.running_mean.as_detached_tensor();
        let centred = (channel_dot(x, g)? - (mean * channel_sum(g)?)?)?;
        Ok((centred / self.norm.running_deviation()?)?)
    }
}

impl Tape for AffineTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        let BatchNorm2d { gamma, beta, .. } = self.norm;
        if let Some(x) = self.x.as_ref().filter(|_| into.wants(gamma)) {
            into.add(gamma, self.gamma_gradient(x, g)?)?;
        }
        if into.wants(beta) {
            into.add(beta, channel_sum(g)?)?;
        }
        Ok(if into.wants_input() { Some(channel_scale(g, &self.factor)?) } else { None })
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        Ok(channel_scale(t, &self.factor)?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        let gamma = &self.norm.gamma;
        if into.wants(gamma) {
            into.add(gamma, (channel_dot(t, g)? / self.norm.running_deviation()?)?)?;
        }
        self.jvp(t)
    }
}
