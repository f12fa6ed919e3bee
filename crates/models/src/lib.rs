#![doc = include_str!("../README.md")]

mod device;
mod error;
mod feature_map;
pub mod layer;
mod layout;
mod linearization;
mod network;
mod params;
mod pass;
mod shared_tape;
mod similar_names;
mod squared_vjp;
mod tangent;
mod threads;
pub mod train;
mod view;
mod write_file;
mod zoo;

pub use candle_core;
pub use device::{DeviceName, DeviceProblem};
pub use error::{Error, Result};
pub use feature_map::Features;
pub use linearization::Linearization;
pub use network::Network;
pub use ops::{self, Accuracy, kernels};
pub use params::{
    Access, Builder, Initialisation, InterpolatedPositions, Parameter, Params, RenamedTensor, Role, ShapeMismatch,
    TensorShape, WeightsFile, WeightsReport, WeightsSource,
};
pub use pass::Pass;
pub use threads::with_threads;
pub use view::View;
pub use zoo::{
    Architecture, Block, BodyAndHead, Conv4Config, ConvNextConfig, DecoderConfig, DenseNetConfig, EfficientNetConfig,
    EncoderConfig, Family, ImagePositions, MixerConfig, MlpConfig, MobileBlock, MobileNetV2Config, MobileNetV3Config,
    MobileStage, OwnLayers, RegNetConfig, RegNetStage, ResNetConfig, ResNetStage, Stem, SwinConfig, TokenFeatures,
    VggConfig, VitConfig, WideResNetConfig,
};
