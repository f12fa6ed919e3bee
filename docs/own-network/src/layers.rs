//! The same network as layers: `models` trains it, writes its checkpoint, and measures it without a training loop of one's own.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use gc_core::{GeometricComplexity, Penalty, Probe};
use models::layer::{CandleModule, Sequential};
use models::train::{Adam, Checkpoint, Fit, GcPenalty, Progress};
use models::{BodyAndHead, Builder, Initialisation, Network, Pass};

use crate::network;

/// The module of candle-nn as the body of a network, with a head of `models`.
fn layers(mut builder: Builder<'_>) -> models::Result<BodyAndHead> {
    let mut body = Sequential::default();
    body.push("features", CandleModule::new(network::features(&builder.under("").var_builder())?));
    BodyAndHead::new(body, builder, "head", 16, 4)
}

fn network(seed: u64) -> models::Result<Network> {
    Network::of_layers("own", &[3, 8, 8], Initialisation::Pytorch, seed, (DType::F64, &Device::Cpu), layers)
}

/// Exact complexity, training with the penalty, and a checkpoint; `expected` is the complexity that torch.func computes.
pub fn run(images: &Tensor, labels: &Tensor, weights: &Path, expected: f64) -> Result<(), Box<dyn std::error::Error>> {
    let net = network(0)?;
    net.params().load(weights)?;
    let gc = |net: &Network| -> Result<_, Box<dyn std::error::Error>> {
        let map = net.frozen().feature_map(Pass::evaluation(), None)?;
        Ok(GeometricComplexity::exact().measure_inputs(&map, images)?)
    };
    let before = gc(&net)?;
    println!("GC {before} as layers");
    assert!((before.value - expected).abs() < 1e-5 * expected, "{} for {expected}", before.value);

    let penalty = GcPenalty { strength: 1e-3, estimator: Penalty::projections(Probe::Rademacher, 1) };
    let fit = Fit { penalty: Some(penalty), ..Fit::new(30, Adam::new(0.01)) };
    let mut batches = |_: u64| Ok((images.clone(), labels.clone()));
    let (mut progress, mut losses) = (Progress::default(), Vec::new());
    fit.run(&net, &mut progress, &mut batches, |_, seen| {
        losses.extend(seen.loss);
        Ok(ControlFlow::Continue(()))
    })?;
    println!("loss {:.3} after 1 step, {:.3} after {}", losses[0], losses[losses.len() - 1], losses.len());
    assert!(losses[losses.len() - 1] < 0.5 * losses[0]);

    let path = std::env::temp_dir().join(format!("own-network-{}.safetensors", std::process::id()));
    Checkpoint::write(&path, &fit, &net, &progress, None, serde_json::Value::Null)?;
    let (again, mut progress) = (network(7)?, Progress::default());
    Checkpoint::open(&path)?.restore(&fit, &again, &mut progress)?;
    std::fs::remove_file(&path)?;
    assert_eq!((gc(&again)?.value, progress.step), (gc(&net)?.value, 30));
    Ok(())
}
