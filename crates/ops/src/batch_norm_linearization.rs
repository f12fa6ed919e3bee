//! Training-mode batch norm linearized at one batch, without a graph: the value, the gradients and the tangent–cotangent term.
//!
//! A ReLU after the batch norm can be fused: value and derivatives are then computed in the same pass over memory.

use candle_core::{Device, Tensor, WithDType};

use super::activation::relu;
use super::channel::check_batch_norm;
use super::channel_moments::{ChannelMoments, HostMoments};
use super::composed::{self, is_composed};
use super::cpu::{elements, on_cpu, with_elements};
use super::fused_relu::add_detached;
use super::pool::{MaxPositions, PoolSettings, pooled_shape};
use super::product::{relu_mask, require_same_shape};
use crate::kernels::Element;
use crate::kernels::batch_norm::{self, CotangentSums, Given, Normalisation};
use crate::kernels::norm_pool::{self, BehindPool};
use crate::{Error, Result};

const OP: &str = "batch-norm";

/// Training-mode batch norm linearized at one batch, optionally with a fused ReLU.
///
/// **Definition** y = x̂·γ + β per channel, or max(y, 0) with `fused_relu`, where x̂ = (x − μ)/√(σ² + ε) with mean μ and variance
/// σ² of the batch. The value is [`value`](Self::value), its VJP [`gradients`](Self::gradients), its JVP
/// [`tangent_cotangent_term`](Self::tangent_cotangent_term). All are computed without a graph.
///
/// **Shapes** `x`, cotangents and tangents `[…, c]`, γ and β `[c]`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::nhwc::BatchNormLinearization;
/// let x = Tensor::new(&[[1f64], [3.]], &Device::Cpu)?;
/// let (gamma, beta) = (Tensor::new(&[1f64], &Device::Cpu)?, Tensor::new(&[0f64], &Device::Cpu)?);
/// let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 0.0, true)?;
/// assert_eq!(batch.value()?.to_vec2::<f64>()?, [[0.], [1.]]);
/// let gradients = batch.gradients(&Tensor::new(&[[5f64], [7.]], &Device::Cpu)?, true, None)?;
/// // The ReLU masks the first cotangent; the second one belongs to x̂ = 1.
/// assert_eq!((gradients.gamma.to_vec1::<f64>()?, gradients.beta.to_vec1::<f64>()?), (vec![7.], vec![7.]));
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNormLinearization {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moments: ChannelMoments,
    epsilon: f64,
    fused_relu: bool,
    sums_input_gradient: bool,
}

/// The gradients of one batch norm.
#[derive(Debug, Clone)]
pub struct BatchNormGradients {
    /// By the input, if requested.
    pub input: Option<Tensor>,
    /// The sum of that gradient per channel, `[c]`, if requested by
    /// [`with_input_gradient_sum`](BatchNormLinearization::with_input_gradient_sum) and if a kernel computes it in the same pass.
    pub input_sum: Option<Tensor>,
    /// By γ, `[c]`.
    pub gamma: Tensor,
    /// By β, `[c]`.
    pub beta: Tensor,
}

/// The JVP J t of a batch norm, and the gradients of the tangent–cotangent term ⟨g, J t⟩ with g and t held fixed.
#[derive(Debug, Clone)]
pub struct BatchNormTangent {
    /// J t, shaped as the input.
    pub tangent: Tensor,
    /// The gradient of ⟨g, J t⟩ by the input.
    pub by_input: Tensor,
    /// The gradient of ⟨g, J t⟩ by γ, `[c]`.
    pub by_gamma: Tensor,
}

impl BatchNormLinearization {
    /// The linearization at the batch `x`.
    ///
    /// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless all tensors are f32 or all are f64.
    pub fn of_batch(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64, fused_relu: bool) -> Result<Self> {
        check_batch_norm(x, gamma, beta)?;
        Self::with_moments(x, gamma, beta, epsilon, &ChannelMoments::of(x)?, fused_relu)
    }

    /// The linearization at the batch `x` whose moments are known.
    ///
    /// **Errors** as [`of_batch`](Self::of_batch).
    pub fn with_moments(
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        epsilon: f64,
        moments: &ChannelMoments,
        fused_relu: bool,
    ) -> Result<Self> {
        check_batch_norm(x, gamma, beta)?;
        let [x, gamma, beta] = [x.detach().contiguous()?, gamma.detach(), beta.detach()];
        Ok(Self { x, gamma, beta, moments: moments.clone(), epsilon, fused_relu, sums_input_gradient: false })
    }

    /// The mean and variance of the batch.
    pub fn moments(&self) -> &ChannelMoments {
        &self.moments
    }

    /// The same linearization with this setting of the fused ReLU.
    pub fn with_fused_relu(self, fused_relu: bool) -> Self {
        Self { fused_relu, ..self }
    }

    /// The same linearization, whose [`gradients`](Self::gradients) also have the sum per channel of the gradient by the input: the
    /// gradient by the bias of a convolution before the batch norm.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::nhwc::BatchNormLinearization;
    /// let x = Tensor::new(&[[1f64], [3.]], &Device::Cpu)?;
    /// let (gamma, beta) = (Tensor::new(&[1f64], &Device::Cpu)?, Tensor::new(&[0f64], &Device::Cpu)?);
    /// let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 0.0, false)?.with_input_gradient_sum(true);
    /// let gradients = batch.gradients(&Tensor::new(&[[5f64], [7.]], &Device::Cpu)?, true, None)?;
    /// // Batch norm does not change if a constant is added to its input.
    /// assert_eq!(gradients.input_sum.unwrap().to_vec1::<f64>()?, [0.]);
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn with_input_gradient_sum(self, sums_input_gradient: bool) -> Self {
        Self { sums_input_gradient, ..self }
    }

    /// The value: x̂·γ + β, or its positive part.
    ///
    /// **Errors** [`Error::Candle`] if the device fails.
    pub fn value(&self) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if super::cuda::takes(&self.x) {
            return Ok(super::cuda::normalise(&self.x, &self.on_device()?)?);
        }
        if is_composed(&self.x) {
            let y = composed::normalised(&self.x, &self.moments, self.epsilon, &self.gamma, &self.beta)?;
            return if self.fused_relu { relu(&y) } else { Ok(y) };
        }
        let moments = self.moments.vectors()?;
        let inverse = moments.inverse_deviation(self.epsilon);
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, beta: self.beta], T => {
            let y = batch_norm::normalise(x, &normalisation(&moments, &inverse, gamma, beta), self.fused_relu);
            Tensor::from_vec(y, self.x.shape(), self.x.device())?
        }))
    }

    /// x̂·γ + β + `addend`, or its positive part with `fused_relu`, in one pass: the sum of a residual block.
    ///
    /// **Errors** [`Error::Shape`] if `addend` is not shaped as the input, [`Error::DType`] if the dtypes differ.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::nhwc::BatchNormLinearization;
    /// let x = Tensor::new(&[[1f64], [3.]], &Device::Cpu)?;
    /// let (gamma, beta) = (Tensor::new(&[1f64], &Device::Cpu)?, Tensor::new(&[0f64], &Device::Cpu)?);
    /// let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 0.0, false)?;
    /// let addend = Tensor::new(&[[0.5f64], [4.]], &Device::Cpu)?;
    /// assert_eq!(batch.value_plus(&addend, false)?.to_vec2::<f64>()?, [[-0.5], [5.]]);
    /// assert_eq!(batch.value_plus(&addend, true)?.to_vec2::<f64>()?, [[0.], [5.]]);
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn value_plus(&self, addend: &Tensor, fused_relu: bool) -> Result<Tensor> {
        require_same_shape("sum", &self.x, addend)?;
        if is_composed(&self.x) || self.fused_relu {
            return add_detached(&self.value()?, addend, fused_relu);
        }
        let (addend, moments) = (addend.detach(), self.moments.vectors()?);
        let inverse = moments.inverse_deviation(self.epsilon);
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, beta: self.beta, addend: addend], T => {
            let y = batch_norm::normalise_plus(x, &normalisation(&moments, &inverse, gamma, beta), addend, fused_relu);
            Tensor::from_vec(y, self.x.shape(), self.x.device())?
        }))
    }

    /// The VJP: the gradients for a cotangent `g` of the value. `addend` is added to the gradient by the input.
    ///
    /// There is one cotangent per batch, because the statistics of the batch mix its images.
    ///
    /// **Errors** [`Error::Shape`] if `g` or `addend` is not shaped as the input, [`Error::DType`] if the dtypes differ.
    pub fn gradients(&self, g: &Tensor, by_input: bool, addend: Option<&Tensor>) -> Result<BatchNormGradients> {
        require_same_shape(OP, g, &self.x)?;
        addend.map(|addend| require_same_shape(OP, addend, &self.x)).transpose()?;
        if is_composed(&self.x) {
            let mut found = self.composed_gradients(g)?;
            if let (Some(input), Some(addend)) = (&mut found.input, addend) {
                *input = add_detached(input, addend, false)?;
            }
            return Ok(found);
        }
        let moments = self.moments.vectors()?;
        let inverse = moments.inverse_deviation(self.epsilon);
        let summand = addend.unwrap_or(g).detach();
        Ok(with_elements!(OP, [x: self.x, g: g.detach(), gamma: self.gamma, beta: self.beta, summand: summand], T => {
            let by = normalisation(&moments, &inverse, gamma, beta);
            let sums = batch_norm::cotangent_sums(x, g, &by, self.fused_relu);
            let input = by_input.then(|| {
                let addend = addend.map(|_| summand);
                let summed = self.sums_input_gradient;
                batch_norm::input_gradient(x, &Given(g), &by, &sums, self.fused_relu, addend, summed)
            });
            self.on_cpu(sums, input)?
        }))
    }

    /// Gradients that kernels have computed, as tensors.
    fn on_cpu<T: Element + WithDType>(
        &self,
        sums: CotangentSums,
        input: Option<(Vec<T>, Option<Vec<f64>>)>,
    ) -> candle_core::Result<BatchNormGradients> {
        let (gamma, beta) = (self.vector::<T>(sums.by_scale)?, self.vector::<T>(sums.by_shift)?);
        let Some((input, sum)) = input else {
            return Ok(BatchNormGradients { input: None, input_sum: None, gamma, beta });
        };
        let input_sum = sum.map(|sum| self.vector::<T>(sum)).transpose()?;
        let input = Tensor::from_vec(input, self.x.shape(), self.x.device())?;
        Ok(BatchNormGradients { input: Some(input), input_sum, gamma, beta })
    }

    /// The maximum of the value, with its ReLU, over each window, and the pixels of the maxima; none where no kernel computes them in
    /// one pass.
    ///
    /// **Errors** [`Error::Shape`] if the window is larger than the image.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::{PoolSettings, nhwc::BatchNormLinearization};
    /// let x = Tensor::new(&[1f64, 3., 1., 3.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
    /// let (gamma, beta) = (Tensor::new(&[1f64], &Device::Cpu)?, Tensor::new(&[0f64], &Device::Cpu)?);
    /// let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 0.0, true)?;
    /// let (maxima, _) = batch.pooled_value(PoolSettings::square(2))?.expect("a kernel for 2×2 windows");
    /// assert_eq!(maxima.flatten_all()?.to_vec1::<f64>()?, [1.]);
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn pooled_value(&self, pool: PoolSettings) -> Result<Option<(Tensor, MaxPositions)>> {
        let geometry = pool.geometry("max-pool", &self.x)?;
        if is_composed(&self.x) || !self.fused_relu || !norm_pool::suits(&geometry) {
            return Ok(None);
        }
        let (shape, moments) = (pooled_shape(&geometry), self.moments.vectors()?);
        let inverse = moments.inverse_deviation(self.epsilon);
        let (maxima, positions) = with_elements!(OP, [x: self.x, gamma: self.gamma, beta: self.beta], T => {
            let by = normalisation(&moments, &inverse, gamma, beta);
            let (maxima, positions) = norm_pool::normalise_and_pool::<T>(&geometry, x, &by);
            (Tensor::from_vec(maxima, &shape, &Device::Cpu)?, Tensor::from_vec(positions, &shape, &Device::Cpu)?)
        });
        Ok(Some((maxima, MaxPositions::new(geometry, positions))))
    }

    /// The VJP of [`pooled_value`](Self::pooled_value), which has given `maxima` and `positions`, for their cotangent `g`.
    ///
    /// **Errors** as [`gradients`](Self::gradients).
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::{PoolSettings, nhwc::BatchNormLinearization};
    /// let x = Tensor::new(&[1f64, 3., 1., 3.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
    /// let (gamma, beta) = (Tensor::new(&[1f64], &Device::Cpu)?, Tensor::new(&[0f64], &Device::Cpu)?);
    /// let batch = BatchNormLinearization::of_batch(&x, &gamma, &beta, 0.0, true)?;
    /// let (maxima, positions) = batch.pooled_value(PoolSettings::square(2))?.expect("a kernel for 2×2 windows");
    /// let g = Tensor::new(&[4f64], &Device::Cpu)?.reshape((1, 1, 1, 1))?;
    /// let gradients = batch.pooled_gradients(&g, &maxima, &positions, true)?;
    /// // The second pixel is the maximum: its 4 minus the mean 1 and minus x̂ times the mean 1 of g·x̂.
    /// assert_eq!(gradients.input.unwrap().flatten_all()?.to_vec1::<f64>()?, [0., 2., 0., -2.]);
    /// assert_eq!(gradients.beta.to_vec1::<f64>()?, [4.]);
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn pooled_gradients(
        &self,
        g: &Tensor,
        maxima: &Tensor,
        positions: &MaxPositions,
        by_input: bool,
    ) -> Result<BatchNormGradients> {
        require_same_shape(OP, g, maxima)?;
        let (g, maxima, geometry) = (g.detach().contiguous()?, maxima.detach().contiguous()?, *positions.geometry());
        let moments = self.moments.vectors()?;
        let inverse = moments.inverse_deviation(self.epsilon);
        let (storage, layout) = positions.tensor().storage_and_layout();
        let positions = elements::<u32>(OP, on_cpu(OP, &storage)?, layout)?;
        Ok(with_elements!(OP, [x: self.x, g: g, gamma: self.gamma, beta: self.beta, maxima: maxima], T => {
            let by = normalisation(&moments, &inverse, gamma, beta);
            let behind = BehindPool { geometry: &geometry, g, maxima, positions };
            let sums = batch_norm::cotangent_sums_of(x, &behind, &by);
            let summed = self.sums_input_gradient;
            let input = by_input.then(|| batch_norm::input_gradient(x, &behind, &by, &sums, false, None, summed));
            self.on_cpu(sums, input)?
        }))
    }

    /// The gradient by the input.
    ///
    /// **Errors** as [`gradients`](Self::gradients).
    pub fn input_gradient(&self, g: &Tensor) -> Result<Tensor> {
        let input = self.gradients(g, true, None)?.input;
        input.ok_or_else(|| Error::Candle(candle_core::Error::BackwardNotSupported { op: OP }))
    }

    fn composed_gradients(&self, g: &Tensor) -> Result<BatchNormGradients> {
        #[cfg(feature = "cuda")]
        if super::cuda::takes(&self.x) {
            let [input, gamma, beta] = super::cuda::norm_gradients(&self.x, &g.detach(), &self.on_device()?)?;
            return Ok(BatchNormGradients { input: Some(input), input_sum: None, gamma, beta });
        }
        let g = if self.fused_relu { relu_mask(g, &self.value()?)? } else { g.clone() };
        let [input, gamma, beta] = composed::training_gradients(&self.x, &self.moments, self.epsilon, &self.gamma, &g)?;
        Ok(BatchNormGradients { input: Some(input), input_sum: None, gamma, beta })
    }

    /// The JVP J t for a tangent `t` of the input, and the gradients of ⟨g, J t⟩ by the input and by γ.
    ///
    /// **Errors** as [`gradients`](Self::gradients).
    pub fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<BatchNormTangent> {
        require_same_shape(OP, g, &self.x)?;
        require_same_shape(OP, t, &self.x)?;
        if is_composed(&self.x) {
            return self.composed_term(&g.detach(), &t.detach());
        }
        let moments = self.moments.vectors()?;
        let inverse = moments.inverse_deviation(self.epsilon);
        Ok(with_elements!(OP, [x: self.x, g: g.detach(), t: t.detach(), gamma: self.gamma, beta: self.beta], T => {
            let by = normalisation(&moments, &inverse, gamma, beta);
            let term = batch_norm::tangent_cotangent_term(x, g, t, &by, self.fused_relu);
            let tensor = |values: Vec<T>| Tensor::from_vec(values, self.x.shape(), self.x.device());
            BatchNormTangent {
                tangent: tensor(term.tangent)?,
                by_input: tensor(term.by_input)?,
                by_gamma: self.vector::<T>(term.by_scale)?,
            }
        }))
    }

    fn composed_term(&self, g: &Tensor, t: &Tensor) -> Result<BatchNormTangent> {
        let value = self.fused_relu.then(|| self.value()).transpose()?;
        let masked = |x: &Tensor| value.as_ref().map_or_else(|| Ok(x.clone()), |value| relu_mask(x, value));
        let cotangent = masked(g)?;
        let [tangent, by_input, by_gamma] = composed::training_tangent_cotangent_term(
            &self.x,
            &cotangent,
            t,
            &self.moments,
            self.epsilon,
            &self.gamma,
        )?;
        Ok(BatchNormTangent { tangent: masked(&tangent)?, by_input, by_gamma })
    }

    /// The parameters of the CUDA kernels.
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> Result<super::cuda::Normalising> {
        composed::on_device(&self.moments, self.epsilon, [&self.gamma, &self.beta], self.fused_relu)
    }

    fn vector<T: Element + WithDType>(&self, values: Vec<f64>) -> candle_core::Result<Tensor> {
        let values: Vec<T> = values.into_iter().map(<T as Element>::from_f64).collect();
        Tensor::from_vec(values, self.gamma.shape(), self.x.device())
    }
}

fn normalisation<'a, T>(
    moments: &'a HostMoments,
    inverse_deviation: &'a [f64],
    scale: &'a [T],
    shift: &'a [T],
) -> Normalisation<'a, T> {
    Normalisation { mean: &moments.mean, inverse_deviation, scale, shift }
}
