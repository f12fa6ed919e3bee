//! Milliseconds of one training step and the peak memory of the process, for comparison with
//! `peers/ops.py --memory vgg13 --batch 256`.
//!
//! `cargo run --release --package benches --example training_step -- vgg13 256 [steps]`
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement by hand: it stops at its first error and prints"
)]

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use models::train::{Gradients, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> models::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "vgg13".into());
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a whole number"));
    let (batch, steps) = (number(64), number(3));
    let architecture = Architecture::named(&name)?.with_input(3, [32, 32]).with_classes(10);
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu)?;
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/ops/images", 0), batch * 3 * 32 * 32);
    let images = Tensor::from_vec(pixels, (batch, 3, 32, 32), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::new((0..batch as u32).map(|index| index % 10).collect::<Vec<u32>>(), &Device::Cpu)?;
    let mut state = OptimizerState::default();
    let optimizer = Sgd { momentum: 0.9, ..Sgd::new(1e-4) };
    for step in 0..steps as u64 {
        let start = Instant::now();
        let (_, gradients) = Gradients::of_loss(&network, &images, &labels, 0.0, &Pass::training(1, step))?;
        optimizer.step(network.params(), &gradients, 1.0, &mut state)?;
        println!("{name}, batch {batch}, step {step}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    // The kernel counts the peak; other systems have no such file, and then none is printed.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}
