//! One learned factor per channel, as a layer.

use candle_core::Tensor;
use ops::nhwc::{channel_dot, channel_scale};

use super::{GradientAccumulator, Kind, Layer, LayerInput, LayerLinearization, Tape};
use crate::params::{Builder, Role};
use crate::{Pass, Result};

/// Layer scale: x times one learned factor per channel.
///
/// **Source** H. Touvron et al., "Going deeper with Image Transformers", ICCV 2021 (arXiv 2103.17239).
#[derive(Debug, Clone)]
pub struct LayerScale {
    gamma: Tensor,
}

impl LayerScale {
    /// The factors under the name `name` (timm: `gamma`), which all start at `value`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a parameter of this name exists with another shape.
    pub fn new(mut builder: Builder<'_>, name: &str, channels: usize, value: f64) -> Result<Self> {
        Ok(Self { gamma: builder.tensor(name, &[channels], Role::Constant { value })? })
    }

    /// The factors `[c]`.
    pub fn factors(&self) -> &Tensor {
        &self.gamma
    }
}

impl Layer for LayerScale {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Ok(channel_scale(x, &self.gamma)?)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let y = channel_scale(&input.x, &self.gamma.detach())?;
        let x = self.gamma.track_op().then(|| input.x.clone());
        Ok(LayerLinearization::new(y, ScaleTape { gamma: &self.gamma, x }).with_parameters([&self.gamma]))
    }

    fn kind(&self) -> Kind<'_> {
        Kind::LayerScale(self)
    }

    fn is_pointwise(&self) -> bool {
        true
    }
}

struct ScaleTape<'a> {
    gamma: &'a Tensor,
    /// The input, if the factors are variables.
    x: Option<Tensor>,
}

impl Tape for ScaleTape<'_> {
    fn vjp(&self, g: &Tensor, into: &mut GradientAccumulator) -> Result<Option<Tensor>> {
        if let Some(x) = self.x.as_ref().filter(|_| into.wants(self.gamma)) {
            into.add(self.gamma, channel_dot(x, &g.detach())?)?;
        }
        Ok(if into.wants_input() { Some(channel_scale(&g.detach(), &self.gamma.detach())?) } else { None })
    }

    fn jvp(&self, t: &Tensor) -> Result<Tensor> {
        Ok(channel_scale(&t.detach(), &self.gamma.detach())?)
    }

    fn penalty(&self, g: &Tensor, t: &Tensor, into: &mut GradientAccumulator) -> Result<Tensor> {
        if into.wants(self.gamma) {
            into.add(self.gamma, channel_dot(&t.detach(), &g.detach())?)?;
        }
        self.jvp(t)
    }
}
