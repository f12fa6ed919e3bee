#![doc = include_str!("../README.md")]

mod device;
mod error;
mod files;
mod layer;
mod linearised;
mod names;
mod network;
mod params;
mod pass;
mod recorded;
mod threads;
pub mod train;
mod zoo;

pub use device::{DeviceName, DeviceProblem};
pub use error::{Error, Result};
pub use linearised::Linearised;
pub use network::{Features, Network, View};
pub use ops::{self, Accuracy, kernels};
pub use params::{Initialisation, Parameter, Params, Role, WeightsReport, WeightsSource};
pub use pass::Pass;
pub use threads::with_threads;
pub use zoo::{
    Architecture, Block, Conv4Config, MlpConfig, ResNetConfig, ResNetStage, Stem, VggConfig, WideResNetConfig,
};
