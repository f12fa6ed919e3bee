//! Multi-head self-attention as one operation, which keeps no `[n, heads, tokens, tokens]`.

use std::sync::Arc;

use candle_core::{DType, Tensor, WithDType};

use super::composed::{self, is_composed, same_device};
use super::cpu::{require_float, same_dtype, with_elements};
use super::fused_relu::cotangents_per_row;
use super::linear::LinearLinearization;
use super::linearized::{
    Gradients, Linearized, TangentCotangentTerm, check_single_cotangent, check_tangent, jvp_in_graph, value_in_graph,
};
use crate::kernels::Element;
use crate::kernels::attention::{self as kernel, Kept, Mask, Sizes, Terms};
use crate::kernels::projected_attention::{self, Projection};
use crate::{Error, Result, host};

const OP: &str = "attention";

/// The settings of an attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionSettings {
    /// Number of heads; divides the width.
    pub heads: usize,
    /// Whether each token only sees itself and the tokens before it.
    pub causal: bool,
    /// The factor of q kᵀ; 1/√d for heads of width d if none.
    pub scale: Option<f64>,
}

impl AttentionSettings {
    /// So many heads with scale 1/√d, where every token sees every token.
    pub fn new(heads: usize) -> Self {
        Self { heads, causal: false, scale: None }
    }
}

/// Which tokens (keys) each token (query) sees, beside what a causal attention hides.
///
/// A query that sees no key has the value 0 and the derivative 0, as in PyTorch's `scaled_dot_product_attention`.
#[derive(Debug, Clone)]
pub struct AttentionMask(Arc<Mask>, usize);

impl AttentionMask {
    /// From a u8 tensor, in which 0 hides a key.
    ///
    /// **Shapes** `[m, t, t]`, or `[m, 1, t]` for one row for all queries (a padding mask). Sample i has the mask i mod m.
    ///
    /// **Errors** [`Error::Shape`] for other shapes, [`Error::DType`] unless the mask is u8.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::AttentionMask;
    /// // Two sentences of two and three words, padded to three.
    /// let padding = Tensor::new(&[[[1u8, 1, 0]], [[1, 1, 1]]], &Device::Cpu)?;
    /// assert!(AttentionMask::new(&padding).is_ok());
    /// assert!(AttentionMask::new(&padding.to_dtype(candle_core::DType::F32)?).is_err());
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn new(visible: &Tensor) -> Result<Self> {
        if visible.dtype() != DType::U8 {
            let (expected, got) = ("a u8 mask".into(), visible.dtype().as_str().into());
            return Err(Error::DType { op: OP, expected, got });
        }
        match *visible.dims() {
            [samples, rows, tokens] if samples > 0 && tokens > 0 && (rows == 1 || rows == tokens) => {
                let visible = host::read(visible)?;
                Ok(Self(Arc::new(Mask { visible, samples, rows }), tokens))
            }
            ref other => {
                let rule = "a mask is [m, t, t] or [m, 1, t] for t tokens";
                Err(Error::shape(OP, other, &[], rule))
            }
        }
    }
}

/// Multi-head self-attention of packed rows in candle's graph.
///
/// **Definition** For every head with its columns q, k and v: softmax(scale·q kᵀ + bias) v, where hidden keys have weight 0.
///
/// **Shapes** `x` `[n, t, 3·d]`: columns q, then k, then v, each with the heads one after another (PyTorch's `in_proj_weight`, timm's
/// `qkv`). `bias` `[heads, t, t]`. Result `[n, t, d]`.
///
/// **Errors** [`Error::Setting`] if the heads do not divide the width; [`Error::Shape`] if the sizes do not match;
/// [`Error::DType`] unless all tensors are f32 or all are f64.
///
/// **Source** A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762), equation 1. The weights are not kept,
/// as in T. Dao et al., "FlashAttention", NeurIPS 2022 (arXiv 2205.14135).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use ops::AttentionSettings;
/// // Equal keys: every token has the mean of the values it sees.
/// let x = Tensor::new(&[[[1f64, 0., 2.], [1., 0., 4.]]], &Device::Cpu)?;
/// let settings = AttentionSettings { causal: true, ..AttentionSettings::new(1) };
/// assert_eq!(ops::attention(&x, None, None, settings)?.to_vec3::<f64>()?, [[[2.], [3.]]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn attention(
    x: &Tensor,
    bias: Option<&Tensor>,
    mask: Option<&AttentionMask>,
    settings: AttentionSettings,
) -> Result<Tensor> {
    let parameters: Vec<&Tensor> = bias.into_iter().collect();
    value_in_graph(AttentionLinearization::at(x, bias, mask, settings)?, x, &parameters)
}

/// The value and JVP of [`attention`], both differentiable.
///
/// **Errors** as [`attention`], and [`Error::Shape`] if the shapes of `x` and `dx` differ.
pub fn attention_jvp(
    x: &Tensor,
    dx: &Tensor,
    bias: Option<&Tensor>,
    mask: Option<&AttentionMask>,
    settings: AttentionSettings,
) -> Result<(Tensor, Tensor)> {
    let parameters: Vec<&Tensor> = bias.into_iter().collect();
    jvp_in_graph(AttentionLinearization::at(x, bias, mask, settings)?, x, dx, &parameters)
}

/// Multi-head self-attention, linearized at one input: see [`attention()`].
///
/// It keeps the input and one number per token and head.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use ops::{AttentionLinearization, AttentionSettings, Linearized};
/// // Zero queries give equal weights: the value is linear in v, and the JVP by v its mean.
/// let x = Tensor::zeros((1, 2, 3), DType::F64, &Device::Cpu)?;
/// let attention = AttentionLinearization::at(&x, None, None, AttentionSettings::new(1))?;
/// let t = Tensor::new(&[[[0f64, 0., 2.], [0., 0., 4.]]], &Device::Cpu)?;
/// assert_eq!(attention.tangent(&t)?.to_vec3::<f64>()?, [[[3.], [3.]]]);
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AttentionLinearization {
    x: Tensor,
    bias: Option<Tensor>,
    mask: Option<AttentionMask>,
    sizes: Sizes,
    y: Tensor,
    /// The logarithm of the sum of each row, of each head of each sample; none where the operations are composed.
    log_sums: Arc<[f64]>,
}

impl AttentionLinearization {
    /// The linearization at `x`.
    ///
    /// **Errors** as [`attention()`].
    pub fn at(
        x: &Tensor,
        bias: Option<&Tensor>,
        mask: Option<&AttentionMask>,
        settings: AttentionSettings,
    ) -> Result<Self> {
        let sizes = sizes(x, settings)?;
        check_bias(x, bias, &sizes)?;
        check_mask(x, mask, &sizes)?;
        let (x, bias) = (x.detach().contiguous()?, bias.map(Tensor::detach));
        let by_mask = mask.map(|mask| &*mask.0);
        let (y, log_sums) = if is_composed(&x) {
            (composed::Attention::new(sizes, &x, bias.as_ref(), by_mask)?.value()?, Vec::new())
        } else {
            let summand = bias.clone().unwrap_or_else(|| x.clone());
            with_elements!(OP, [values: x, summand: summand], T => {
                let terms = Terms { bias: bias.as_ref().map(|_| summand), mask: by_mask };
                let (y, log_sums) = kernel::value::<T>(&sizes, terms, values);
                (Tensor::from_vec(y, (sizes.samples, sizes.tokens, sizes.width()), x.device())?, log_sums)
            })
        };
        Ok(Self { x, bias, mask: mask.cloned(), sizes, y, log_sums: log_sums.into() })
    }

    /// The gradient by the input of `before`, the linear layer of the queries, keys and values, for cotangents `g` of this attention, plus
    /// `addend`. None where it is faster to go through one after the other.
    ///
    /// **Shapes** `g` `[k·n, t, d]`, the gradient and `addend` `[k·n, t, in]`; row r belongs to sample r mod n.
    ///
    /// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless all are f32 or all are f64.
    pub fn gradient_through(
        &self,
        before: &LinearLinearization,
        g: &Tensor,
        addend: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        let each = cotangents_per_row(OP, &self.y, g)?;
        let (value, shape) = (before.output_shape()?, before.input_shape(g.dim(0)?)?);
        if value != self.x.dims() {
            return Err(Error::shape(
                OP,
                &value,
                self.x.dims(),
                "the value of the linear layer is the input of the attention",
            ));
        }
        if let Some(addend) = addend.filter(|addend| addend.dims() != shape) {
            return Err(Error::shape(OP, addend.dims(), &shape, "the addend has the shape of the gradient"));
        }
        let inputs = shape.last().copied().unwrap_or(1);
        let Some(weight) = before
            .weight_without_activation()
            .filter(|weight| !is_composed(weight) && projected_attention::suits(&self.sizes, inputs, each))
        else {
            return Ok(None);
        };
        let added = addend.unwrap_or(g).detach();
        for other in [g, weight, &added] {
            same_dtype(OP, &self.x, other)?;
        }
        Ok(Some(
            with_elements!(OP, [x: self.x, summand: self.summand(), weight: weight, g: g.detach(), added: added], T => {
                let (kept, projection) = (self.kept(x, summand), Projection { weight, inputs });
                let added = addend.is_some().then_some(added);
                let gradient = projected_attention::input_gradient::<T>(&self.sizes, kept, projection, g, added);
                Tensor::from_vec(gradient, shape, self.x.device())?
            }),
        ))
    }

    /// The composed attention for `k` cotangents per sample.
    fn composed(&self, x: &Tensor) -> Result<composed::Attention> {
        let sizes = Sizes { samples: x.dim(0)?, ..self.sizes };
        composed::Attention::new(sizes, x, self.bias.as_ref(), self.mask.as_ref().map(|mask| &*mask.0))
    }

    /// The bias, or the input where there is none.
    fn summand(&self) -> Tensor {
        self.bias.clone().unwrap_or_else(|| self.x.clone())
    }

    fn kept<'a, T>(&'a self, x: &'a [T], summand: &'a [T]) -> Kept<'a, T> {
        let terms = Terms { bias: self.bias.as_ref().map(|_| summand), mask: self.mask.as_ref().map(|mask| &*mask.0) };
        Kept { terms, x, log_sums: &self.log_sums }
    }

    fn bias_gradient<T: Element + WithDType>(&self, sums: Option<Vec<f64>>) -> candle_core::Result<Option<Tensor>> {
        let Sizes { heads, tokens, .. } = self.sizes;
        let tensor = |sums: Vec<f64>| {
            let sums: Vec<T> = sums.into_iter().map(<T as Element>::from_f64).collect();
            Tensor::from_vec(sums, (heads, tokens, tokens), self.x.device())
        };
        sums.map(tensor).transpose()
    }
}

fn sizes(x: &Tensor, settings: AttentionSettings) -> Result<Sizes> {
    require_float(OP, x)?;
    let refuse = |rule: &str| Error::shape(OP, x.dims(), &[], rule);
    let &[samples, tokens, columns] = x.dims() else { return Err(refuse("the input is [n, t, 3·d]")) };
    if x.elem_count() == 0 || !columns.is_multiple_of(3) {
        return Err(refuse("the input is not empty, and its columns are q, k and v of one width"));
    }
    let (heads, width) = (settings.heads, columns / 3);
    if heads == 0 || !width.is_multiple_of(heads) {
        let value = format!("{heads} for a width of {width}");
        return Err(Error::Setting { op: OP, name: "heads", value, rule: "the number of heads divides the width" });
    }
    let head_width = width / heads;
    let scale = settings.scale.unwrap_or(1.0 / (head_width as f64).sqrt());
    Ok(Sizes { samples, tokens, heads, head_width, scale, causal: settings.causal })
}

fn check_bias(x: &Tensor, bias: Option<&Tensor>, sizes: &Sizes) -> Result<()> {
    let Some(bias) = bias else { return Ok(()) };
    same_dtype(OP, x, bias)?;
    same_device(OP, x, bias)?;
    if bias.dims() == [sizes.heads, sizes.tokens, sizes.tokens] {
        return Ok(());
    }
    let rule = "the bias is [heads, t, t] for an input [n, t, 3·d]";
    Err(Error::shape(OP, x.dims(), bias.dims(), rule))
}

fn check_mask(x: &Tensor, mask: Option<&AttentionMask>, sizes: &Sizes) -> Result<()> {
    let Some(AttentionMask(mask, tokens)) = mask else { return Ok(()) };
    if *tokens == sizes.tokens && sizes.samples.is_multiple_of(mask.samples) {
        return Ok(());
    }
    let rule = "the mask has as many tokens as the input, and its samples divide those of the input";
    Err(Error::shape(OP, x.dims(), &[mask.samples, mask.rows, *tokens], rule))
}

impl Linearized for AttentionLinearization {
    fn value(&self) -> Result<Tensor> {
        Ok(self.y.clone())
    }

    fn gradients(&self, g: &Tensor, by_parameters: bool) -> Result<Gradients> {
        same_dtype(OP, &self.x, g)?;
        let each = cotangents_per_row(OP, &self.y, g)?;
        let by_bias = by_parameters && self.bias.is_some();
        if is_composed(&self.x) {
            let x = if each == 1 { self.x.clone() } else { Tensor::cat(&vec![&self.x; each], 0)? };
            let [input, bias] = self.composed(&x)?.gradients(&g.detach())?;
            return Ok(Gradients { input, parameters: by_bias.then_some(bias).into_iter().collect() });
        }
        let shape = (each * self.sizes.samples, self.sizes.tokens, 3 * self.sizes.width());
        Ok(with_elements!(OP, [x: self.x, summand: self.summand(), g: g.detach()], T => {
            let (input, sums) = kernel::gradients::<T>(&self.sizes, self.kept(x, summand), g, each, by_bias);
            let parameters = self.bias_gradient::<T>(sums)?.into_iter().collect();
            Gradients { input: Tensor::from_vec(input, shape, self.x.device())?, parameters }
        }))
    }

    fn tangent(&self, t: &Tensor) -> Result<Tensor> {
        same_dtype(OP, &self.x, t)?;
        check_tangent(OP, self.x.dims(), t)?;
        if is_composed(&self.x) {
            return self.composed(&self.x)?.tangent(&t.detach());
        }
        Ok(with_elements!(OP, [x: self.x, summand: self.summand(), t: t.detach()], T => {
            let tangent = kernel::tangent::<T>(&self.sizes, self.kept(x, summand), t);
            Tensor::from_vec(tangent, self.y.shape(), self.x.device())?
        }))
    }

    fn tangent_cotangent_term(&self, g: &Tensor, t: &Tensor) -> Result<TangentCotangentTerm> {
        same_dtype(OP, &self.x, g)?;
        same_dtype(OP, &self.x, t)?;
        check_single_cotangent(OP, self.y.dims(), g)?;
        check_tangent(OP, self.x.dims(), t)?;
        let by_bias = self.bias.is_some();
        if is_composed(&self.x) {
            let [tangent, by_input, bias] = self.composed(&self.x)?.tangent_cotangent_term(&g.detach(), &t.detach())?;
            let by_parameters = by_bias.then_some(Some(bias)).into_iter().collect();
            return Ok(TangentCotangentTerm { tangent, by_input: Some(by_input), by_parameters });
        }
        Ok(with_elements!(OP, [x: self.x, summand: self.summand(), g: g.detach(), t: t.detach()], T => {
            let term = kernel::tangent_cotangent_term::<T>(&self.sizes, self.kept(x, summand), g, t, by_bias);
            TangentCotangentTerm {
                tangent: Tensor::from_vec(term.tangent, self.y.shape(), self.x.device())?,
                by_input: Some(Tensor::from_vec(term.by_input, self.x.shape(), self.x.device())?),
                by_parameters: self.bias_gradient::<T>(term.by_bias)?.map(Some).into_iter().collect(),
            }
        }))
    }
}
