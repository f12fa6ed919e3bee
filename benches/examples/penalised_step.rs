//! The time of a penalised training step divided by that of a plain one, for VGG-13 without and with batch norm. The two are
//! timed in turn, so that a change of the machine's speed affects both.
//!
//! `cargo run --release --package benches --example penalised_step -- [pairs]`
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement by hand: it stops at its first error and prints"
)]

use std::time::Instant;

use benches::{Chosen, device};
use candle_core::{DType, Tensor};
use gc_core::{Penalty, Probe};
use models::train::{GcPenalty, Gradients, LabelledBatch, OptimizerState, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same values as in the benchmark `gc`.
const BATCH: usize = 64;

fn main() -> models::Result<()> {
    let pairs: u64 = std::env::args().nth(1).map_or(25, |text| text.parse().expect("a whole number"));
    let on = device()?;
    for name in ["vgg13", "vgg13_bn"] {
        let mut seconds = timed(&on, name, pairs)?;
        let [plain, penalised] = [0, 1].map(|of| quartiles(seconds.iter().map(|pair| pair[of]).collect())[1]);
        // The first pair includes the allocations.
        let [low, median, high] = quartiles(seconds.split_off(1).iter().map(|[plain, both]| both / plain).collect());
        println!(
            "{}: plain {:.0} ms, penalised {:.0} ms, {median:.2} plain steps (quartiles {low:.2} and {high:.2} of {pairs})",
            on.id(name),
            plain * 1e3,
            penalised * 1e3
        );
    }
    Ok(())
}

/// Seconds of a plain step and of a penalised one, for each pair.
fn timed(on: &Chosen, name: &str, pairs: u64) -> models::Result<Vec<[f64; 2]>> {
    let architecture = Architecture::named(name)?.with_input(3, [32, 32]).with_classes(10);
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &on.device)?;
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/images", 0), BATCH * 3 * 32 * 32);
    let images = Tensor::from_vec(pixels, (BATCH, 3, 32, 32), &on.device)?.to_dtype(DType::F32)?;
    let labels = Tensor::new((0..BATCH as u32).map(|index| index % 10).collect::<Vec<u32>>(), &on.device)?;
    let penalty = GcPenalty { strength: 1e-4, estimator: Penalty::projections(Probe::Rademacher, 1) };
    let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 };
    let (sgd, mut state) = (Sgd::new(1e-6), OptimizerState::default());
    let mut step = |gradients: &dyn Fn() -> models::Result<Gradients>| -> models::Result<f64> {
        let start = Instant::now();
        on.finished(|| sgd.step(network.params(), &gradients()?, 1.0, &mut state))?;
        Ok(start.elapsed().as_secs_f64())
    };
    let mut pair = |index: u64| {
        let pass = Pass::training(0, index);
        let plain = step(&|| Ok(Gradients::of_loss(&network, &batch, &pass)?.1))?;
        let both = step(&|| Ok(Gradients::of_penalised_loss(&network, &batch, &penalty, index, &pass)?.gradients))?;
        Ok([plain, both])
    };
    (0..pairs.max(2)).map(&mut pair).collect()
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN))
}
