#![doc = include_str!("../README.md")]

mod lanes;
mod quantile;

pub use lanes::{LANES, Widen, lane_sums, row_sums, vectorized};
pub use quantile::{quantile_of_sorted, quantiles_of_stream};
