//! The kernels of `ops` without the operations on tensors.

#[allow(dead_code, unused_imports)] // the operations use what is public within the crate
#[path = "../src/kernels/mod.rs"]
pub mod kernels;
