//! Tests of the public interface, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests panic as tests do")]

mod bounds;
mod candle_nn;
mod coverage;
mod derivative_check;
mod golden;
mod linear;
mod networks;
mod penalty;
mod penalty_of_any_map;
mod refusals;
mod regression;
mod streaming;
mod support;
mod torch_func;
