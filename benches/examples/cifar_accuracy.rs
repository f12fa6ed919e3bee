//! VGG-13 at a quarter of its width on 10,000 images of CIFAR-10: the test accuracy over three seeds, and the images for
//! `peers/train.py accuracy`, which trains the same network by the same recipe in PyTorch.
//!
//! `cargo run --release --package benches --example cifar_accuracy -- IMAGES.safetensors [EPOCHS]`
//!
//! The recipe: He-normal weights, SGD with momentum 0.9 and L2 5·10⁻⁴, batches of 64, the rate rises to 0.02 over 100 steps
//! and falls to 0 along half a cosine; no augmentation.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example prints, and stops at its first error")]

use std::collections::HashMap;
use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use datasets::{LabelledImages, Normalisation, Source};
use models::train::{Fit, Progress, Schedule, Sgd};
use models::{Architecture, Initialisation, Network, Pass};
use rand::seq::SliceRandom;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PER_CLASS: usize = 1000;
const BATCH: usize = 64;
const SEEDS: u64 = 3;

type Failure = Box<dyn std::error::Error>;

fn tensors(images: &LabelledImages, normalisation: &Normalisation) -> Result<(Tensor, Tensor), Failure> {
    let all: Vec<usize> = (0..images.len()).collect();
    let batch = images.batch(&all, normalisation, &Device::Cpu)?;
    Ok((batch.images, batch.labels))
}

/// The share of test images whose largest class score is that of their class.
fn accuracy(network: &Network, images: &Tensor, labels: &Tensor) -> Result<f64, Failure> {
    let (count, mut right) = (images.dim(0)?, 0);
    for start in (0..count).step_by(500) {
        let length = 500.min(count - start);
        let logits = network.frozen().logits(&images.narrow(0, start, length)?, &Pass::evaluation())?;
        let guesses = logits.argmax(1)?.to_vec1::<u32>()?;
        let labels = labels.narrow(0, start, length)?.to_vec1::<u32>()?;
        right += guesses.iter().zip(&labels).filter(|(guess, label)| guess == label).count();
    }
    Ok(right as f64 / count as f64)
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("cifar_accuracy IMAGES.safetensors [EPOCHS]")?;
    let epochs: u64 = arguments.next().map_or(Ok(15), |text| text.parse())?;
    let data = datasets::load("cifar10", &Source::from_env())?;
    let train = data.train.limit_per_class(PER_CLASS, 0);
    let (images, labels) = tensors(&train, &data.normalisation)?;
    let (test_images, test_labels) = tensors(&data.test, &data.normalisation)?;
    let stored = HashMap::from([
        ("train.x", images.clone()),
        ("train.y", labels.clone()),
        ("test.x", test_images.clone()),
        ("test.y", test_labels.clone()),
    ]);
    candle_core::safetensors::save(&stored, &path)?;

    let architecture = Architecture::named("vgg13")?.with_width(0.25);
    let per_epoch = (images.dim(0)? / BATCH) as u64;
    let sgd = Sgd { momentum: 0.9, l2: 5e-4, ..Sgd::new(0.02) };
    let fit = Fit { schedule: Schedule::cosine().with_warmup(100), ..Fit::new(epochs * per_epoch, sgd) };
    let mut sum = 0.0;
    for seed in 0..SEEDS {
        let network = Network::new(&architecture, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu)?;
        let mut order: Vec<u32> = (0..images.dim(0)? as u32).collect();
        let mut batch = |index: u64| {
            if index.is_multiple_of(per_epoch) {
                order.sort_unstable();
                order.shuffle(&mut streams::stream(seed, "cifar-accuracy/order", index / per_epoch));
            }
            let start = (index % per_epoch) as usize * BATCH;
            let chosen = Tensor::new(&order[start..start + BATCH], &Device::Cpu)?;
            Ok((images.index_select(&chosen, 0)?, labels.index_select(&chosen, 0)?))
        };
        let mut last = f64::NAN;
        let outcome = fit.run(&network, &mut Progress::default(), &mut batch, |_, seen| {
            last = seen.loss.unwrap_or(last);
            Ok(ControlFlow::Continue(()))
        })?;
        let share = accuracy(&network, &test_images, &test_labels)?;
        println!("seed {seed}: {outcome:?}, last training loss {last:.3}, test accuracy {:.2} %", 100.0 * share);
        sum += share;
    }
    println!("mean over {SEEDS} seeds: {:.2} %", 100.0 * sum / SEEDS as f64);
    Ok(())
}
