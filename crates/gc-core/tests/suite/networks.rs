//! Networks of candle-nn on a `VarMap`, with candle's wrong max pooling and with a right one.

use candle_core::{DType, Result, Tensor};
use candle_nn::{BatchNorm, Conv2d, Conv2dConfig, LayerNorm, Linear, Module, ModuleT, VarBuilder, VarMap};

use crate::support::{CPU, normal};

/// A builder on new variables with seeded values. The variables are those of the returned map.
pub(crate) fn variables(dtype: DType, build: impl FnOnce(&VarBuilder) -> Result<()>, seed: u64) -> VarMap {
    let variables = VarMap::new();
    build(&VarBuilder::from_varmap(&variables, dtype, &CPU)).unwrap();
    let data = variables.data().lock().unwrap();
    let mut names: Vec<&String> = data.keys().collect();
    names.sort();
    for (index, name) in names.into_iter().enumerate() {
        let variable = &data[name];
        let drawn = normal(variable.dims(), seed, 1_000 + index as u64);
        let fan_in = (variable.elem_count() / variable.dims()[0]).max(1) as f64;
        let value = if name.ends_with("running_var") || (name.contains("norm") && name.ends_with("weight")) {
            (drawn * 0.2).unwrap().exp().unwrap()
        } else {
            (drawn * if variable.rank() > 1 { (2.0 / fan_in).sqrt() } else { 0.3 }).unwrap()
        };
        variable.set(&value.to_dtype(dtype).unwrap()).unwrap();
    }
    drop(data);
    variables
}

/// The pooling of a [`Cnn`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pooling {
    /// candle's max pooling, with a wrong gradient.
    CandleMax,
    /// Max pooling by reshape and maximum, with the right gradient.
    Max,
    /// candle's average pooling.
    Average,
}

/// 2×2 pooling of `[n, c, h, w]`.
pub(crate) fn pool(x: &Tensor, pooling: Pooling) -> Result<Tensor> {
    match pooling {
        #[allow(clippy::disallowed_methods, reason = "its wrong derivative is under test")]
        Pooling::CandleMax => x.max_pool2d(2),
        #[allow(clippy::disallowed_methods, reason = "2 divides the sizes here, where its derivative is right")]
        Pooling::Average => x.avg_pool2d(2),
        Pooling::Max => {
            let (n, c, h, w) = x.dims4()?;
            x.reshape((n * c, h / 2, 2, w / 2, 2))?.max(4)?.max(2)?.reshape((n, c, h / 2, w / 2))
        }
    }
}

/// Twice a convolution, batch norm in evaluation mode, ReLU and 2×2 pooling, then a linear layer.
pub(crate) struct Cnn {
    convolutions: [(Conv2d, BatchNorm); 2],
    last: Linear,
    pooling: Pooling,
}

impl Cnn {
    /// For images of `channels` channels and `size` rows and columns, with 5 features.
    pub(crate) fn new(builder: &VarBuilder, channels: usize, size: usize, pooling: Pooling) -> Result<Self> {
        let padded = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let block = |name: &str, inputs: usize, outputs: usize| {
            let convolution = candle_nn::conv2d(inputs, outputs, 3, padded, builder.pp(name).pp("conv"))?;
            Ok::<_, candle_core::Error>((
                convolution,
                candle_nn::batch_norm(outputs, 1e-5, builder.pp(name).pp("norm"))?,
            ))
        };
        Ok(Self {
            convolutions: [block("0", channels, 6)?, block("1", 6, 8)?],
            last: candle_nn::linear(8 * (size / 4) * (size / 4), 5, builder.pp("2"))?,
            pooling,
        })
    }

    pub(crate) fn features(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (convolution, norm) in &self.convolutions {
            let normalised = norm.forward_t(&convolution.forward(&x)?, false)?;
            x = pool(&candle_nn::Activation::Relu.forward(&normalised)?, self.pooling)?;
        }
        self.last.forward(&x.flatten_from(1)?)
    }
}

/// One block of self-attention with layer norm and a GELU layer, on 6 tokens of width 8, averaged over tokens.
pub(crate) struct Attention {
    query_key_value: Linear,
    first: Linear,
    last: Linear,
    norms: [LayerNorm; 2],
}

impl Attention {
    pub(crate) fn new(builder: &VarBuilder) -> Result<Self> {
        Ok(Self {
            query_key_value: candle_nn::linear(8, 24, builder.pp("qkv"))?,
            first: candle_nn::linear(8, 16, builder.pp("first"))?,
            last: candle_nn::linear(16, 8, builder.pp("last"))?,
            norms: [
                candle_nn::layer_norm(8, 1e-5, builder.pp("norm0"))?,
                candle_nn::layer_norm(8, 1e-5, builder.pp("norm1"))?,
            ],
        })
    }

    /// Features `[n, 8]` of tokens `[n, 6, 8]`.
    pub(crate) fn features(&self, x: &Tensor) -> Result<Tensor> {
        let of = |start: usize, all: &Tensor| all.narrow(2, start, 8)?.contiguous();
        let all = self.query_key_value.forward(&self.norm(0, x)?)?;
        let (query, key, value) = (of(0, &all)?, of(8, &all)?, of(16, &all)?);
        let scores = (query.matmul(&key.t()?.contiguous()?)? / 8f64.sqrt())?;
        let x = (x + candle_nn::ops::softmax(&scores, 2)?.matmul(&value)?)?;
        let hidden = self.first.forward(&self.norm(1, &x)?)?.gelu()?;
        (x + self.last.forward(&hidden)?)?.mean(1)
    }

    /// By plain operations: the fused layer norm of candle-nn has no backward pass.
    fn norm(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let norm = &self.norms[layer];
        let centred = x.broadcast_sub(&x.mean_keepdim(2)?)?;
        let scale = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
        let normalised = centred.broadcast_div(&scale)?.broadcast_mul(norm.weight())?;
        norm.bias().map_or(Ok(normalised.clone()), |bias| normalised.broadcast_add(bias))
    }
}
