//! The progress of a measurement, for those who wait for it.

use std::cell::{Cell, RefCell};

use crate::Plan;

/// The progress of a measurement, as [`GeometricComplexity::measure_watched`](crate::GeometricComplexity::measure_watched)
/// reports it.
///
/// Time is spent on passes, so `passes` over an expected total is the share of the work that is done. For n samples and no
/// earlier stop that total is n × `passes_per_sample`; entry masks may need fewer passes.
///
/// ```
/// use std::cell::Cell;
///
/// use candle_core::{DType, Device, Tensor};
/// use gc_core::{GeometricComplexity, Progress};
///
/// let linear = |x: &Tensor| x.narrow(1, 0, 2)? * 3.0;
/// let x = Tensor::ones((5, 4), DType::F64, &Device::Cpu)?;
/// let last = Cell::new((0, 0));
/// let watch = |progress: &Progress| last.set((progress.samples, progress.passes));
/// let estimate = GeometricComplexity::exact().measure_watched(&linear, [Ok::<_, gc_core::Error>(x)], &watch)?;
/// assert_eq!(last.get(), (5, estimate.passes.total()));
/// # Ok::<(), gc_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Samples whose estimate is complete.
    pub samples: usize,
    /// Passes of one sample through the map so far.
    pub passes: u64,
    /// The passes of the samples whose estimate is complete.
    pub complete_passes: u64,
    /// The largest number of passes of a sample that is measured next.
    pub passes_per_sample: u64,
    /// The relative standard error of the samples so far, from two samples on.
    pub relative_error: Option<f64>,
    /// The plan, as soon as the pilot is complete, for a measurement that is [planned](crate::GeometricComplexity::planned).
    pub plan: Option<Plan>,
}

/// Counts passes, and calls a function after each of them.
pub(crate) struct Watch<'a> {
    call: &'a dyn Fn(&Progress),
    passes: Cell<u64>,
    state: RefCell<Progress>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(call: &'a dyn Fn(&Progress)) -> Self {
        let state = Progress {
            samples: 0,
            passes: 0,
            complete_passes: 0,
            passes_per_sample: 0,
            relative_error: None,
            plan: None,
        };
        Self { call, passes: Cell::new(0), state: RefCell::new(state) }
    }

    /// Counts passes and reports them.
    pub(crate) fn passed(&self, passes: u64) {
        self.passes.set(self.passes.get() + passes);
        self.report(|_| ());
    }

    /// Changes the state and reports it.
    pub(crate) fn report(&self, change: impl FnOnce(&mut Progress)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        state.passes = self.passes.get();
        (self.call)(&state);
    }
}
