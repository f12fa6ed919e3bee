//! The update of SGD with momentum as one pass over weight, velocity and gradient.

use candle_core::{Tensor, Var};

use super::formula::{Formula, Scalar};
use super::in_place::Update;
use crate::Result;

/// The coefficients of v ← momentum·v + g + l2·w; w ← (1 − rate·decay)·w − rate·v, or of Nesterov's form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Momentum {
    pub(super) rate: f64,
    pub(super) momentum: f64,
    pub(super) l2: f64,
    pub(super) decay: f64,
    pub(super) nesterov: bool,
}

impl Momentum {
    /// Updates weight and velocity in place.
    ///
    /// # Errors
    /// A parameter that is neither f32 nor f64, or a failing device.
    pub(super) fn apply(self, weight: &Var, velocity: &Var, gradient: &Tensor) -> Result<()> {
        if weight.device().is_cpu() {
            return self.apply_in_place([weight, velocity], gradient);
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
}

/// The update in the precision of the numbers. Its roundings are those of [`Momentum::by_formulas`].
impl Update<2> for Momentum {
    fn block<T: Scalar>(self, [weight, velocity]: [&mut [T]; 2], gradient: &[T]) {
        let Self { rate, momentum, l2, decay, nesterov } = self;
        let of = T::of;
        let (keep, nesterov_keep) = (of(1.0) - of(rate * decay), of(1.0) - of(rate * (l2 + decay)));
        let (rate, nesterov_rate, momentum, l2) = (of(rate), of(rate * momentum), of(momentum), of(l2));
        for ((weight, velocity), gradient) in weight.iter_mut().zip(velocity).zip(gradient) {
            *velocity = momentum * *velocity + *gradient + l2 * *weight;
            *weight = if nesterov {
                nesterov_keep * *weight - rate * *gradient - nesterov_rate * *velocity
            } else {
                keep * *weight - rate * *velocity
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::in_place::BLOCK;
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
