//! Architectures: what they are made of, by name or by description.

mod architecture;
mod mlp;
mod resnet;
mod vgg;

pub use architecture::Architecture;
pub use mlp::MlpConfig;
pub use resnet::{Block, ResNetConfig, ResNetStage, Stem};
pub use vgg::VggConfig;

use crate::layer::{Linear, Stack};

/// What every family builds: the layers up to the features, and the linear head.
pub(crate) struct Parts {
    pub(crate) body: Stack,
    pub(crate) head: Linear,
}
