//! A convolution and a transformer block, written with candle-nn.

use candle_core::{D, Result, Tensor};
use candle_nn::{Conv2dConfig, Module, ModuleT, VarBuilder, batch_norm, conv2d, linear, ops::softmax};
use ops::{Activation, nchw};

/// The features `[n, 16]` of images `[n, 3, 8, 8]`, with batch norm in evaluation mode.
pub fn features(vb: &VarBuilder) -> Result<impl Fn(&Tensor) -> Result<Tensor> + use<>> {
    let convolution = conv2d(3, 16, 3, Conv2dConfig { padding: 1, ..Conv2dConfig::default() }, vb.pp("convolution"))?;
    let norm = batch_norm(16, 1e-5, vb.pp("norm"))?;
    let [query, key, value, output] = ["query", "key", "value", "output"].map(|name| linear(16, 16, vb.pp(name)));
    let (query, key, value, output) = (query?, key?, value?, output?);
    let (up, down) = (linear(16, 32, vb.pp("up"))?, linear(32, 16, vb.pp("down"))?);
    Ok(move |images: &Tensor| {
        let x = nchw::relu(&norm.forward_t(&convolution.forward(images)?, false)?)?;
        // candle's own max_pool2d would be refused: its gradient is a quarter of the right one.
        let tokens = nchw::max_pool2d(&x, 2)?.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
        let scores = (query.forward(&tokens)?.matmul(&key.forward(&tokens)?.t()?)? / 4.0)?;
        let attended = softmax(&scores, D::Minus1)?.matmul(&value.forward(&tokens)?)?;
        let tokens = (tokens + output.forward(&attended)?)?;
        let hidden = Activation::Gelu.forward(&up.forward(&tokens)?)?;
        (&tokens + down.forward(&hidden)?)?.mean(1)
    })
}
