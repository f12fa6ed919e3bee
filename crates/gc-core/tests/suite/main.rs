//! Tests of the public interface, one binary.
// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bounds;
mod candle_nn;
mod coverage;
mod derivative_check;
mod golden;
mod linear;
mod penalty;
mod refusals;
mod streaming;
mod support;
