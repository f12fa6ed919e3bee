//! The update of SGD with momentum as one pass over weight, velocity and gradient.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result as CandleResult, Tensor, Var, WithDType};
use rayon::prelude::*;

use super::formula::Formula;
use crate::{Error, Result};
use ops::cpu::elements;

/// The coefficients of v ← momentum·v + g + l2·w; w ← (1 − rate·decay)·w − rate·v, or of Nesterov's form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Momentum {
    pub(super) rate: f64,
    pub(super) momentum: f64,
    pub(super) l2: f64,
    pub(super) decay: f64,
    pub(super) nesterov: bool,
}

/// Numbers that one parallel task updates. As many are updated in less time than another thread takes to wake.
const BLOCK: usize = 1 << 14;
const OP: &str = "optimizer";

impl Momentum {
    /// Updates weight and velocity in place.
    ///
    /// # Errors
    /// A parameter that is neither f32 nor f64, or a failing device.
    pub(super) fn apply(self, weight: &Var, velocity: &Var, gradient: &Tensor) -> Result<()> {
        if weight.device().is_cpu() {
            return Ok(weight.as_tensor().inplace_op1(&OnWeight { by: self, velocity, gradient })?);
        }
        self.by_formulas(weight, velocity, gradient)
    }

    /// The same as several passes.
    fn by_formulas(self, weight: &Var, velocity: &Var, gradient: &Tensor) -> Result<()> {
        let Self { rate, momentum, l2, decay, nesterov } = self;
        Formula::Accelerate { momentum, l2 }.apply(velocity, gradient, &weight.as_detached_tensor())?;
        let velocity = velocity.as_detached_tensor();
        if !nesterov {
            return Formula::Descend { rate, decay }.apply(weight, &velocity, &velocity);
        }
        // rate·(g + l2·w + momentum·v): first the gradient, then the velocity.
        Formula::Descend { rate, decay: l2 + decay }.apply(weight, gradient, gradient)?;
        Formula::Descend { rate: rate * momentum, decay: 0.0 }.apply(weight, &velocity, &velocity)
    }

    /// The update in the precision of the numbers, in parallel blocks of a fixed size. Its roundings are those of
    /// [`Momentum::by_formulas`].
    fn run<T: WithDType>(self, weight: &mut [T], velocity: &mut [T], gradient: &[T]) {
        let Self { rate, momentum, l2, decay, nesterov } = self;
        let of = T::from_f64;
        let (keep, nesterov_keep) = (of(1.0) - of(rate * decay), of(1.0) - of(rate * (l2 + decay)));
        let (rate, nesterov_rate, momentum, l2) = (of(rate), of(rate * momentum), of(momentum), of(l2));
        let update = |((weight, velocity), gradient): ((&mut [T], &mut [T]), &[T])| {
            for ((weight, velocity), gradient) in weight.iter_mut().zip(velocity).zip(gradient) {
                *velocity = momentum * *velocity + *gradient + l2 * *weight;
                *weight = if nesterov {
                    nesterov_keep * *weight - rate * *gradient - nesterov_rate * *velocity
                } else {
                    keep * *weight - rate * *velocity
                };
            }
        };
        if weight.len() <= BLOCK {
            return update(((weight, velocity), gradient));
        }
        let blocks = weight.par_chunks_mut(BLOCK).zip(velocity.par_chunks_mut(BLOCK)).zip(gradient.par_chunks(BLOCK));
        blocks.for_each(update);
    }
}

/// The update with the weight as the tensor that is written. The velocity, which is written too, is opened inside.
struct OnWeight<'a> {
    by: Momentum,
    velocity: &'a Var,
    gradient: &'a Tensor,
}

/// The update with the velocity as the tensor that is written, for numbers of a weight.
struct OnVelocity<'a, T> {
    by: Momentum,
    weight: RefCell<&'a mut [T]>,
}

impl OnWeight<'_> {
    fn on<T: WithDType>(&self, weight: &mut [T], layout: &Layout) -> CandleResult<()>
    where
        CpuStorage: Numbers<T>,
    {
        let inside = OnVelocity { by: self.by, weight: RefCell::new(part(weight, layout)?) };
        self.velocity.as_tensor().inplace_op2(self.gradient, &inside)
    }
}

impl InplaceOp1 for OnWeight<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, weight: &mut CpuStorage, layout: &Layout) -> CandleResult<()> {
        match weight {
            CpuStorage::F32(weight) => self.on(weight, layout),
            CpuStorage::F64(weight) => self.on(weight, layout),
            other => {
                let got = candle_core::backend::BackendStorage::dtype(other).as_str().into();
                Err(Error::DType { op: OP, expected: "f32 or f64".into(), got }.into_candle())
            }
        }
    }
}

impl<T: WithDType> InplaceOp2 for OnVelocity<'_, T>
where
    CpuStorage: Numbers<T>,
{
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, velocity: &mut CpuStorage, layout: &Layout, g: &CpuStorage, lg: &Layout) -> CandleResult<()> {
        let gradient = elements::<T>(OP, g, lg)?;
        let velocity = velocity.numbers().ok_or_else(|| changed("dtype"))?;
        self.by.run(&mut self.weight.borrow_mut(), part(velocity, layout)?, gradient);
        Ok(())
    }
}

/// The numbers of a storage, for writing.
trait Numbers<T> {
    fn numbers(&mut self) -> Option<&mut Vec<T>>;
}

impl Numbers<f32> for CpuStorage {
    fn numbers(&mut self) -> Option<&mut Vec<f32>> {
        if let CpuStorage::F32(numbers) = self { Some(numbers) } else { None }
    }
}

impl Numbers<f64> for CpuStorage {
    fn numbers(&mut self) -> Option<&mut Vec<f64>> {
        if let CpuStorage::F64(numbers) = self { Some(numbers) } else { None }
    }
}

/// The numbers of a contiguous layout.
fn part<'a, T>(numbers: &'a mut [T], layout: &Layout) -> CandleResult<&'a mut [T]> {
    let (start, end) = layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: OP })?;
    numbers.get_mut(start..end).ok_or_else(|| changed("size"))
}

fn changed(what: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("{OP}: the parameter changed its {what}")).bt()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn numbers(offset: f64, dtype: DType) -> Tensor {
        // More than one block.
        let values: Vec<f64> = (0..BLOCK + 5).map(|i| (i as f64 * 0.7 + offset).sin()).collect();
        Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    #[test]
    fn one_pass_has_the_bits_of_several() {
        for dtype in [DType::F32, DType::F64] {
            for nesterov in [false, true] {
                let by = Momentum { rate: 0.1, momentum: 0.9, l2: 0.03, decay: 0.2, nesterov };
                let run = |apply: &dyn Fn(Momentum, &Var, &Var, &Tensor) -> Result<()>| {
                    let weight = Var::from_tensor(&numbers(0.0, dtype)).unwrap();
                    let velocity = Var::from_tensor(&numbers(1.0, dtype)).unwrap();
                    for step in 0..3 {
                        apply(by, &weight, &velocity, &numbers(f64::from(step), dtype)).unwrap();
                    }
                    let bits = |var: &Var| var.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
                    (bits(&weight), bits(&velocity))
                };
                let once = run(&|by, weight, velocity, gradient| by.apply(weight, velocity, gradient));
                let several = run(&|by, weight, velocity, gradient| by.by_formulas(weight, velocity, gradient));
                assert!(once == several, "{dtype:?}, Nesterov {nesterov}");
            }
        }
    }

    #[test]
    fn integers_are_refused() {
        let weight = Var::from_tensor(&Tensor::new(&[1u32], &Device::Cpu).unwrap()).unwrap();
        let by = Momentum { rate: 0.1, momentum: 0.9, l2: 0.0, decay: 0.0, nesterov: false };
        let error = by.apply(&weight, &weight.clone(), &Tensor::new(&[1u32], &Device::Cpu).unwrap()).unwrap_err();
        assert!(error.to_string().contains("f32 or f64"), "{error}");
    }
}
