//! Numbers and weights in the order in which the products read them.

use std::mem::MaybeUninit;

use super::alive::Alive;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::scratch::Scratch;
use crate::kernels::shared::{Shared, for_each_task};
use crate::kernels::{ConvGeometry, Element, fresh};

/// Numbers of a row that are gathered together.
const STRETCH: usize = 512;
/// Multiplications that take as long as moving one number.
pub(super) const MOVING: usize = 8;

/// The weights as `[tap, out, in]`.
pub(super) fn by_tap<T: Element>(g: &ConvGeometry, weight: &[T]) -> Vec<T> {
    let (taps, inputs, outputs) = (g.kernel[0] * g.kernel[1], g.in_channels, g.out_channels);
    let write = |to: &mut [MaybeUninit<T>]| {
        let to = Shared::new(to.as_mut_ptr().cast::<T>());
        for_each_task(outputs, MOVING * weight.len(), |output| {
            let from = &weight[output * inputs * taps..][..inputs * taps];
            for tap in 0..taps {
                let row = to.get().wrapping_add((tap * outputs + output) * inputs).cast::<MaybeUninit<T>>();
                // SAFETY: the row lies within the weights' length, and belongs to this output channel and tap.
                let row = unsafe { std::slice::from_raw_parts_mut(row, inputs) };
                for (to, from) in row.iter_mut().zip(from[tap..].iter().step_by(taps)) {
                    to.write(*from);
                }
            }
        });
    };
    // SAFETY: every tap of every pair of channels is written.
    unsafe { fresh::written(weight.len(), write) }
}

/// The numbers alive of all cotangents of one image: `[panel][number][cotangent]`.
pub(super) struct Gathered<T> {
    numbers: Scratch<T>,
    layout: PanelLayout,
}

/// How cotangents share panels.
#[derive(Clone, Copy)]
pub(super) struct PanelLayout {
    pub(super) cotangents: usize,
    pub(super) width: usize,
    /// Numbers of one cotangent.
    numbers: usize,
}

impl PanelLayout {
    pub(super) fn panels(&self) -> usize {
        self.cotangents.div_ceil(self.width)
    }

    /// Cotangents of a panel.
    pub(super) fn used(&self, panel: usize) -> usize {
        self.width.min(self.cotangents - panel * self.width)
    }

    /// Where a number of a panel starts.
    pub(super) fn start(&self, panel: usize, number: usize) -> usize {
        (panel * self.numbers + number) * self.width
    }
}

impl<T: Element> Gathered<T> {
    /// From the cotangents of the image.
    pub(super) fn new(set: InstructionSet, g: &ConvGeometry, alive: &Alive, cotangents: &[&[T]]) -> Self {
        let layout = PanelLayout { cotangents: cotangents.len(), width: set.panel::<T>(), numbers: alive.count() };
        let mut numbers = Scratch::<T>::new(layout.start(layout.panels(), 0));
        let to = Shared::new(numbers.pointer());
        let (pixels, channels) = (g.out_height() * g.out_width(), g.out_channels);
        let together = (STRETCH / channels).max(1);
        for_each_task(pixels.div_ceil(together), MOVING * layout.numbers * layout.cotangents, |task| {
            for (cotangent, row) in cotangents.iter().enumerate() {
                let (panel, lane) = (cotangent / layout.width, cotangent % layout.width);
                for pixel in task * together..pixels.min((task + 1) * together) {
                    let row = &row[alive.source(pixel) * channels..][..channels];
                    let mut to = to.get().wrapping_add(layout.start(panel, alive.start(pixel)) + lane);
                    for channel in alive.at(pixel) {
                        // SAFETY: channels alive are channels; the place is within the scratch, at a pixel of this task.
                        unsafe { to.write(*row.get_unchecked(*channel as usize)) };
                        to = to.wrapping_add(layout.width);
                    }
                }
            }
        });
        Self { numbers, layout }
    }

    pub(super) fn shared(&mut self) -> SharedNumbers<T> {
        SharedNumbers { from: Shared::reading(self.numbers.pointer()), layout: self.layout }
    }
}

/// [`Gathered`] numbers that tasks read.
#[derive(Clone, Copy)]
pub(super) struct SharedNumbers<T> {
    pub(super) from: Shared<T>,
    pub(super) layout: PanelLayout,
}
