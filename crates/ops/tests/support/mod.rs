//! Comparison of tensors.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]
#![allow(dead_code, unreachable_pub, reason = "a module of several test binaries, each of which uses its own part")]

use candle_core::{DType, Tensor};

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// ‖a − b‖ / ‖b‖, or ‖a‖ where b is zero.
pub fn relative_distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.elem_count(), b.elem_count(), "{:?} against {:?}", a.dims(), b.dims());
    let (a, b) = (numbers(a), numbers(b));
    let difference: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| b * b).sum();
    if norm == 0.0 { difference.sqrt() } else { (difference / norm).sqrt() }
}

pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, relative: f64) {
    let distance = relative_distance(a, b);
    assert!(distance <= relative, "{what}: relative distance {distance:e} exceeds {relative:e}");
}
