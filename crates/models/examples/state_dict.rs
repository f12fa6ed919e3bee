//! State dicts from PyTorch and back: `state_dict ARCHITECTURE IN OUT`, where the architecture is a name or a TOML file.
//!
//! IN is a file of `benches/peers/zoo.py write NAME IN`: PyTorch's state dict with inputs and features. The example loads it and
//! compares the features. To OUT it writes a network of this crate with the same inputs and its features, for
//! `zoo.py read NAME OUT`. `zoo.py check BINARY` does both for every family.

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use models::{Architecture, Initialisation, Network, Pass};

type Failure = Box<dyn std::error::Error>;

/// Largest relative distance between the features of both sides.
const TOLERANCE: f32 = 1e-5;

fn distance(ours: &Tensor, theirs: &Tensor) -> candle_core::Result<f32> {
    let norm = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f32>().map(f32::sqrt);
    Ok(norm(&(ours - theirs)?)? / norm(theirs)?)
}

fn architecture(name: &str, images: &Tensor) -> Result<Architecture, Failure> {
    let architecture = match Path::new(name).extension() {
        Some(extension) if extension == "toml" => Architecture::from_file(name)?,
        _ => Architecture::named(name)?,
    };
    Ok(match images.dims() {
        &[_, channels, height, width] => architecture.with_input(channels, [height, width]),
        _ => architecture,
    })
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, theirs, ours] = arguments.as_slice() else { return Err("state_dict ARCHITECTURE IN OUT".into()) };
    let mut stored: HashMap<String, Tensor> = candle_core::safetensors::load(theirs, &Device::Cpu)?;
    let images = stored.remove("input.x").ok_or("no `input.x`: expected a file of zoo.py write")?;
    let features = stored.remove("output.features").ok_or("no `output.features`: expected a file of zoo.py write")?;
    let architecture = architecture(name, &images)?;
    let new = |seed| Network::new(&architecture, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu);
    let scratch = std::env::temp_dir().join(format!("state-dict-{}.safetensors", std::process::id()));

    candle_core::safetensors::save(&stored, &scratch)?;
    let network = new(0)?;
    network.params().load(&scratch)?;
    std::fs::remove_file(&scratch)?;
    let found = distance(&network.frozen().features(&images, &Pass::evaluation())?, &features)?;
    println!("{name}: {} tensors read from PyTorch; features differ by {found:.2e} (relative)", stored.len());
    if found.is_nan() || found > TOLERANCE {
        return Err("the features differ from PyTorch's".into());
    }

    // A training pass, so that the running statistics are not the initial ones.
    let network = new(1)?;
    network.tracked().features(&images, &Pass::training(0, 0))?;
    network.params().save(&scratch)?;
    let mut stored = candle_core::safetensors::load(&scratch, &Device::Cpu)?;
    std::fs::remove_file(&scratch)?;
    let features = network.frozen().features(&images, &Pass::evaluation())?;
    stored.extend([("input.x".into(), images), ("output.features".into(), features)]);
    candle_core::safetensors::save(&stored, ours)?;
    Ok(())
}
