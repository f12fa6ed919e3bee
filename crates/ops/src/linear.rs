//! Linear layers of the values of an activation, linearized at one input.

use std::sync::OnceLock;

use candle_core::Tensor;

use super::activation::{derivative, require_derivative};
use super::channel::channel_sum;
use super::composed::{is_composed, same_device};
use super::conv::{ConvSettings, conv2d_input_gradient, conv2d_weight_gradient, linear, require_bias};
use super::cpu::{require_float, same_dtype, with_elements};
use super::fused_relu::{add_detached, cotangents_per_sample, repeat_rows};
use super::linearized::{
    Gradients, Linearized, TangentCotangentTerm, check_single_cotangent, check_tangent, jvp_in_graph, value_in_graph,
};
use super::product::hadamard;
use crate::kernels::activation::Derivative;
use crate::kernels::linear::{self as kernel, Sizes};
use crate::kernels::{Activation, Element, channel, elementwise, row_jacobian};
use crate::{Error, Result};

const OP: &str = "linear";
/// Up to this number of rows the bias gradient has the additions of [`channel_sum`], beyond it those of the weight's gradient.
const FEW_ROWS: usize = 256;
/// Bytes of Jacobians that are worth their memory: those of a block of ViT-Tiny or ConvNeXt-Atto at one image of 32×32 pixels fit.
const JACOBIANS: usize = 16 << 20;

/// A linear layer of the values of an activation, linearized at one input.
///
/// **Definition** y = φ(x)·weightᵀ + bias on the last dimension; φ is the identity where there is no activation.
///
/// **Shapes** `x` `[…, in]` of at least two dimensions, the weight `[out, in]` or that of a pointwise convolution
/// `[out, in, 1, 1]`, the bias `[out]`, the value `[…, out]`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{Activation, LinearLinearization, Linearized};
/// let (x, weight) = (Tensor::new(&[[-1f64, 3.]], &Device::Cpu)?, Tensor::new(&[[10f64, 100.]], &Device::Cpu)?);
/// let layer = LinearLinearization::at(&x, &weight, None, Some(Activation::Relu6))?;
/// assert_eq!(layer.value()?.to_vec2::<f64>()?, [[300.]]);
/// // The derivative of ReLU6 is 0 at −1.
/// let gradients = layer.gradients(&Tensor::new(&[[1f64]], &Device::Cpu)?, true)?;
/// assert_eq!(gradients.input.to_vec2::<f64>()?, [[0., 100.]]);
/// assert_eq!(gradients.parameters[0].to_vec2::<f64>()?, [[0., 3.]]);
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LinearLinearization {
    activation: Option<Activation>,
    /// The input, as long as a derivative depends on it.
    x: Option<Tensor>,
    /// The shape of the input.
    shape: Vec<usize>,
    weight: Tensor,
    weight_shape: Vec<usize>,
    bias: Option<Tensor>,
    has_variables: bool,
    /// φ′(x), once a VJP of several cotangents per sample has needed it.
    slope: OnceLock<Tensor>,
}

impl LinearLinearization {
    /// The linearization at `x`.
    ///
    /// **Errors** [`Error::Shape`] if the sizes do not match or the input is empty, [`Error::DType`] unless all tensors are f32 or all
    /// are f64, [`Error::Setting`] for ReLU and the identity, whose derivatives are not functions of the input alone.
    pub fn at(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Option<Activation>) -> Result<Self> {
        require_float(OP, x)?;
        if let Some(activation) = activation {
            require_derivative(activation, 1)?;
        }
        let (&[.., _, inputs], [outputs, weight_inputs, rest @ ..]) = (x.dims(), weight.dims()) else {
            return Err(Error::shape(OP, x.dims(), weight.dims(), "the input is [n, …, in] and the weight [out, in]"));
        };
        if inputs != *weight_inputs || !matches!(rest, [] | [1, 1]) || x.elem_count() == 0 || *outputs == 0 {
            return Err(Error::shape(
                OP,
                x.dims(),
                weight.dims(),
                "no size is 0, and the last size of the input is that of the weight",
            ));
        }
        for parameter in std::iter::once(weight).chain(bias) {
            same_dtype(OP, x, parameter)?;
            same_device(OP, x, parameter)?;
        }
        bias.map_or(Ok(()), |bias| require_bias(OP, weight, bias))?;
        Ok(Self {
            activation,
            x: Some(x.detach().contiguous()?),
            shape: x.dims().to_vec(),
            weight: weight.detach().contiguous()?.reshape((*outputs, inputs))?,
            weight_shape: weight.dims().to_vec(),
            bias: bias.map(Tensor::detach),
            has_variables: weight.track_op() || bias.is_some_and(Tensor::track_op),
            slope: OnceLock::new(),
        })
    }

    /// The same without the input, unless a derivative depends on it: after the value was taken.
    ///
    /// Without an activation and with constant parameters only the shape of the input is needed.
    pub fn without_unused_input(self) -> Self {
        let x = self.x.filter(|_| self.has_variables || self.activation.is_some());
        Self { x, ..self }
    }

    /// The weight `[out, in]`, where there is no activation in front of it.
    pub(crate) fn weight_without_activation(&self) -> Option<&Tensor> {
        self.activation.is_none().then_some(&self.weight)
    }

    /// The shape of the gradient by the input, for a cotangent with this number of samples.
    pub(crate) fn input_shape(&self, samples: usize) -> Result<Vec<usize>> {
        Ok(self.shape(samples, self.weight.dim(1)?))
    }

    fn x(&self) -> Result<&Tensor> {
        self.x.as_ref().ok_or_else(|| Error::Setting {
            op: OP,
            name: "input",
            value: "not kept".into(),
            rule: "the value and the gradients by parameters are taken before `without_unused_input`",
        })
    }

    /// The layer's sizes for this number of rows.
    fn sizes(&self, rows: usize) -> Result<Sizes> {
        let (outputs, inputs) = self.weight.dims2()?;
        Ok(Sizes { rows, inputs, outputs })
    }

    /// `first` samples of the shape of the input, with this last size.
    fn shape(&self, first: usize, width: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let [samples, .., last] = shape.as_mut_slice() {
            (*samples, *last) = (first, width);
        }
        shape
    }

    pub(crate) fn output_shape(&self) -> Result<Vec<usize>> {
        Ok(self.shape(self.shape.first().copied().unwrap_or(1), self.weight.dim(0)?))
    }

    /// φ(x)·weightᵀ + bias of any rows of inputs, plus `addend`.
    fn product(
        &self,
        x: &Tensor,
        activation: Option<Activation>,
        bias: Option<&Tensor>,
        addend: Option<&Tensor>,
    ) -> Result<Tensor> {
        let shape = self.shape(x.dim(0)?, self.weight.dim(0)?);
        if is_composed(x) {
            let x = activation.map_or_else(|| Ok(x.clone()), |activation| activation.forward(x))?;
            let rows = x.reshape(((), self.weight.dim(1)?))?;
            let y = linear(&rows, &self.weight, bias)?.reshape(shape)?;
            return addend.map_or(Ok(y.clone()), |addend| add_detached(&y, addend, false));
        }
        let sizes = self.sizes(x.elem_count() / self.weight.dim(1)?)?;
        let (summand, added) = (bias.unwrap_or(x), addend.unwrap_or(x));
        let phi = activation.and_then(|activation| Derivative::new(activation, 0));
        Ok(with_elements!(OP, [x: x.detach(), weight: self.weight, summand: summand, added: added.detach()], T => {
            let change = |block: &mut [T]| if let Some(phi) = &phi { phi.apply(block) };
            let change: kernel::Change<'_, T> = if phi.is_some() { Some(&change) } else { None };
            let add = |first: usize, block: &mut [T]| elementwise::add_to(block, &added[first..]);
            let add: kernel::ChangeAt<'_, T> = if addend.is_some() { Some(&add) } else { None };
            let y = kernel::forward::<T>(sizes, x, weight, bias.map(|_| summand), change, add);
            Tensor::from_vec(y, shape, self.weight.device())?
        }))
    }

    /// The value plus `addend`, in one pass over memory.
    ///
    /// **Errors** as [`add_detached`].
    pub fn value_plus(&self, addend: &Tensor) -> Result<Tensor> {
        same_dtype(OP, &self.weight, addend)?;
        if addend.dims() != self.output_shape()? {
            return Err(Error::shape(
                OP,
                &self.output_shape()?,
                addend.dims(),
                "the addend has the shape of the value",
            ));
        }
        self.product(self.x()?, self.activation, self.bias.as_ref(), Some(addend))
    }

    /// φ′(x).
    fn slope(&self, activation: Activation) -> Result<&Tensor> {
        match self.slope.get() {
            Some(slope) => Ok(slope),
            None => {
                let slope = derivative(activation, 1, self.x()?)?;
                Ok(self.slope.get_or_init(|| slope))
            }
        }
    }

    /// g·weight, times φ′(x) if there is an activation.
    fn input_gradient(&self, g: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        let each = cotangents_per_sample(OP, &self.output_shape()?, g)?;
        let (outputs, inputs) = self.weight.dims2()?;
        let shape = self.shape(g.dim(0)?, inputs);
        if is_composed(g) {
            let row = g.detach().contiguous()?.reshape((1, 1, (), outputs))?;
            let (count, weight) = (row.dim(2)?, self.weight.reshape((outputs, inputs, 1, 1))?);
            let input = conv2d_input_gradient(&row, &weight, &[1, 1, count, inputs], ConvSettings::default())?;
            let input = input.reshape(shape)?;
            return match activation {
                Some(activation) => hadamard(&input, &repeat_rows(OP, self.slope(activation)?, &input)?),
                None => Ok(input),
            };
        }
        // One cotangent per sample needs every slope once, so that it is computed where it is used.
        let on_the_way = activation.filter(|_| each == 1).and_then(|activation| Derivative::new(activation, 1));
        let factor = match activation {
            Some(_) if each == 1 => self.x()?,
            Some(activation) => self.slope(activation)?,
            None => &self.weight,
        };
        let sizes = self.sizes(g.elem_count() / outputs)?;
        Ok(with_elements!(OP, [g: g.detach(), weight: self.weight, factor: factor], T => {
            let change = |first: usize, block: &mut [T]| match &on_the_way {
                Some(slope) => slope.multiply(block, &factor[first..first + block.len()]),
                None => multiply_repeated(block, factor, first),
            };
            let change: kernel::ChangeAt<'_, T> = if activation.is_some() { Some(&change) } else { None };
            let input = kernel::input_gradient::<T>(sizes, g, weight, change);
            Tensor::from_vec(input, shape, self.weight.device())?
        }))
    }

    /// The gradients of each output of `next`, which is linearized at this layer's value, by the input of this layer: see
    /// [`RowJacobians`](crate::RowJacobians). None where it is faster to go through one layer after the other with this number of
    /// cotangents of each row, or where the Jacobians take more memory than 16 MiB.
    ///
    /// **Shapes** `[out·n, …, in]`; row r belongs to output r div n and sample r mod n.
    ///
    /// **Errors** [`Error::Shape`] if this layer's value has another shape than the input of `next`.
    pub fn jacobians_through(&self, next: &Self, cotangents: usize) -> Result<Option<Tensor>> {
        let value = self.output_shape()?;
        if next.shape != value {
            let rule = "the input of the next layer has the shape of this layer's value";
            return Err(Error::shape(OP, &value, &next.shape, rule));
        }
        let ([hidden, inputs], outputs) = (self.weight.dims2().map(|(out, width)| [out, width])?, next.weight.dim(0)?);
        let rows = self.shape.iter().product::<usize>() / inputs;
        let sizes = row_jacobian::Sizes { rows, inputs, hidden, outputs };
        let bytes = rows * inputs * outputs * self.weight.dtype().size_in_bytes();
        let (Some(activation), None) = (next.activation, self.activation) else { return Ok(None) };
        if is_composed(&self.weight) || !sizes.suit(cotangents) || bytes > JACOBIANS {
            return Ok(None);
        }
        let (slope, shape) = (derivative(activation, 1, next.x()?)?, self.shape(outputs * self.shape[0], inputs));
        Ok(Some(with_elements!(OP, [slope: slope, second: next.weight, first: self.weight], T => {
            let jacobians = row_jacobian::of_linear_pair::<T>(sizes, slope, [second, first]);
            Tensor::from_vec(jacobians, shape, self.weight.device())?
        })))
    }

    /// The gradients of ⟨g, φ(x)·weightᵀ + bias⟩ by the weight, and by the bias if there is one and it is wanted.
    fn parameter_gradients(
        &self,
        x: &Tensor,
        g: &Tensor,
        activation: Option<Activation>,
        by_bias: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (outputs, inputs) = self.weight.dims2()?;
        let by_bias = by_bias && self.bias.is_some();
        if is_composed(g) {
            let x = activation.map_or_else(|| Ok(x.clone()), |activation| activation.forward(x))?;
            let x = x.contiguous()?.reshape((1, 1, (), inputs))?;
            let row = g.detach().contiguous()?.reshape((1, 1, (), outputs))?;
            let weight = conv2d_weight_gradient(&x, &row, &[outputs, inputs, 1, 1], ConvSettings::default())?;
            let bias = by_bias.then(|| channel_sum(g)).transpose()?;
            return Ok((weight.reshape(self.weight_shape.as_slice())?, bias));
        }
        let sizes = self.sizes(g.elem_count() / outputs)?;
        let phi = activation.and_then(|activation| Derivative::new(activation, 0));
        Ok(with_elements!(OP, [x: x.detach(), g: g.detach()], T => {
            let change = |block: &mut [T]| if let Some(phi) = &phi { phi.apply(block) };
            let change: kernel::Change<'_, T> = if phi.is_some() { Some(&change) } else { None };
            let many = by_bias && sizes.rows > FEW_ROWS;
            let (weight, sums) = kernel::parameter_gradients::<T>(sizes, x, g, change, many);
            let sums = sums.or_else(|| by_bias.then(|| channel::sum::<T>(g, outputs)));
            let device = self.weight.device();
            let bias = sums.map(|sums| {
                Tensor::from_vec(sums.into_iter().map(<T as Element>::from_f64).collect(), outputs, device)
            });
            (Tensor::from_vec(weight, self.weight_shape.as_slice(), device)?, bias.transpose()?)
        }))
    }

    /// φ′(x)·t.
    fn tangent_behind(&self, t: &Tensor) -> Result<Tensor> {
        same_dtype(OP, &self.weight, t)?;
        check_tangent(OP, &self.shape, t)?;
        match self.activation {
            Some(activation) => hadamard(&t.detach(), &derivative(activation, 1, self.x()?)?),
            None => Ok(t.detach()),
        }
    }
}

/// `values` times `factors` from index `first` on, repeated.
fn multiply_repeated<T: Element>(mut values: &mut [T], factors: &[T], first: usize) {
    let mut start = first % factors.len();
    while !values.is_empty() {
        let (now, later) = values.split_at_mut(values.len().min(factors.len() - start));
        now.iter_mut().zip(&factors[start..]).for_each(|(value, factor)| *value = *value * *factor);
        (values, start) = (later, 0);
    }
}

impl Linearized for LinearLinearization {
    fn value(&self) -> Result<Tensor> {
        self.product(self.x()?, self.activation, self.bias.as_ref(), None)
    }

    fn gradients(&self, g: &Tensor, by_parameters: bool) -> Result<Gradients> {
        same_dtype(OP, &self.weight, g)?;
        let input = self.input_gradient(g, self.activation)?;
        let parameters = if by_parameters { self.gradients_by_parameters(g)? } else { Vec::new() };
        Ok(Gradients { input, parameters })
    }

    fn gradients_by_parameters(&self, g: &Tensor) -> Result<Vec<Tensor>> {
        same_dtype(OP, &self.weight, g)?;
        let each = cotangents_per_sample(OP, &self.output_shape()?, g)?;
        let x = if each == 1 { self.x()?.clone() } else { Tensor::cat(&vec![self.x()?; each], 0)? };
        let (weight, bias) = self.parameter_gradients(&x, g, self.activation, true)?;
        Ok(std::iter::once(weight).chain(bias).collect())
    }

    fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        self.product(&self.tangent_behind(t)?, None, None, None)
    }

    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm> {
        same_dtype(OP, &self.weight, g)?;
        check_single_cotangent(OP, &self.output_shape()?, g)?;
        let behind = self.tangent_behind(t)?;
        let by_input = match self.activation {
            Some(activation) => {
                let curvature = derivative(activation, 2, self.x()?)?;
                Some(hadamard(&hadamard(&t.detach(), &curvature)?, &self.input_gradient(g, None)?)?)
            }
            None => None,
        };
        let (by_weight, _) = self.parameter_gradients(&behind, g, None, false)?;
        let by_parameters = std::iter::once(Some(by_weight)).chain(self.bias.iter().map(|_| None)).collect();
        Ok(TangentCotangentTerm { tangent: self.product(&behind, None, None, None)?, by_input, by_parameters })
    }
}

/// A linear layer of the values of an activation in candle's graph: see [`LinearLinearization`].
///
/// **Errors** as [`LinearLinearization::at`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{Activation, activated_linear};
/// let (x, weight) = (Tensor::new(&[[-1f64, 3.]], &Device::Cpu)?, Tensor::new(&[[10f64, 100.]], &Device::Cpu)?);
/// assert_eq!(activated_linear(&x, &weight, None, Some(Activation::Relu6))?.to_vec2::<f64>()?, [[300.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn activated_linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let parameters: Vec<&Tensor> = std::iter::once(weight).chain(bias).collect();
    value_in_graph(LinearLinearization::at(x, weight, bias, activation)?, x, &parameters)
}

/// The value and JVP of [`activated_linear`], both differentiable.
///
/// **Errors** as [`activated_linear`], and [`Error::Shape`] if the shapes of `x` and `dx` differ.
pub fn activated_linear_jvp(
    x: &Tensor,
    dx: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Result<(Tensor, Tensor)> {
    let parameters: Vec<&Tensor> = std::iter::once(weight).chain(bias).collect();
    jvp_in_graph(LinearLinearization::at(x, weight, bias, activation)?, x, dx, &parameters)
}
