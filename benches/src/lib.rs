//! The benchmark targets stand in `benches/`; here only the code of the README is compiled, so that it stays true.

/// The code of the README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
