//! Exports of PyTorch compared with autograd: features and VJPs. The files are described in `networks/export.py`.
//!
//! The committed networks are small ones. With the environment variable `ONNX_NETWORKS`, those of that folder are compared.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests, which may panic"
)]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use gc_core::FeatureMap;
use onnx_graph::{Layer, Model};

fn folder() -> PathBuf {
    std::env::var_os("ONNX_NETWORKS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks"), PathBuf::from)
}

/// The relative error of an export in f64: exporters fold batch norm into convolutions and round attributes, both in f32.
fn rounding() -> f64 {
    if std::env::var_os("ONNX_NETWORKS").is_some() { 1e-6 } else { 1e-7 }
}

/// ‖a − b‖ / ‖b‖.
fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &Tensor| {
        x.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
    };
    let difference = a.to_dtype(DType::F64).unwrap().sub(&b.to_dtype(DType::F64).unwrap()).unwrap();
    norm(&difference) / norm(b).max(1e-300)
}

/// The tensor that the file beside a graph has: the features, or the output where the name says so.
fn layer(path: &Path) -> Layer {
    let is_output = path.file_stem().is_some_and(|name| name.to_string_lossy().contains("_output_"));
    if is_output { Layer::Output } else { Layer::Features }
}

/// The relative errors of features and VJPs of the linearization for two cotangents per sample; `None` if there is none.
fn errors_of_linearization(path: &Path, dtype: DType) -> Option<[f64; 2]> {
    let known = candle_core::safetensors::load(path.with_extension("safetensors"), &Device::Cpu).unwrap();
    let graph = Model::open(path).unwrap().graph(&layer(path), dtype, &Device::Cpu).unwrap();
    let linearization = graph.linearize(&known["x"].to_dtype(dtype).unwrap()).unwrap()?;
    let v = known["v"].to_dtype(dtype).unwrap();
    let both = Tensor::cat(&[&v, &(&v * -2.0).unwrap()], 0).unwrap();
    let expected = Tensor::cat(&[&known["g"], &(&known["g"] * -2.0).unwrap()], 0).unwrap();
    let vjp = linearization.vjp(&both).unwrap();
    assert_eq!(vjp.dims(), expected.dims());
    Some([relative(linearization.features(), &known["f"]), relative(&vjp, &expected)])
}

/// The relative errors of features and VJP.
fn errors(path: &Path, dtype: DType) -> Result<[f64; 2], String> {
    let known = candle_core::safetensors::load(path.with_extension("safetensors"), &Device::Cpu).unwrap();
    let model = Model::open(path).map_err(|error| error.to_string())?;
    let graph = model.graph(&layer(path), dtype, &Device::Cpu).map_err(|error| error.to_string())?;
    let x = Var::from_tensor(&known["x"].to_dtype(dtype).unwrap()).unwrap();
    let features = graph.evaluate(x.as_tensor()).map_err(|error| error.to_string())?.flatten_from(1).unwrap();
    if features.dims() != known["f"].dims() {
        return Err(format!("features of shape {:?}, expected {:?}", features.dims(), known["f"].dims()));
    }
    let weighted = features.mul(&known["v"].to_dtype(dtype).unwrap()).unwrap().sum_all().unwrap();
    let gradients = weighted.backward().map_err(|error| error.to_string())?;
    Ok([relative(&features, &known["f"]), relative(gradients.get(&x).unwrap(), &known["g"])])
}

fn compare(dtype: DType, tolerance: f64) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let start = std::time::Instant::now();
        match errors(&path, dtype) {
            Ok(errors) => {
                println!(
                    "{name}: features {:.1e}, VJP {:.1e}, {:.1} s",
                    errors[0],
                    errors[1],
                    start.elapsed().as_secs_f64()
                );
                if !errors.iter().all(|error| *error < tolerance) {
                    wrong.push(format!("{name}: features {:.1e}, VJP {:.1e}", errors[0], errors[1]));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn linearizations_are_those_of_autograd() {
    let mut names = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if let Some(errors) = errors_of_linearization(&path, DType::F64) {
            println!("{name}: features {:.1e}, VJP {:.1e}", errors[0], errors[1]);
            assert!(errors.iter().all(|error| *error < rounding()), "{name}: {errors:?}");
            names.push(name);
        }
    }
    if std::env::var_os("ONNX_NETWORKS").is_none() {
        for name in ["squeezed", "residual", "branches", "tiny_vit", "windows", "shuffle", "perceptron"] {
            for exporter in ["ts", "dynamo"] {
                assert!(names.contains(&format!("{name}_{exporter}")), "{name}, {exporter}: {names:?}");
            }
        }
        assert!(!names.contains(&"lstm_ts".to_owned()), "recurrent networks have none");
    }
}

#[test]
fn features_and_vjps_are_those_of_autograd_in_f32() {
    compare(DType::F32, 1e-5);
}

#[test]
fn features_and_vjps_are_those_of_autograd_in_f64() {
    compare(DType::F64, rounding());
}

#[test]
fn the_outputs_of_several_layers_are_those_of_their_graphs() {
    for name in ["residual_ts", "residual_dynamo", "branches_ts"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/networks/{name}.onnx"));
        let known = candle_core::safetensors::load(path.with_extension("safetensors"), &Device::Cpu).unwrap();
        let x = known["x"].to_dtype(DType::F64).unwrap();
        // Two samples, also where the file fixes one.
        let x = Tensor::cat(&[&x, &(&x * 0.5).unwrap()], 0).unwrap();
        let model = Model::open(&path).unwrap();
        let nodes = model.nodes().unwrap();
        let linear = nodes.iter().filter(|node| ["Conv", "Gemm"].contains(&node.operator.as_str()));
        let mut layers: Vec<Layer> = linear.map(|node| Layer::of(&node.name)).collect();
        layers.push(Layer::Features);
        assert!(layers.len() > 2, "{name}");
        let graphs = model.layer_graphs(&layers, DType::F64, &Device::Cpu).unwrap();
        let positions: Vec<usize> = (0..layers.len()).collect();
        let outputs = graphs.outputs(&x, &positions).unwrap();
        for ((layer, output), tensor) in layers.iter().zip(&outputs).zip(graphs.tensors()) {
            let alone = model.graph(layer, DType::F64, &Device::Cpu).unwrap();
            let expected = alone.features(&x).unwrap().to_vec2::<f64>().unwrap();
            assert_eq!(output.to_vec2::<f64>().unwrap(), expected, "{name}: {layer:?}");
            assert_eq!(tensor, alone.tensor());
        }
        let last = graphs.graph(layers.len() - 1).unwrap();
        assert_eq!(
            last.features(&x).unwrap().to_vec2::<f64>().unwrap(),
            outputs.last().unwrap().to_vec2::<f64>().unwrap()
        );
        assert!(last.head().unwrap().is_some() && graphs.graph(layers.len()).is_none());
        assert!(
            graphs.outputs(&x, &[layers.len()]).is_err() && model.layer_graphs(&[], DType::F64, &Device::Cpu).is_err()
        );
    }
}
