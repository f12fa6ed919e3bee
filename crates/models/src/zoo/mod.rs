//! Architectures: families of networks, by name or by description.

mod architecture;
mod body_and_head;
mod conv4;
mod description;
mod family;
mod mlp;
mod resnet;
mod vgg;
mod wide_resnet;

pub use architecture::Architecture;
pub(crate) use body_and_head::BodyAndHead;
pub use conv4::Conv4Config;
pub use mlp::MlpConfig;
pub use resnet::{Block, ResNetConfig, ResNetStage, Stem};
pub use vgg::VggConfig;
pub use wide_resnet::WideResNetConfig;
