//! Attention of the tokens of one sequence to those of another, as in the decoder of an encoder–decoder.

use candle_core::{Device, Tensor};
use ops::{AttentionMask, AttentionSettings};

use super::{Attention, Linear, LinearMap, Sequential, require_heads};
use crate::params::Builder;
use crate::{Error, Result};

impl Attention {
    /// Cross-attention of the first `targets` tokens to the `memory` tokens behind them, with the names `qkv` and `proj`. The output is 0
    /// at the memory, so that [`Sum::residual`](super::Sum::residual) changes the targets alone.
    ///
    /// **Shapes** `[n, targets + memory, width]` to the same.
    ///
    /// **Conventions** the first `width` rows of `qkv.weight` make the queries of the targets, the others the keys and values of the
    /// memory: PyTorch's `in_proj_weight`. The causal setting concerns one sequence and is refused.
    ///
    /// **Source** A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762), section 3.2.3.
    ///
    /// # Errors
    /// [`Error::Setting`] when the heads do not divide the width, when there are no targets or no memory, and for causal settings.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::layer::{Attention, Layer};
    /// use models::ops::AttentionSettings;
    /// use models::{Access, Initialisation, Params, Pass};
    /// let mut params = Params::new(DType::F32, &Device::Cpu);
    /// let builder = params.builder(Initialisation::Pytorch, 0, Access::Frozen);
    /// let layers = Attention::across(builder, 8, [2, 3], AttentionSettings::new(4))?;
    /// let y = layers.forward(&Tensor::ones((1, 2 + 3, 8), DType::F32, &Device::Cpu)?, &Pass::evaluation())?;
    /// assert_eq!(y.dims(), [1, 5, 8]);
    /// assert_eq!(y.narrow(1, 2, 3)?.abs()?.sum_all()?.to_scalar::<f32>()?, 0.);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn across(
        mut builder: Builder<'_>,
        width: usize,
        [targets, memory]: [usize; 2],
        settings: AttentionSettings,
    ) -> Result<Sequential> {
        require_heads(width, settings.heads)?;
        if targets == 0 || memory == 0 || settings.causal {
            let value = format!("{targets} targets, {memory} in the memory, causal: {}", settings.causal);
            let rule = "there is at least one target and one token of memory, and the attention is not causal";
            return Err(Error::Setting { op: "cross-attention", name: "tokens", value, rule });
        }
        let mut layers = Sequential::default();
        layers.push("qkv", Linear::new(builder.under("qkv"), width, 3 * width)?);
        layers.push("attention", Attention::new(settings).with_mask(mask(targets, memory)?));
        layers.push("targets", FirstTokens { kept: targets, others: memory });
        layers.push("proj", Linear::new(builder.under("proj"), width, width)?);
        layers.push("memory", ZeroTokens { kept: targets, others: memory });
        Ok(layers)
    }
}

/// The targets see the memory, and the memory sees nothing.
fn mask(targets: usize, memory: usize) -> Result<AttentionMask> {
    let tokens = targets + memory;
    let visible = (0..tokens * tokens).map(|at| u8::from(at / tokens < targets && at % tokens >= targets)).collect();
    Ok(AttentionMask::new(&Tensor::from_vec::<_, u8>(visible, (1, tokens, tokens), &Device::Cpu)?)?)
}

/// The first `kept` tokens of `kept + others`.
#[derive(Debug, Clone, Copy)]
struct FirstTokens {
    kept: usize,
    others: usize,
}

/// `kept` tokens, followed by `others` zeros.
#[derive(Debug, Clone, Copy)]
struct ZeroTokens {
    kept: usize,
    others: usize,
}

fn first(x: &Tensor, kept: usize, others: usize) -> Result<Tensor> {
    if x.rank() == 3 && x.dim(1)? == kept + others {
        return Ok(x.narrow(1, 0, kept)?.contiguous()?);
    }
    Err(Error::Shape {
        op: "cross-attention",
        left: x.dims().to_vec(),
        right: vec![kept, others],
        rule: "the input is [n, targets + memory, d]".into(),
    })
}

fn followed_by_zeros(x: &Tensor, others: usize) -> Result<Tensor> {
    Ok(x.pad_with_zeros(1, 0, others)?)
}

impl LinearMap for FirstTokens {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        first(x, self.kept, self.others)
    }

    fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
        followed_by_zeros(g, self.others)
    }
}

impl LinearMap for ZeroTokens {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        followed_by_zeros(x, self.others)
    }

    fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
        first(g, self.kept, self.others)
    }
}
