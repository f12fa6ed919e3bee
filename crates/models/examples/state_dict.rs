//! State dicts there and back: `state_dict write NAME OUT` stores a fresh net with inputs and features for
//! `benches/peers/zoo.py read NAME OUT`; `state_dict read NAME IN` compares with what `zoo.py write NAME IN` stored.

#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use models::{Architecture, Initialisation, Network, Pass};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, name, path] = arguments.as_slice() else { return Err("state_dict write|read NAME FILE".into()) };
    let mut tensors: HashMap<String, Tensor> = match what.as_str() {
        "read" => candle_core::safetensors::load(path, &Device::Cpu)?,
        _ => HashMap::new(),
    };
    let images = match tensors.remove("input.x") {
        Some(images) => images,
        None => {
            let draws = streams::standard_normal(&mut streams::stream(0, "example/images", 0), 2 * 3 * 64 * 48);
            Tensor::from_vec(draws, (2, 3, 64, 48), &Device::Cpu)?.to_dtype(DType::F32)?
        }
    };
    let (_, channels, height, width) = images.dims4()?;
    let architecture = Architecture::named(name)?.with_input(channels, [height, width]);
    let network = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    let folder = std::env::temp_dir().join(format!("state-dict-{}.safetensors", std::process::id()));
    match tensors.remove("output.features") {
        Some(theirs) => {
            candle_core::safetensors::save(&tensors, &folder)?;
            network.params().load(&folder)?;
            let ours = network.frozen().features(&images, &Pass::evaluation())?;
            let norm = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f32>().map(f32::sqrt);
            let distance = norm(&(&ours - &theirs)?)? / norm(&theirs)?;
            println!("{name}: PyTorch's state dict read; features differ by {distance:.2e} (relative)");
        }
        None => {
            network.params().save(&folder)?;
            let mut stored = candle_core::safetensors::load(&folder, &Device::Cpu)?;
            let features = network.frozen().features(&images, &Pass::evaluation())?;
            stored.extend([("input.x".into(), images), ("output.features".into(), features)]);
            candle_core::safetensors::save(&stored, path)?;
        }
    }
    std::fs::remove_file(&folder)?;
    Ok(())
}
