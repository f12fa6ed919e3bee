//! What the benchmark targets in `benches/` share: the device, the settings, the machine's peaks, the work of a curve's points.
//!
//! `BENCH_DEVICE` names the device of what runs on tensors (`cpu`, `cuda:0`, `metal`; default `cpu`); every id ends with the
//! device that it ran on. `BENCH_QUICK=1` takes smaller shapes, to try things out.

mod curve;
mod peaks;
mod settings;

pub use curve::{Curve, Work};
pub use peaks::peaks;
pub use settings::{CPU, Chosen, device, long_steps, quick};

/// The code of the README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
