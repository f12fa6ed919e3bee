//! Shared by the benchmark targets: the device, the settings, the machine's peaks, and the work of a curve's points.
//!
//! `BENCH_DEVICE` names the device of tensors (`cpu`, `cuda:0`, `metal`; default `cpu`); every benchmark id ends with the
//! device. `BENCH_QUICK=1` uses smaller shapes, for a trial.

mod curve;
mod layer_scale;
mod peaks;
mod settings;

pub use curve::{Curve, Work};
pub use layer_scale::with_unit_layer_scale;
pub use peaks::peaks;
pub use settings::{CPU, Chosen, device, long_steps, quick};

/// The code of the README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
