//! Multi-head self-attention as a layer.

use candle_core::Tensor;
use ops::{AttentionLinearization, AttentionMask, AttentionSettings, attention};

use super::operation::linearized;
use super::{Kind, Layer, LayerInput, LayerLinearization, Linear, Sequential};
use crate::params::Builder;
use crate::{Error, Pass, Result};

/// Multi-head self-attention of packed queries, keys and values, without parameters: the part between the linear layers `qkv` and
/// `proj` of timm's `Attention`.
///
/// **Shapes** tokens `[n, t, 3·d]` with the columns of all queries, then keys, then values, to `[n, t, d]`.
///
/// **Conventions** the memory for t tokens grows with t, not with t²: the weights are not kept.
#[derive(Debug, Clone)]
#[doc(alias = "MultiHeadAttention")]
pub struct Attention {
    settings: AttentionSettings,
    mask: Option<AttentionMask>,
}

impl Attention {
    /// The attention with these settings.
    pub fn new(settings: AttentionSettings) -> Self {
        Self { settings, mask: None }
    }

    /// The same with a mask, such as one of padded tokens. The samples of the mask divide those of every batch.
    pub fn with_mask(self, mask: AttentionMask) -> Self {
        Self { mask: Some(mask), ..self }
    }

    /// The operation at `x`.
    pub(super) fn at(&self, x: &Tensor) -> Result<AttentionLinearization> {
        Ok(AttentionLinearization::at(x, None, self.mask.as_ref(), self.settings)?)
    }

    /// The layers `qkv`, the attention and `proj`, with timm's names.
    ///
    /// # Errors
    /// [`Error::Setting`] when the heads do not divide the width; [`Error::Shape`] when a parameter exists with another shape.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::layer::{Attention, Layer};
    /// use models::ops::AttentionSettings;
    /// use models::{Access, Error, Initialisation, Params, Pass};
    /// let mut params = Params::new(DType::F32, &Device::Cpu);
    /// let mut builder = params.builder(Initialisation::Pytorch, 0, Access::Frozen);
    /// let layers = Attention::between_linear_layers(builder.under("attn"), 8, AttentionSettings::new(2))?;
    /// let tokens = Tensor::zeros((1, 5, 8), DType::F32, &Device::Cpu)?;
    /// assert_eq!(layers.forward(&tokens, &Pass::evaluation())?.dims(), [1, 5, 8]);
    /// let refused = Attention::between_linear_layers(builder.under("attn"), 8, AttentionSettings::new(3));
    /// assert!(matches!(refused, Err(Error::Setting { name: "heads", .. })));
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn between_linear_layers(
        mut builder: Builder<'_>,
        width: usize,
        settings: AttentionSettings,
    ) -> Result<Sequential> {
        require_heads(width, settings.heads)?;
        let mut layers = Sequential::default();
        layers.push("qkv", Linear::new(builder.under("qkv"), width, 3 * width)?);
        layers.push("attention", Attention::new(settings));
        layers.push("proj", Linear::new(builder.under("proj"), width, width)?);
        Ok(layers)
    }
}

/// Refuses a number of heads that does not divide the width.
pub(crate) fn require_heads(width: usize, heads: usize) -> Result<()> {
    if heads > 0 && width > 0 && width.is_multiple_of(heads) {
        return Ok(());
    }
    let rule = "the number of heads divides the width; choose another number of heads or another width";
    Err(Error::Setting { op: "attention", name: "heads", value: format!("{heads} for a width of {width}"), rule })
}

impl Layer for Attention {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(attention(x, None, self.mask.as_ref(), self.settings)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        linearized(self.at(&input.x)?, input, Vec::new())
    }

    fn kind(&self) -> Kind<'_> {
        Kind::Attention(self)
    }
}
