//! Milliseconds of each operation of a training step on a device, at the sizes of VGG-13's stages.
//!
//! `BENCH_DEVICE=cuda:0 cargo run --release --package benches --features cudnn --example device_operations -- [batch]`
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement by hand: it stops at its first error and prints"
)]

use std::time::Instant;

use benches::{Chosen, device};
use candle_core::{DType, Tensor};
use models::ops::{self, ConvSettings, PoolSettings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Channels in and out, and the side of the image, of one convolution of each stage and of the first layer.
const LAYERS: [[usize; 3]; 6] =
    [[3, 64, 32], [64, 64, 32], [128, 128, 16], [256, 256, 8], [512, 512, 4], [512, 512, 2]];

fn main() -> models::Result<()> {
    let batch = std::env::args().nth(1).map_or(256, |text| text.parse().expect("a whole number"));
    let on = device()?;
    for [inputs, outputs, side] in LAYERS {
        let normal = |shape: &[usize]| {
            let mut stream = streams::stream(1, "bench/device operations", side as u64);
            let values = streams::standard_normal(&mut stream, shape.iter().product());
            Tensor::from_vec(values, shape, &on.device)?.to_dtype(DType::F32)
        };
        let (x, weight) = (normal(&[batch, side, side, inputs])?, normal(&[outputs, inputs, 3, 3])?);
        let (bias, g) = (normal(&[outputs])?, normal(&[batch, side, side, outputs])?);
        let settings = ConvSettings::new(1, 1);
        let pool = PoolSettings::square(2);
        let pooled = ops::nhwc::max_pool2d(&g, pool)?;
        let show = |name: &str, work: &dyn Fn() -> ops::Result<Tensor>| -> models::Result<()> {
            println!("{inputs:4} to {outputs:3}, {side:2}x{side:<2} {name:28} {:8.3} ms", milliseconds(&on, work)?);
            Ok(())
        };
        show("convolution", &|| ops::nhwc::conv2d(&x, &weight, None, settings))?;
        show("convolution, bias and ReLU", &|| ops::nhwc::conv2d_relu(&x, &weight, &bias, settings))?;
        show("input gradient", &|| ops::nhwc::conv2d_input_gradient(&g, &weight, x.dims(), settings))?;
        show("weight gradient", &|| ops::nhwc::conv2d_weight_gradient(&x, &g, weight.dims(), settings))?;
        show("gate", &|| ops::relu_mask(&g, &g))?;
        show("channel sum", &|| ops::nhwc::channel_sum(&g))?;
        show("max pooling", &|| ops::nhwc::max_pool2d(&g, pool))?;
        show("its VJP", &|| ops::nhwc::max_pool2d_vjp(&g, &pooled, pool))?;
        show("batch norm", &|| Ok(ops::nhwc::batch_norm_train(&g, &bias, &bias, 1e-5)?.0))?;
        show("copy", &|| Ok(g.copy()?))?;
    }
    Ok(())
}

/// Milliseconds of one repetition: the mean of twenty after three for warm-up.
fn milliseconds(on: &Chosen, work: &dyn Fn() -> ops::Result<Tensor>) -> models::Result<f64> {
    const REPETITIONS: usize = 20;
    let run =
        |count: usize| -> models::Result<()> { on.finished(|| (0..count).try_for_each(|_| Ok(work().map(drop)?))) };
    run(3)?;
    let start = Instant::now();
    run(REPETITIONS)?;
    Ok(start.elapsed().as_secs_f64() * 1e3 / REPETITIONS as f64)
}
