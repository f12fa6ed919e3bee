//! Architectures: families of networks, by name or by description.

mod any_family;
mod architecture;
mod body_and_head;
mod conv4;
mod description;
mod family;
mod keys;
mod mlp;
mod own_layers;
mod registry;
mod resnet;
mod vgg;
mod wide_resnet;

pub use architecture::Architecture;
pub use body_and_head::BodyAndHead;
pub use conv4::Conv4Config;
pub use family::Family;
pub use mlp::MlpConfig;
pub use own_layers::OwnLayers;
pub use resnet::{Block, ResNetConfig, ResNetStage, Stem};
pub use vgg::VggConfig;
pub use wide_resnet::WideResNetConfig;
