#![doc = include_str!("../README.md")]

mod device;
mod error;
mod files;
#[allow(unsafe_code)]
pub mod kernels;
mod layer;
mod linearised;
mod names;
mod network;
pub mod ops;
mod params;
mod pass;
mod recorded;
mod threads;
pub mod train;
mod zoo;

pub use device::{DeviceName, DeviceProblem};
pub use error::{Error, Result};
pub use kernels::Accuracy;
pub use linearised::Linearised;
pub use network::{Features, Network, View};
pub use params::{Initialisation, Parameter, Params, Role, WeightsReport, WeightsSource};
pub use pass::Pass;
pub use threads::with_threads;
pub use zoo::{
    Architecture, Block, Conv4Config, MlpConfig, ResNetConfig, ResNetStage, Stem, VggConfig, WideResNetConfig,
};
