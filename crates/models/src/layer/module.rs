//! Modules of candle-nn as layers.

use candle_core::{ModuleT, Tensor};

use super::Layer;
use crate::{Pass, Result};

/// A module of candle-nn, or a closure on tensors, as a layer that candle's graph differentiates.
///
/// **Shapes** a module takes images as `[n, c, h, w]`, as candle has them; they are `[n, h, w, c]` between layers. All other tensors
/// stay as they are.
///
/// **Conventions** its parameters are parameters of the network if the module is built with
/// [`Builder::var_builder`](crate::Builder::var_builder), or if the variables of its `VarMap` are
/// [adopted](crate::Builder::adopt). The former is faster to measure: its frozen form has no variables. A pass with batch statistics
/// calls `forward_t` with `train = true`, in which the module must not draw random numbers; candle-nn's dropout does, and
/// [`Dropout`](super::Dropout) draws from the seed instead. candle-nn's batch norm updates its statistics in each such call;
/// [`BatchNorm2d`](super::BatchNorm2d) only where the pass says so. candle-nn's `layer_norm`, `rms_norm` and `softmax_last_dim` have
/// no gradient, which is an error when they are differentiated; `softmax` has one.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use models::layer::{CandleModule, Sequential};
/// use models::{BodyAndHead, Builder, Initialisation, Network, Pass};
///
/// let build = |mut builder: Builder<'_>| {
///     let convolution = candle_nn::conv2d(1, 4, 3, Default::default(), builder.under("conv").var_builder())?;
///     let mut body = Sequential::default();
///     body.push("conv", CandleModule::new(convolution));
///     body.push("pool", CandleModule::new(|x: &Tensor| x.sqr()?.mean((2, 3))));
///     BodyAndHead::new(body, builder, "head", 4, 2)
/// };
/// let net = Network::of_layers("small", &[1, 8, 8], Initialisation::Pytorch, 0, (DType::F32, &Device::Cpu), build)?;
/// let images = Tensor::ones((3, 1, 8, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.frozen().features(&images, &Pass::evaluation())?.dims(), [3, 4]);
/// assert_eq!(net.params().names().next(), Some("conv.bias"));
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CandleModule<M>(M);

impl<M: ModuleT + Send + Sync> CandleModule<M> {
    /// This module as a layer.
    pub fn new(module: M) -> Self {
        Self(module)
    }
}

impl<M: ModuleT + Send + Sync> Layer for CandleModule<M> {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let x = if x.rank() == 4 { x.permute((0, 3, 1, 2))?.contiguous()? } else { x.clone() };
        let y = self.0.forward_t(&x, pass.batch_statistics)?;
        Ok(if y.rank() == 4 { y.permute((0, 2, 3, 1))?.contiguous()? } else { y })
    }
}
