//! The elementwise updates of optimisers: in place on a CPU, by tensor operations elsewhere.

use std::ops::{Add, Div, Mul, Sub};

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, InplaceOp3, Layout, Result as CandleResult, Tensor, Var, WithDType};
use rayon::prelude::*;

use crate::{Error, Result};
use ops::cpu::elements;

/// One update t ← f(t, a, b) of every element.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) enum Formula {
    /// t ← (1 − rate·decay)·t − rate·a.
    Descend { rate: f64, decay: f64 },
    /// t ← momentum·t + a + l2·b.
    Accelerate { momentum: f64, l2: f64 },
    /// t ← keep·t + (1 − keep)·(a + l2·b).
    Mean { keep: f64, l2: f64 },
    /// t ← keep·t + (1 − keep)·(a + l2·b)².
    Square { keep: f64, l2: f64 },
    /// t ← (1 − decay)·t − rate·a / (√b/root + epsilon).
    Adapt { rate: f64, root: f64, epsilon: f64, decay: f64 },
}

/// Number of values that one parallel task updates.
const BLOCK: usize = 1 << 14;

impl Formula {
    /// Updates `target` in place.
    ///
    /// # Errors
    /// A gradient that is neither f32 nor f64, or a failing device.
    pub(in crate::train) fn apply(self, target: &Var, a: &Tensor, b: &Tensor) -> Result<()> {
        if target.device().is_cpu() {
            return Ok(target.as_tensor().inplace_op3(a, b, &self)?);
        }
        Ok(target.set(&self.of_tensors(&target.as_detached_tensor(), a, b)?)?)
    }

    fn of_tensors(self, t: &Tensor, a: &Tensor, b: &Tensor) -> CandleResult<Tensor> {
        let times = |t: &Tensor, factor: f64| t.affine(factor, 0.0);
        match self {
            Formula::Descend { rate, decay } => times(t, 1.0 - rate * decay)? - times(a, rate)?,
            Formula::Accelerate { momentum, l2 } => (times(t, momentum)? + a)? + times(b, l2)?,
            Formula::Mean { keep, l2 } => times(t, keep)? + times(&(a + times(b, l2)?)?, 1.0 - keep)?,
            Formula::Square { keep, l2 } => times(t, keep)? + times(&(a + times(b, l2)?)?.sqr()?, 1.0 - keep)?,
            Formula::Adapt { rate, root, epsilon, decay } => {
                let denominator = b.sqrt()?.affine(1.0 / root, epsilon)?;
                times(t, 1.0 - decay)? - times(&(a / denominator)?, rate)?
            }
        }
    }

    /// The formula in the precision of the elements, applied in parallel to blocks of a fixed size.
    fn run<T: Scalar>(self, target: &mut [T], a: &[T], b: &[T]) {
        match self {
            Formula::Descend { rate, decay } => {
                let (keep, rate) = (T::of(1.0) - T::of(rate * decay), T::of(rate));
                each(target, a, b, |t, a, _| keep * t - rate * a);
            }
            Formula::Accelerate { momentum, l2 } => {
                let (momentum, l2) = (T::of(momentum), T::of(l2));
                each(target, a, b, |t, a, b| momentum * t + a + l2 * b);
            }
            Formula::Mean { keep, l2 } => {
                let (keep, rest, l2) = (T::of(keep), T::of(1.0 - keep), T::of(l2));
                each(target, a, b, |t, a, b| keep * t + rest * (a + l2 * b));
            }
            Formula::Square { keep, l2 } => {
                let (keep, rest, l2) = (T::of(keep), T::of(1.0 - keep), T::of(l2));
                each(target, a, b, |t, a, b| keep * t + rest * (a + l2 * b) * (a + l2 * b));
            }
            Formula::Adapt { rate, root, epsilon, decay } => {
                let (keep, rate) = (T::of(1.0 - decay), T::of(rate));
                let (root, epsilon) = (T::of(root), T::of(epsilon));
                each(target, a, b, |t, a, b| keep * t - rate * a / (b.root() / root + epsilon));
            }
        }
    }
}

/// The arithmetic of f32 and f64.
pub(super) trait Scalar:
    WithDType + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn of(value: f64) -> Self;

    fn root(self) -> Self;
}

impl Scalar for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn root(self) -> Self {
        self.sqrt()
    }
}

impl Scalar for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn root(self) -> Self {
        self.sqrt()
    }
}

fn each<T: Copy + Send + Sync>(target: &mut [T], a: &[T], b: &[T], update: impl Fn(T, T, T) -> T + Sync) {
    target.par_chunks_mut(BLOCK).zip(a.par_chunks(BLOCK)).zip(b.par_chunks(BLOCK)).for_each(|((target, a), b)| {
        for ((target, a), b) in target.iter_mut().zip(a).zip(b) {
            *target = update(*target, *a, *b);
        }
    });
}

/// The elements of a contiguous tensor, for writing in place.
macro_rules! elements_mut {
    ($op:expr, $storage:expr, $layout:expr, $variant:ident) => {{
        let (start, end) = $layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: $op })?;
        match $storage {
            CpuStorage::$variant(values) => values.get_mut(start..end),
            _ => None,
        }
        .ok_or_else(|| candle_core::Error::Msg(format!("{}: the parameter changed its dtype or size", $op)).bt())?
    }};
}

impl InplaceOp3 for Formula {
    fn name(&self) -> &'static str {
        "optimizer"
    }

    fn cpu_fwd(
        &self,
        target: &mut CpuStorage,
        layout: &Layout,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<()> {
        const OP: &str = "optimizer";
        match BackendStorage::dtype(a) {
            DType::F32 => self.run::<f32>(
                elements_mut!(OP, target, layout, F32),
                elements::<f32>(OP, a, la)?,
                elements::<f32>(OP, b, lb)?,
            ),
            DType::F64 => self.run::<f64>(
                elements_mut!(OP, target, layout, F64),
                elements::<f64>(OP, a, la)?,
                elements::<f64>(OP, b, lb)?,
            ),
            other => {
                let got = other.as_str().into();
                return Err(Error::DType { op: OP, expected: "f32 or f64".into(), got }.into_candle());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// The two implementations have only the definition in common.
    #[test]
    fn in_place_and_by_tensor_operations_agree() {
        let numbers = |offset: f64| -> Tensor {
            let values: Vec<f64> = (0..40).map(|i| 0.1 + (f64::from(i) * 0.7 + offset).sin().abs()).collect();
            Tensor::new(values, &Device::Cpu).unwrap()
        };
        for formula in [
            Formula::Descend { rate: 0.1, decay: 0.3 },
            Formula::Accelerate { momentum: 0.9, l2: 0.2 },
            Formula::Mean { keep: 0.9, l2: 0.1 },
            Formula::Square { keep: 0.99, l2: 0.1 },
            Formula::Adapt { rate: 0.1, root: 0.5, epsilon: 1e-3, decay: 0.02 },
        ] {
            let target = Var::from_tensor(&numbers(0.0)).unwrap();
            let (a, b) = (numbers(1.0), numbers(2.0));
            let expected = formula.of_tensors(&numbers(0.0), &a, &b).unwrap().to_vec1::<f64>().unwrap();
            formula.apply(&target, &a, &b).unwrap();
            for (found, expected) in target.to_vec1::<f64>().unwrap().iter().zip(expected) {
                assert!((found - expected).abs() < 1e-14, "{formula:?}: {found} against {expected}");
            }
        }
    }
}
