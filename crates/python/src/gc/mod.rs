//! Geometric complexity: of a map that Python computes, and of a network in a file.

mod interruptible;
mod network;
mod python_map;
mod settings;

pub(crate) use network::measure_network;
pub(crate) use python_map::measure_map;
pub(crate) use settings::penalty_probes;
