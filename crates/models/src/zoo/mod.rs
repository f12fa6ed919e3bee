//! Architectures: what they are made of, by name or by description.

mod architecture;
mod conv4;
mod description;
mod family;
mod mlp;
mod resnet;
mod vgg;
mod wide_resnet;

use std::sync::Arc;

pub use architecture::Architecture;
pub use conv4::Conv4Config;
pub use mlp::MlpConfig;
pub use resnet::{Block, ResNetConfig, ResNetStage, Stem};
pub use vgg::VggConfig;
pub use wide_resnet::WideResNetConfig;

use crate::Result;
use crate::layer::{Linear, Stack};
use crate::params::Builder;

/// What every family builds: the layers up to the features, and the linear head with its name.
pub(crate) struct Parts {
    pub(crate) body: Stack,
    pub(crate) head: Arc<Linear>,
    pub(crate) head_name: String,
}

impl Parts {
    /// The body with a head of this name and size (features, classes).
    fn new(body: Stack, mut builder: Builder<'_>, head: &str, size: (usize, usize)) -> Result<Self> {
        let linear = Linear::new(builder.under(head), size.0, size.1)?;
        Ok(Self { body, head: Arc::new(linear), head_name: head.to_owned() })
    }
}
