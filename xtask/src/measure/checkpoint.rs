//! A network as two files describe it: what it is made of, and its weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use collapse::Head;
use models::{Architecture, Initialisation, Network};

use super::Inputs;

/// The names that heads have in PyTorch's models, the last linear layer of each family.
const HEADS: [&str; 4] = ["head.weight", "fc.weight", "classifier.weight", "classifier.6.weight"];

/// Which network.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Architecture by name, such as vgg13 or resnet18-cifar; classes follow the weights, the input size the data
    #[arg(long, value_name = "NAME", required_unless_present = "arch", conflicts_with = "arch")]
    model: Option<String>,
    /// Architecture as a TOML file
    #[arg(long, value_name = "FILE")]
    arch: Option<PathBuf>,
    /// Weights: a safetensors file with PyTorch's parameter names
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
}

/// A network with its weights.
pub(crate) struct Checkpoint {
    /// The weights' file.
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) architecture: Architecture,
    /// The network.
    pub(crate) network: Network,
}

impl NetworkArgs {
    /// Builds the network for these inputs and reads its weights.
    pub(crate) fn load(&self, inputs: &Inputs, dtype: DType) -> Result<Checkpoint> {
        self.description()?.load(&self.weights, inputs, dtype)
    }

    fn description(&self) -> Result<Description> {
        Description::read(self.model.as_deref(), self.arch.as_deref())
    }
}

/// What a network is made of, before its weights are seen.
pub(crate) struct Description {
    architecture: Architecture,
    /// Whether it says how large its inputs are, or they are the data's.
    sized: bool,
    /// Whether it says how many classes there are, or they are the weights'.
    classed: bool,
}

impl Description {
    /// By name, or out of a file.
    pub(crate) fn read(model: Option<&str>, file: Option<&Path>) -> Result<Self> {
        match (model, file) {
            (_, Some(path)) => {
                let architecture = Architecture::from_file(path)?;
                let keys: toml::Table = toml::from_str(&std::fs::read_to_string(path)?)?;
                let says = |key: &str| keys.contains_key(key);
                Ok(Self { architecture, sized: says("input_size") || says("inputs"), classed: says("classes") })
            }
            (Some(name), None) => Ok(Self { architecture: Architecture::named(name)?, sized: false, classed: false }),
            (None, None) => bail!("neither --model nor --arch was given"),
        }
    }

    /// Builds the network for these inputs and reads its weights.
    pub(crate) fn load(&self, weights: &Path, inputs: &Inputs, dtype: DType) -> Result<Checkpoint> {
        let mut architecture = self.architecture.clone();
        let shape = inputs.shape();
        if let ([channels, height, width], false) = (&shape[..], self.sized) {
            architecture = architecture.with_input(*channels, [*height, *width]);
        }
        if !self.classed {
            architecture = architecture.with_classes(classes(weights)?);
        }
        let expected = architecture.input_shape();
        if expected != shape && !(expected.len() == 1 && expected[0] == shape.iter().product::<usize>()) {
            bail!("{}: a sample has shape {shape:?}, the architecture takes {expected:?}", inputs.name());
        }
        let network = Network::new(&architecture, Initialisation::HeNormal, 0, dtype, &Device::Cpu)?;
        network.params().load(weights)?;
        Ok(Checkpoint { name: weights.display().to_string(), architecture, network })
    }
}

impl Checkpoint {
    /// The last linear layer.
    pub(crate) fn head(&self) -> Result<Head> {
        let (weight, bias) = self.network.frozen().head_parameters();
        Ok(Head::new(weight, Some(bias))?)
    }
}

/// The number of classes that a weights file was made for: the rows of its head.
fn classes(weights: &Path) -> Result<usize> {
    let arrays = crate::arrays::Arrays::read(weights, "weights")?;
    let head = HEADS.iter().find_map(|name| arrays.get(name));
    let rows = head.and_then(|head| head.dims().first().copied());
    rows.with_context(|| format!("{}: there is no head; expected one of {}", weights.display(), HEADS.join(", ")))
}
