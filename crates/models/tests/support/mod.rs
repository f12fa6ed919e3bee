//! The golden networks: an architecture, PyTorch's weights, and the values that PyTorch computed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]
#![allow(dead_code, unreachable_pub, reason = "a module of several test binaries, each of which uses its own part")]

pub mod layer_check;

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use models::train::LabelledBatch;
use models::{Architecture, Initialisation, Network};

/// One golden file and the network that it describes.
pub struct Golden {
    pub name: String,
    pub values: HashMap<String, Tensor>,
    pub network: Network,
    /// Relative tolerance for values (norm of the difference over norm), by precision.
    pub tolerance: f64,
}

pub const NETS: [&str; 4] = ["mlp_tanh", "mlp_relu", "vgg_tiny", "resnet_tiny"];

fn architecture(name: &str) -> Architecture {
    let text = match name {
        "mlp_tanh" => {
            "family = 'mlp'\ninputs = 6\nhidden = [8, 8, 5]\nactivation = 'tanh'\nactivation_before_head = false\nclasses = 3"
        }
        "mlp_relu" => {
            "family = 'mlp'\ninputs = 6\nhidden = [8, 8, 5]\nactivation = 'relu'\nactivation_before_head = false\nclasses = 3"
        }
        "vgg_tiny" => "family = 'vgg'\nstages = [[4, 4], [6, 6]]\ninput_size = [8, 8]\nclasses = 4",
        "resnet_tiny" => {
            "family = 'resnet'\ninput_size = [8, 8]\nclasses = 3\n\
             stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 1, stride = 2 }]"
        }
        other => panic!("no golden net {other}"),
    };
    Architecture::from_toml(text).unwrap()
}

impl Golden {
    pub fn open(name: &str, dtype: DType) -> Self {
        let (suffix, tolerance) = if dtype == DType::F64 { ("f64", 1e-10) } else { ("f32", 1e-5) };
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}_{suffix}.safetensors"));
        let values = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let network = Network::new(&architecture(name), Initialisation::HeNormal, 1, dtype, &Device::Cpu).unwrap();
        let weights: HashMap<String, Tensor> = values
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("param.")?.to_owned(), value.clone())))
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        candle_core::safetensors::save(&weights, file.path()).unwrap();
        network.params().load(file.path()).unwrap();
        Self { name: format!("{name}_{suffix}"), values, network, tolerance }
    }

    pub fn all() -> impl Iterator<Item = Self> {
        NETS.into_iter().flat_map(|name| [DType::F64, DType::F32].map(|dtype| Self::open(name, dtype)))
    }

    pub fn value(&self, key: &str) -> &Tensor {
        self.values.get(key).unwrap_or_else(|| panic!("{}: no golden value {key}", self.name))
    }

    pub fn labels(&self) -> Tensor {
        self.value("y").to_dtype(DType::U32).unwrap()
    }
}

pub fn labelled<'a>(images: &'a Tensor, labels: &'a Tensor, label_smoothing: f64) -> LabelledBatch<'a> {
    LabelledBatch { images, labels, label_smoothing }
}

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// ‖a − b‖ / ‖b‖, or ‖a‖ where b is zero.
pub fn relative_distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.elem_count(), b.elem_count(), "{:?} against {:?}", a.dims(), b.dims());
    let (a, b) = (numbers(a), numbers(b));
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    if norm == 0.0 { difference.sqrt() } else { (difference / norm).sqrt() }
}

pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, relative: f64) {
    let distance = relative_distance(a, b);
    assert!(distance <= relative, "{what}: relative distance {distance:e} exceeds {relative:e}");
}
