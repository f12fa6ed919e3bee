//! Images per second of a training step and the peak memory of the process, for comparison with
//! `peers/ops.py --memory vgg13 --batch 256` and, on a GPU, with `peers/train.py bench --device cuda --batch 256`.
//!
//! `[BENCH_DEVICE=cuda:0] cargo run --release --package benches --example training_step -- vgg13 256 [steps] [bf16|tf32]`
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement by hand: it stops at its first error and prints"
)]

use std::time::Instant;

use benches::device;
use candle_core::{DType, Device, Tensor};
use models::train::{Gradients, LabelledBatch, OptimizerState, Sgd};
use models::{Accuracy, Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> models::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "vgg13".into());
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().expect("a whole number"));
    let (batch, steps) = (number(64), number(3));
    let precision = arguments.next();
    let accuracy = match precision.as_deref() {
        None => Accuracy::Fast,
        Some("bf16") => Accuracy::Bf16,
        Some("tf32") => Accuracy::Tf32,
        Some(other) => panic!("expected bf16 or tf32, got {other}"),
    };
    let on = device()?;
    let architecture = Architecture::named(&name)?.with_input(3, [32, 32]).with_classes(10);
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &on.device)?;
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/ops/images", 0), batch * 3 * 32 * 32);
    let images = Tensor::from_vec(pixels, (batch, 3, 32, 32), &on.device)?.to_dtype(DType::F32)?;
    // On the CPU, where reading them needs no wait.
    let labels = Tensor::new((0..batch as u32).map(|index| index % 10).collect::<Vec<u32>>(), &Device::Cpu)?;
    let mut state = OptimizerState::default();
    let mut times = Vec::with_capacity(steps);
    let optimizer = Sgd { momentum: 0.9, ..Sgd::new(1e-4) };
    for step in 0..steps as u64 {
        let start = Instant::now();
        on.finished(|| {
            let pass = Pass { accuracy, ..Pass::training(1, step) };
            let (_, gradients) = Gradients::of_loss_tensor(
                &network,
                &LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 },
                &pass,
            )?;
            optimizer.step(network.params(), &gradients, 1.0, &mut state)
        })?;
        times.push(start.elapsed().as_secs_f64());
    }
    // The first step allocates, and on a GPU loads the kernels.
    times.remove(0);
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().expect("at least two steps");
    println!(
        "{}: {:.1} ms, {:.0} images/s",
        on.id(format!(
            "{name}, batch {batch}{}",
            precision.map(|precision| format!(", {precision}")).unwrap_or_default()
        )),
        median * 1e3,
        batch as f64 / median
    );
    // Linux reports the peak in this file. Other systems do not have it, and no peak is printed there.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}
