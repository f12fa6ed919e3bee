//! Exact GC of a network read from ONNX beside that of the same architecture by its name, in turn.
//!
//! `cargo run --release --package benches --example onnx_by_name -- FILE NAME [IMAGES] [ROUNDS]`
//!
//! The weights may differ, because the time does not depend on them. `crates/onnx/tests/networks/export.py zoo` exports networks.
#![allow(clippy::print_stdout, reason = "a measurement by hand prints")]

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use gc_core::{FeatureMap, GeometricComplexity};
use models::{Architecture, Initialisation, Network, Pass};
use onnx_graph::{Layer, Model};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

/// The seconds of one exact measurement, and its value.
fn measured(map: &dyn FeatureMap, images: &Tensor) -> Result<(f64, f64), Failure> {
    let start = Instant::now();
    let value = GeometricComplexity::exact().measure_inputs(map, images)?.value;
    Ok((start.elapsed().as_secs_f64(), value))
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, name, more @ ..] = arguments.as_slice() else {
        return Err("expected FILE NAME [IMAGES] [ROUNDS]".into());
    };
    let number = |at: usize, default: usize| more.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    let (images, rounds) = (number(0, 4)?, number(1, 3)?);
    let graph = Model::open(Path::new(file))?.graph(&Layer::Features, DType::F32, &Device::Cpu)?;
    let Some([channels, height, width]) = graph.sample().as_deref().and_then(<[usize]>::first_chunk).copied() else {
        return Err("the graph does not state the size of its images".into());
    };
    let architecture = Architecture::named(name)?.with_input(channels, [height, width]);
    let network = Network::new(&architecture, Initialisation::HeNormal, 1, DType::F32, &Device::Cpu)?;
    let by_name = network.frozen().feature_map(Pass::evaluation(), None)?;
    let count = images * channels * height * width;
    let pixels = streams::standard_normal(&mut streams::stream(1, "bench/onnx", 0), count);
    let x = Tensor::from_vec(pixels, (images, channels, height, width), &Device::Cpu)?.to_dtype(DType::F32)?;
    println!("{file}: {}, {images} images of {channels}x{height}x{width}", graph.tensor());
    println!("| round | from ONNX, s | by name, s | speed of ONNX over that by name |\n|---|---|---|---|");
    for round in 1..=rounds {
        let ((onnx, _), (named, _)) = (measured(&graph, &x)?, measured(&by_name, &x)?);
        println!("| {round} | {onnx:.3} | {named:.3} | {:.2} |", named / onnx);
    }
    Ok(())
}
