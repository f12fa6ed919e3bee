//! Passes that GC of 2,048 images to 1 % takes, beside those of jacobian_regularizer at equal error; no clock is needed.
//!
//! `cargo run --release --package benches --example estimate_cost`
//!
//! Nets: the presets' small VGG on glyphs, with initial weights and trained; VGG-13 with initial weights on normal pixels. jacobian_regularizer
//! draws n unit directions for each image (n = 1 by default). On m of the N images its variance is (S² + τ²/n)/m − S²/N, with S² between
//! images and τ² of one direction (Cochran, 1977, equation 10.10), and it needs m(1 + n) passes. S² and τ² are measured on all images with
//! two directions each. Ours are means over 20 seeds, each with its own order of the images.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example prints, and stops at its first error")]

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use datasets::Source;
use gc_core::{FeatureMap, GeometricComplexity, Population, Probe};
use models::train::{Fit, Progress, Schedule, Sgd};
use models::{Architecture, Initialisation, Network, Pass};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IMAGES: usize = 2_048;
const BATCH: usize = 32;
const SEEDS: u64 = 20;
const TARGET: f64 = 0.01;

type Failure = Box<dyn std::error::Error>;

/// Glyphs of 20 classes, 130 of each, and their labels.
fn glyphs() -> Result<(Tensor, Tensor), Failure> {
    let source = Source { train_per_class: Some(130), test_per_class: Some(1), ..Source::from_env() };
    let data = datasets::load("glyphs", &source)?;
    let train = data.train.subset_classes(&(0..20).collect::<Vec<u32>>())?;
    let batch = train.batch(&(0..train.len()).collect::<Vec<_>>(), &data.normalisation, &Device::Cpu)?;
    Ok((batch.images, batch.labels))
}

fn noise() -> Result<Tensor, Failure> {
    let draws = streams::standard_normal(&mut streams::stream(1, "bench/images", 0), IMAGES * 3_072);
    let draws: Vec<f32> = draws.into_iter().map(|draw| draw as f32).collect();
    Ok(Tensor::from_vec(draws, (IMAGES, 3, 32, 32), &Device::Cpu)?)
}

fn shuffled(count: usize, seed: u64) -> Vec<u32> {
    let order = streams::permutation(&mut streams::stream(seed, "bench/order", 0), count);
    order.into_iter().map(|row| row as u32).collect()
}

fn trained(network: &Network, images: &Tensor, labels: &Tensor, epochs: u64) -> Result<(), Failure> {
    let per_epoch = (images.dim(0)? / BATCH) as u64;
    let sgd = Sgd { momentum: 0.9, l2: 5e-4, ..Sgd::new(0.05) };
    let fit = Fit { schedule: Schedule::cosine().with_warmup(50), ..Fit::new(epochs * per_epoch, sgd) };
    let count = images.dim(0)?;
    let mut batch = |index: u64| {
        let start = (index % per_epoch) as usize * BATCH;
        let chosen = Tensor::new(&shuffled(count, index / per_epoch)[start..start + BATCH], &Device::Cpu)?;
        Ok((images.index_select(&chosen, 0)?, labels.index_select(&chosen, 0)?))
    };
    fit.run(network, &mut Progress::default(), &mut batch, |_, _| Ok(ControlFlow::Continue(())))?;
    Ok(())
}

/// Mean passes, and the root mean square of the relative error where the truth is known.
fn cost(
    estimator: &GeometricComplexity,
    map: &dyn FeatureMap,
    images: &Tensor,
    truth: Option<f64>,
) -> Result<(f64, f64), Failure> {
    let (mut passes, mut square) = (0.0, 0.0);
    for seed in 0..SEEDS {
        let order = Tensor::new(shuffled(IMAGES, seed), &Device::Cpu)?;
        let estimate = estimator.clone().seed(seed).measure_inputs(map, &images.index_select(&order, 0)?)?;
        passes += estimate.passes.total() as f64 / SEEDS as f64;
        square += truth.map_or(f64::NAN, |truth| (estimate.value / truth - 1.0).powi(2)) / SEEDS as f64;
    }
    Ok((passes, square.sqrt()))
}

fn row(name: &str, network: &Network, images: &Tensor, exact: bool) -> Result<(), Failure> {
    let map = network.frozen().feature_map(Pass::evaluation(), None)?;
    let population = Population::DataSet { size: IMAGES };
    let truth = match exact {
        true => Some(GeometricComplexity::exact().measure_inputs(&map, images)?.value),
        false => None,
    };
    let pilot = GeometricComplexity::projections(Probe::Sphere, 2).measure_inputs(&map, images)?;
    let part = |error: Option<f64>| (error.unwrap_or(0.0) / pilot.value).powi(2) * IMAGES as f64;
    let (between, direction) = (part(pilot.standard_error.data), 2.0 * part(pilot.standard_error.probe));
    let needed = |n: f64| (between + direction / n) / (TARGET.powi(2) + between / IMAGES as f64);
    // Infinite where all images are too few.
    let peer = |n: f64| if needed(n) <= IMAGES as f64 { needed(n) * (1.0 + n) } else { f64::INFINITY };
    let best = (1..=64).map(f64::from).min_by(|a, b| peer(*a).total_cmp(&peer(*b))).expect("candidates");
    let planned = GeometricComplexity::planned(Probe::Rademacher, TARGET).population(population);
    let (plain, plain_error) = cost(&planned, &map, images, truth)?;
    let (regressed, error) = cost(&planned.regress_on_inputs(), &map, images, truth)?;
    println!(
        "| {name} | {between:.4} | {direction:.4} | {:.0} | {:.0} (n = {best}) | {plain:.0} ({plain_error:.4}) | {regressed:.0} ({error:.4}) | {:.1} |",
        peer(1.0),
        peer(best),
        peer(1.0) / regressed
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    println!(
        "| net | S² | τ² | jacobian_regularizer, n = 1 | its best n | planned (error) | with regression (error) | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let (images, labels) = glyphs()?;
    let some = Tensor::new(&shuffled(images.dim(0)?, 99)[..IMAGES], &Device::Cpu)?;
    let few = images.index_select(&some, 0)?;
    let small = Architecture::named("vgg-small")?.with_input(1, [32, 32]).with_classes(20);
    for epochs in [0, 5] {
        let network = Network::new(&small, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu)?;
        if epochs > 0 {
            trained(&network, &images, &labels, epochs)?;
        }
        row(&format!("vgg-small on glyphs, {epochs} epochs"), &network, &few, true)?;
    }
    let architecture = Architecture::named("vgg13")?.with_input(3, [32, 32]).with_classes(10);
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu)?;
    row("vgg13, initial weights, normal pixels", &network, &noise()?, false)
}
